"""What lies in run folders, and the figures of merit drawn from it: estimates over a grid of folds and seeds, gains.

A run folder is one fold and one seed. A grid folder holds several, ``fold<f>_seed<s>``, of the same data; a single run
is a grid of one. Nothing here trains or predicts: every figure comes from the ``metrics.json`` files.
"""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..datasets.licensed_faces import licensed_by
from ..facs import check_aus
from ..files import DataError, load_tensors, read_json, read_log
from ..measure.metrics import mean_or_none
from ..measure.statistics import Estimate, at_level, cohens_dz, holm, nested_f1, nested_gain
from ..model.relations import RELATIONS, label_of
from ..output import plain
from ..training.origin import NO_FINGERPRINT, check_results, compare, data_record, origin, settings

CONTROLS = ("none", "mlp")
OUTPUTS = {"local": "local output", "au": "AU output"}
STEP1 = "step 1"
BASELINE_FOLDER = "baselines/"
"""Baselines have a folder of their own in a run; the names of what was scored there start with it."""

ALPHA = 0.05


@dataclass
class Run:
    """What lies in a run folder. Missing files are None or empty; unreadable ones are named in ``problems``."""

    folder: Path
    config: dict = field(default_factory=dict)
    step1: dict | None = None
    relations: dict[str, dict] = field(default_factory=dict)
    baselines: dict[str, dict] = field(default_factory=dict)
    logs: dict[str, list[dict]] = field(default_factory=dict)
    photo: dict | None = None
    overlay: bytes | None = None
    notebooks: list[Path] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def metrics(self) -> dict:
        """Any one metrics.json of the run, for what all of them share ({} when nothing was evaluated)."""
        return next(iter(self.relations.values()), self.step1 or next(iter(self.baselines.values()), {}))

    @property
    def scored(self) -> dict[str, dict]:
        """Everything with a metrics.json: step 1, relations, and baselines as ``baselines/<name>``."""
        return {**({STEP1: self.step1} if self.step1 else {}), **self.relations,
                **{BASELINE_FOLDER + name: metrics for name, metrics in self.baselines.items()}}

    @property
    def source(self) -> str:
        return str((self.metrics.get("data") or {}).get("source", "unknown"))

    @cached_property
    def licensed(self) -> bool:
        """Whether anything says that the faces are licensed, or were, or nothing is known: then no face is shown."""
        return bool(licensed_by(self.folder)) or not self.metrics

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
    for name in [*(n for n in RELATIONS if n in found), *(n for n in found if n not in RELATIONS)]:
        metrics = _metrics(run, folder / name / "metrics.json")
        if metrics is not None:
            run.relations[name] = metrics
    for path in sorted(folder.glob("baselines/*/metrics.json")):
        metrics = _metrics(run, path)
        if metrics is not None and path.parent.name != "always_positive":  # every metrics.json has that floor
            run.baselines[path.parent.name] = metrics
    for name, path in {STEP1: folder / "step1_log.jsonl",
                       **{n: folder / n / "log.jsonl" for n in run.relations}}.items():
        rows = _log(run, path)
        if rows:
            run.logs[name] = rows
    run.photo = _json(run, folder / "photo" / "prediction.json")
    if (folder / "photo" / "overlay.png").is_file():
        run.overlay = (folder / "photo" / "overlay.png").read_bytes()
    run.notebooks = [p for p in sorted((folder / "notebooks").glob("*.ipynb")) if not p.name.endswith(".failed.ipynb")]
    times = _json(run, folder / "times.json") or _json(run, folder.parent / "times.json") or {}
    run.times = times if only_numbers(times) else {}
    _check_origin(run)
    return run


def _check_origin(run: Run) -> None:
    """Compare what was scored with the run's weights, faces, fold and seed; a DataError says which differs."""
    weights = run.folder / "step1.safetensors"
    if weights.exists() and data_record(run.folder) is None:
        run.problems.append(f"{NO_FINGERPRINT}.")
    for name, metrics in run.scored.items():
        relation, baseline = (name, None) if name in run.relations else (None, None)
        file = run.folder / "step1_metrics.json" if name == STEP1 else run.folder / name / "metrics.json"
        if is_baseline(name):
            baseline = name.removeprefix(BASELINE_FOLDER)
        said = {"relation": relation, "baseline": baseline, **{key: run.config.get(key) for key in ("fold", "seed")}}
        for key, value in said.items():
            if value is not None and metrics.get(key) not in (None, value):
                raise DataError(f"{file}: of {key} {metrics[key]}, but this is {key} {value}; evaluate it again")
        step2 = run.folder / name / "step2.safetensors"
        if relation and step2.exists() and weights.exists():  # numbers, settings and step 1 of what was trained
            compare(step2, load_tensors(step2)[1], origin(run.folder, relation), run.folder)
        elif name == STEP1 and weights.exists():
            compare(weights, load_tensors(weights)[1], origin(run.folder), run.folder)
        if run.config and weights.exists() and (not relation or step2.exists()):
            check_results(file, metrics, run.folder, relation, baseline)


def _json(run: Run, path: Path) -> dict | None:
    if not path.exists():
        return None
    try:
        return read_json(path)
    except DataError:
        run.problems.append(f"{path.name} of {path.parent.name} cannot be read and is left out.")
        return None


def _metrics(run: Run, path: Path) -> dict | None:
    value = _json(run, path)
    try:
        if value is None:
            return None
        _check(value)
        au, floor = value["outputs"]["au"], value["always_positive"]
        # older files count a floor of 0 where no label is known
        floor["f1"] = [None if f1 is None else least for least, f1 in zip(floor["f1"], au["f1"], strict=True)]
        for part, keys in ((floor, ["f1"]), *((value["outputs"][name], PER_AU) for name in OUTPUTS)):
            for key in keys:
                part[f"mean_{key}"] = mean_or_none(part[key])  # of all that stand beside each other the same mean
    except (AttributeError, KeyError, TypeError, ValueError):
        run.problems.append(f"{path.name} of {path.parent.name} lacks scores, or holds others than numbers, and is "
                            "left out.")
        return None
    return value


def _check(metrics: dict) -> None:
    """An error of some kind where a score, a count or what everybody reads in a metrics.json is none."""
    count = len(check_aus(metrics["aus"]))

    def scores(values, most: float = 100, many: bool = True) -> None:
        values = values if many else [values]
        if not isinstance(values, list) or len(values) != (count if many else 1):
            raise ValueError("one value per AU")
        if not all(v is None or (type(v) in (int, float) and 0 <= v <= most) for v in values):
            raise ValueError(f"values from 0 to {most}")

    floor = metrics.get("always_positive") or {}
    for part in [floor, *(metrics["outputs"][name] for name in OUTPUTS)]:
        for name in ("f1", "auc", "accuracy"):
            if name in part or (name == "f1" and part is not floor):
                scores(part[name])
            scores(part.get(f"mean_{name}"), many=False)
        for counts in [part.get("counts") or {}, *(part.get("per_subject") or {}).values()]:
            for values in counts.values():
                scores(values, 1e9)
    for part, names in ((metrics.get("landmarks") or {}, ("nme_percent", "failure_percent")),
                        (metrics, ("seconds", "parameters", "fold", "folds", "seed", "frames", "subjects"))):
        for name in names:
            scores(part.get(name), 1e15, many=False)
    if type((metrics.get("data") or {}).get("licensed", True)) is not bool:
        raise ValueError("licensed or not")


PER_AU = ("f1", "auc", "accuracy")


def only_numbers(value) -> bool:
    """Whether nested dicts and lists hold finite numbers and None, no text."""
    if isinstance(value, dict | list):
        return all(map(only_numbers, value.values() if isinstance(value, dict) else value))
    return value is None or (isinstance(value, int | float) and math.isfinite(value))


def _log(run: Run, path: Path) -> list[dict]:
    try:
        return read_log(path)
    except DataError:
        run.problems.append(f"{path.name} of {path.parent.name} cannot be read and is left out.")
        return []


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
            self.problems.append(f"In no mean and no comparison, as less was scored there: {_words(left)}.")
        if self.lacking:
            self.problems.append(self.footnote)

    @cached_property
    def cells(self) -> dict[tuple[int, int], Run]:
        """{(fold, seed): run}, of the runs in which something was evaluated."""
        return {(int(run.metrics.get("fold", 1)), int(run.metrics.get("seed", 0))): run
                for run in self.runs if run.scored}

    @cached_property
    def shared(self) -> list[tuple[int, int]]:
        """The cells that every mean and every comparison is over: those of whatever makes the most scores comparable.

        A failure leaves one thing without a score in one cell, which then has no mean (:attr:`lacking`); a grid that
        is half done has cells in which most is missing, and these are in no mean.
        """
        def scores(chosen: frozenset) -> tuple[int, int]:
            return len(chosen) * sum(chosen <= own for own in every), len(chosen)

        every = [frozenset(cell for cell, run in self.cells.items() if name in run.scored) for name in self.names]
        return sorted(max(every, key=scores, default=()))

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
            for key in path:
                value = None if value is None else value[key] if isinstance(value, list) else value.get(key)
            if value is not None and not math.isnan(value):
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


def load_grid(folder) -> Grid:
    """A grid folder (``fold<f>_seed<s>`` inside it), or one run folder as a grid of one.

    DataError when the folder is not there, or its runs are of different data.
    """
    folder = Path(folder)
    holder = Run(folder)
    record = _json(holder, folder / "grid.json") or {}
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
        if not run.config:
            continue
        mine = {key: value for key, value in settings(run.config).items() if key not in ("fold", "seed")}
        mine["faces"] = (data_record(run.folder) or {}).get("fingerprint")
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


def is_baseline(scored: str) -> bool:
    """Whether this one of :attr:`Grid.names` is a baseline."""
    return scored.startswith(BASELINE_FOLDER)


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
    parts = {cell: metrics["outputs"][output] for cell, metrics in grid.of(name).items()}
    try:
        found = nested_f1({cell: part["per_subject"] for cell, part in parts.items()}, au=au)
        if au is not None or not math.isnan(found.value):
            return found
    except (KeyError, ValueError):
        pass
    return unknown(grid.average(name, "outputs", output, *(["mean_f1"] if au is None else ["f1", au])))


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
                sides = [{cell: m["outputs"][output].get("per_subject") or {} for cell, m in grid.of(n).items()}
                         for n in (name, control)]
                try:
                    rows.append((control, name, output, nested_gain(*sides)))
                except (TypeError, ValueError):
                    grid.problems.append(f"{name_of(name)} and {name_of(control)} were not scored on the same people: "
                                         "no gain is given.")
    rows = [row for row in rows if not math.isnan(row[3].value)]
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
