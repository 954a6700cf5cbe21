"""``lorral reproduce``: a grid of cells from data to report in one command, and again only what is missing.

data → for each cell (fold, seed): step 1 → step 2 for every relation → baselines → photograph → notebooks → report.
"""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from ..datasets.bp4d import bp4d
from ..datasets.checking import describe
from ..datasets.disfa import disfa
from ..datasets.folds import fold_rows
from ..datasets.licensed_faces import is_licensed, licensed_by
from ..datasets.prepared import PreparedFolder, open_prepared
from ..datasets.preparing import prepare_sequences
from ..datasets.source import Source, is_stand_in
from ..datasets.synthetic import prepare_faces
from ..datasets.writing import keep_private
from ..facs import AU_SETS
from ..files import DataError, load_tensors, only_one, read_json, save_tensors, without_paths, write_json, write_text
from ..model.relations import RELATIONS
from ..output import plain
from ..report.model_card import SVM, model_card
from ..report.results import load_runs
from ..report.write import write_report
from ..training.config import RunConfig
from ..training.jobs import CLUSTERS, need_submitit
from ..training.origin import NO_FINGERPRINT, RECORD, data_record, stored_path
from ..training.run_folder import read_run_config
from .cell import NOTEBOOKS, ONCE, PROFILES, Cell, Plan, notebooks_folder, stopwatch
from .cost import Cost, cost_of_cell, measure
from .jobs import devices, one_after_the_other, through_submitit

DATA = ("faces", "bp4d", "disfa")

FACES = {"subjects": 90, "frames": 50}
"""How many people are drawn, and faces of each."""

FACES_SEED = 0
"""All seeds of a grid train on the same people; ``lorral prepare faces --seed`` draws others."""

USUAL = {"profile": "bp4d", "difficulty": "default", "relation_strength": 1.0, "structure": "real", "hidden": []}
"""Of which population they are, as meta.json says."""

SHIP_LIMIT = 8_000_000
"""Bytes of everything that :func:`publish` copies."""


def reproduce(out=None, data: str = "faces", root=None, profile: str = "smoke", *, folds=None, seeds=None,
              relations=None, subjects: int | None = None, frames: int | None = None, notebooks: bool = True,
              threads: int | None = None, cluster: str | None = None, partition: str | None = None,
              hours: float | None = None, device=None,
              progress: bool = True, say: Callable[[str], None] = print) -> list[str]:
    """Do the cells of a profile (:data:`.cell.PROFILES`) in the folder ``out``; returns a line per failure.

    data: "faces" draws ``subjects`` × ``frames`` procedural faces; "bp4d" and "disfa" are prepared from ``root`` with
        the paper's defaults. ``root`` may be a prepared folder, of drawn faces too, which is then used as it is.
    folds, seeds, relations: only these; by default those of the profile, and every relation.
    device: one name, or several with commas: as many cells then run side by side; default: every GPU, else the CPU.
    threads: of the CPU for each training; default: each run takes what is faster when it begins, and keeps it (D105).
    cluster: "slurm" or "local" gives the cells to submitit, with ``partition`` and at most ``hours`` for each.

    Every part that is there already is left as it is. A cell that fails leaves ``failed.ipynb`` in its run folder while
    the others go on. ValueError (DataError) for what cannot be done at all, before anything is computed.
    """
    plan = make_plan(out, data, root, profile, folds, seeds, relations, subjects, frames, notebooks, threads)
    if cluster is None and (partition or hours):
        raise ValueError("--partition and --hours go with --cluster")
    if cluster == "local" and partition:
        raise ValueError("--partition goes with --cluster slurm")
    if cluster is not None and cluster not in CLUSTERS:
        raise ValueError(f"cluster must be one of {', '.join(CLUSTERS)}, got {cluster!r}")
    names = [device] if cluster == "slurm" else devices(device)  # Slurm's nodes have other devices than this machine
    if cluster == "slurm" and device not in (None, "cpu"):
        raise ValueError("--device with --cluster slurm is cpu, or left out for a GPU a job")
    for value in (str(plan.out.absolute()), partition or ""):
        if cluster == "slurm" and plain(value) != value:  # a line break would be a line of the job script
            raise ValueError(f"--cluster slurm: {plain(value)} holds a character that is not seen; choose another name")
    if cluster:
        need_submitit(cluster)
    if notebooks:
        notebooks_folder()  # say now, not after the training, that there are none
    source = find_data(plan, root, subjects, frames)
    if root and isinstance(source, PreparedFolder) and source.path != Path(root):
        say(f"{source.path}: prepared already; {root} is not read again")
    say_cost(plan, source, subjects, frames, None if cluster == "slurm" else names[0], len(names), say)
    with only_one(plan.out, "reproducing"):
        if Path(plan.config.data).exists():
            source = find_data(plan, root, subjects, frames)  # another process may have finished meanwhile
        return do(plan, source, subjects, frames, names, cluster, partition, hours, progress, say)


def do(plan: Plan, source, subjects, frames, names, cluster, partition, hours, progress: bool, say) -> list[str]:
    """Prepare what is not there, then do the cells that are missing; returns a line per failure."""
    if is_licensed(source) if isinstance(source, PreparedFolder) else plan.data != "faces":
        keep_private(plan.out)
    plan.write()
    if not isinstance(source, PreparedFolder):
        with stopwatch(plan.out / "times.json", say)(f"prepare {plan.data}"):
            prepare(plan, source, subjects, frames, names[0], progress, say)
    left = [cell for cell in plan.cells if plan.missing(cell)]
    for cell in plan.cells:
        if cell not in left:
            (plan.run(cell) / "failed.ipynb").unlink(missing_ok=True)  # what it said was repeated elsewhere
            say(f"{cell.name} is there already")
    if not left and len(plan.cells) == 1:
        left = list(plan.cells)  # its report is written anew
    if cluster:
        ends = through_submitit(plan, left, cluster, names, partition, hours or 24, say)
    elif min(len(names), len(left)) > 1:
        ends = through_submitit(plan, left, "local", names, None, 24 * 365, say)
    else:
        ends = one_after_the_other(plan, left, names[0], progress, say)
    failures, running = [], set(left)
    for cell, failure in ends:
        running.discard(cell)
        if failure:
            failures.append(failure)
            say(f"FAILED {failure}")
        if not any(other.fold == cell.fold for other in running):
            report(plan, failures, say)
    if not left:
        report(plan, failures, say)
    return failures


def make_plan(out, data, root, profile, folds=None, seeds=None, relations=None, subjects=None, frames=None,
              notebooks=True, threads=None) -> Plan:
    """The plan that a reader asks for; ValueError when its parts do not go together."""
    if data not in DATA:
        raise ValueError(f"data must be one of {', '.join(DATA)}, got {data!r}")
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
    if (subjects or frames) and (data != "faces" or root):
        raise ValueError("--subjects and --frames go with faces that are drawn here, not with a ROOT or a data set")
    recipe, all_folds, all_seeds = PROFILES[profile]
    folds, seeds = (tuple(dict.fromkeys(given or usual)) for given, usual in ((folds, all_folds), (seeds, all_seeds)))
    if not set(folds) <= {1, 2, 3} or min(seeds) < 0:
        raise ValueError("a fold is 1, 2 or 3, and a seed is 0 or more")
    out = Path(out or f"runs/{data}")
    where = Path(root) if root and is_prepared(root) else out / "data"
    aus = open_prepared(where).aus if is_prepared(where) else AU_SETS["bp4d" if data == "faces" else data]
    config = getattr(RunConfig, recipe)(where, aus, threads=threads)
    words = ["lorral", "reproduce", *([str(root)] if root else []), "--data", data, "--profile", profile,
             "--out", str(out)]
    for name, values in (("fold", folds if folds != all_folds else ()), ("seed", seeds if seeds != all_seeds else ()),
                         ("relation", relations or ()), ("subjects", [subjects] if subjects else []),
                         ("frames", [frames] if frames else []), ("threads", [threads] if threads else [])):
        words += [f"--{name}", *map(str, values)] if values else []
    tour = data == "faces" and profile == "smoke"  # what says the same in every cell, or is about drawn faces
    books = [name for name in NOTEBOOKS if name not in ONCE or tour] if notebooks else []
    return Plan(out, data, profile, config, tuple(Cell(fold, seed) for fold in folds for seed in seeds),
                tuple(relations or RELATIONS), notebooks=tuple(books), photograph=tour,
                command=without_paths(shlex.join(words)))


# ------------------------------------------------------------------------------------------------------------ the data


def is_prepared(folder) -> bool:
    """Whether a folder is a prepared one."""
    return (Path(folder) / "meta.json").is_file()


def find_data(plan: Plan, root, subjects=None, frames=None) -> PreparedFolder | Source | None:
    """What the cells learn from: the prepared folder where it is there, else what was found below ``root``, or None for
    faces to be drawn. DataError for data other than the plan's."""
    where = Path(plan.config.data)
    if not where.exists():
        if plan.data == "faces":
            if root:
                raise DataError(f"{root}: no prepared folder; leave ROOT out to draw faces")
            return None
        if not root:
            raise DataError(f"name the folder of your copy: lorral reproduce --data {plan.data} ROOT "
                            f"(or the folder that `lorral prepare {plan.data}` made)")
        if not Path(root).is_dir():
            raise DataError(f"{root}: no such folder")
        return bp4d(root) if plan.data == "bp4d" else disfa(root)
    folder = open_prepared(where)
    there = folder.meta
    if there["source"] != plan.data:
        raise DataError(f"{where}: prepared from {there['source']}, not from {plan.data}; choose another --out or ROOT")
    size = plan.config.model.frame_size
    if folder.size != size:
        raise DataError(f"{where}: faces of {folder.size} px, but the profile {plan.profile} reads {size} px; choose "
                        f"another --out, or prepare with --size {size}")
    if root and where != Path(root):
        if plan.data == "faces":
            raise DataError(f"{root}: no prepared folder; leave ROOT out to draw faces")
        if bool(there.get("stand_in")) != is_stand_in(root):
            raise DataError(f"{where}: prepared from {'a stand-in' if there.get('stand_in') else 'real faces'}, which "
                            f"{root} is not; choose another --out")
    if plan.data == "faces" and not root:
        people = subjects or FACES["subjects"]
        asked = {"subjects": people, "frames": people * (frames or FACES["frames"]), "seed": FACES_SEED}
        drawn = there.get("population") or {}
        other = [f"{key} {drawn[key]}" for key, value in USUAL.items() if drawn.get(key, value) != value]
        if other or any(there.get(key) != value for key, value in asked.items()):
            raise DataError(f"{where}: holds {there.get('subjects')} subjects, {there['frames']} frames of seed "
                            f"{', '.join([str(there.get('seed')), *other])}, not what was asked for; choose another "
                            "--out")
    return folder


def prepare(plan: Plan, source: Source | None, subjects, frames, device, progress: bool, say) -> None:
    """Draw faces, or prepare what was found of a licensed data set with the paper's defaults, into OUT/data."""
    where, size = plan.config.data, plan.config.model.frame_size
    if source is None:
        prepare_faces(where, subjects or FACES["subjects"], frames or FACES["frames"], size, seed=FACES_SEED,
                      device=device, progress=progress)
        return
    describe(source, say)
    prepare_sequences(where, source.root, source.sequences, size, source.aus, source.meta, progress=progress, say=say)


def say_cost(plan: Plan, source, subjects, frames, device, devices: int, say) -> None:
    """Print disk and hours of what is missing, measured here; DataError when the disk is too full."""
    left = [cell for cell in plan.cells if any(name.endswith("metrics.json") for name in plan.missing(cell))]
    if not left:
        return
    if isinstance(source, PreparedFolder):
        rows = [tuple(map(len, fold_rows(source, cell.fold))) for cell in left]
        data = 0
    else:
        count = ((subjects or FACES["subjects"]) * (frames or FACES["frames"]) if source is None else
                 sum(sequence.rows for sequence in source.sequences))
        rows = [(count - count // 3, count // 3)] * len(left)
        data = count * (3 * plan.config.model.frame_size**2 + 8 * 49 + len(plan.config.model.aus) + 20)
    say("measuring a few batches, at most a minute")
    speed = measure(plan.config, plan.relations, device)
    costs = [cost_of_cell(plan, cell, speed, *counts) for cell, counts in zip(left, rows, strict=True)]
    side = min(devices, len(left))
    total = Cost(data + sum(cost.bytes for cost in costs), sum(cost.seconds for cost in costs))
    folder = next(p for p in (plan.out.absolute(), *plan.out.absolute().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    line = (f"{len(left)} of {len(plan.cells)} cells to go: {total.bytes / 1e9:.2f} GB of disk ({free / 1e9:.0f} GB "
            f"free), about {total.seconds / 3600 / side:.2f} hours")
    line += f" on {side} devices" if side > 1 else ""
    if total.bytes > free:
        raise DataError(f"{plan.out}: {line}; free some space or choose another folder")
    say(f"{line}, measured here; preparing faces, notebooks and fitting the SVM are not in it")


def report(plan: Plan, failures: list[str], say) -> None:
    """Report the grid so far, a single cell's own report; one that cannot be written is one failure more."""
    page = (plan.out if len(plan.cells) > 1 else plan.run(plan.cells[0])) / "report.html"
    try:
        if len(plan.cells) > 1:
            write_report(plan.out, page, command=plan.command)
    except (ValueError, OSError) as error:
        failures.append(f"report: {error}")
        say(f"FAILED {failures[-1]}")
    if page.exists():
        say(f"report: {page}")


def publish(run, to) -> None:
    """Copy what of a run ships with the package: weights, configs, logs, metrics, predictions without landmarks, what
    the faces were drawn from (``data.json``), and the model card (``README.md``). No path of this machine is among it.

    DataError for faces that are licensed or were (:func:`lorral_lite.datasets.licensed_faces.licensed_by`), or were not
    drawn here, an unfinished run, or more than 8 MB; what ships already then stays.
    """
    run, to = Path(run), Path(to)
    if said := licensed_by(run):
        raise DataError(f"{run}: trained on licensed faces ({said} says so); such weights are not published")
    load_runs(run)  # all of it is of one kind
    config, record = read_run_config(run), data_record(run)
    if record is None:
        raise DataError(f"{run}: {NO_FINGERPRINT}; train it again to publish it")
    if (source := record.get("source")) != "faces":
        raise DataError(f"{run}: trained on faces from {source}; only weights of drawn faces are published")
    names = ["config.json", RECORD, *[f"step1{end}" for end in (".safetensors", "_log.jsonl", "_metrics.json",
                                                        "_predictions.safetensors")]]
    for relation in RELATIONS:
        if (run / relation / "metrics.json").exists():
            names += [f"{relation}/{name}" for name in ("config.json", "step2.safetensors", "log.jsonl", "metrics.json",
                                                        "predictions.safetensors")]
    if (run / SVM / "metrics.json").exists():
        names.append(f"{SVM}/metrics.json")
    if missing := [name for name in names if not (run / name).exists()]:
        raise DataError(f"{run / missing[0]}: missing; finish the run first")
    with only_one(to, "publishing"):
        _publish(run, to, config, names, to.with_name(f".{to.name}.partial"))


def _publish(run: Path, to: Path, config: RunConfig, names: list[str], partial: Path) -> None:
    new = partial / to.name
    shutil.rmtree(partial, ignore_errors=True)  # of one that was stopped
    try:
        for name in names:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("predictions.safetensors"):
                tensors, made = load_tensors(run / name)
                save_tensors(new / name, {k: v for k, v in tensors.items() if "landmarks" not in k}, made)
            elif name.endswith("config.json"):
                write_text(new / name, without_paths((run / name).read_text(encoding="utf8")))
            else:
                shutil.copyfile(run / name, new / name)
        ours = [Path(place).resolve().is_relative_to(Path.cwd()) for place in (config.data, to)]  # else: the name alone
        data = stored_path(config.data, to) if all(ours) else Path(config.data).name
        write_json(new / "config.json", {**read_json(run / "config.json"), "data": data})
        (new / "README.md").write_text(model_card(new), encoding="utf8")
        if (size := sum(path.stat().st_size for path in new.rglob("*") if path.is_file())) > SHIP_LIMIT:
            raise DataError(f"{to}: {size:,} bytes, more than the {SHIP_LIMIT:,} that may ship; publish a smaller "
                            "model")
        shutil.rmtree(to, ignore_errors=True)
        new.replace(to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
