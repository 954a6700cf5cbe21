"""One run folder → one report: tables with intervals, figures, the published rows beside them, and what it all means.

``write_report`` makes a single HTML file that needs nothing from the network, and the same content as
Markdown and JSON. Whatever is not there (a relation that was not trained, no photograph) gives a plain
sentence in its place. A figure from procedural faces never stands unmarked beside one of the paper: every
table says which data it is about.
"""

import base64
import csv
import html
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from importlib.metadata import version
from pathlib import Path

import numpy as np

from . import figures
from .data_files import data_file
from .datasets import DataError
from .datasets.prepared import open_prepared
from .facs import ACTION_UNITS, AU_SETS
from .figures import RELATION_NAMES
from .statistics import Estimate, at_level, au_f1_intervals, holm, mean_f1_interval, paired_gain
from .training import load_tensors, write_whole

ROUNDING = Decimal("0.1")
"""How far a printed mean may lie from its row: half a unit of its own rounding and half of the entries' (D62)."""

FLOORS = {"bp4d": 48.05, "disfa": 18.66}
"""Mean F1 (%) of always saying yes on the frames of each data set, from the public label counts."""

INFERRED_BASE = {"bp4d": 62.6, "disfa": 59.3}
"""Mean F1 (%) of the paper's pipeline without relation: its section 4.3 gives gains of 0.9 and 2.1 only."""

CONTROLS = ("none", "mlp")
OUTPUTS = {"local": "local output", "au": "AU output"}
ALPHA = 0.05


# --------------------------------------------------------------------------------------------------- published tables


def published() -> list[dict]:
    """The rows of the paper's Tables 1 and 2 as printed: dataset, method, au, f1_percent, printed_average."""
    with open(data_file("published", "f1.csv"), newline="", encoding="utf8") as file:
        return [
            {"dataset": row["dataset"], "method": row["method"], "au": int(row["au"]),
             "f1_percent": float(row["f1_percent"]), "printed_average": float(row["printed_average"])}
            for row in csv.DictReader(file)
        ]


def audit_published() -> list[dict]:
    """Each published row's printed average against the mean of its own entries.

    → dicts with dataset, method, printed, recomputed (both %), difference (printed − recomputed),
    ``mismatch`` (True beyond what rounding explains, D62) and ``note``. Computed in decimals: 61.35 is 61.35.
    """
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in published():
        groups.setdefault((row["dataset"], row["method"]), []).append(row)
    audit = []
    for (dataset, method), rows in groups.items():
        printed = Decimal(str(rows[0]["printed_average"]))
        entries = {row["au"]: Decimal(str(row["f1_percent"])) for row in rows}
        if tuple(entries) != AU_SETS[dataset]:
            raise DataError(f"data/published/f1.csv: {method} on {dataset} does not list the AUs {AU_SETS[dataset]}")
        mean = sum(entries.values()) / len(entries)
        mismatch = abs(printed - mean) > ROUNDING
        note = f"the row's own mean is {_round(mean, '0.01')}" if mismatch else ""
        if (dataset, method) == ("disfa", "EAC-Net"):
            other = (sum(entries.values()) - entries[9] + Decimal("8.5")) / len(entries)
            note += (f"; AU9 is printed as {entries[9]}: with 8.5 the mean is {_round(other)}, next to the printed "
                     f"{printed}, so 80.5 is most likely a misprint, copied since")
        if (dataset, method) in (("bp4d", "LSVM"), ("bp4d", "DRML")):
            note += "; the mismatch is already in the source, the DRML paper"
        audit.append({"dataset": dataset, "method": method, "printed": float(printed), "recomputed": float(mean),
                      "difference": float(printed - mean), "mismatch": bool(mismatch), "note": note.lstrip("; ")})
    return audit


def _round(value: Decimal, places: str = "0.1") -> Decimal:
    return value.quantize(Decimal(places), ROUND_HALF_UP)


# --------------------------------------------------------------------------------------------------------- a run folder


@dataclass
class Run:
    """What lies in a run folder. Missing files are None or empty; unreadable ones are named in ``problems``."""

    folder: Path
    config: dict = field(default_factory=dict)
    step1: dict | None = None
    relations: dict[str, dict] = field(default_factory=dict)
    logs: dict[str, list[dict]] = field(default_factory=dict)
    photo: dict | None = None
    overlay: bytes | None = None
    notebooks: list[Path] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def metrics(self) -> dict:
        """Any one metrics.json of the run, for what all of them share ({} when nothing was evaluated)."""
        return next(iter(self.relations.values()), self.step1 or {})

    @property
    def source(self) -> str:
        return str((self.metrics.get("data") or {}).get("source", "unknown"))

    @property
    def licensed(self) -> bool:
        """Licensed unless the metrics say otherwise: with doubt, no face is shown."""
        return bool((self.metrics.get("data") or {}).get("licensed", True))

    @property
    def data_name(self) -> str:
        """How tables name the data: ``procedural faces`` for everything that is not a licensed set."""
        return {"bp4d": "BP4D", "disfa": "DISFA"}.get(self.source.lower(), "procedural faces"
                                                      if "face" in self.source or "synth" in self.source
                                                      else f"source “{self.source}”")


def load_runs(run_folder) -> Run:
    """Read a run folder: step1_metrics.json, every relation's metrics.json, logs, photograph, notebooks, times.

    A folder that does not exist is a DataError; files that are missing or broken inside it are not.
    """
    folder = Path(run_folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such run folder; make one with `lorral train` or `lorral reproduce`")
    run = Run(folder)
    run.config = _json(run, folder / "config.json") or {}
    run.step1 = _metrics(run, folder / "step1_metrics.json")
    found = [p.parent.name for p in sorted(folder.glob("*/metrics.json"))]
    for name in [*(n for n in RELATION_NAMES if n in found), *(n for n in found if n not in RELATION_NAMES)]:
        metrics = _metrics(run, folder / name / "metrics.json")
        if metrics is not None:
            run.relations[name] = metrics
    for name, path in {"step 1": folder / "step1_log.jsonl",
                       **{n: folder / n / "log.jsonl" for n in run.relations}}.items():
        rows = _log(run, path)
        if rows:
            run.logs[name] = rows
    run.photo = _json(run, folder / "photo" / "prediction.json")
    if (folder / "photo" / "overlay.png").is_file():
        run.overlay = (folder / "photo" / "overlay.png").read_bytes()
    run.notebooks = [p for p in sorted((folder / "notebooks").glob("*.ipynb")) if not p.name.endswith(".failed.ipynb")]
    run.times = _json(run, folder / "times.json") or _json(run, folder.parent / "times.json") or {}
    return run


def _json(run: Run, path: Path) -> dict | None:
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf8"))
    except (ValueError, OSError):
        value = None
    if not isinstance(value, dict):
        run.problems.append(f"{path.name} of {path.parent.name} cannot be read and is left out.")
        return None
    return value


def _metrics(run: Run, path: Path) -> dict | None:
    value = _json(run, path)
    if value is None:
        return None
    try:
        for name in OUTPUTS:
            part = value["outputs"][name]
            float(part["mean_f1"])
            if len(part["f1"]) != len(value["aus"]):
                raise ValueError("one F1 per AU")
    except (KeyError, TypeError, ValueError):
        run.problems.append(f"{path.name} of {path.parent.name} lacks scores and is left out.")
        return None
    return value


def _log(run: Run, path: Path) -> list[dict]:
    try:
        lines = path.read_text(encoding="utf8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    except FileNotFoundError:
        return []
    except (ValueError, OSError):
        run.problems.append(f"{path.name} of {path.parent.name} cannot be read and is left out.")
        return []


# --------------------------------------------------------------------------------------------------- figures of the run


def mean_estimates(run: Run) -> dict[str, dict[str, Estimate]]:
    """{relation (or "step 1"): {output: mean F1 with its jackknife interval over subjects}}."""
    return {name: {output: _mean_estimate(metrics["outputs"][output]) for output in OUTPUTS}
            for name, metrics in _rows(run).items()}


def _rows(run: Run) -> dict[str, dict]:
    return {**({"step 1": run.step1} if run.step1 else {}), **run.relations}


def _nothing(value: float | None) -> Estimate:
    return Estimate(float("nan") if value is None else float(value), *[float("nan")] * 4, 0)


def _mean_estimate(part: dict) -> Estimate:
    try:
        return mean_f1_interval(part["per_subject"])
    except (KeyError, ValueError):
        return _nothing(part["mean_f1"])


def _au_estimates(part: dict) -> list[Estimate]:
    try:
        estimates = au_f1_intervals(part["per_subject"])
    except (KeyError, ValueError):
        estimates = []
    return estimates if len(estimates) == len(part["f1"]) else [_nothing(v) for v in part["f1"]]


def gains(run: Run) -> list[dict]:
    """What each relation adds over the controls: paired jackknife intervals over subjects, Holm over all rows (D61).

    → dicts with relation, control, output, gain, se, low, high (95 %), p, p_holm, corrected_low,
    corrected_high (the interval at the level Holm tested it at), ``clear`` (Holm rejects: the corrected
    interval lies off 0), ``verdict``. Positive gains favour the relation. Rows without the same subjects on
    both sides are left out.
    """
    rows = []
    for control in CONTROLS:
        for name, metrics in run.relations.items():
            if control not in run.relations or name == control or (control == "mlp" and name == "none"):
                continue
            for output in OUTPUTS:
                sides = [m["outputs"][output].get("per_subject") for m in (metrics, run.relations[control])]
                try:
                    estimate = paired_gain(*sides)
                except (TypeError, ValueError):
                    run.problems.append(f"{_name(name)} and {_name(control)} were not scored on the same people: "
                                        "no gain is given.")
                    continue
                rows.append((control, name, output, estimate))
    if not rows:
        return []
    adjusted, levels = holm([row[3].p for row in rows], ALPHA)
    result = []
    for (control, name, output, e), p, level in zip(rows, adjusted, levels, strict=True):
        wide = at_level(e, 1 - level) if not math.isnan(level) else _nothing(e.value)
        clear = bool(p <= ALPHA)
        verdict = ("no interval: too few people" if math.isnan(p) else
                   "not told apart from 0" if not clear else "gain" if e.value > 0 else "loss")
        result.append({
            "relation": name, "control": control, "output": output, "gain": e.value, "se": e.se, "low": e.low,
            "high": e.high, "p": e.p, "p_holm": float(p), "corrected_low": wide.low, "corrected_high": wide.high,
            "clear": clear, "verdict": verdict,
        })
    return result


def _name(relation: str) -> str:
    return RELATION_NAMES.get(relation, relation)


# --------------------------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True)
class Cell:
    """What stands in a table: the figure, something smaller below it, and whether it is flagged."""

    text: str
    detail: str = ""
    flag: bool = False


@dataclass
class Table:
    """A table with the data it is about. ``rows`` start with the row's heading; other entries are Cells or strings.

    Columns named in ``words`` hold text and are set to the left; ``comparable`` False marks another data set.
    """

    id: str
    title: str
    data: str
    columns: list[str]
    rows: list[list]
    note: str = ""
    comparable: bool = True
    words: tuple[str, ...] = ("verdict", "note", "output")


def _number(value: float | None, places: int = 1) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{places}f}".replace("-", "−")


def _signed(value: float | None, places: int = 2) -> str:
    sign = "" if value is None or math.isnan(value) or value < 0 else "+"
    return sign + _number(value, places)


def _with_interval(estimate: Estimate, signed: bool = False) -> Cell:
    show = _signed if signed else _number
    known = not (math.isnan(estimate.low) or math.isnan(estimate.high))
    return Cell(show(estimate.value), f"{show(estimate.low)} to {show(estimate.high)}" if known else "")


def _p(value: float) -> str:
    return "–" if math.isnan(value) else "< .001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"


def tables(run: Run, gain_rows: list[dict] | None = None) -> list[Table]:
    """Every table of the report: summary, F1 per AU for both outputs, gains, the published tables, their audit."""
    gain_rows = gains(run) if gain_rows is None else gain_rows
    made = []
    if _rows(run):
        made.append(_summary_table(run))
    if run.relations:
        made += [_au_table(run, output) for output in OUTPUTS]
    if gain_rows:
        made.append(_gain_table(run, gain_rows))
    audit = audit_published()
    made += [_published_table(run, dataset, audit) for dataset in AU_SETS]
    made.append(_audit_table(audit))
    return made


def _summary_table(run: Run) -> Table:
    floor = (run.metrics.get("always_positive") or {}).get("mean_f1")
    rows = [["always positive", Cell(_number(floor)), Cell(_number(floor)), *[Cell("–")] * 8]]
    for name, metrics in _rows(run).items():
        local, au = (metrics["outputs"][output] for output in OUTPUTS)
        marks = metrics.get("landmarks") or {}
        seconds, count = metrics.get("seconds"), metrics.get("parameters")
        rows.append([
            "step 1 (no relation, before step 2)" if name == "step 1" else _name(name),
            _with_interval(_mean_estimate(local)), _with_interval(_mean_estimate(au)),
            Cell(_number(local.get("mean_auc"))), Cell(_number(au.get("mean_auc"))),
            Cell(_number(local.get("mean_accuracy"))), Cell(_number(au.get("mean_accuracy"))),
            Cell(_number(marks.get("nme_percent"), 2)), Cell(_number(marks.get("failure_percent"))),
            Cell("–" if count is None else f"{count / 1e6:.2f} M"),
            Cell(_number(None if seconds is None else seconds / 60)),
        ])
    return Table(
        "summary", "Mean F1 and the rest, on people the model has never seen", run.data_name,
        ["", "F1, local output", "F1, AU output", "AUC, local", "AUC, AU", "accuracy, local", "accuracy, AU",
         "landmark error", "failures", "parameters", "minutes"], rows,
        "F1, AUC and accuracy in %, mean over AUs; small: 95 % jackknife interval over subjects. Landmark error in % "
        "of the inter-ocular distance; a failure is a face above 10 %, in % of faces. The local output sees only what "
        "the relation module passes on; the AU output sees everything.",
    )


def _au_table(run: Run, output: str) -> Table:
    aus = run.metrics["aus"]
    same = {n: m for n, m in run.relations.items() if m["aus"] == aus}
    floor = (run.metrics.get("always_positive") or {}).get("f1") or [None] * len(aus)
    per_au = {n: _au_estimates(m["outputs"][output]) for n, m in same.items()}
    auc = {n: m["outputs"][output].get("auc") or [None] * len(aus) for n, m in same.items()}
    rows = [[f"AU{au} {ACTION_UNITS[au].name.lower()}", Cell(_number(floor[i])),
             *(Cell(_with_interval(per_au[n][i]).text, _with_interval(per_au[n][i]).detail) for n in same)]
            for i, au in enumerate(aus)]
    rows.append(["mean F1", Cell(_number((run.metrics.get("always_positive") or {}).get("mean_f1"))),
                 *(_with_interval(_mean_estimate(m["outputs"][output])) for m in same.values())])
    rows.append(["mean AUC", Cell("50.0"),
                 *(Cell(_number(m["outputs"][output].get("mean_auc"))) for m in same.values())])
    return Table(
        f"f1-{output}", f"F1 per action unit, {OUTPUTS[output]}", run.data_name,
        ["", "always positive", *(_name(n) for n in same)], rows,
        "In %, counts pooled over the test frames, threshold 0.5, unknown labels left out; small: 95 % jackknife "
        f"interval over subjects. AUC per AU is in report.json{'' if any(auc.values()) else ' (none here)'}.",
    )


def _gain_table(run: Run, rows: list[dict]) -> Table:
    body = []
    for g in rows:
        interval = Estimate(g["gain"], g["se"], g["low"], g["high"], g["p"], 0)
        wide = Estimate(g["gain"], g["se"], g["corrected_low"], g["corrected_high"], g["p"], 0)
        body.append([f"{_name(g['relation'])} − {_name(g['control'])}", g["output"] if g["output"] == "local" else "AU",
                     _with_interval(interval, True), Cell(_with_interval(wide, True).detail or "–"), Cell(_p(g["p"])),
                     Cell(_p(g["p_holm"])), Cell(g["verdict"], flag=g["clear"])])
    return Table(
        "gains", "What a relation module adds over the controls", run.data_name,
        ["", "output", "gain (95 % interval)", "corrected interval", "p", "p, Holm", "verdict"], body,
        "Points of mean F1, paired over subjects: both sides see the same people, and both had the same extra epochs. "
        f"Holm's correction counts all {len(rows)} rows. Another training seed is not in these intervals.",
    )


def _published_table(run: Run, dataset: str, audit: list[dict]) -> Table:
    rows: dict[str, list] = {}
    for row in published():
        if row["dataset"] == dataset:
            rows.setdefault(row["method"], [row["method"]]).append(Cell(_number(row["f1_percent"])))
    for entry in audit:
        if entry["dataset"] == dataset:
            mean = Decimal(str(entry["recomputed"]))
            rows[entry["method"]] += [Cell(_number(entry["printed"])),
                                      Cell(str(_round(mean, "0.01")), flag=entry["mismatch"])]
    name = dataset.upper()
    same = run.source.lower() == dataset
    return Table(
        f"published-{dataset}", f"Table {'1' if dataset == 'bp4d' else '2'} of the paper: F1 on {name}",
        f"{name}, as published" if same else f"another data set: {name}, not comparable",
        ["", *(f"AU{au}" for au in AU_SETS[dataset]), "printed mean", "recomputed"], list(rows.values()),
        f"In %. Always saying yes scores {FLOORS[dataset]:.2f} on {name}. The paper's pipeline without relation: "
        f"{INFERRED_BASE[dataset]} (inferred from section 4.3; its rows are not recoverable). Our figure for this "
        f"table: {'above' if same else f'not attempted, needs {name} (data/README.md)'}.",
        comparable=same,
    )


def _audit_table(audit: list[dict]) -> Table:
    rows = [[f"{a['method']} on {a['dataset'].upper()}", Cell(_number(a["printed"])),
             Cell(str(_round(Decimal(str(a["recomputed"])), "0.01"))), Cell(_signed(a["difference"])), Cell(a["note"])]
            for a in audit if a["mismatch"]]
    return Table(
        "audit", "Audit: printed means that do not match their own row", "BP4D and DISFA, as published",
        ["", "printed", "recomputed", "difference", "note"], rows,
        f"{len(audit)} published rows checked, {len(rows)} beyond what rounding explains (0.1). LoRRaL's own six rows "
        "match.", comparable=False,
    )


# ---------------------------------------------------------------------------------------------------------- test faces


@dataclass
class Examples:
    """Test faces for the report: ``labels`` and ``probabilities`` (N, A), ``landmarks`` (N, 49, 2) in image pixels.

    ``images``: N of what :func:`lorral_lite.figures.pixels` takes, or None. ``names``: who they are.
    """

    aus: tuple[int, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    landmarks: np.ndarray
    true_landmarks: np.ndarray | None = None
    images: Sequence | None = None
    names: list[str] | None = None


def find_examples(run: Run, relation: str | None = None, count: int = 8, seed: int = 0) -> Examples | None:
    """Faces of the test fold with what the model said, from the prepared folder and the run's stored predictions.

    Drawn at random, one per person as long as people last: not chosen for looks or success. None when the
    prepared folder or the predictions are not there any more.
    """
    try:
        name = relation or next((r for r in ("self_attention", *run.relations) if r in run.relations), None)
        path = run.folder / (f"{name}/predictions.safetensors" if name else "step1_predictions.safetensors")
        found = {key: value.numpy() for key, value in load_tensors(path)[0].items()}
        folder = open_prepared(run.config["data"])
        rows = found["rows"].astype(int)
        order = np.random.default_rng(seed).permutation(len(rows))
        subjects = np.asarray(folder.subjects)[rows]
        seen: dict[str, int] = {}
        turns = []
        for i in order:
            turns.append((seen.setdefault(subjects[i], 0), i))
            seen[subjects[i]] += 1
        pick = np.array([i for _, i in sorted(turns, key=lambda t: t[0])[:count]])
        size = int(run.config["model"]["image_size"])
        margin = (folder.size - size) // 2
        images = np.asarray(folder.images)[rows[pick], margin:margin + size, margin:margin + size]
        return Examples(
            tuple(folder.aus), found["labels"][pick], 1 / (1 + np.exp(-found["au_logits"][pick])),
            found["landmarks"][pick], found["true_landmarks"][pick], images, [str(subjects[i]) for i in pick],
        )
    except (DataError, KeyError, IndexError, TypeError, ValueError):
        return None


# ---------------------------------------------------------------------------------------------------------- the report


@dataclass
class Picture:
    """A PNG with its alternative text and caption."""

    png: bytes
    alt: str
    caption: str


@dataclass
class Section:
    """A heading and what stands below it, in order: str paragraphs, Tables, Pictures, or lists of str (bullets)."""

    id: str
    title: str
    parts: list


def write_report(run_folder, out_html=None, *, examples: Examples | None = None, show_licensed_faces: bool = False,
                 command: str | None = None) -> Path:
    """Write the report of a run folder: one self-contained HTML, and report.md and report.json beside it.

    ``out_html`` defaults to report.html in the run folder. ``examples`` are test faces (default:
    :func:`find_examples`). Pixels of licensed faces are never shown unless ``show_licensed_faces``; their
    landmarks are drawn instead. ``command`` is what made the run, for the record. All three files appear
    complete or not at all.
    """
    run = load_runs(run_folder)
    out = Path(out_html) if out_html is not None else run.folder / "report.html"
    gain_rows = gains(run)
    made = tables(run, gain_rows)
    sections = _sections(run, made, gain_rows, examples, show_licensed_faces, command, out.parent)
    summary = _abstract(run, gain_rows)
    document = {
        "title": "lorral-lite report", "data": run.data_name, "licensed": run.licensed, "what_was_run":
        _what_was_run(run, command), "summary": summary, "results": _results(run), "gains": gain_rows,
        "published": published(), "audit": audit_published(), "photograph": run.photo, "problems": run.problems,
    }
    pages = {
        out: _html(run, summary, sections),
        out.with_suffix(".md"): _markdown(run, summary, sections),
        out.with_suffix(".json"): json.dumps(_clean(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    for path, text in pages.items():
        write_whole(path, lambda file, text=text: file.write_text(text, encoding="utf8"))
    return out


def _clean(value):
    """Plain JSON: nan becomes null, whatever the depth."""
    if isinstance(value, dict):
        return {str(k): _clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _results(run: Run) -> dict:
    return {
        name: {**{output: {
            "mean_f1": vars(_mean_estimate(m["outputs"][output])),
            "f1": {f"AU{au}": vars(e) for au, e in zip(m["aus"], _au_estimates(m["outputs"][output]), strict=True)},
            **{key: m["outputs"][output].get(key) for key in ("auc", "mean_auc", "accuracy", "mean_accuracy")},
        } for output in OUTPUTS}, **{key: m.get(key) for key in ("always_positive", "landmarks", "parameters",
                                                                 "seconds", "frames", "subjects")}}
        for name, m in _rows(run).items()
    }


def _what_was_run(run: Run, command: str | None) -> dict[str, str]:
    m, c = run.metrics, run.config
    steps = [f"{c[s]['epochs']} in step {s[-1]}" for s in ("step1", "step2") if isinstance(c.get(s), dict)]
    if not steps and run.logs:
        steps = [f"{len(rows)} ({_name(name)})" for name, rows in run.logs.items()]
    seconds = [x["seconds"] for x in _rows(run).values() if x.get("seconds")]
    total = sum(run.times.values()) if run.times else None
    people = " · ".join(f"{m[k]} {word}" for k, word in (("train_subjects", "to train"), ("subjects", "to test"))
                        if m.get(k) is not None)
    frames = " · ".join(f"{m[k]:,} {word}".replace(",", " ") for k, word in
                        (("train_frames", "to train"), ("frames", "to test")) if m.get(k) is not None)
    time = [f"{sum(seconds) / 60:.1f} training" if seconds else "", f"{total / 60:.1f} in all" if total else ""]
    rows = {
        "Data": run.data_name + (" (licensed: faces are not shown)" if run.licensed and m else ""),
        "People": people, "Frames": frames,
        "Fold": f"{m['fold']} of {m.get('folds', 3)}, no person in two folds" if m.get("fold") is not None else "",
        "Seed": f"{m['seed']} (one seed: how much another would change is not known)" if "seed" in m else "",
        "Epochs": ", ".join(steps) + (", last epoch, no selection" if c.get("select") == "last" else ""),
        "Relations": ", ".join(_name(n) for n in run.relations),
        "Device": str(m.get("device", "")),
        "Minutes": ", ".join(t for t in time if t),
        "Where the time went": ", ".join(f"{part} {sec:.0f} s" for part, sec in run.times.items() if sec >= 0.5),
        "Command": command or ("lorral reproduce" if run.times else ""),
        "Software": f"lorral-lite {version('lorral-lite')}, PyTorch {version('torch')}",
        "Date of report": date.today().isoformat(),
    }
    return {key: value or "not recorded" for key, value in rows.items()}


def _abstract(run: Run, gain_rows: list[dict]) -> list[str]:
    """The findings in sentences that the tables bear out."""
    if not _rows(run):
        return ["Nothing has been evaluated in this run folder yet."]
    said = []
    base = "none" if "none" in run.relations else next(iter(_rows(run)))
    floor = (run.metrics.get("always_positive") or {}).get("mean_f1")
    local, au = (_mean_estimate(_rows(run)[base]["outputs"][o]) for o in OUTPUTS)
    what = "Without a relation module" if base in ("none", "step 1") else f"With {_name(base)}"
    said.append(f"{what} the model reaches a mean F1 of {_number(au.value)} % (AU output) and {_number(local.value)} % "
                f"(local output) on unseen people" + (f"; always saying yes would score {_number(floor)} %."
                                                      if floor is not None else "."))
    for control in CONTROLS:
        rows = [g for g in gain_rows if g["control"] == control and g["relation"] not in CONTROLS]
        if rows:
            up, down = (sum(g["verdict"] == v for g in rows) for v in ("gain", "loss"))
            best = max(rows, key=lambda g: g["gain"])
            said.append(
                f"Against {'the same network with the same extra epochs' if control == 'none' else 'the MLP control'}, "
                f"clear gains after Holm's correction: {up} of {len(rows)}; clear losses: {down}; the largest "
                f"difference is {_signed(best['gain'])} points ({_name(best['relation'])}, {best['output']} output).")
    if run.data_name == "procedural faces":
        said.append("All of this is on procedural faces. It says nothing about the level a model reaches on BP4D or "
                    "DISFA, and none of it may stand beside the paper's 63.5 and 61.4.")
    return said


def _sections(run: Run, made: list[Table], gain_rows, examples, show_licensed, command, base: Path) -> list[Section]:
    table = {t.id: t for t in made}
    estimates = mean_estimates(run)
    sections = [Section("run", "What was run", [_what_was_run(run, command)])]

    results: list = []
    if "summary" in table:
        results.append(table["summary"])
    if run.relations:
        aus = run.metrics["aus"]
        same = {n: m for n, m in run.relations.items() if m["aus"] == aus}
        for output in OUTPUTS:
            spans = {n: (estimates[n][output].low, estimates[n][output].high) for n in same}
            spans = {n: s for n, s in spans.items() if not math.isnan(s[0])}
            fig = figures.f1_bars(same, output=output, intervals=spans,
                                  title=f"{OUTPUTS[output][:1].upper()}{OUTPUTS[output][1:]}, {run.data_name}")
            results += [_picture(fig, f"F1 per action unit of every relation, {OUTPUTS[output]}. Grey: always "
                                      "positive. Bars at the mean: 95 % interval over subjects."),
                        table[f"f1-{output}"]]
    if not run.relations:
        results.append("No relation has been trained and evaluated in this run yet: step 2 is missing.")
    sections.append(Section("results", "Results", results))

    parts: list = []
    if gain_rows:
        shown = [{**g, "low": None if math.isnan(g["low"]) else g["low"],
                  "high": None if math.isnan(g["high"]) else g["high"]} for g in gain_rows]
        parts += [_picture(figures.gain_plot(shown), "Paired gains in mean F1 with 95 % intervals over subjects. "
                           "Filled marks stay off zero after Holm's correction over all rows."), table["gains"]]
    else:
        parts.append("There is no pair to compare: a gain needs a relation and the control without relation, scored "
                     "on the same people.")
    sections.append(Section("gains", "Do relations help?", parts))

    curves: list = []
    if "step 1" in run.logs:
        curves.append(_picture(figures.training_curves(run.logs["step 1"], "Step 1: no relation"),
                               "Losses and learning rate of step 1 over its epochs."))
    later = {n: rows for n, rows in run.logs.items() if n != "step 1"}
    if later:
        curves.append(_picture(figures.training_curves(later, "Step 2: everything below the relation is frozen"),
                               "Training loss and learning rate of step 2, one line per relation."))
    sections.append(Section("curves", "Training", curves or ["No training log was found in this run folder."]))

    sections.append(Section("faces", "Faces of the test fold", _faces(run, examples, show_licensed)))
    sections.append(Section("photograph", "One real photograph", _photograph(run)))
    links = [f"[{p.stem.replace('_', ' ')}]({Path(os.path.relpath(p, base)).as_posix()})" for p in run.notebooks]
    sections.append(Section("notebooks", "Notebooks executed on this run",
                            [links] if links else ["No notebook was executed on this run."]))
    sections.append(Section("published", "The published tables", [
        "These are the paper's Tables 1 and 2, printed here so that nobody has to look them up, not to be compared "
        "with the procedural figures above: another data set, other faces, other labels."
        if run.source.lower() not in AU_SETS else
        f"The paper's Tables 1 and 2. Only {run.data_name} is the data set of this run.",
        *(table[f"published-{d}"] for d in AU_SETS), table["audit"]]))
    limits = [
        "Intervals are over subjects. They do not contain what another training seed would change; one seed was run.",
        "One fold was tested; the paper averages three.",
        "A gain on the AU output does not isolate the relation module: that output also sees the global and landmark "
        "features.",
        *([] if run.source.lower() in AU_SETS else
          ["Procedural faces are simpler than people. What holds on them is a statement about the method on data whose "
           "truth is known, not about faces in the world."]),
        f"Photographs: {figures.PHOTO_WARNING}. Action units are movements, not emotions, and nobody should be judged "
        "by them.",
        *run.problems,
    ]
    sections.append(Section("limits", "Limits", [limits]))
    return sections


def _picture(fig, caption: str) -> Picture:
    return Picture(figures.png_bytes(fig), fig.alt, caption)


def _faces(run: Run, examples: Examples | None, show_licensed: bool) -> list:
    examples = find_examples(run) if examples is None else examples
    if examples is None or not len(examples.labels):
        return ["No test faces can be shown: the prepared folder or the stored predictions are not there any more."]
    hidden = run.licensed and not show_licensed
    fig = figures.prediction_sheet(
        examples.aus, examples.labels, examples.probabilities, examples.landmarks,
        None if hidden else examples.images, examples.names, true_landmarks=examples.true_landmarks,
    )
    drawn = [_picture(fig, "Faces drawn at random, one per person as long as people last, with the predicted landmarks "
                           "over the true ones (pale) and the AUs of the AU output.")]
    if hidden:
        drawn.insert(0, "The faces of this data set are licensed and are not shown: only their landmarks are drawn.")
    elif run.licensed:
        drawn.insert(0, "These are licensed faces: this report must not be shared.")
    return drawn


def _photograph(run: Run) -> list:
    if run.photo is None and run.overlay is None:
        return ["No photograph was looked at in this run (`lorral predict PHOTO`)."]
    photo = run.photo or {}
    said = [f"**{figures.PHOTO_WARNING[:1].upper()}{figures.PHOTO_WARNING[1:]}.**"]
    error = photo.get("nme_percent")
    if error is not None:
        said.append(f"Landmark error on this photograph: {_number(error)} % of the inter-ocular distance, against 49 "
                    "points measured independently of the model.")
    if photo.get("withheld"):
        said.append(f"The action units are withheld: {photo.get('reason') or 'no reason was recorded'}.")
    if run.overlay is not None:
        try:
            png = figures.shrink_png(run.overlay)
            said.append(Picture(png, "A photograph with the predicted landmarks drawn on the face"
                                + (", action units withheld" if photo.get("withheld") else ", and AU probabilities"),
                                f"{photo.get('photo', 'The photograph')}: {figures.PHOTO_WARNING}."))
        except (OSError, ValueError):
            said.append("The overlay picture cannot be read.")
    else:
        said.append("The overlay picture is missing.")
    return said


# ---------------------------------------------------------------------------------------------------------- renderings

def _inline(text: str) -> str:
    """Text with **strong**, `code` and [label](link) as HTML."""
    done = html.escape(text)
    for mark, tag in (("**", "strong"), ("`", "code")):
        pieces = done.split(mark)
        if len(pieces) % 2:
            done = "".join(p if i % 2 == 0 else f"<{tag}>{p}</{tag}>" for i, p in enumerate(pieces))
    if done.startswith("[") and "](" in done and done.endswith(")"):
        label, link = done[1:-1].split("](", 1)
        done = f'<a href="{link}">{label}</a>'
    return done


def _html(run: Run, summary: list[str], sections: list[Section]) -> str:
    style = Path(__file__).with_name("report.css").read_text(encoding="utf8")
    contents = "".join(f'<li><a href="#{s.id}">{html.escape(s.title)}</a></li>' for s in sections)
    body = "".join(f'<section id="{s.id}" aria-labelledby="{s.id}-title"><h2 id="{s.id}-title">{html.escape(s.title)}'
                   f'</h2>{"".join(_html_part(p) for p in s.parts)}</section>' for s in sections)
    abstract = "".join(f"<p>{_inline(s)}</p>" for s in summary)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>lorral-lite report: {html.escape(run.data_name)}</title>
<link rel="icon" href="data:,"><style>{style}</style></head><body>
<a class="skip" href="#main">Skip to the report</a>
<header><h1>Facial action units with region relations</h1>
<p class="kind">A reproduction of LoRRaL (arXiv 2009.10892) with lorral-lite, on {html.escape(run.data_name)}</p>
<div class="abstract">{abstract}</div>{_tiles(run)}<nav aria-label="Contents"><ol>{contents}</ol></nav></header>
<main id="main" tabindex="-1">{body}</main>
<footer>Made by <code>lorral report</code>. The same figures as text: report.md; as data: report.json.</footer>
</body></html>
"""


def _tiles(run: Run) -> str:
    if not _rows(run):
        return ""
    base = "none" if "none" in run.relations else next(iter(_rows(run)))
    metrics = _rows(run)[base]
    tiles = [(_number(metrics["outputs"][o]["mean_f1"]) + " %", f"mean F1, {OUTPUTS[o]}, {_name(base)}")
             for o in ("au", "local")]
    tiles.append((_number((metrics.get("always_positive") or {}).get("mean_f1")) + " %",
                  "mean F1 of always saying yes"))
    tiles.append((_number((metrics.get("landmarks") or {}).get("nme_percent"), 2) + " %",
                  "landmark error, of the inter-ocular distance"))
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><b>{html.escape(a)}</b><span>{html.escape(b)}</span></div>' for a, b in tiles) + "</div>"


def _html_part(part) -> str:
    if isinstance(part, str):
        return f"<p>{_inline(part)}</p>"
    if isinstance(part, dict):
        rows = "".join(f"<dt>{html.escape(k)}</dt><dd>{_inline(v)}</dd>" for k, v in part.items())
        return f"<dl>{rows}</dl>"
    if isinstance(part, list):
        return "<ul>" + "".join(f"<li>{_inline(x)}</li>" for x in part) + "</ul>"
    if isinstance(part, Picture):
        data = base64.b64encode(part.png).decode("ascii")
        return (f'<figure><img src="data:image/png;base64,{data}" alt="{html.escape(part.alt, quote=True)}">'
                f"<figcaption>{_inline(part.caption)}</figcaption></figure>")
    return _html_table(part)


def _html_table(table: Table) -> str:
    words = [c in table.words for c in table.columns]
    head = "".join(f'<th scope="col"{" class=words" if w else ""}>{html.escape(c) or "&nbsp;"}</th>'
                   for c, w in zip(table.columns, words, strict=True))
    lines = []
    for row in table.rows:
        kind = ' class="sum"' if row[0] == "mean F1" else ' class="own"' if row[0].startswith("LoRRaL(") else ""
        cells = "".join(_html_cell(c, w) for c, w in zip(row[1:], words[1:], strict=True))
        lines.append(f'<tr{kind}><th scope="row">{html.escape(row[0])}</th>{cells}</tr>')
    badge = f'<span class="badge{"" if table.comparable else " other"}">{html.escape(table.data)}</span>'
    note = f'<p class="note">{_inline(table.note)}</p>' if table.note else ""
    return (f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(table.title, quote=True)}">'
            f'<table id="{table.id}"><caption><strong>{html.escape(table.title)}</strong>{badge}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>{note}")


def _html_cell(cell, words: bool) -> str:
    cell = Cell(cell) if isinstance(cell, str) else cell
    kind = " ".join(k for k, on in (("flag", cell.flag), ("words", words)) if on)
    mark = ' <span aria-label="does not match">≠</span>' if cell.flag and not words else ""
    small = f"<small>{html.escape(cell.detail)}</small>" if cell.detail else ""
    return f"<td{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{html.escape(cell.text)}{mark}{small}</td>"


def _markdown(run: Run, summary: list[str], sections: list[Section]) -> str:
    lines = [f"# lorral-lite report: {run.data_name}", "", *(f"{s}\n" for s in summary)]
    for section in sections:
        lines += [f"## {section.title}", ""]
        for part in section.parts:
            if isinstance(part, str):
                lines += [part, ""]
            elif isinstance(part, dict):
                lines += [*(f"- {k}: {v}" for k, v in part.items()), ""]
            elif isinstance(part, list):
                lines += [*(f"- {x}" for x in part), ""]
            elif isinstance(part, Picture):
                lines += [f"*Figure (in the HTML): {part.caption}*", ""]
            else:
                lines += _markdown_table(part)
    return "\n".join(lines).rstrip() + "\n"


def _markdown_table(table: Table) -> list[str]:
    def text(cell) -> str:
        cell = Cell(cell) if isinstance(cell, str) else cell
        said = f"{cell.text} ({cell.detail})" if cell.detail else cell.text
        return (f"**{said}**" if cell.flag else said).replace("|", "\\|")

    return [f"**{table.title}** [{table.data}]", "", "| " + " | ".join(table.columns) + " |",
            "|" + " :-- |" + " --: |" * (len(table.columns) - 1),
            *("| " + " | ".join([row[0], *(text(c) for c in row[1:])]) + " |" for row in table.rows),
            "", table.note, ""]
