"""Figures of merit over a grid of folds and seeds: estimates, gains (what lies in one run: :mod:`.runs`).

A run folder is one fold and one seed. A grid folder holds several, ``fold<f>_seed<s>``, of the same data; a single run
is a grid of one. Nothing here trains or predicts: every figure comes from the ``metrics.json`` files.
"""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..datasets.licensed_faces import licensed_by
from ..files import DataError, read_json
from ..measure.statistics import Estimate, at_level, cohens_dz, holm, jackknife, nested_f1, nested_gain
from ..model.relations import RELATIONS, label_of
from ..output import plain
from ..training.config import RunConfig
from ..training.origin import data_record, settings
from .runs import BASELINE_FOLDER, OUTPUTS, STEP1, Run, faces_of, is_baseline, load_runs, read_json_or_say

CONTROLS = ("none", "mlp")

ALPHA = 0.05


# ------------------------------------------------------------------------------------------- several folds and seeds


@dataclass
class Grid:
    """Runs of the same data, one per (fold, seed), and ``record``: what ``grid.json`` says of them ({} when none)."""

    folder: Path
    runs: list[Run]
    record: dict = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def first(self) -> Run:
        return self.runs[0]

    def __post_init__(self):
        if len(seen := {tuple(m["aus"]) for run in self.runs for m in run.scored.values()}) > 1:
            raise DataError(f"{self.folder}: holds scores of different AUs ({', '.join(sorted(map(str, seen)))}); "
                            "report each run by itself")
        if left := sorted(set(self.cells) - set(self.shared)):
            self.say(f"In no mean and no comparison, as less was scored there: {_words(left)}.")
        if self.lacking:
            self.say(self.footnote)
        for a, au in enumerate(self.metrics.get("aus", ())):
            if bare := [cell for cell in self.shared if self.cells[cell].metrics["outputs"]["au"]["f1"][a] is None]:
                where = f" in {_words(bare)}; there it" if len(bare) < len(self.shared) else "; it"
                self.say(f"AU{au}: no label is known{where} is in no mean, nor in that of always saying yes.")

    def say(self, problem: str) -> None:
        """Add a line to ``problems``, once."""
        self.problems += [problem] * (problem not in self.problems)

    @cached_property
    def cells(self) -> dict[tuple[int, int], Run]:
        """{(fold, seed): run}, of the runs in which something was evaluated."""
        return {(int(run.metrics.get("fold", 1)), int(run.metrics.get("seed", 0))): run
                for run in self.runs if run.scored}

    @cached_property
    def shared(self) -> list[tuple[int, int]]:
        """The cells that every mean and every comparison is over: as many as at least half of all was scored in.

        A failure leaves one thing without a score in one cell, which then has no mean (:attr:`lacking`); a grid that
        is half done has cells in which most is missing, and these are in no mean.
        """
        def worth(chosen: set) -> tuple[bool, int, int]:
            whole = sum(chosen <= own for own in every)
            return 2 * whole >= len(every), len(chosen), whole

        every = [{cell for cell, run in self.cells.items() if name in run.scored} for name in self.names]
        return sorted(max(every, key=worth, default=()))

    @cached_property
    def lacking(self) -> dict[str, str]:
        """{name: "not scored in fold 3, seed 0"} of what was not scored in all the :attr:`shared` cells."""
        lost = {name: [cell for cell in self.shared if name not in self.cells[cell].scored] for name in self.names}
        return {name: f"not scored in {_words(cells)}" for name, cells in lost.items() if cells}

    @property
    def folds(self) -> list[int]:
        """Those that the means are over."""
        return sorted({fold for fold, _ in self.shared})

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for _, seed in self.shared})

    @property
    def example(self) -> Run:
        """A run in which something was evaluated, for what all of them share; the first where nothing was."""
        return next((run for run in self.runs if run.metrics), self.first)

    @property
    def metrics(self) -> dict:
        """Any one metrics.json of the grid ({} when nothing was evaluated)."""
        return self.example.metrics

    @property
    def source(self) -> str:
        return self.example.source

    @property
    def data_name(self) -> str:
        return self.example.data_name

    @property
    def licensed(self) -> bool:
        """Licensed when one of the runs is, or none says."""
        return any(licensed_by(run.folder) for run in self.runs) or not self.metrics

    @cached_property
    def names(self) -> list[str]:
        """Everything that was scored somewhere: step 1, relations in their usual order, baselines."""
        found = {name for run in self.runs for name in run.scored}
        usual = [STEP1, *RELATIONS]
        relations = sorted(n for n in found if n not in usual and not is_baseline(n))
        return [*(n for n in usual if n in found), *relations, *sorted(filter(is_baseline, found))]

    @property
    def relations(self) -> list[str]:
        return [name for name in self.names if name != STEP1 and not is_baseline(name)]

    def label(self, name: str) -> str:
        """How tables name what was scored, with a mark where it is :attr:`lacking`."""
        return name_of(name) + (" †" if name in self.lacking else "")

    @property
    def footnote(self) -> str:
        """What the mark means, "" where nothing has it."""
        marked = "; ".join(f"{name_of(name)} was {why}" for name, why in self.lacking.items())
        return f"† In no mean and no comparison, which are over the same cells for all: {marked}." if marked else ""

    def of(self, name: str) -> dict[tuple[int, int], dict]:
        """{(fold, seed): metrics} of one of :attr:`names` in the :attr:`shared` cells, {} where it is :attr:`lacking`:
        all that stands beside each other is over the same people."""
        return {} if name in self.lacking else {cell: self.cells[cell].scored[name] for cell in self.shared}

    def average(self, name: str, *path: str | int) -> float | None:
        """Mean over folds of the mean over seeds of one number in the metrics; None where no cell has it.

        ``path`` leads there: ``average("none", "outputs", "au", "auc", 3)``.
        """
        folds: dict[int, list[float]] = {}
        for (fold, _), value in self.of(name).items():
            try:
                for key in path:
                    value = value[key]
            except (KeyError, IndexError, TypeError):
                continue
            if isinstance(value, int | float):
                folds.setdefault(fold, []).append(float(value))
        return float(np.mean([np.mean(values) for values in folds.values()])) if folds else None

    @cached_property
    def floors(self) -> list[float | None]:
        """F1 (%) of always saying yes for each AU, mean over folds."""
        return [next((v for n in self.names if (v := self.average(n, "always_positive", "f1", i)) is not None), None)
                for i in range(len(self.metrics.get("aus", ())))]

    @cached_property
    def floor(self) -> float | None:
        """Its mean over the AUs."""
        return next((v for n in self.names if (v := self.average(n, "always_positive", "mean_f1")) is not None), None)

    @cached_property
    def table(self) -> dict[str, dict]:
        """The one table of results that everything in a report is drawn from: :func:`figures_of` for each name."""
        return {name: figures_of(self, name) for name in self.names}

    @cached_property
    def gain_rows(self) -> list[dict]:
        """:func:`gains`, computed once."""
        return gains(self)

    @cached_property
    def svm_rows(self) -> list[dict]:
        """:func:`over_the_svm`, computed once."""
        return over_the_svm(self)


def load_grid(folder) -> Grid:
    """A grid folder (``fold<f>_seed<s>`` inside it), or one run folder as a grid of one.

    DataError when the folder is not there, or its runs are of different data.
    """
    folder = Path(folder)
    holder = Run(folder)
    record = read_json_or_say(holder, folder / "grid.json") or {}
    planned = _planned(folder, record)
    places = [p for p in planned or sorted(folder.glob("fold*_seed*")) if p.is_dir()]
    if not places:
        return as_grid(load_runs(folder))
    runs = [load_runs(place) for place in places]
    for what, seen in (("data", {run.source for run in runs if run.metrics}),
                       ("AUs", {tuple(run.metrics["aus"]) for run in runs if run.metrics})):
        if len(seen) > 1:
            raise DataError(f"{folder}: holds runs of different {what} ({', '.join(sorted(map(str, seen)))}); "
                            "report each fold<f>_seed<s> by itself")
    check_cells(runs)
    said = [*holder.problems, *(f"{run.folder.name}: {problem}" for run in runs for problem in run.problems),
            *(f"{p.name} failed: its failed.ipynb says why." for p in places if (p / "failed.ipynb").exists())]
    if late := [p.name for p in planned if not (p / "step1_metrics.json").exists()]:
        said.append(f"{len(late)} of {len(planned)} cells of the grid are not there yet: {', '.join(late)}.")
    return Grid(folder, runs, record, said)


def check_cells(runs: list[Run]) -> None:
    """DataError when runs of a grid are not the cells that their names say, or differ in more than fold and seed."""
    first: dict = {}
    for run in runs:
        said = run.config if "fold" in run.config else run.metrics
        if said and run.folder.name != (name := f"fold{said.get('fold')}_seed{said.get('seed')}"):
            raise DataError(f"{run.folder}: holds {name}; give it that name, or remove it")
        mine = {key: value for key, value in settings(said).items()
                if key in RunConfig.__dataclass_fields__ and key not in ("fold", "seed")}
        if said:
            mine["faces"] = (data_record(run.folder) or {}).get("fingerprint") or faces_of(run.metrics)
        for file in run.folder.glob("*/config.json"):
            mine[f"options of {file.parent.name}"] = read_json(file).get("options")
        for key, value in mine.items():
            if first.setdefault(key, value) != value:
                raise DataError(f"{run.folder}: other {key} than the cells before it; a grid holds runs of one kind: "
                                "report each by itself")


def _planned(folder: Path, record: dict) -> list[Path]:
    """The run folders of a grid.json; DataError for what is no name of a folder in the grid, as a path out of it."""
    try:
        names = [cell["run"] for cell in record.get("cells") or ()]
        if odd := [name for name in names if Path(name).name != name or name in ("", "..") or plain(name) != name]:
            raise ValueError(f"{odd[0]!r} is no folder in it")
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / 'grid.json'}: not the plan of a grid ({plain(str(error))}); report its run folders "
                        "one by one") from None
    return [folder / name for name in names]


def _words(cells) -> str:
    return " and ".join(f"fold {fold}, seed {seed}" for fold, seed in cells)


def as_grid(results: Run | Grid) -> Grid:
    """A run as a grid of one cell; a grid as it is."""
    return results if isinstance(results, Grid) else Grid(results.folder, [results], problems=results.problems)


def name_of(scored: str) -> str:
    """How tables name what was scored."""
    if is_baseline(scored):
        name = scored.removeprefix(BASELINE_FOLDER)
        return "linear SVM" if "svm" in name else name.replace("_", " ")
    return label_of(scored)


# ------------------------------------------------------------------------------------------------- estimates and gains


def unknown(value: float | None) -> Estimate:
    """A figure about which nothing more is known."""
    return Estimate(float("nan") if value is None else float(value), *[float("nan")] * 4, 0)


def estimate(grid: Grid, name: str, output: str, au: int | None = None) -> Estimate:
    """F1 (%) of one output over the grid with its jackknife interval over subjects; ``au``: position, else the mean.

    nan where the output was not scored; without an interval where the counts of each person are not there.
    """
    path = ["mean_f1"] if au is None else ["f1", au]
    parts = {cell: metrics["outputs"][output] for cell, metrics in grid.of(name).items()}
    try:
        return nested_f1({cell: part["per_subject"] for cell, part in parts.items()
                          if (part["mean_f1"] if au is None else part["f1"][au]) is not None}, au=au)
    except (KeyError, ValueError):
        return unknown(grid.average(name, "outputs", output, *path))


def figures_of(grid: Grid, name: str) -> dict:
    """All figures of one thing that was scored, as report.json has them.

    → {output: {"mean_f1": Estimate, "f1": {"AU1": Estimate, its interval cut to 0 to 100, …}, "auc", "accuracy": a mean
    over folds for each AU, "mean_auc", "mean_accuracy"}, …, "always_positive", "landmarks", "parameters", "seconds",
    "frames", "subjects"}, in percent.
    """
    cells = list(grid.of(name).values())
    first, aus = next(iter(cells), {}), range(len(grid.metrics["aus"]))

    def of_au(output: str, au: int) -> Estimate:
        e = estimate(grid, name, output, au)
        return replace(e, low=float(np.clip(e.low, 0, 100)), high=float(np.clip(e.high, 0, 100)))

    outputs = {output: {
        "mean_f1": estimate(grid, name, output),
        "f1": {f"AU{grid.metrics['aus'][au]}": of_au(output, au) for au in aus},
        **{key: [grid.average(name, "outputs", output, key, au) for au in aus] for key in ("auc", "accuracy")},
        **{key: grid.average(name, "outputs", output, key) for key in ("mean_auc", "mean_accuracy")},
    } for output in OUTPUTS}
    return {
        **outputs, "always_positive": {"f1": grid.floors, "mean_f1": grid.floor},
        "landmarks": {key: grid.average(name, "landmarks", key) for key in ("nme_percent", "failure_percent")},
        "parameters": first.get("parameters"),
        "seconds": sum(m.get("seconds") or 0 for m in cells) or None,
        "frames": first.get("frames"), "subjects": outputs["au"]["mean_f1"].n or first.get("subjects"),
    }


def mean_estimates(results: Run | Grid) -> dict[str, dict[str, Estimate]]:
    """{relation, "step 1" or baseline: {output: mean F1 with its jackknife interval over subjects}}, all over the same
    cells; nan for what was not scored in one of them."""
    grid = as_grid(results)
    return {name: {output: estimate(grid, name, output) for output in OUTPUTS} for name in grid.names}


def gains(results: Run | Grid) -> list[dict]:
    """What each relation adds over the controls: paired jackknife intervals over subjects, Holm over all rows (D61).

    → dicts with relation, control, output, gain, se, low, high (95 %), n, dz (Cohen's), seed_sd, p, p_holm,
    corrected_low, corrected_high (the interval at the level Holm tested it at), ``clear`` (Holm rejects: the corrected
    interval lies off 0), ``verdict``. Positive gains favour the relation. All rows are over the same cells of the grid;
    those without the same subjects on both sides, or without a known label, are left out.
    """
    grid = as_grid(results)
    rows, there = [], [name for name in grid.relations if name not in grid.lacking]
    for control in CONTROLS:
        for name in there:
            if control not in there or name == control or (control == "mlp" and name == "none"):
                continue
            for output in OUTPUTS:
                sides = [{cell: m["outputs"][output].get("per_subject") or {} for cell, m in grid.of(n).items()
                          if m["outputs"][output]["mean_f1"] is not None} for n in (name, control)]
                if not any(sides):
                    continue
                try:
                    rows.append((control, name, output, nested_gain(*sides)))
                except (TypeError, ValueError):
                    grid.say(f"{name_of(name)} and {name_of(control)} were not scored on the same people: "
                             "no gain is given.")
    if not rows:
        return []
    adjusted, levels = holm([row[3].p for row in rows], ALPHA)
    result = []
    for (control, name, output, e), p, level in zip(rows, adjusted, levels, strict=True):
        wide = at_level(e, 1 - level) if not math.isnan(level) else unknown(e.value)
        clear = bool(p <= ALPHA)
        verdict = ("no interval: too few people" if math.isnan(p) else
                   "not told apart from 0" if not clear else "gain" if e.value > 0 else "loss")
        result.append({
            "relation": name, "control": control, "output": output, "gain": e.value, "se": e.se, "low": e.low,
            "high": e.high, "n": e.n, "dz": cohens_dz(e), "seed_sd": e.seed_sd, "p": e.p, "p_holm": float(p),
            "corrected_low": wide.low, "corrected_high": wide.high, "clear": clear, "verdict": verdict,
        })
    return result


def over_the_svm(results: Run | Grid) -> list[dict]:
    """How far step 1 and each relation lie above the linear SVM in mean F1, in points, paired over subjects.

    → dicts with name, output, gain, low, high (95 % jackknife interval over subjects, as :func:`gains`), ``by_seed``
    ({seed: mean over folds}) and seeds_low, seeds_high (95 % t interval over seeds, nan where there is one). Nothing is
    corrected: this is a level beside a level, not a claim about a relation. [] where no SVM was scored.
    """
    grid = as_grid(results)
    svm = next((name for name in grid.names if is_baseline(name) and "svm" in name and name not in grid.lacking), None)
    rows = []
    for name in grid.names if svm else ():
        for output in () if is_baseline(name) or name in grid.lacking else OUTPUTS:
            sides = [{cell: m["outputs"][output].get("per_subject") or {} for cell, m in grid.of(n).items()}
                     for n in (name, svm)]
            try:
                e = nested_gain(*sides)
                by_seed = {seed: nested_gain(*({c: v for c, v in side.items() if c[1] == seed} for side in sides)).value
                           for seed in grid.seeds}
            except (TypeError, ValueError):
                continue
            over = jackknife(np.array(list(by_seed.values()))) if len(by_seed) > 1 else unknown(e.value)
            rows.append({"name": name, "output": output, "gain": e.value, "low": e.low, "high": e.high, "n": e.n,
                         "by_seed": by_seed, "seeds_low": over.low, "seeds_high": over.high})
    return rows
