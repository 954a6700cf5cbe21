"""``python -m benchmarks scale``: does a large data set cost more an image? And what would all of BP4D and DISFA cost?

Prepared folders of 1,000 to 100,000 noise pictures are written to the system's temporary folder and removed again.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lorral_lite.datasets.prepared import FaceDataset, PreparedFolder, open_prepared
from lorral_lite.device import threads
from lorral_lite.files import DataError
from lorral_lite.model.losses import lorral_loss
from lorral_lite.model.relations import RELATIONS

from . import Goal, Table
from .model import lorral_steps, make
from .step2 import noise_faces
from .timing import in_turns, memory, per, ratio

SIZE, BATCH = 100, 16
FLAT = 1.15
"""At most so much more time or memory counts as flat."""
CODED_FRAMES = {"BP4D": 146_847, "DISFA": 130_814}
FOLDS, SEEDS, EPOCHS, VIEWS = 3, 3, 30, 4


def measure(device: torch.device, tiny: bool) -> Iterator[Table]:
    """Time and memory for each number of frames, then the estimate of the full grids."""
    yield flat_table([40, 80] if tiny else [1_000, 10_000, 100_000], 16 if tiny else 512, 1 if tiny else 5)
    yield grid_table("lite" if tiny else "paper", 1 if tiny else 3, device)


# ---------------------------------------------------------------------------------------------------------- flatness


def noise_folder(out: Path, frames: int) -> PreparedFolder:
    """``frames`` pictures of noise of 40 people, or a DataError when the disk is too small."""
    needed, free = frames * (SIZE * SIZE * 3 + 500), shutil.disk_usage(out.parent).free
    if free < 1.1 * needed:
        raise DataError(f"{out.parent}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; "
                        "set TMPDIR to a larger disk")
    return noise_faces(out, 40, frames // 40)


def batches(folder: PreparedFolder, sample: int) -> Iterator[dict]:
    """``sample`` training views from all over the folder."""
    rows = np.linspace(0, len(folder) - 1, sample).astype(int)
    views = FaceDataset(folder, rows, 88, train=True)
    for first in range(0, sample, BATCH):
        yield views[np.arange(first, min(first + BATCH, sample))]


def read(folder: PreparedFolder, sample: int) -> None:
    for _ in batches(folder, sample):
        pass


def train(folder: PreparedFolder, sample: int) -> None:
    """One pass of lite() over the sample."""
    model = make("lite")
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    for batch in batches(folder, sample):
        optimiser.zero_grad(set_to_none=True)
        lorral_loss(model(batch["image"]), batch["labels"], batch["landmarks"]).total.backward()
        optimiser.step()


def open_and_train(path: str, sample: int) -> None:
    """What :func:`benchmarks.timing.memory` calls in a fresh process."""
    with threads(1):
        train(open_prepared(path), sample)


def flat_table(sizes: list[int], sample: int, rounds: int) -> Table:
    """Reading and training on equally many faces of folders of different sizes."""
    with tempfile.TemporaryDirectory(prefix="lorral-bench-") as place, threads(1):
        folders = {n: noise_folder(Path(place) / str(n), n) for n in sizes}
        calls = {f"open {n}": partial(open_prepared, folder.path) for n, folder in folders.items()}
        calls |= {f"read {n}": partial(read, folder, sample) for n, folder in folders.items()}
        calls |= {f"train {n}": partial(train, folder, sample) for n, folder in folders.items()}
        times = in_turns(calls, rounds)
        held = {n: memory("benchmarks.scale:open_and_train", path=str(folder.path), sample=sample)
                for n, folder in folders.items()}
        on_disk = {n: sum(f.stat().st_size for f in folder.path.iterdir()) / 1e6 for n, folder in folders.items()}
    rows = [[n, on_disk[n], per(times[f"open {n}"]), per(times[f"read {n}"], sample), per(times[f"train {n}"], sample),
             *held[n][::-1]] for n in sizes]
    least, most = sizes[0], sizes[-1]
    goals = [Goal(f"{what}, {most:,} frames / {least:,}", ratio(times[f"{key} {most}"], times[f"{key} {least}"]).median,
                  FLAT) for key, what in (("read", "reading an image"), ("train", "training on an image"))]
    if held[least][1]:
        goals.append(Goal(f"own memory, {most:,} frames / {least:,}", held[most][1] / held[least][1], FLAT))
    return Table(f"The same {sample} faces' work on prepared folders of {SIZE} px",
                 ["frames", "on disk, MB", "opening, ms", "reading, ms/image", "training lite, ms/image",
                  "own memory, MiB", "with mapped files"], rows,
                 "Opening checks every label and landmark, so it grows with the folder. Reading takes random "
                 f"crops; training is a pass of lite() in batches of {BATCH}, reading included. One thread, CPU time, "
                 f"median (quartiles) of {rounds} rounds in turns. Memory: the peak of a fresh process "
                 "that opens and trains; mapped pages of the files are the system's cache, not its own.", goals)


# ---------------------------------------------------------------------------------------------------------- the grids


def cached_step(name: str, device: torch.device) -> Callable[[], None]:
    """A training step of relation and AU heads on kept features."""
    net = make(name).to(device)
    net.set_relation("self_attention", seed=0)
    net.freeze_step1(train_landmarks=False)
    side, aus = net.config.image_size, len(net.config.aus)
    labels, points = torch.ones(BATCH, aus, dtype=torch.int8, device=device), torch.ones(BATCH, 49, 2, device=device)
    with torch.no_grad():
        features = net.features(torch.randn(BATCH, 3, side, side, device=device))
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=1e-5, momentum=0.9)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        lorral_loss(net.from_features(features), labels, points).total.backward()
        optimiser.step()

    return step


def grid_table(name: str, rounds: int, device: torch.device) -> Table:
    """Hours for every fold, seed and relation of both data sets with the paper's schedule, from measured ms/image."""
    rows, relations = [], len(RELATIONS)
    for precision in ("fp32", "bf16"):
        setting = (BATCH, precision, "channels-last", device)
        step1, step2 = (lorral_steps(name, *setting, step2=second) for second in (False, True))
        calls = {"step 1": step1["training"], "step 2": step2["training"], "cached": cached_step(name, device),
                 "inference": step1["inference"]}
        ms = {key: per(values, BATCH).median for key, values in in_turns(calls, rounds, device).items()}
        for data, frames in CODED_FRAMES.items():
            runs, trained, tested = FOLDS * SEEDS, frames * (FOLDS - 1) / FOLDS, frames / FOLDS
            images = {  # how many images of each kind
                "step 1": runs * EPOCHS * trained,
                "step 2": runs * relations * EPOCHS * trained,
                "cached": runs * relations * EPOCHS * trained,
                "filling": runs * VIEWS * trained,
                "testing": runs * (1 + relations) * tested,
            }
            hours = {key: count * ms.get(key, ms["inference"]) / 3.6e6 for key, count in images.items()}
            letter = hours["step 1"] + hours["step 2"] + hours["testing"]
            cached = hours["step 1"] + hours["filling"] + hours["cached"] + hours["testing"]
            rows.append([data, frames, precision, *ms.values(), hours["step 1"], hours["step 2"],
                         hours["filling"] + hours["cached"], hours["testing"], letter, cached])
    where = "the GPU" if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    return Table(f"The full grids with {name}() on {where}: {FOLDS} folds × {SEEDS} seeds × {relations} relations × "
                 f"{EPOCHS} + {EPOCHS} epochs, an estimate",
                 ["data", "frames", "precision", "step 1, ms/image", "step 2", "step 2 cached", "inference",
                  "hours: step 1", "step 2", "step 2 cached", "testing", "all, to the letter", "all, cached"], rows,
                 f"Measured: ms an image in batches of {BATCH}, channels-last; all hours follow by multiplication. "
                 "Step 1 is trained once for all relations. To the letter, step 2 trains the landmark module on fresh "
                 f"views; cached, it trains relation and AU heads on {VIEWS} kept views, whose filling is counted.")
