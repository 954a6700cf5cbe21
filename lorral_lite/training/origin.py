"""What a run was made of, kept so that whatever opens it compares first: faces, people of the fold, settings, weights.

    data.json                                faces: fingerprint, recipe, checksums; the people trained on and tested on
    step1.safetensors, step1_resume, …       metadata: data (the fingerprint), settings, and of step 2: step1
    metrics.json, predictions.safetensors    data, weights
    (data and weights are checksums; settings one of config.json, without where the faces lie and the threads)

A run that has no data.json was made before runs knew their faces: it opens with one line and nothing is added to it.
"""

import hashlib
import json
import os
import sys
from functools import cache
from pathlib import Path

from ..datasets.folds import fold_rows
from ..datasets.prepared import PreparedFolder, open_prepared
from ..files import DataError, read_json, read_metadata, write_json

RECORD = "data.json"
NO_FINGERPRINT = "no fingerprint: made before runs knew their faces, so nothing of it can be compared"
MADE = {"data": "of other faces than {}", "settings": "with other settings than {}",
        "step1": "on another step 1 than {}", "weights": "by other weights than {}"}
KEPT = {"fingerprint": str, "sha256": dict, "source": str, "fold": list, "train": list, "test": list}
"""What every record says, and of which type."""
RECIPE = ("profile", "difficulty", "relation_strength", "structure", "hidden")
"""What of a population fixes its faces, beside the numbers of people and frames, the size and the seed."""


def digest(value) -> str:
    """16 hexadecimal digits that differ where JSON values do."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def settings(config: dict) -> dict:
    """Of a config.json what decides the result up to rounding: all but where the faces lie and the CPU's threads."""
    return {name: value for name, value in config.items() if name not in ("data", "threads")}


# ------------------------------------------------------------------------------------------------------------ the faces


def stored_path(data, run) -> str:
    """Where the faces lie as seen from ``run``, so that both can be moved together and be read from anywhere; below
    the home folder, when ``run`` is not, as ``~/…``."""
    data, run, home = Path(data).absolute(), Path(run).resolve(), Path.home()
    data = data.parent.resolve() / data.name
    if data.is_relative_to(home) and not run.is_relative_to(home):
        return "~/" + data.relative_to(home).as_posix()
    return Path(os.path.relpath(data, run)).as_posix() if data.anchor == run.anchor else str(data)


def found_path(stored: str, run) -> str:
    """The path that :func:`stored_path` made, as seen from here."""
    from_run = Path(os.path.normpath(Path(run).resolve() / Path(stored).expanduser()))
    here = Path.cwd()
    return str(from_run.relative_to(here) if from_run.is_relative_to(here) else from_run)


def faces_of(run, config: dict) -> str:
    """Where the faces of a run lie, seen from here: a config.json without a record beside it has the path as typed."""
    stored = str(config.get("data", ""))
    return stored if data_record(run) is None else found_path(stored, run)


def data_record(run) -> dict | None:
    """What a run keeps of its faces; None where it was made before runs knew them."""
    path = Path(run) / RECORD
    record = read_json(path) if path.exists() else {}
    if not record.get("fingerprint"):
        return None
    for name, kind in KEPT.items():
        if not isinstance(record.get(name), kind):
            raise DataError(f"{path}: {name} is {record.get(name)!r:.40}; restore it, or begin a new run folder")
    return record


@cache
def say_no_fingerprint(run: Path) -> None:
    """One line, once."""
    print(f"{run}: {NO_FINGERPRINT}", file=sys.stderr)


def open_fold(run, config) -> tuple[PreparedFolder, "np.ndarray", "np.ndarray"]:  # noqa: F821
    """(prepared folder, training rows, test rows) of a run. DataError when its faces are not those that the model
    reads, not those that the run knows, not those that were prepared, or the fold has other people than it had."""
    run, model = Path(run), config.model
    if not Path(config.data).exists() and data_record(run):
        raise DataError(f"{config.data}: the faces of {run} are not there; say once where they are now: "
                        f"lorral train FOLDER {run}")
    folder = open_prepared(config.data)
    if folder.size != model.frame_size or folder.aus != model.aus:
        raise DataError(f"{folder.path}: faces of {folder.size} px with AUs {folder.aus}, but this model reads "
                        f"{model.frame_size} px with AUs {model.aus}; prepare again with --size {model.frame_size}")
    record = check_faces(run, folder)
    if record is None and (run / "step1.safetensors").exists():
        say_no_fingerprint(run)
    folder.check_checksums()
    rows, test = fold_rows(folder, config.fold, config.folds)
    fold = people_of(config, folder, rows, test)
    if record and record.get("fold") == fold["fold"] and record != {**record, **fold}:
        raise DataError(f"{run / RECORD}: fold {config.fold} of {folder.path} has other people than the run had; "
                        "choose another run folder")
    return folder, rows, test


def check_faces(run: Path, folder: PreparedFolder) -> dict | None:
    """The run's record; DataError when ``folder`` holds other faces, landmarks, labels or people than it says."""
    record = data_record(run)
    if record and record["fingerprint"] != folder.fingerprint:
        kept, here = record.get("sha256", {}), folder.meta["sha256"]
        names = [name for name in here if kept.get(name) != here[name]]
        raise DataError(f"{folder.path}: not the faces of {run}: {', '.join(names) or 'its AUs'} differ (fingerprint "
                        f"{folder.fingerprint}, the run's is {record['fingerprint']}); put those back, or choose "
                        "another run folder")
    return record


def people_of(config, folder: PreparedFolder, rows, test) -> dict:
    """The fold as a record keeps it: {fold: [its number, of how many], train, test: names}."""
    names = {name: sorted(set(map(str, folder.subjects[mine]))) for name, mine in (("train", rows), ("test", test))}
    return {"fold": [config.fold, config.folds], **names}


def write_record(run, config, folder: PreparedFolder, rows, test) -> None:
    """Keep the faces and the fold's people in ``run``, once. DataError when weights are there that lack them."""
    run = Path(run)
    if (run / "meta.json").exists():
        raise DataError(f"{run}: a prepared folder; name another folder for the run")
    if data_record(run):
        return
    for name in ("step1.safetensors", "step1_resume.safetensors"):
        if (run / name).exists():
            raise DataError(f"{run / name}: {NO_FINGERPRINT}; begin a new run folder")
    meta, population = folder.meta, folder.meta.get("population") or {}
    kept = {name: meta[name] for name in ("source", "licensed", "seed", "subjects", "frames", "size", "aus", "sha256")
            if name in meta}
    write_json(run / RECORD, {"fingerprint": folder.fingerprint, **kept,
                              "population": {name: population[name] for name in RECIPE if name in population},
                              **people_of(config, folder, rows, test)})


# ---------------------------------------------------------------------------------------- weights, and after them


def origin(run, relation: str | None = None) -> dict:
    """What the weights of a step are to be made of: {data, settings, and with a relation step1}, as the run says."""
    run = Path(run)
    record, decided = data_record(run), settings(read_json(run / "config.json"))
    if record and record["fold"] != (fold := [decided.get("fold"), decided.get("folds")]):
        raise DataError(f"{run / RECORD}: of fold {record['fold']}, but its config.json is of fold {fold} ([which, of "
                        "how many]); restore the one that is not of this run")
    found = {"data": record and record["fingerprint"], "settings": digest(decided)}
    if relation is not None:
        own = read_json(run / relation / "config.json")
        found["settings"] = digest([decided, {name: own.get(name) for name in ("relation", "options")}])
        found["step1"] = read_metadata(run / "step1.safetensors").get("sha256")
    return found


def compare(path: Path, found: dict, wanted: dict, beside: Path) -> None:
    """DataError when ``path`` says that it was made of something else than ``wanted``, which ``beside`` holds."""
    there = found.get("data")
    if there is None and wanted["data"] is None:
        return  # both from before
    if there is None or wanted["data"] is None:
        raise DataError(f"{beside if there else path}: {NO_FINGERPRINT}, nor mixed with newer files; begin a "
                        "new run folder")
    for name, value in wanted.items():
        if found.get(name) != value:
            raise DataError(f"{path}: made {MADE[name].format(beside)} ({str(found.get(name))[:16]}, not "
                            f"{str(value)[:16]}); restore the one or make the other again")


def weights_id(run, relation: str | None = None) -> str:
    """What tells the weights of a model from all others: of its step 1, and of its step 2 with a relation."""
    run = Path(run)
    files = [run / "step1.safetensors", *([run / relation / "step2.safetensors"] if relation else [])]
    return digest([read_metadata(file).get("sha256") for file in files])


def results_of(run, relation: str | None = None, baseline: str | None = None) -> dict:
    """{data, weights} that metrics and predictions are to carry: of a model of the run, or of a named baseline; None
    where the run was made before runs knew their faces."""
    made = origin(run)
    if made["data"] is None:
        return {"data": None, "weights": None}
    weights = digest([baseline, made]) if baseline else weights_id(run, relation)
    return {"data": made["data"], "weights": weights}


def check_results(metrics_file: Path, metrics: dict, run, relation: str | None = None, baseline=None) -> None:
    """DataError when metrics, or the predictions beside them, are not of the weights and the faces of their run."""
    wanted = results_of(run, relation, baseline)
    predictions = metrics_file.with_name(metrics_file.name.replace("metrics.json", "predictions.safetensors"))
    found = {"data": (metrics.get("data") or {}).get("fingerprint"), "weights": metrics.get("weights")}
    compare(metrics_file, found, wanted, Path(run))
    if predictions.exists():
        compare(predictions, read_metadata(predictions), wanted, Path(run))
