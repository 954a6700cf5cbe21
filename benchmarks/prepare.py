"""``python -m benchmarks prepare``: preparing BP4D at full size, and what a prepared folder saves in every epoch.

BP4D itself is licensed, so a stand-in of its size is built: 41 people, 328 sequences, 146,847 coded frames with the
real label rates. Its pictures are small and repeat a few hundred drawn faces, which makes building cheap and changes
nothing about decoding.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from lorral_lite.datasets.bp4d import TASKS, bp4d
from lorral_lite.datasets.folds import protocol_parts
from lorral_lite.datasets.prepared import FaceDataset, as_input, open_prepared
from lorral_lite.datasets.preparing import align_files, prepare_sequences
from lorral_lite.datasets.stand_in import write_bp4d
from lorral_lite.device import cores, threads

from . import Goal, Table
from .timing import in_turns, peak_memory, per, ratio

FRAMES = 146_847
SHARES = (0.01, 0.1, 1.0)
SMALL = 160  # pixels: width of the small pictures
ALIGNED = 100


def measure(device: torch.device, tiny: bool, share: float = 1.0) -> Iterator[Table]:
    """Growth from 1 % of the full size up to ``share`` of it, then an epoch's loading from original-size pictures."""
    with tempfile.TemporaryDirectory() as work, threads(1):
        shares = (0.0025,) if tiny else tuple(s for s in SHARES if s < share) + (share,)
        yield growth(Path(work), shares, pool=8 if tiny else 300)
        yield from every_epoch(Path(work), tiny)


def growth(work: Path, shares, pool: int) -> Table:
    rows = []
    for share in shares:
        root, out = work / "BP4D", work / "prepared"
        total = round(FRAMES * share)
        subjects = sorted(name for part in protocol_parts("bp4d") for name in part)
        counts = np.full(len(subjects) * len(TASKS), total // (len(subjects) * len(TASKS)))
        counts[: total - counts.sum()] += 1
        started = time.perf_counter()
        write_bp4d(root, subjects, TASKS, counts, width=SMALL, pool=pool, around=0, empty=0)
        built = time.perf_counter() - started
        peak = peak_memory("benchmarks.prepare:prepare", root=str(root), out=str(out))
        if peak is None:  # not measured on this system, and so not called
            prepare(str(root), str(out))
        seconds, worker = json.loads((work / "prepared.json").read_text(encoding="utf8"))
        rows.append([f"{100 * share:g} %", total, built, seconds, total / seconds, peak, worker, _size(root) / 1e9,
                     _size(out) / 1e9, _size(out) / total])
        shutil.rmtree(root)
        shutil.rmtree(out)
    goals = [Goal(f"peak MiB of the main process at {rows[-1][0]}", rows[-1][5], 256)] if rows[-1][5] else []
    return Table(
        "Preparing a stand-in of BP4D: how it grows",
        ["of BP4D", "frames", "building, s", "preparing, s", "frames/s", "peak MiB", "largest worker, MiB",
         "pictures, GB", "prepared, GB", "bytes a frame"], rows,
        f"41 people, 328 sequences, JPEGs {SMALL} pixels wide (real ones: 1040) that repeat {pool} drawn faces, "
        f"aligned to {ALIGNED} px, {cores()} processes. Seconds contain starting them. Peak: the main process, "
        "its imports not counted; index, labels and landmarks grow with the set, pictures do not. A worker's contains "
        "its imports. Aligned to 200 px, a frame takes four times the bytes.",
        goals)


def prepare(root: str, out: str) -> None:
    """Prepare ``root`` and write seconds and the largest worker's MiB beside ``out``; runs in a process of its own."""
    started = time.perf_counter()
    source = bp4d(root)
    prepare_sequences(out, root, source.sequences, ALIGNED, source.aus, source.meta, progress=False,
                      say=lambda line: None)
    seconds = time.perf_counter() - started
    try:
        import resource

        worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    except ImportError:  # Windows
        worker = None
    Path(f"{out}.json").write_text(json.dumps([seconds, worker]), encoding="utf8")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def every_epoch(work: Path, tiny: bool) -> Iterator[Table]:
    """Original-size pictures: a batch from the prepared folder against decoding and aligning it again."""
    width, size, batch, rounds = (256, 48, 4, 2) if tiny else (1040, 200, 16, 9)
    crop = size * 22 // 25
    made = write_bp4d(work / "large", ["F001", "F003"], ["T1"], batch // 2, width=width, first=(5,), around=0, empty=0,
                      detail=256 if tiny else 1024)
    source = bp4d(made.root)
    loaded = [one.load() for one in source.sequences]
    paths = [path for frames in loaded for path in frames.images]
    points = np.concatenate([frames.landmarks for frames in loaded])
    prepare_sequences(work / "ready", made.root, source.sequences, size, source.aus, source.meta, workers=1,
                      progress=False, say=lambda line: None)
    dataset = FaceDataset(open_prepared(work / "ready"), np.arange(batch), crop, train=True)
    everything = np.arange(batch)

    def again(fast: bool):
        faces = np.stack([face for face, _ in align_files(paths, points, size, fast)])
        return as_input(faces[:, :crop, :crop])

    times = in_turns({"prepared": lambda: dataset[everything], "decode": lambda: again(False),
                      "fast": lambda: again(True)}, rounds, least=0.05)
    gain = ratio(times["decode"], times["prepared"])
    picture = f"{width} × {round(width * 1392 / 1040)}"
    yield Table(
        f"Loading a face of {crop} px from a JPEG of {picture}, every epoch", ["way", "ms an image", "images/s"],
        [[name, per(times[key], batch), batch / per(times[key], unit=1).median] for name, key in
         (("prepared folder", "prepared"), ("decode and align", "decode"), ("the same with --fast-decode", "fast"))],
        f"Median (quartiles) of {rounds} rounds in turns, batches of {batch}, one process, files in the system's "
        "cache. The prepared folder also crops at random and mirrors.",
        [Goal("images/s, prepared / decode and align", gain.median, 10, at_least=True)])
    (slow, wanted), (fast, moved) = (map(np.stack, zip(*align_files(paths, points, size, quick), strict=True))
                                     for quick in (False, True))
    difference = np.abs(slow.astype(int) - fast)
    yield Table(
        "--fast-decode (D37): what it changes", ["", "grey levels of 255"],
        [["mean difference", float(difference.mean())], ["99 % of the pixels differ by at most",
         float(np.percentile(difference, 99))], ["largest", float(difference.max())],
         ["contrast of the faces (standard deviation)", float(slow.std())]],
        f"{batch} drawn faces of {picture}, aligned to {size} px. Largest move of a landmark: "
        f"{np.abs(wanted - moved).max():.3f} px. Photographs have more fine detail than drawn faces and change more.")
