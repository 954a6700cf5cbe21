"""Every figure that README and notebooks state, from the JSON that a command wrote: ``lorral report --write, --check``.

Three ways to state a result, all checked from committed files alone:

- In Markdown, between ``<!-- results: NAME -->`` and ``<!-- end -->``: :data:`BLOCKS` renders it, ``--write`` puts it
  there, ``--check`` compares. Outside a block, text that looks like a result must be a number of the paper, or, in a
  notebook, printed by one of its cells that is not tagged ``results``.
- In a notebook, by a cell tagged ``results`` that prints from the committed files: ``--check`` runs these cells (with
  the imports and parameters) and compares what they print with what is stored.
- In the JSON: what a report says of the weights that ship equals their metrics.json, and no row of it breaks the rules
  of :func:`lorral_lite.report.comparison.faults`.
"""

import contextlib
import io
import json
import math
import re
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ..files import DataError, read_json
from ..study import parts, readings, teaching
from ..study.arms import MODULES
from ..study.experiment import all_gains, ceiling_gain, modules_of, relation_gain, select
from .comparison import faults
from .numbers import number, signed, span
from .published import FLOORS, INFERRED_BASE, OTHER_PAPERS, STATED_GAINS, STATED_LEADS, VARIANTS, audit_published
from .results import CONTROLS, OUTPUTS, STEP1, name_of
from .tolerance import settle

MARKED = re.compile(r"(<!-- results: (\w+) -->\n)(.*?)(<!-- end -->)", re.S)

FIGURE = re.compile(r"(?<![\w.:§/^-])[+−±-]?(\d+\.\d+)(?!\w|\.\d)(?=\s?%|\s+points?\b)"  # 8.7 %, 1.5 points
                    r"|(?<![\w.:§/^-])[+−±-]?([2-9]\d\.\d{1,2})(?!\w|\.\d)"  # an F1: 66.5
                    r"|[+−±](\d+\.\d+)(?!\w|\.\d)")  # a gain: +0.9
"""What looks like a result: decimals with % or points, decimals as large as an F1, decimals with a sign."""

DECIMAL = re.compile(r"\d+\.\d+")


# ------------------------------------------------------------------------------------------------------------- blocks


def block(name: str, root: Path) -> str:
    """The Markdown of a block of :data:`BLOCKS`, from the files of the clone ``root``."""
    if name not in BLOCKS:
        raise DataError(f"results: {name}: no such block; there are {', '.join(BLOCKS)}")
    render, place, how = BLOCKS[name]
    path = root.joinpath(*place)
    if not path.exists():
        return f"Not {how}.\n"
    if path.is_file():
        return render(read_json(path))
    try:
        return render(path)
    except DataError:  # not all cells are there yet
        return f"Not {how}.\n"


def clone() -> Path:
    """The root of the clone that this package lies in, or the current folder. DataError when it is none."""
    for root in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (root / "README.md").is_file() and (root / "notebooks").is_dir():
            return root
    raise DataError("README.md and notebooks: not here; run this in a clone of the repository")


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _span(e: dict, show: Callable[[float], str] = number) -> str:
    return span(e["value"], e["low"], e["high"], show)


def _faces_lite(found: dict) -> str:
    """What `make reproduce` gave: the run, F1 of everything trained, the gains that stand, the photograph."""
    run, results = found["what_was_run"], found["results"]
    rows = [["always positive (the floor)", *[number(next(iter(results.values()))["always_positive"]["mean_f1"])] * 2]]
    names = {"none": "no relation, same extra epochs (control)", "mlp": "MLP of equal size (control)"}
    rows += [[names.get(name, name_of(name)), *(_span(result[o]["mean_f1"]) for o in ("au", "local"))]
             for name, result in results.items() if name != STEP1]
    gains = [g for g in found["gains"] if g["relation"] not in CONTROLS]
    clear = [g for g in gains if g["clear"]]
    each = [f"- {name_of(g['relation'])} over {name_of(g['control'])}, {OUTPUTS[g['output']]}: {signed(g['gain'])} "
            f"points ({signed(g['corrected_low'])} to {signed(g['corrected_high'])})" for g in clear]
    up = sum(g["verdict"] == "gain" for g in clear)
    error = (found.get("photograph") or {}).get("nme_percent")
    aus = len(next(iter(results.values()))["au"]["f1"])
    parts = [
        textwrap.fill(
            f"`{run['Command']}`; people: {run['People']}; frames: {run['Frames']}; fold {run['Fold'].split(',')[0]}; "
            f"seed {run['Seed'].split(' (')[0]}; minutes ({run['Device']}): {run['Minutes']}. Mean F1 in % over {aus} "
            "AUs, 95 % jackknife interval over people.", 120),
        "**Procedural faces: not comparable with the paper's 63.5 and 61.4.** All figures: "
        "`data/results/faces_lite.json`.",
        _table(["Procedural faces, lite model", "F1, AU output", "F1, local output"], rows).rstrip(),
        textwrap.fill(f"Of {len(gains)} comparisons of a relation module with a control, {up} are gains and "
                      f"{len(clear) - up} are losses after Holm's correction{' (corrected interval)' if each else ''}"
                      f"{':' if each else '.'}", 120),
        "\n".join(each),
        "" if error is None else
        f"On the real portrait the landmark error is {number(error)} % of the inter-ocular distance.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _over_the_svm(found: dict) -> str:
    """How far the network lies above the linear SVM, AU output, from `lorral reproduce` with several seeds."""
    rows = [row for row in found["over_the_svm"] if row["output"] == "au"]
    seeds = list(rows[0]["by_seed"])
    points = partial(signed, places=1)
    return _table(["Procedural faces, AU output, points of mean F1 above the linear SVM", *(f"seed {s}" for s in seeds),
                   "mean (95 % t interval over seeds)", "95 % interval over people"],
                  [[name_of(row["name"]), *(points(value) for value in row["by_seed"].values()),
                    span(row["gain"], row["seeds_low"], row["seeds_high"], points),
                    f"{points(row['low'])} to {points(row['high'])}"] for row in rows])


def _readings(results: Path) -> str:
    """What each reading of the paper's silences is worth, and which are the default."""
    points = partial(signed, places=1)
    lines = []
    for row in readings.rows(results):
        reading = row["reading"]
        taken = "yes" if row["taken"] else "no" if reading.candidate else "–"
        against = f" (against: {readings.READINGS[reading.against].what})" if reading.against != "letter" else ""
        lines.append([f"{reading.number}", reading.what + against, number(row["auc"]), number(row["f1"]),
                      ", ".join(map(points, row["gains"])) or "–",
                      points(np.mean(row["gains"])) if row["gains"] else "–", taken])
    return _table(["", "procedural faces, lite model, AU output", "AUC", "F1",
                   f"gain in AUC, seeds {_and(list(map(str, readings.SEEDS)))}", "mean", "taken"], lines)


def _teaching(results: Path) -> str:
    """Which schedules of step 2 let the modules listen: the gate, and the log loss that chooses."""
    chosen, lines = teaching.choose(results), []
    for schedule in teaching.SCHEDULES:
        rate, epochs = schedule
        heard = [" and ".join(signed(value, 1) for value in teaching.listening(results, name, schedule))
                 for name in MODULES]
        loss = np.mean([teaching.log_loss(results, name, schedule) for name in MODULES])
        lines.append([f"{rate:g} × {epochs} epochs", *heard, number(float(loss), 4),
                      "yes" if schedule == chosen else ""])
    return _table(["step 2", *map(name_of, MODULES), "log loss, mean of all", "taken"], lines)


def _parts(results: Path) -> str:
    """When do PatchConv's parts pay? Two sentences from `lorral experiment parts`."""
    found = parts.curve(results)
    levels = [f"with {faces:,} {how} " + ", ".join(
        f"{number(found[kind]['auc'][i].mean())} ({number(found[kind]['f1'][i].mean())}) with {name}"
        for kind, name in PARTS.items()) for faces, how, i in ((parts.FACES[0], "training faces AUC (F1) in % is", 0),
                                                               (parts.FACES[-1], "it is", -1))]
    better = []
    for kind, name in PARTS.items():
        if kind not in ("one_part", "linear_svm"):
            faces = [f"{n:,}" for n in parts.pays(found, kind)]
            better.append(f"{name} with {_and(faces) if faces else 'none of them'}")
    return textwrap.fill(
        f"On people that none has seen, after equally many updates, mean over {len(parts.SEEDS)} seeds: "
        f"{'; '.join(levels)}. Of the numbers of faces tried, {_and([f'{faces:,}' for faces in parts.FACES])}, the AUC "
        f"is better than that of no parts in every seed for {', '.join(better)}.", 120) + "\n"


PARTS = {"parts_8_4": "8×8 and 4×4 parts", "parts_4_2": "4×4 and 2×2 parts", "parts_2_2": "2×2 and 2×2 parts",
         "one_part": "no parts", "linear_svm": "a linear SVM"}


def _and(words: list[str]) -> str:
    return " and ".join([*([", ".join(words[:-1])] if words[1:] else []), words[-1]])


def _difficulty(found: dict) -> str:
    """How hard the faces are, from `python -m benchmarks difficulty`."""
    table = found["tables"][0]
    aus = [i for i, column in enumerate(table["columns"]) if column.startswith("AU")]
    mean, interval = (table["columns"].index(name) for name in ("mean", "95 % interval"))

    def extreme(row: list, pick: Callable) -> str:
        i = pick(aus, key=lambda i: row[i])
        return f"{table['columns'][i]} {number(row[i])}"

    rows = [[row[0], number(row[mean]) + (f" ({row[interval]})" if row[interval] else ""), extreme(row, min),
             extreme(row, max)] for row in table["rows"]]
    return _table(["Procedural faces", "mean F1", "lowest AU", "highest AU"], rows)


def _relations(found: dict) -> str:
    """What relation modules added where the truth is known, from `lorral experiment`: the local output."""
    modules, points = ("mlp", *modules_of(found)), partial(signed, places=1)
    rows = []
    for hiding, words in {"none": "nothing hidden", "eyes": "eyes hidden"}.items():
        for strength in (0.0, 0.5, 1.0):
            cells = select(found, hiding, strength, "real")
            estimates = [*(relation_gain(cells, name, "local") for name in modules), ceiling_gain(cells, "local")]
            rows.append([f"{words}, strength {strength:g}", *(_span(vars(e), points) for e in estimates)])
    verdicts = [v for v in all_gains(found, "mlp") if v["output"] == "local"]
    kept = [v for v in verdicts if v["verdict"] == "gain"]
    best = max(kept, key=lambda v: v["estimate"].value, default=None)
    closing = (f"Of {len(verdicts)} comparisons of a module with the MLP of equal size, local output, {len(kept)} "
               f"{'is a gain' if len(kept) == 1 else 'are gains'} after Holm's correction")
    if best:
        world = (f"strength {best['relation_strength']:g}, {'eyes' if best['hiding'] == 'eyes' else 'nothing'} hidden"
                 + (", pairs that exclude each other" if best["structure"] == "exclusion" else ""))
        closing += f"; the largest: {name_of(best['relation'])}, {world}, {points(best['estimate'].value)} points"
    return (_table(["Procedural faces, local output", *(name_of(name) for name in modules), "ceiling"], rows)
            + "\n" + textwrap.fill(closing + ".", 120) + "\n")


BLOCKS: dict[str, tuple[Callable, tuple[str, ...], str]] = {
    "faces_lite": (_faces_lite, ("data", "results", "faces_lite.json"), "run yet: `make reproduce`"),
    "over_the_svm": (_over_the_svm, ("data", "results", "faces_seeds.json"), "run yet: `make seeds`"),
    "readings": (_readings, ("data", "results", "readings"), "run yet: `lorral experiment readings`"),
    "teaching": (_teaching, ("data", "results", "teaching"), "run yet: `lorral experiment teaching`"),
    "parts": (_parts, ("data", "results", "parts"), "run yet: `lorral experiment parts`"),
    "difficulty": (_difficulty, ("benchmarks", "difficulty.json"), "measured yet: `python -m benchmarks difficulty`"),
    "relations": (_relations, ("data", "results", "relations.json"), "run yet: `make experiment`"),
}
"""Name → what renders it, the JSON or the folder of cells that it renders, and what the block says before there is
one."""


# ----------------------------------------------------------------------------------------------------- write and check


def write_blocks(root=None) -> list[str]:
    """Render every block of README.md and of the notebooks' Markdown anew; returns the files that changed."""
    root = Path(root) if root else clone()

    def render(text: str) -> str:
        return MARKED.sub(lambda m: m[1] + block(m[2], root) + m[4], text)

    changed = []
    for path in _files(root):
        text = path.read_text(encoding="utf8")
        if path.suffix == ".md":
            new = render(text)
        else:
            notebook = json.loads(text)
            for cell in notebook["cells"]:
                if cell["cell_type"] == "markdown":
                    cell["source"] = render("".join(cell["source"])).splitlines(keepends=True)
            new = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        if new != text:
            path.write_text(new, encoding="utf8")
            changed.append(path.relative_to(root).as_posix())
    return changed


def check_figures(root=None, run: bool = True) -> list[str]:
    """One line for every figure that is not what its JSON says, [] when all are. ``run``: also run results cells."""
    root = Path(root) if root else clone()
    known = {**_paper_numbers(), **OTHER_PAPERS}
    wrong = _json_faults(root)
    for path in _files(root):
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf8")
        if path.suffix == ".md":
            wrong += _markdown_faults(name, text, root, known)
            continue
        cells = json.loads(text)["cells"]
        # what a cell tagged results prints changes with the run: text must not repeat it
        printed = set(DECIMAL.findall(" ".join(_shown(cell) for cell in cells if "results" not in _tags(cell))))
        for cell in cells:
            if cell["cell_type"] == "markdown":
                wrong += _markdown_faults(f"{name}, cell {cell.get('id')}", "".join(cell["source"]), root,
                                          {**known, **dict.fromkeys(printed, "printed by a cell")})
        if run:
            wrong += _rerun_faults(name, cells)
    return wrong


def _files(root: Path) -> list[Path]:
    pages = [root / "README.md", root / "data" / "results" / "README.md"]
    return [*pages, *sorted((root / "notebooks").glob("*.ipynb"))]


def _paper_numbers() -> dict[str, str]:
    """Figures that need no JSON of ours: as written → what they are."""
    means = {(row["dataset"], row["method"]): row for row in audit_published()}
    found = {f"{value:.{places}f}": f"mean of {method} on {dataset}" for (dataset, method), row in means.items()
             for value, places in ((row["printed"], 1), (row["recomputed"], 1), (row["recomputed"], 2))}
    for name, numbers, places in (("floor", FLOORS, 2), ("inferred base", INFERRED_BASE, 1),
                                  ("gain", STATED_GAINS, 1), ("lead", STATED_LEADS, 1)):
        found |= {f"{value:.{places}f}": f"the paper's {name} on {dataset}" for dataset, value in numbers.items()}
    return found | {f"{means[dataset, method]['printed'] - base:.1f}": f"gain of {method} on {dataset}"
                    for dataset, base in INFERRED_BASE.items() for method in VARIANTS.values()}


def _markdown_faults(where: str, text: str, root: Path, known: dict) -> list[str]:
    wrong = []
    for _, name, stored, _ in MARKED.findall(text):
        try:
            fresh = block(name, root)
        except DataError as error:
            wrong.append(f"{where}: {error}")
            continue
        wrong += [f"{where}: block {name} says {old.strip()!r}, its JSON says {new.strip()!r}"
                  for old, new in _differences(stored, fresh)]
    if text.count("<!-- results:") != len(MARKED.findall(text)):
        wrong.append(f"{where}: a block of results is not closed by <!-- end -->")
    outside = MARKED.sub(lambda m: "\n" * m[0].count("\n"), text)
    outside = re.sub(r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$", lambda m: "\n" * m[0].count("\n"), outside,
                     flags=re.S)
    for i, line in enumerate(outside.splitlines(), start=1):
        for match in FIGURE.finditer(line):
            figure = next(group for group in match.groups() if group)
            if figure not in known:
                wrong.append(f"{where}, line {i}: {figure} stands outside a block of results and is no number of the "
                             "paper's; put it into a block, or let a cell print it")
    return wrong


def _differences(stored: str, fresh: str) -> list[tuple[str, str]]:
    """The first lines that differ, [] when none does."""
    if stored == fresh:
        return []
    old, new = stored.splitlines(), fresh.splitlines()
    old, new = (lines + [""] * (max(len(old), len(new)) - len(lines)) for lines in (old, new))
    return [next((a, b) for a, b in zip([*old, "a line more"], [*new, ""], strict=True) if a != b)]


def _tags(cell: dict) -> set[str]:
    return set(cell["metadata"].get("tags", ()))


def _shown(cell: dict) -> str:
    """What a cell has printed or shown in words, a figure's description among it."""
    return " ".join("".join(o.get("text", o.get("data", {}).get("text/plain", ""))) for o in cell.get("outputs", ()))


def _printed(cell: dict) -> str:
    """What a cell has printed, as stored."""
    return "".join("".join(o["text"]) for o in cell.get("outputs", ()) if o.get("name") == "stdout")


def _rerun_faults(name: str, cells: list[dict]) -> list[str]:
    """Run the imports, the parameters and the cells tagged ``results``; where do they print something else?"""
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    if not any("results" in _tags(cell) for cell in code):
        return []
    wrong, space = [], {"__name__": "notebook"}
    for i, cell in enumerate(code):
        if i and not _tags(cell) & {"parameters", "results"}:
            continue
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile("".join(cell["source"]), f"{name}, cell {cell.get('id')}", "exec"), space)
        except Exception as error:  # whatever a cell raises is its result
            return [*wrong, f"{name}, cell {cell.get('id')}: {type(error).__name__}: {' '.join(str(error).split())}"]
        if "results" in _tags(cell):
            wrong += [f"{name}, cell {cell.get('id')}: stored {old.strip()!r}, its files say {new.strip()!r}"
                      for old, new in _differences(_printed(cell), settle(_printed(cell), printed.getvalue())[0])]
    return wrong


def _json_faults(root: Path) -> list[str]:
    """Do the committed reports keep their own rules and agree with the metrics of the weights that ship?"""
    wrong = []
    for path in sorted((root / "data" / "results").glob("*.json")):
        document, name = read_json(path), path.relative_to(root).as_posix()
        if isinstance(document, dict) and "comparison" in document:
            wrong += [f"{name}: {line}" for line in faults(document["comparison"], document["source"])]
    results, weights = root / "data" / "results" / "faces_lite.json", root / "data" / "weights" / "faces_lite"
    found = read_json(results) if results.is_file() else None
    if found is None or len(found.get("folds") or [1]) > 1 or len(found.get("seeds") or [0]) > 1:
        return wrong  # a mean over several trainings, of which one ships
    for path in sorted(weights.glob("*/metrics.json")) if weights.is_dir() else ():
        metrics, relation = read_json(path), path.parent.name
        for output, part in metrics["outputs"].items():
            stated = found["results"].get(relation, {}).get(output)
            if stated is None:
                wrong.append(f"data/results/faces_lite.json: has no result of {relation}, whose weights ship")
                continue
            figures = {"mean": (stated["mean_f1"]["value"], part["mean_f1"]), **{
                au: (stated["f1"][au]["value"], f1) for au, f1 in
                zip([f"AU{a}" for a in metrics["aus"]], part["f1"], strict=True)}}
            wrong += [f"data/results/faces_lite.json: {relation}, {OUTPUTS[output]}, {what} {said}; "
                      f"{path.relative_to(root).as_posix()} has {true}" for what, (said, true) in figures.items()
                      if not math.isclose(said or 0, true or 0, abs_tol=1e-6)]
    return wrong
