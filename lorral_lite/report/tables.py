"""The tables of a report: the run's own, and the paper's with ours beside them."""

import math
from decimal import Decimal

import numpy as np

from ..facs import ACTION_UNITS, AU_SETS
from ..measure.statistics import Estimate, minimum_detectable
from .comparison import COLUMNS
from .page import Cell, Table
from .published import FLOORS, INFERRED_BASE, TABLE_NUMBERS, VARIANTS, audit_published, published, rounded
from .results import ALPHA, BASELINES, OUTPUTS, STEP1, Grid, au_estimates, estimate, gains, name_of

ABLATIONS = tuple(ablation for _, ablation in TABLE_NUMBERS.values())

PEOPLE = {"bp4d": 41, "disfa": 27}
"""How many people each data set has."""


def number(value: float | None, places: int = 1) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{places}f}".replace("-", "−")


def signed(value: float | None, places: int = 2) -> str:
    sign = "" if value is None or math.isnan(value) or value < 0 else "+"
    return sign + number(value, places)


def with_interval(found: Estimate, plus: bool = False) -> Cell:
    show = signed if plus else number
    known = not (math.isnan(found.low) or math.isnan(found.high))
    return Cell(show(found.value), f"{show(found.low)} to {show(found.high)}" if known else "")


def _p(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "<\N{NO-BREAK SPACE}.001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"


def tables(grid: Grid, gain_rows: list[dict] | None = None, rows: list[dict] | None = None) -> list[Table]:
    """Every table of the report: summary, folds, F1 per AU for both outputs, gains, ours in the columns of the paper's
    (``rows`` of :func:`.comparison.comparison`), the paper's own, their audit."""
    gain_rows = gains(grid) if gain_rows is None else gain_rows
    made = []
    if grid.names:
        made.append(_summary_table(grid))
    if len(grid.cells) > 1:
        made += [_fold_table(grid, output) for output in OUTPUTS]
    if grid.relations:
        made += [_au_table(grid, output) for output in OUTPUTS]
    if gain_rows:
        made.append(_gain_table(grid, gain_rows))
    audit = audit_published()
    made += _comparison_tables(rows or [])
    made += [_published_table(grid, dataset, audit) for dataset in AU_SETS]
    made.append(_audit_table(audit))
    return made


def _summary_table(grid: Grid) -> Table:
    floor, several = grid.floor, len(grid.seeds) > 1
    rows = [["always positive", Cell(number(floor)), Cell(number(floor)), *[Cell("–")] * (9 if several else 8)]]

    for name in grid.names:
        metrics = next(iter(grid.of(name).values()))
        count = metrics.get("parameters")
        seconds = [m["seconds"] for m in grid.of(name).values() if m.get("seconds")]
        found = {output: estimate(grid, name, output) for output in OUTPUTS}
        spread = getattr(found["au"], "seed_sd", None)
        rows.append([
            "step 1 (no relation, before step 2)" if name == STEP1 else name_of(name),
            with_interval(found["local"]), with_interval(found["au"]), *([Cell(number(spread, 2))] if several else []),
            *(Cell(number(grid.average(name, "outputs", output, key))) for key in ("mean_auc", "mean_accuracy")
              for output in OUTPUTS),
            Cell(number(grid.average(name, "landmarks", "nme_percent"), 2)),
            Cell(number(grid.average(name, "landmarks", "failure_percent"))),
            Cell("–" if count is None else f"{count / 1e6:.2f} M"),
            Cell(number(sum(seconds) / 60 if seconds else None)),
        ])
    return Table(
        "summary", "Mean F1 and the rest, on people the model has never seen", grid.data_name,
        ["", "F1, local output", "F1, AU output", *(["between seeds"] if several else []), "AUC, local",
         "AUC, AU", "accuracy, local", "accuracy, AU", "landmark error", "failures", "parameters", "minutes"], rows,
        "F1, AUC and accuracy in %, mean over AUs; small: 95 % jackknife interval over subjects. "
        + ("Counts are pooled in a fold, figures averaged over seeds, then over folds; between seeds: standard "
           "deviation of the AU output's mean over folds, which the intervals do not contain. "
           if len(grid.cells) > 1 else "")
        + "Landmark error in % of the inter-ocular distance; a failure is a face above 10 %, in % of faces. The local "
        "output sees only what the relation module passes on; the AU output sees everything"
        + (". A baseline has one output." if any(n.startswith(BASELINES) for n in grid.names) else "."),
    )


def _fold_table(grid: Grid, output: str) -> Table:
    people = sum(run.metrics.get("subjects", 0) for (_, seed), run in grid.cells.items() if seed == grid.seeds[0])
    rows = [[f"fold {fold}, seed {seed}", *(
        Cell(number(run.scored[name]["outputs"][output]["mean_f1"] if name in run.scored else None))
        for name in grid.names), Cell(f"{run.metrics.get('subjects', '–')}")]
        for (fold, seed), run in sorted(grid.cells.items())]
    rows.append(["mean F1", *(Cell(number(estimate(grid, name, output).value)) for name in grid.names),
                 Cell(str(people))])
    return Table(f"folds-{output}", f"Mean F1 of each fold and seed, {OUTPUTS[output]}", grid.data_name,
                 ["", *map(name_of, grid.names), "people"], rows,
                 "In %. Folds differ because other people are tested; seeds because the training is another.")


def _au_table(grid: Grid, output: str) -> Table:
    aus = grid.metrics["aus"]
    names = [n for n in grid.names if n != STEP1]
    per_au = {n: au_estimates(grid, n, output) for n in names}
    floor = grid.floors()
    rows = [[f"AU{au} {ACTION_UNITS[au].name.lower()}", Cell(number(floor[i])),
             *(with_interval(per_au[n][i]) for n in names)] for i, au in enumerate(aus)]
    rows.append(["mean F1", Cell(number(grid.floor)), *(with_interval(estimate(grid, n, output)) for n in names)])
    rows.append(["mean AUC", Cell("50.0"),
                 *(Cell(number(grid.average(n, "outputs", output, "mean_auc"))) for n in names)])
    folds = ", then averaged over seeds and folds" if len(grid.cells) > 1 else ""
    return Table(
        f"f1-{output}", f"F1 per action unit, {OUTPUTS[output]}", grid.data_name,
        ["", "always positive", *map(name_of, names)], rows,
        f"In %, counts pooled over the test frames of a fold{folds}; threshold 0.5, unknown labels left out; small: "
        "95 % jackknife interval over subjects. AUC per AU is in report.json.",
    )


def smallest_gain(gain_rows: list[dict]) -> dict | None:
    """What 41 and 27 people could show with 80 % power if gains spread between people as the median of these rows.

    → {"spread": points, "bp4d": points, "disfa": points}; None without a spread.
    """
    spreads = [g["se"] * g["n"] ** 0.5 for g in gain_rows if g["se"] > 0]
    if not spreads:
        return None
    spread = float(np.median(spreads))
    return {"spread": spread, **{name: minimum_detectable(n, spread) for name, n in PEOPLE.items()}}


def _gain_table(grid: Grid, rows: list[dict]) -> Table:
    body, several = [], len(grid.seeds) > 1
    for g in rows:
        shown = Estimate(g["gain"], g["se"], g["low"], g["high"], g["p"], 0)
        wide = Estimate(g["gain"], g["se"], g["corrected_low"], g["corrected_high"], g["p"], 0)
        body.append([f"{name_of(g['relation'])} − {name_of(g['control'])}",
                     g["output"] if g["output"] == "local" else "AU", with_interval(shown, True),
                     Cell(with_interval(wide, True).detail or "–"),
                     *([Cell(number(g["seed_sd"], 2))] if several else []),
                     Cell(signed(g["dz"])), Cell(_p(g["p"])), Cell(_p(g["p_holm"])),
                     Cell(g["verdict"], flag=g["clear"])])
    least = smallest_gain(rows)
    return Table(
        "gains", "What a relation module adds over the controls", grid.data_name,
        ["", "output", "gain (95 % interval)", "corrected interval", *(["between seeds"] if several else []),
         "effect d_z", "p", "p, Holm", "verdict"], body,
        "Points of mean F1, paired over subjects: both sides see the same people, and both had the same extra epochs. "
        f"Holm's correction counts all {len(rows)} rows, at {100 * ALPHA:g} %. d_z: the gain in units of its standard "
        "deviation between people. "
        + (f"If gains spread between people as here (median {least['spread']:.2f} points), the smallest that a single "
           f"comparison finds with 80 % power is {least['bp4d']:.2f} points with the 41 people of BP4D and "
           f"{least['disfa']:.2f} with the 27 of DISFA. " if least else "")
        + ("Another training seed is not in these intervals; its spread stands beside them." if several else
           "Another training seed is not in these intervals."),
    )


def _comparison_tables(rows: list[dict]) -> list[Table]:
    """The rows of :func:`.comparison.comparison` that are means; per-AU values are in the paper's matrix."""
    merged = ("paper", "seeds × folds", "protocol", "data", "command", "hardware, minutes", "verdict", "deviations")
    made = []
    for key in dict.fromkeys(row["table"] for row in rows):
        mine = [row for row in rows if row["table"] == key and not isinstance(row["au"], int)]
        dataset = mine[0]["dataset"]
        name = dataset.upper() if dataset else mine[0]["data"]
        what = ("Ours, with the columns of the tables below" if key is None else
                f"Table {key} of the paper: {'ablation' if key in ABLATIONS else 'F1'} on {name}, ours beside it")
        measured = any(row["measured"] for row in mine)
        body = [[row["row"], *(_comparison_cell(column, row[column]) for column in COLUMNS[1:])] for row in mine]
        if key is None:
            note = "No paper has a value for this data, so there is nothing to reproduce in these rows."
        elif key in ABLATIONS:
            note = ("Gains in points of mean F1; the base follows from section 4.3, which gives two gains only. Ours "
                    "is measured against step 2 without a relation, which has the same extra epochs (D20).")
        else:
            outputs = "Ours: AU output, then local output, 95 % interval over subjects. " if measured else ""
            note = (f"Mean F1 in %. {outputs}Verdicts follow one rule (D99). Always saying yes scores "
                    f"{FLOORS[dataset]:.2f} on {name}.")
        made.append(Table("ours" if key is None else f"paper-{key}", what, name if key is None or measured else
                          f"{name}: nothing measured here", ["", *COLUMNS[1:]], body, note,
                          key is None or measured, words=COLUMNS[1:],
                          merged=merged if key is None else merged[1:], wide=True))
    return made


def _comparison_cell(column: str, said: str) -> Cell | str:
    if column == "command" and said != "none":
        return f"`{said}`"
    if column == "ours" and "; " in said:
        return Cell(*said.replace(" ", "\N{NO-BREAK SPACE}").replace(";\N{NO-BREAK SPACE}", "; ").split("; "))
    if column == "paper" and said.endswith(")"):
        value, where = said[:-1].split(" (", 1)
        return Cell(value, where.replace(" ", "\N{NO-BREAK SPACE}"))
    return said


def _published_table(grid: Grid, dataset: str, audit: list[dict]) -> Table:
    rows: dict[str, list] = {}
    for row in published():
        if row["dataset"] == dataset:
            rows.setdefault(row["method"], [row["method"]]).append(Cell(number(row["f1_percent"])))
    for entry in audit:
        if entry["dataset"] == dataset:
            mean = Decimal(str(entry["recomputed"]))
            rows[entry["method"]] += [Cell(number(entry["printed"])),
                                      Cell(str(rounded(mean, "0.01")), flag=entry["mismatch"])]
    name, same, body = dataset.upper(), grid.source.lower() == dataset, []
    ours = {method: relation for relation, method in VARIANTS.items()} if same else {}
    for method, row in rows.items():
        body.append(row)
        if ours.get(method) in grid.names:
            relation = ours[method]
            body.append([f"ours: {name_of(relation)}", *map(with_interval, au_estimates(grid, relation, "au")),
                         with_interval(estimate(grid, relation, "au")), Cell("–")])
    return Table(
        f"published-{dataset}", f"Table {TABLE_NUMBERS[dataset][0]} of the paper, every AU: F1 on {name}",
        f"{name}, as published" if same else f"another data set: {name}, not comparable",
        ["", *(f"AU{au}" for au in AU_SETS[dataset]), "printed mean", "recomputed"], body,
        f"In %. Always saying yes scores {FLOORS[dataset]:.2f} on {name}. The paper's pipeline without relation: "
        f"{INFERRED_BASE[dataset]} (inferred from section 4.3; its rows are not recoverable). Our figure for this "
        f"table: {'in the rows named ours (AU output)' if same else f'not attempted, needs {name} (data/README.md)'}.",
        comparable=same, wide=same,
    )


def _audit_table(audit: list[dict]) -> Table:
    rows = [[f"{a['method']} on {a['dataset'].upper()}", Cell(number(a["printed"])),
             Cell(str(rounded(Decimal(str(a["recomputed"])), "0.01"))), Cell(signed(a["difference"])), Cell(a["note"])]
            for a in audit if a["mismatch"]]
    return Table(
        "audit", "Audit: printed means that do not match their own row", "BP4D and DISFA, as published",
        ["", "printed", "recomputed", "difference", "note"], rows,
        f"{len(audit)} published rows checked, {len(rows)} beyond what rounding explains (0.1). LoRRaL's own six rows "
        "match.", comparable=False,
    )
