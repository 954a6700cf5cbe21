"""``python -m benchmarks step2``: an epoch of step 2 on cached features against an epoch of step 1 (D18, D80, D81).

``--compare RUN`` trains step 2 of a finished run anew in both ways, with the cached features and to the paper's
letter (landmark module training, crops moving, fresh views in every epoch), and evaluates both. RUN is only read.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lorral_lite.datasets.folds import fold_rows
from lorral_lite.datasets.prepared import FaceDataset, PreparedFolder, open_prepared
from lorral_lite.datasets.writing import PreparedWriter
from lorral_lite.device import threads
from lorral_lite.facs import AU_SETS
from lorral_lite.landmarks import NUM_LANDMARKS
from lorral_lite.model.relations import RELATIONS
from lorral_lite.training.config import RunConfig, Schedule
from lorral_lite.training.evaluation import evaluate
from lorral_lite.training.feature_cache import cached_features
from lorral_lite.training.run_folder import load_model, read_run_config, step1_of
from lorral_lite.training.steps import train_step1, train_step2

from . import Goal, Table
from .timing import per

COMPARED = ("none", "self_attention")


def measure(device: torch.device, tiny: bool, compare=None) -> Iterator[Table]:
    """Seconds of epochs as they really are trained, on one CPU thread or on the GPU."""
    with tempfile.TemporaryDirectory() as work, threads(1):
        if compare is None:
            yield epochs_of_both_steps(Path(work), device, tiny)
        else:
            yield cached_against_the_letter(Path(compare), Path(work), device, tiny)


def epochs_of_both_steps(work: Path, device: torch.device, tiny: bool) -> Table:
    """As many faces to train on as in ``lorral reproduce``; their content does not change the time."""
    people, frames = (3, 8) if tiny else (90, 50)  # two thirds are trained on
    folder = noise_faces(work / "data", people, frames)
    config = RunConfig.lite(folder.path, folder.aus, step1=Schedule(2, 0.001), step2=Schedule(2 if tiny else 4, 0.001))
    clock = time.process_time if device.type == "cpu" else time.perf_counter

    def epochs(train, *args) -> list[float]:
        """Seconds of every epoch but the first, with all that happens between two: resume file, log."""
        ends: list[float] = []
        train(*args, device, False, lambda log: ends.append(clock()))
        return np.diff(ends).tolist()

    run = work / "run"
    step1 = epochs(train_step1, run, config)
    rows, _ = fold_rows(folder, config.fold, config.folds)
    views = FaceDataset(folder, rows, config.model.image_size, True, config.seed + 1, config.jitter)
    started = clock()
    cached_features(run, load_model(run, device=device), views, config.views, device, False)
    fill = clock() - started
    table, ratios = [], []
    for relation in RELATIONS:
        step2 = epochs(train_step2, run, relation)
        ratios.append(float(np.median(step1) / np.median(step2)))
        table.append([relation, per(step1, unit=1), per(step2, unit=1), ratios[-1]])
    size = sum(file.stat().st_size for file in (run / "features").glob("*.npy")) / 2**20
    return Table(
        "An epoch of step 2 on cached features against one of step 1, lite()",
        ["relation", "step 1, s an epoch", "step 2, s an epoch", "step 1 / step 2"], table,
        f"{len(rows)} faces to train on, batches of {config.batch_size}. Once a run: {fill:.3g} s to fill the cache of "
        f"{config.views} views, {size:.3g} MiB.",
        [Goal("step 1 / step 2, the smallest", min(ratios), 15, at_least=True)],
    )


def cached_against_the_letter(run: Path, work: Path, device: torch.device, tiny: bool) -> Table:
    config = read_run_config(run)
    views = config.views or 4
    rows = []
    for relation in COMPARED:
        for name, kept in ((f"{views} cached views", views), ("the paper's letter", 0)):
            copy = work / str(kept)
            changed = replace(config, views=kept, step2=replace(config.step2, epochs=1) if tiny else config.step2)
            step1_of(run, copy, changed)
            started = time.perf_counter()
            train_step2(copy, relation, device, False)
            seconds = time.perf_counter() - started
            found = evaluate(copy, relation, device, False)
            au, local = (found["outputs"][output]["mean_f1"] for output in ("au", "local"))
            rows.append([relation, name, au, local, found["landmarks"]["nme_percent"], found["seconds"],
                         seconds - found["seconds"]])
    return Table(
        f"Step 2 on cached features against the paper's letter, {config.model.name}()",
        ["relation", "step 2", "F1, AU output, %", "F1, local output, %", "landmark error, %", "epochs, s",
         "before and after, s"], rows,
        f"The same step 1, seed {config.seed}, fold {config.fold}, {config.step2.epochs} epochs. The letter trains the "
        "landmark module too and sees fresh views in every epoch. Before and after: loading, filling the cache (first "
        f"row only), saving. Data: {found['data']['source']}.",
    )


def noise_faces(out: Path, people: int, frames: int) -> PreparedFolder:
    """A prepared folder of noise, with landmarks as far apart as those of a face."""
    chance = np.random.default_rng(0)
    count, aus = people * frames, AU_SETS["bp4d"]
    shape = chance.uniform(20, 80, (NUM_LANDMARKS, 2))
    shape[19:25, 0], shape[25:31, 0] = 33, 67
    index = [(f"P{p}", "T1", f) for p in range(people) for f in range(frames)]
    with PreparedWriter(out, 100, aus, {"source": "noise"}) as writer:
        for first in range(0, count, 256):
            block = index[first : first + 256]
            landmarks = shape + chance.normal(0, 1, (len(block), 1, 2))
            writer.append(block, chance.integers(0, 256, (len(block), 100, 100, 3), dtype=np.uint8),
                          landmarks.astype(np.float32), chance.integers(0, 2, (len(block), len(aus)), dtype=np.int8))
    return open_prepared(out)
