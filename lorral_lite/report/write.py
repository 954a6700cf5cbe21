"""Run folders → one report: tables with intervals, figures, the paper's rows with ours beside them, and what it means.

``write_report`` takes one run folder or a grid of them (folds and seeds) and makes a single HTML file that needs
nothing from the network, and the same figures as JSON. Whatever is not there (a relation that was not
trained, no photograph) gives a plain sentence in its place. A figure from procedural faces never stands unmarked beside
one of the paper: every table says which data it is about, and :func:`.comparison.faults` is asked before
anything is written.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
from markupsafe import Markup

from ..datasets.licensed_faces import is_licensed, licensed_by
from ..datasets.prepared import open_prepared
from ..datasets.writing import keep_private
from ..draw.base import png_bytes, shrink_png
from ..draw.faces import PHOTO_WARNING, prediction_sheet
from ..draw.results import f1_bars, gain_plot, training_curves
from ..facs import AU_SETS
from ..files import DataError, data_file, load_tensors, without_paths, write_text
from ..measure.statistics import Estimate
from ..training.origin import check_faces, faces_of
from .comparison import comparison, faults, minutes
from .numbers import number, signed
from .page import Illustration, PageTable, Section, code, html_page, link
from .published import audit_published, published
from .results import CONTROLS, OUTPUTS, STEP1, Grid, Run, is_baseline, load_grid, name_of
from .tables import smallest_gain, tables

SITE = Path(__file__).parents[2] / "site" / "index.html"
"""What `make site` builds; a report links to it where it is."""


# ---------------------------------------------------------------------------------------------------------- test faces


@dataclass
class Examples:
    """Test faces for the report: ``labels`` and ``probabilities`` (N, A), ``landmarks`` (N, 49, 2) in image pixels.

    ``images``: N of what :func:`lorral_lite.draw.base.pixels` takes, or None. ``names``: who they are.
    """

    aus: tuple[int, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    landmarks: np.ndarray
    true_landmarks: np.ndarray | None = None
    images: Sequence | None = None
    names: list[str] | None = None


def find_examples(run: Run, count: int = 8, seed: int = 0, show_licensed_faces: bool = False) -> Examples | None:
    """Faces of the test fold with what the model said, from the prepared folder and the run's stored predictions.

    Drawn at random, one per person as long as people last: not chosen for looks or success. None when the
    prepared folder or the predictions are not there any more. Licensed faces come without ``images`` unless
    ``show_licensed_faces``.
    """
    name = next((r for r in ("self_attention", *run.relations) if r in run.relations), None)
    stored = run.folder / (f"{name}/predictions.safetensors" if name else "step1_predictions.safetensors")
    try:
        found = {key: value.numpy() for key, value in load_tensors(stored)[0].items()}
        folder = open_prepared(faces_of(run.folder, run.config))
        check_faces(run.folder, folder)
    except DataError:
        return None
    if not {"rows", "labels", "au_logits", "landmarks", "true_landmarks"} <= found.keys():
        return None  # what ships leaves the landmarks out
    rows = found["rows"]
    of_aus, points = (rows.size, len(folder.aus)), (rows.size, 49, 2)
    shapes = {"rows": (rows.size,), "labels": of_aus, "au_logits": of_aus, "landmarks": points,
              "true_landmarks": points}
    if (run.metrics.get("aus") != list(folder.aus) or any(found[name].shape != s for name, s in shapes.items())
            or rows.dtype != np.int64 or rows.min(initial=0) < 0 or rows.max(initial=-1) >= len(folder)
            or (found["labels"] != folder.labels[rows]).any()):
        return None  # another folder lies there now, or other predictions
    subjects = folder.subjects[rows]
    seen: dict[str, int] = {}
    turns = []
    for i in np.random.default_rng(seed).permutation(len(rows)):
        turns.append((seen.setdefault(subjects[i], 0), i))
        seen[subjects[i]] += 1
    pick = np.array([i for _, i in sorted(turns, key=lambda t: t[0])[:count]])
    size = int(run.config["model"]["image_size"])
    images, margin = None, (folder.size - size) // 2
    if show_licensed_faces or not (run.licensed or is_licensed(folder)):
        images = np.asarray(folder.images)[rows[pick], margin:margin + size, margin:margin + size]
    return Examples(
        tuple(folder.aus), found["labels"][pick], 1 / (1 + np.exp(-found["au_logits"][pick])),
        found["landmarks"][pick], found["true_landmarks"][pick], images, [str(subjects[i]) for i in pick],
    )


# ---------------------------------------------------------------------------------------------------------- the report


def write_report(folder, out_html=None, *, examples: Examples | None = None, show_licensed_faces: bool = False,
                 command: str | None = None) -> Path:
    """Write the report of a run folder or a grid of them: one self-contained HTML, report.json beside it.

    ``out_html`` defaults to report.html in the folder. ``examples`` are test faces (default: :func:`find_examples`).
    Pixels of licensed faces are never shown unless ``show_licensed_faces``; their landmarks are drawn instead.
    ``command`` is what made the run, for the record. Both files appear complete or not at all, and licensed runs are
    private afterwards.
    """
    grid = load_grid(folder)
    out = Path(out_html) if out_html is not None else grid.folder / "report.html"
    if command or grid.record.get("command"):
        grid.record = {**grid.record, "command": without_paths(str(command or grid.record["command"]), grid.folder)}
    private = [run.folder for run in grid.runs if licensed_by(run.folder)]
    for place in [*private, grid.folder] if private else ():
        keep_private(place)
    rows = comparison(grid)
    if wrong := faults(rows, grid.source):
        raise RuntimeError(f"the report would break its own rules, so none was written: {wrong[0]}")
    sections = _sections(grid, tables(grid, rows), examples, show_licensed_faces, out.parent)
    summary = _abstract(grid)
    document = {
        "title": "lorral-lite report", "data": grid.data_name, "source": grid.source, "licensed": grid.licensed,
        "folds": grid.folds, "seeds": grid.seeds, "what_was_run": _what_was_run(grid), "summary": summary,
        "results": grid.table, "over_the_svm": grid.svm_rows,
        "gains": grid.gain_rows, "smallest_gain": smallest_gain(grid.gain_rows),
        "comparison": rows, "published": published(), "audit": audit_published(), "photograph": grid.first.photo,
        "problems": grid.problems,
    }
    pages = {
        out: html_page(grid.data_name, summary, _tiles(grid), sections),
        out.with_suffix(".json"): json.dumps(_clean(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    for path, text in pages.items():
        write_text(path, text, private=grid.licensed)
    return out


def _clean(value):
    """Plain JSON: nan becomes null and an Estimate a dict, whatever the depth."""
    if isinstance(value, Estimate):
        value = vars(value)
    if isinstance(value, dict):
        return {str(k): _clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _what_was_run(grid: Grid) -> dict[str, str]:
    m, c, run = grid.metrics, grid.first.config, grid.first
    steps = [f"{c[s]['epochs']} in step {s[-1]}" for s in ("step1", "step2") if isinstance(c.get(s), dict)]
    if not steps and run.logs:
        steps = [f"{len(rows)} ({name_of(name)})" for name, rows in run.logs.items()]
    several = len(grid.cells) > 1
    total = sum(sum(r.times.values()) for r in grid.runs) if run.times else None
    each = " in each fold" if several else ""
    people = " · ".join(f"{m[k]} {word}" for k, word in (("train_subjects", "to train"), ("subjects", "to test"))
                        if m.get(k) is not None)
    frames = " · ".join(f"{m[k]:,} {word}".replace(",", " ") for k, word in
                        (("train_frames", "to train"), ("frames", "to test")) if m.get(k) is not None)
    time = [f"{minutes(grid):.1f} training" if minutes(grid) else "", f"{total / 60:.1f} in all" if total else ""]
    folds, seeds = (", ".join(map(str, numbers)) for numbers in (grid.folds, grid.seeds))
    parts: dict[str, float] = {}
    for part, seconds in [item for r in grid.runs for item in r.times.items()]:
        parts[part] = parts.get(part, 0) + seconds
    rows = {
        "Data": grid.data_name + (" (licensed: faces are not shown)" if grid.licensed and m else ""),
        "People": people and people + each, "Frames": frames and frames + each,
        "Fold": f"{folds} of {m.get('folds', 3)}, no person in two folds" if grid.cells else "",
        "Seed": "" if not grid.cells else seeds if len(grid.seeds) > 1 else
        f"{seeds} (one seed: how much another would change is not known)",
        "Epochs": ", ".join(steps) + (", last epoch, no selection" if c.get("select") == "last" else ""),
        "Relations": ", ".join(map(name_of, grid.relations)),
        "Baselines": ", ".join(["always positive", *(name_of(n) for n in grid.names if is_baseline(n))]),
        "Device": str(m.get("device", "")),
        "Minutes": ", ".join(t for t in time if t),
        "Where the time went": ", ".join(f"{part} {sec:.0f} s" for part, sec in parts.items() if sec >= 0.5),
        "Command": grid.record.get("command") or ("lorral reproduce" if run.times else ""),
        "Software": f"lorral-lite {version('lorral-lite')}, PyTorch {version('torch')}",
        "Date of report": date.today().isoformat(),
    }
    return {key: value or "not recorded" for key, value in rows.items()}


def _abstract(grid: Grid) -> list[str]:
    """The findings in sentences that the tables bear out."""
    if not grid.names:
        return ["Nothing has been evaluated in this run folder yet."]
    said = []
    base = _base(grid)
    local, au = (grid.table[base][output]["mean_f1"] for output in OUTPUTS)
    what = "Without a relation module" if base in ("none", STEP1) else f"With {name_of(base)}"
    said.append(f"{what} the model reaches a mean F1 of {number(au.value)} % (AU output) and {number(local.value)} % "
                f"(local output) on unseen people" + (f"; always saying yes would score {number(grid.floor)} %."
                                                      if grid.floor is not None else "."))
    for control in CONTROLS:
        rows = [g for g in grid.gain_rows if g["control"] == control and g["relation"] not in CONTROLS]
        if rows:
            up, down = (sum(g["verdict"] == v for g in rows) for v in ("gain", "loss"))
            best = max(rows, key=lambda g: g["gain"])
            said.append(
                f"Against {'the same network with the same extra epochs' if control == 'none' else 'the MLP control'}, "
                f"clear gains after Holm's correction: {up} of {len(rows)}; clear losses: {down}; the largest "
                f"difference is {signed(best['gain'])} points ({name_of(best['relation'])}, {best['output']} output).")
    if grid.data_name == "procedural faces":
        said.append("All of this is on procedural faces. It says nothing about the level a model reaches on BP4D or "
                    "DISFA, and none of it may stand beside the paper's 63.5 and 61.4.")
    return said


def _base(grid: Grid) -> str:
    """What the first sentence and the tiles are about: no relation, or the first thing that has a mean."""
    there = [name for name in grid.names if name not in grid.lacking]
    return "none" if "none" in there else there[0]


def _tiles(grid: Grid) -> list[tuple[str, str]]:
    if not grid.names:
        return []
    base = _base(grid)
    found = grid.table[base]
    return [*((f"{number(found[output]['mean_f1'].value)} %", f"mean F1, {OUTPUTS[output]}, {name_of(base)}")
              for output in ("au", "local")),
            (f"{number(grid.floor)} %", "mean F1 of always saying yes"),
            (f"{number(found['landmarks']['nme_percent'], 2)} %", "landmark error, of the inter-ocular distance")]


def _sections(grid: Grid, made: list[PageTable], examples, show_licensed, base: Path) -> list[Section]:
    table = {t.id: t for t in made}
    ours = grid.source.lower() in AU_SETS
    sections = [Section("run", "What was run", [_what_was_run(grid)])]

    results: list = [table[name] for name in ("summary", "folds-local", "folds-au") if name in table]
    for output in OUTPUTS if grid.relations else ():
        results += [_f1_picture(grid, output), table[f"f1-{output}"]]
    if "svm" in table:
        results.append(table["svm"])
    if not grid.relations:
        results.append("No relation has been trained and evaluated in this run yet: step 2 is missing.")
    sections.append(Section("results", "Results", results))

    parts: list = []
    if grid.gain_rows:
        drawn = [{**_clean(g), "gain": g["gain"]} for g in grid.gain_rows]  # without interval: None, not nan
        parts += [_picture(gain_plot(drawn), "Paired gains in mean F1 with 95 % intervals over subjects. Filled marks "
                           "stay off zero after Holm's correction over all rows."), table["gains"]]
    else:
        parts.append("There is no pair to compare: a gain needs a relation and the control without relation, scored "
                     "on the same people.")
    sections.append(Section("gains", "Do relations help?", parts))

    sections.append(Section("published", "The paper, and ours beside it", [
        f"Every row of the paper's Tables 1 to 4. Rows of {grid.data_name} are measured here; the others need the "
        "other data set." if ours else
        "Every row of the paper's Tables 1 to 4. None of them can be attempted without the licensed data: the command "
        "in each row is what a holder of the data runs. What was measured here has a table of its own, first, and is "
        "not to be compared with the paper's: another data set, other faces, other labels.",
        *(table[name] for name in ("ours", "paper-1", "published-bp4d", "paper-3", "paper-2", "published-disfa",
                                   "paper-4", "audit") if name in table)]))

    curves: list = []
    if len(grid.runs) > 1:
        curves.append(f"The first cell of the grid, {grid.first.folder.name}.")
    if STEP1 in grid.first.logs:
        curves.append(_picture(training_curves(grid.first.logs[STEP1], "Step 1: no relation"),
                               "Losses and learning rate of step 1 over its epochs."))
    later = {n: rows for n, rows in grid.first.logs.items() if n != STEP1}
    if later:
        curves.append(_picture(training_curves(later, "Step 2: everything below the relation is frozen"),
                               "Training loss and learning rate of step 2, one line per relation."))
    sections.append(Section("curves", "Training", curves if grid.first.logs else
                            ["No training log was found in this run folder."]))

    sections.append(Section("faces", "Faces of the test fold", _faces(grid, examples, show_licensed)))
    hidden = grid.licensed and not show_licensed
    sections.append(Section("photograph", "One real photograph", _photograph(grid.first, hidden)))
    links = [_link((run.folder.name + ": ") * (len(grid.runs) > 1) + p.stem.replace("_", " "), p, base, grid.folder)
             for run in grid.runs for p in run.notebooks]
    course = [[_link("the course as web pages", SITE, base, SITE.parents[1])]] if SITE.is_file() else []
    sections.append(Section("notebooks", "Notebooks executed on this run",
                            [links or "No notebook was executed on this run.", *course]))
    sections.append(Section("limits", "Limits", [[*_interval_limits(grid), *_other_limits(grid)]]))
    return sections


def _link(label: str, to: Path, base: Path, shared: Path) -> str:
    """A link from the folder ``base``, or the label alone from outside the ``shared`` folder: the way from there would
    tell of this machine."""
    inside = base.resolve().is_relative_to(shared.resolve())
    return link(Path(os.path.relpath(to, base)).as_posix(), label) if inside else label


def _interval_limits(grid: Grid) -> list[str]:
    said = ["Intervals are over subjects. They do not contain what another training seed would change"
            + ("; one seed was run." if len(grid.seeds) < 2 else f"; the spread of {len(grid.seeds)} seeds stands "
               "beside them.")]
    try:
        found = json.loads(data_file("results", "coverage.json").read_text(encoding="utf8"))["tables"][0]
        column = {name: i for i, name in enumerate(found["columns"])}
        share = column["jackknife-t holds the true F1, %"]
        shares = [row[share] for row in found["rows"]]
        boot = [row[-1] for row in found["rows"] if row[-1] is not None]
        said.append(f"On simulated data sets such 95 % intervals held the true mean F1 in {min(shares):.1f} to "
                    f"{max(shares):.1f} of 100 cases, percentile bootstrap intervals in {min(boot):.1f} to "
                    f"{max(boot):.1f} (" + code("python -m benchmarks coverage") + ", data/results/coverage.json).")
    except (FileNotFoundError, KeyError, ValueError, IndexError):
        said.append("How often such intervals hold the truth: " + code("python -m benchmarks coverage") + ".")
    if len(grid.folds) < 3:
        said.append(f"{'One fold was' if len(grid.folds) < 2 else 'Two folds were'} tested; the paper averages three.")
    return said


def _other_limits(grid: Grid) -> list[str]:
    return [
        "A gain on the AU output does not isolate the relation module: that output also sees the global and landmark "
        "features.",
        *([] if grid.source.lower() in AU_SETS else
          ["Procedural faces are simpler than people. What holds on them is a statement about the method on data whose "
           "truth is known, not about faces in the world."]),
        f"Photographs: {PHOTO_WARNING}. Action units are movements, not emotions, and nobody should be judged "
        "by them.",
        *grid.problems,
    ]


def _f1_picture(grid: Grid, output: str) -> Illustration:
    drawn, spans = {}, {}
    for name, found in grid.table.items():
        if name == STEP1 or name in grid.lacking:
            continue
        shown, mean = name_of(name) if is_baseline(name) else name, found[output]["mean_f1"]
        f1 = [e.value for e in found[output]["f1"].values()]
        drawn[shown] = {"aus": grid.metrics["aus"], "outputs": {output: {"f1": f1, "mean_f1": mean.value}}}
        if not math.isnan(mean.low):
            spans[shown] = (mean.low, mean.high)
    floor = {"f1": grid.floors, "mean_f1": grid.floor}
    fig = f1_bars(drawn, floor, output=output, intervals=spans,
                  title=f"{OUTPUTS[output][:1].upper()}{OUTPUTS[output][1:]}, {grid.data_name}")
    return _picture(fig, f"F1 per action unit of every relation, {OUTPUTS[output]}. Grey: always positive. Bars at the "
                         "mean: 95 % interval over subjects.")


def _picture(fig, caption: str) -> Illustration:
    return Illustration(png_bytes(fig), fig.alt, caption)


def _faces(grid: Grid, examples: Examples | None, show_licensed: bool) -> list:
    examples = find_examples(grid.first, show_licensed_faces=show_licensed) if examples is None else examples
    if examples is None or not len(examples.labels):
        return ["No test faces can be shown: the prepared folder or the stored predictions are not there any more."]
    hidden = grid.licensed and not show_licensed
    images = None if hidden else examples.images
    fig = prediction_sheet(examples.aus, examples.labels, examples.probabilities, examples.landmarks, images,
                           examples.names, true_landmarks=examples.true_landmarks)
    drawn = [_picture(fig, "Faces drawn at random, one per person as long as people last, with the predicted landmarks "
                           "over the true ones (pale) and the AUs of the AU output.")]
    if hidden:
        drawn.insert(0, "The faces of this data set are licensed and are not shown: only their landmarks are drawn.")
    elif grid.licensed:
        drawn.insert(0, "These are licensed faces: this report must not be shared.")
    return drawn


def _photograph(run: Run, hidden: bool) -> list:
    if run.photo is None and run.overlay is None:
        return ["No photograph was looked at in this run (" + code("lorral predict PHOTO") + ")."]
    photo = run.photo or {}
    said: list = [Markup("<strong>{}.</strong>").format(PHOTO_WARNING[:1].upper() + PHOTO_WARNING[1:])]
    error = photo.get("nme_percent")
    if isinstance(error, int | float):
        said.append(f"Landmark error on this photograph: {number(error)} % of the inter-ocular distance, against 49 "
                    "points measured independently of the model.")
    if photo.get("withheld"):
        said.append(f"The action units are withheld: {photo.get('reason') or 'no reason was recorded'}.")
    if run.overlay is not None and hidden:
        said.append("The picture is not shown: faces of this run are licensed, and it may be one of them.")
    elif run.overlay is not None:
        try:
            png = shrink_png(run.overlay)
            said.append(Illustration(png, "A photograph with the predicted landmarks drawn on the face"
                                + (", action units withheld" if photo.get("withheld") else ", and AU probabilities"),
                                f"{photo.get('photo', 'The photograph')}: {PHOTO_WARNING}."))
        except (OSError, ValueError):
            said.append("The overlay picture cannot be read.")
    else:
        said.append("The overlay picture is missing.")
    return said
