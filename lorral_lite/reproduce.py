"""``lorral reproduce``: the whole way in one command, and again only what is missing.

faces → step 1 → step 2 for every relation → evaluation → notebooks → one real photograph → report.
"""

import shutil
import time
from contextlib import contextmanager
from pathlib import Path

from .datasets import DataError
from .datasets.prepared import open_prepared
from .datasets.synthetic import prepare_faces
from .model_card import data_record, model_card
from .predict import portrait_file, predict_photo
from .relations import RELATIONS
from .reporting import write_report
from .run_folder import RunConfig, load_model, load_tensors, read_json, read_run_config, save_tensors, write_json
from .training import evaluate, train_step1, train_step2

NOTEBOOKS = ("08_losses_and_two_step_training", "09_evaluation", "10_ablation_do_relations_help")
"""Executed with papermill on the finished run, which each takes as its parameter ``run``."""

PHOTO_RELATION = "self_attention"

SHIP_LIMIT = 8_000_000
"""Bytes of everything that :func:`publish` copies."""


def reproduce(out="runs/faces", subjects: int = 90, frames: int = 50, fold: int = 1, seed: int = 0,
              relations=None, notebooks: bool = True, device=None, progress: bool = True, say=print) -> Path:
    """Run the main job on procedural faces in the folder ``out``; returns the report's path.

    ``subjects`` × ``frames`` faces are prepared once; step 1 is trained once, step 2 for each of ``relations`` (all by
    default: the control without relation but with the same extra epochs, the MLP control, and the modules).
    Every part that is there already is left as it is. Seconds of each part are kept in ``times.json``.
    """
    out = Path(out)
    data, run = out / "data", out / f"fold{fold}_seed{seed}"
    relations = tuple(RELATIONS) if relations is None else tuple(relations)
    if notebooks:
        notebooks_folder()  # say now, not after the training, that there are none
    command = f"lorral reproduce --out {out} --subjects {subjects} --frames {frames} --fold {fold} --seed {seed}"
    times = read_json(out / "times.json") if (out / "times.json").exists() else {}

    @contextmanager
    def part(name: str):
        say(f"· {name}")
        started = time.perf_counter()
        yield
        times[name] = round(time.perf_counter() - started, 1)
        write_json(out / "times.json", times)
        say(f"  {times[name]:.0f} s")

    if not data.exists():
        with part("prepare faces"):
            prepare_faces(data, subjects, frames, seed=seed, device=device, progress=progress)
    folder = open_prepared(data)
    asked, there = {"subjects": subjects, "frames": subjects * frames, "seed": seed}, folder.meta
    if any(there.get(key) != value for key, value in asked.items()):
        raise DataError(f"{data}: holds {there['subjects']} subjects, {there['frames']} frames of seed "
                        f"{there.get('seed')}, not what was asked for; choose another --out")
    wanted = RunConfig.lite(data, folder.aus, fold=fold, seed=seed)
    if not (run / "step1_metrics.json").exists():
        with part("step 1"):
            train_step1(run, wanted, device, progress)
            evaluate(run, None, device, progress)
    for relation in relations:
        if not (run / relation / "metrics.json").exists():
            with part(f"step 2, {relation}"):
                train_step2(run, relation, device, progress)
                evaluate(run, relation, device, progress)
    photo = run / "photo"
    if not (photo / "prediction.json").exists():
        with part("photograph"):
            relation = PHOTO_RELATION if PHOTO_RELATION in relations else relations[0]
            prediction = predict_photo(load_model(run, relation, device), portrait_file(), photo)
            say(f"  {prediction.line}")
    if notebooks:
        for name in NOTEBOOKS:
            if not (run / "notebooks" / f"{name}.ipynb").exists():
                with part(f"notebook {name}"):
                    execute_notebook(name, run / "notebooks", {"run": str(run.resolve())}, progress)
    with part("report"):
        report = write_report(run, run / "report.html", command=command)
    say(f"report: {report}")
    return report


def publish(run, to) -> None:
    """Copy what of a run ships with the package: weights, configs, logs, metrics, predictions without landmarks, what
    the faces were drawn from (``data.json``), and the model card (``README.md``).

    DataError for licensed faces, an unfinished run, or more than 8 MB.
    """
    run, to = Path(run), Path(to)
    if read_json(run / "step1_metrics.json")["data"]["licensed"]:
        raise DataError(f"{run}: trained on licensed faces; such weights are not published")
    data = open_prepared(read_run_config(run).data).meta
    names = ["config.json", *[f"step1{end}" for end in (".safetensors", "_log.jsonl", "_metrics.json",
                                                        "_predictions.safetensors")]]
    for relation in RELATIONS:
        if (run / relation / "metrics.json").exists():
            names += [f"{relation}/{name}" for name in ("config.json", "step2.safetensors", "log.jsonl", "metrics.json",
                                                        "predictions.safetensors")]
    if missing := [name for name in names if not (run / name).exists()]:
        raise DataError(f"{run / missing[0]}: missing; finish the run first")
    shutil.rmtree(to, ignore_errors=True)
    for name in names:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("predictions.safetensors"):
            tensors, _ = load_tensors(run / name)
            save_tensors(to / name, {k: v for k, v in tensors.items() if "landmarks" not in k})
        else:
            shutil.copyfile(run / name, to / name)
    write_json(to / "data.json", data_record(data))
    (to / "README.md").write_text(model_card(to), encoding="utf8")
    if (size := sum(path.stat().st_size for path in to.rglob("*") if path.is_file())) > SHIP_LIMIT:
        raise DataError(f"{to}: {size:,} bytes, more than the {SHIP_LIMIT:,} that may ship; publish a smaller model")


def notebooks_folder() -> Path:
    """The folder of the numbered notebooks: beside the package in a clone, else in the current folder."""
    for folder in (Path(__file__).parents[1] / "notebooks", Path("notebooks")):
        if folder.is_dir():
            return folder
    raise DataError("notebooks: no such folder here; run this in a clone of the repository")


def execute_notebook(name: str, out: Path, parameters: dict, progress: bool = True) -> Path:
    """Execute a notebook with papermill into ``out``. A failure leaves ``<name>.failed.ipynb`` and is a DataError."""
    import papermill

    source = notebooks_folder() / f"{name}.ipynb"
    if not source.exists():
        raise DataError(f"{source}: no such notebook")
    out.mkdir(parents=True, exist_ok=True)
    target, failed = out / f"{name}.ipynb", out / f"{name}.failed.ipynb"
    unknown = set(parameters) - set(papermill.inspect_notebook(str(source)))
    if unknown:
        raise DataError(f"{source}: has no parameter {min(unknown)}")
    try:
        papermill.execute_notebook(str(source), str(failed), parameters, progress_bar=progress, log_output=False,
                                   cwd=str(source.parent), kernel_name="python3")
    except papermill.PapermillExecutionError as error:
        raise DataError(f"{failed}: cell {error.exec_count} failed with {error.ename}: {error.evalue}") from None
    failed.replace(target)
    return target
