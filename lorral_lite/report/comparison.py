"""One row for every number of the paper: what it says, what we got, how, on what, and what follows (D99).

A figure measured on procedural faces never stands in a row of the paper: those rows are about BP4D and DISFA, and take
figures of that data set only. Ours on procedural faces have rows of their own, without a paper's value.
:func:`faults` says where a report breaks this, or leaves out a column.
"""

import math

from ..facs import AU_SETS
from .numbers import number, signed, span
from .published import INFERRED_BASE, STATED_GAINS, STATED_LEADS, TABLE_NUMBERS, VARIANTS, published
from .results import OUTPUTS, STEP1, Grid, is_baseline, name_of, unknown

COLUMNS = ("row", "paper", "ours", "seeds × folds", "protocol", "data", "command", "hardware, minutes", "verdict",
           "deviations")

VERDICTS = ("reproduced", "partly", "not reproduced", "not attempted", "cannot", "no published value")
"""How a verdict starts. A level is reproduced when the paper's value lies in our 95 % interval and within a point of
ours, partly when one of the two holds. A gain is reproduced when the interval corrected for all comparisons lies above
0, partly when only the uncorrected one does."""

NEEDED_FOLDS = 3
CLOSE = 1.0
"""Points of F1 within which a level counts as the same."""

DEVIATIONS = {
    "level": "D2, D3, D4–D14, D16, D18, D19, D22–D24, D27, D28, D60, D66, D74",
    "gain": "D15, D17, D18, D20, D23, D60, D61", "baseline": "D94–D96", "none": "none: not trained here",
}
OF_DATA = {"bp4d": "D36, D38", "disfa": "D25, D38, D39, D63, D64"}


def comparison(grid: Grid) -> list[dict]:
    """All rows: each published number of Tables 1 and 2, what is left of Tables 3 and 4, the two claims; then ours on
    other data.

    → dicts with ``table``, ``dataset``, ``kind`` (level, gain or claim), ``au`` (a number, or "mean"), every one of
    :data:`COLUMNS`, and ``measured``: None, or {"source", "au", "local"} with the figures that ``ours`` prints.
    """
    rows = [row for dataset in AU_SETS for row in _of_dataset(grid, dataset)]
    return rows + ([] if grid.source.lower() in AU_SETS or not grid.metrics else _of_other_data(grid))


def reproduce_command(dataset: str) -> str:
    """What a holder of the data runs."""
    return f"lorral reproduce --data {dataset} ROOT --profile paper"


def _of_dataset(grid: Grid, dataset: str) -> list[dict]:
    mine, name = grid.source.lower() == dataset, dataset.upper()
    main, ablation = TABLE_NUMBERS[dataset]
    scored = {method: relation for relation, method in VARIANTS.items()}
    svm = next((n for n in grid.names if "svm" in n), "baselines/linear_svm")
    rows = []

    def add(table, kind, what, au, paper, where, relation=None, measured=None, verdict=None, command=None, dev="level"):
        """``relation`` None: not something this repository trains."""
        there = mine and relation in grid.names
        ours = measured if there else None
        if verdict is None and ours:
            verdict = _verdict(grid, kind, paper, ours)
        elif verdict is None:
            nothing = "no known label" if kind == "level" else "no control that was tested on the same people"
            verdict = f"not attempted: {grid.lacking.get(relation, nothing) if there else f'needs {name}'}"
        rows.append({
            "table": table, "dataset": dataset, "kind": kind, "au": au, "row": what,
            "paper": f"{number(paper) if kind == 'level' else signed(paper, 1)} ({where}, v1)",
            "ours": _ours(ours, kind), "measured": ours, **_how(grid if ours else None, dataset),
            "command": command or reproduce_command(dataset), "verdict": verdict,
            "deviations": DEVIATIONS[dev] + (f", {OF_DATA[dataset]}" if dev in ("level", "baseline") else ""),
        })

    def level(relation: str, au: int | None) -> dict | None:
        return _measured_level(grid, relation, au) if mine and relation in grid.names else None

    averages: dict[str, float] = {}
    for entry in published():
        if entry["dataset"] != dataset:
            continue
        method, au = entry["method"], entry["au"]
        relation = scored.get(method) or (svm if method == "LSVM" else None)
        other = None if relation else "not attempted: another paper's method"
        style = {"relation": relation, "verdict": other, "command": None if relation else "none",
                 "dev": "baseline" if method == "LSVM" else "level" if relation else "none"}
        if method not in averages:
            averages[method] = entry["printed_average"]
            add(main, "level", method, "mean", entry["printed_average"], f"Table {main}",
                measured=level(relation, None) if relation else None, **style)
        add(main, "level", f"{method}, AU{au}", au, entry["f1_percent"], f"Table {main}",
            measured=level(relation, au) if relation else None, **style)

    add(ablation, "level", "no relation (average)", "mean", INFERRED_BASE[dataset], "inferred from §4.3", STEP1,
        level(STEP1, None))
    add(ablation, "level", "no relation, each AU", "all", INFERRED_BASE[dataset], "average; its AUs are lost",
        verdict="cannot: the paper's values cannot be recovered")
    for relation, method in VARIANTS.items():
        measured = _measured_gain(grid, relation) if mine else None
        gain = averages[method] - INFERRED_BASE[dataset]
        best = round(gain, 1) == STATED_GAINS[dataset]
        add(ablation, "gain", f"{method} over no relation", "mean", gain, "§4.3" if best else "inferred from §4.3",
            relation, measured, dev="gain")
    add(main, "claim", "LoRRaL over the best earlier method", "mean", STATED_LEADS[dataset], "§4.2", dev="none",
        verdict=f"cannot: needs {name} and the other method's answers on it")
    return rows


def _of_other_data(grid: Grid) -> list[dict]:
    """Ours on data that the paper has not seen: no paper's value, no verdict."""
    common = {"table": None, "dataset": None, "au": "mean", "paper": "none: other data",
              **_how(grid, None), "command": grid.record.get("command") or "lorral reproduce",
              "verdict": "no published value"}
    rows = []
    for name in grid.names:
        measured = _measured_level(grid, name)
        what = "no relation, before step 2" + " †" * (name in grid.lacking) if name == STEP1 else grid.label(name)
        rows.append({**common, "kind": "level", "row": what, "measured": measured, "ours": _ours(measured, "level"),
                     "deviations": DEVIATIONS["baseline" if is_baseline(name) else "level"]})
    for name in grid.relations:
        if measured := _measured_gain(grid, name):
            rows.append({**common, "kind": "gain", "row": f"{name_of(name)} over no relation", "measured": measured,
                         "ours": _ours(measured, "gain"), "deviations": DEVIATIONS["gain"]})
    return rows


def _measured_level(grid: Grid, name: str, au: int | None = None) -> dict | None:
    """F1 of one thing that was scored; ``au``: of this AU, else the mean. None where it has none."""
    figures = {output: vars(found["mean_f1"] if au is None else found["f1"].get(f"AU{au}", unknown(None)))
               for output, found in ((output, grid.table[name][output]) for output in OUTPUTS)}
    return None if math.isnan(figures["au"]["value"]) else {"source": grid.source, **figures}


def _measured_gain(grid: Grid, relation: str) -> dict | None:
    """Its gain over the control without relation; None when the two cannot be compared on both outputs."""
    both = {g["output"]: g for g in grid.gain_rows if (g["relation"], g["control"]) == (relation, "none")}
    return {"source": grid.source, **both} if set(both) == set(OUTPUTS) else None


def _how(grid: Grid | None, dataset: str | None) -> dict[str, str]:
    """Seeds × folds, protocol, data and hardware of a row; of what would be run when ``grid`` is None."""
    aus = len(AU_SETS[dataset] if dataset else grid.metrics["aus"])
    shown = ", shown from intensity 2 on" if dataset == "disfa" else ""
    select = grid.first.config.get("select", "last") if grid else "last"
    rule = "last epoch" if select == "last" else "epoch chosen on held-out training subjects"
    return {
        "seeds × folds": f"{len(grid.seeds)} × {len(grid.folds)}" if grid else f"none of 1 × {NEEDED_FOLDS}",
        "protocol": f"{aus} AUs{shown}, threshold 0.5, unknown labels left out, {rule}",
        "data": f"{dataset.upper()} (licensed)" if dataset else grid.data_name,
        "hardware, minutes": f"{grid.metrics.get('device', 'unknown')}, {minutes(grid):.0f}" if grid else "none",
    }


def minutes(grid: Grid) -> float:
    """Of all training in the grid."""
    return sum(m.get("seconds") or 0 for run in grid.cells.values() for m in run.scored.values()) / 60


def _ours(measured: dict | None, kind: str) -> str:
    """The AU output, which is what the paper reports, and the local one where it differs."""
    if measured is None:
        return "–"
    key, show = ("value", number) if kind == "level" else ("gain", signed)

    au, local = (span(figure[key], figure["low"], figure["high"], show)
                 for figure in (measured["au"], measured["local"]))
    return au if au == local else f"{au}; local output {local}"  # a baseline has one output


def _verdict(grid: Grid, kind: str, paper: float, measured: dict) -> str:
    """The rule of :data:`VERDICTS`, for a grid that ran all of it."""
    model = (grid.first.config.get("model") or {}).get("name")
    if model != "paper":
        return f"not attempted: {model or 'unknown'} model, not the paper's size"
    if len(grid.folds) < NEEDED_FOLDS:
        return f"not attempted: {len(grid.folds)} of {NEEDED_FOLDS} folds, which the paper averages"
    ours = measured["au"]
    if math.isnan(ours["low"]):
        return "not attempted: too few people for an interval"
    if kind == "gain":
        met, half = ours["corrected_low"] > 0, ours["low"] > 0
    else:
        inside, near = ours["low"] <= paper <= ours["high"], abs(ours["value"] - paper) <= CLOSE
        met, half = inside and near, inside or near
    return "reproduced" if met else "partly" if half else "not reproduced"


# ----------------------------------------------------------------------------------------------------- the report's law


def faults(rows: list[dict], reported: str) -> list[str]:
    """Where rows of :func:`comparison` lack a column or a published number, or mix data: one line each, [] if none.

    ``reported``: the source of the data that the report is about.
    """
    found = []
    for row in rows:
        what = f"Table {row.get('table')}, {row.get('row', 'a row')}" if row.get("dataset") else row.get("row", "a row")
        found += [f"{what}: column {column!r} is missing or empty" for column in COLUMNS
                  if not str(row.get(column) or "").strip()]
        if not str(row.get("verdict", "")).startswith(VERDICTS):
            found.append(f"{what}: verdict {row.get('verdict')!r} is none of {', '.join(VERDICTS)}")
        measured, dataset = row.get("measured"), row.get("dataset")
        source = str((measured or {}).get("source", "")).lower()
        if measured is not None and source != reported.lower():
            found.append(f"{what}: measured on {source or 'unknown data'!r}, the report is about {reported!r}")
        if dataset:
            if not str(row.get("data", "")).startswith(f"{dataset.upper()} (licensed)"):
                found.append(f"{what}: its data must be {dataset.upper()}, not {row.get('data')!r}")
            if measured is not None and source != dataset:
                found.append(f"{what}: a figure measured on {source or 'unknown data'!r} stands in a column of "
                             f"{dataset.upper()}")
        else:
            if source in AU_SETS:
                found.append(f"{what}: stands among the rows of other data, but was measured on {source}")
            if row.get("paper") != "none: other data":
                found.append(f"{what}: the paper has no value on {row.get('data')!r}")
        if (measured is None) != (row.get("ours") == "–"):
            found.append(f"{what}: prints {row.get('ours')!r} but was{'' if measured else ' not'} measured")
        if measured is not None and row.get("ours") != _ours(measured, row.get("kind")):
            found.append(f"{what}: prints {row.get('ours')!r}, measured was {_ours(measured, row.get('kind'))!r}")
    there = {(row.get("dataset"), row.get("row"), row.get("au"), row.get("paper")) for row in rows}
    for entry in published():
        dataset, method = entry["dataset"], entry["method"]
        where = f"(Table {TABLE_NUMBERS[dataset][0]}, v1)"
        for what, au, value in ((method, "mean", entry["printed_average"]),
                                (f"{method}, AU{entry['au']}", entry["au"], entry["f1_percent"])):
            if (dataset, what, au, f"{value:.1f} {where}") not in there:
                found.append(f"{what} on {dataset.upper()}: the published {value:.1f} has no row")
    return list(dict.fromkeys(found))
