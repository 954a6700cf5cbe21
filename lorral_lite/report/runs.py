"""What lies in one run folder, read and checked: a figure that is not of this run's weights and faces is a DataError, a
file that is missing or broken is left out and named.

Nothing here trains or predicts: every figure comes from the ``metrics.json`` files.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..datasets.licensed_faces import licensed_by
from ..facs import check_aus
from ..files import DataError, is_of, load_tensors, read_json, read_log
from ..measure.metrics import mean_or_none
from ..model.relations import RELATIONS
from ..training.config import RunConfig
from ..training.origin import NO_FINGERPRINT, check_results, compare, data_record, origin, results_of

OUTPUTS = {"local": "local output", "au": "AU output"}
STEP1 = "step 1"
BASELINE_FOLDER = "baselines/"
"""Baselines have a folder of their own in a run; the names of what was scored there start with it."""


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


def is_baseline(scored: str) -> bool:
    """Whether this one of :attr:`Grid.names` is a baseline."""
    return scored.startswith(BASELINE_FOLDER)


def load_runs(run_folder) -> Run:
    """Read a run folder: step1_metrics.json, every relation's metrics.json, logs, photograph, notebooks, times.

    A folder that does not exist is a DataError; files that are missing or broken inside it are not.
    """
    folder = Path(run_folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such run folder; make one with `lorral train` or `lorral reproduce`")
    run = Run(folder)
    run.config = read_json_or_say(run, folder / "config.json") or {}
    try:
        run.config = RunConfig.from_dict(run.config).to_dict() if run.config else {}
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        run.config = {}
        run.problems.append(f"config.json of {folder.name} is not that of a run and is left out.")
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
    if (folder / "meta.json").exists():
        raise DataError(f"{folder}: a prepared folder; name a run folder, which `lorral train` makes of it")
    run.photo = read_json_or_say(run, folder / "photo" / "prediction.json", nme_percent=float, photo=str,
                                 reason=str)
    if (folder / "photo" / "overlay.png").is_file():
        run.overlay = (folder / "photo" / "overlay.png").read_bytes()
    run.notebooks = [p for p in sorted((folder / "notebooks").glob("*.ipynb")) if not p.name.endswith(".failed.ipynb")]
    times = read_json_or_say(run, folder / "times.json") or read_json_or_say(run, folder.parent / "times.json") or {}
    run.times = {part: seconds for part, seconds in times.items() if is_of(seconds, float) and seconds >= 0}
    if len(run.times) < len(times):
        run.problems.append("times.json holds something else than seconds, which is left out.")
    _check_origin(run)
    return run


def faces_of(metrics: dict) -> str | None:
    """The fingerprint of the faces that something was scored on, None where that is not known."""
    return (metrics.get("data") or {}).get("fingerprint")


def _check_origin(run: Run) -> None:
    """Compare what was scored with the run's weights, faces, fold and seed; a DataError says which differs."""
    weights = run.folder / "step1.safetensors"
    if weights.exists() and data_record(run.folder) is None:
        run.problems.append(f"{NO_FINGERPRINT}.")
    faces = (data_record(run.folder) or {}).get("fingerprint")
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
        if faces is None and name == next(iter(run.scored)):
            faces = faces_of(metrics)
        if faces_of(metrics) != faces:  # also where no weights are left
            raise DataError(f"{file}: scored on other faces than the rest of this run ({faces_of(metrics)}, not "
                            f"{faces}); evaluate it again, or remove it")
    if run.photo and weights.exists():
        models = [None, *(name for name in run.relations if (run.folder / name / "step2.safetensors").exists())]
        made = {name: run.photo.get(name) for name in ("data", "weights")}
        if made not in [results_of(run.folder, model) for model in models]:
            raise DataError(f"{run.folder / 'photo'}: predicted by other weights than those that are here; remove it, "
                            "or restore them")


def read_json_or_say(run: Run, path: Path, **kinds) -> dict | None:
    """A file of a run folder, None where it is missing, or broken, which becomes a problem. ``kinds`` are the types of
    values that may be missing or null."""
    if not path.exists():
        return None
    try:
        value = read_json(path)
        if all(is_of(value.get(name), kind | None) for name, kind in kinds.items()):
            return value
        raise DataError("a value of another type")
    except DataError:
        run.problems.append(f"{path.name} of {path.parent.name} cannot be read and is left out.")
        return None


def _metrics(run: Run, path: Path) -> dict | None:
    value = read_json_or_say(run, path)
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
    if not all(isinstance(metrics.get(name), dict | None) for name in ("always_positive", "landmarks", "data")):
        raise ValueError("no object")

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
                        (metrics, ("seconds", "parameters", "fold", "folds", "seed", "frames", "subjects",
                                  "train_frames", "train_subjects"))):
        for name in names:
            scores(part.get(name), 1e15, many=False)
    if type((metrics.get("data") or {}).get("licensed", True)) is not bool:
        raise ValueError("licensed or not")


PER_AU = ("f1", "auc", "accuracy")


def _log(run: Run, path: Path) -> list[dict]:
    try:
        return read_log(path)
    except DataError:
        run.problems.append(f"{path.name} of {path.parent.name} cannot be read and is left out.")
        return []
