"""``python -m benchmarks faces``: how many procedural faces a second, how long one takes, and where the time goes."""

import cProfile
import pstats
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lorral_lite import faces
from lorral_lite.device import cores, threads
from lorral_lite.faces import AUS, render_faces

from . import Goal, Table
from .timing import bytes_moved, in_turns, per, spread

FASTEST_GPU_GOAL = 5000.0


def measure(device: torch.device, tiny: bool) -> Iterator[Table]:
    """Batches, the single face that a slider waits for, and the share of each stage."""
    gpu = device.type == "cuda"
    batches = {48: 3} if tiny else {100: 4096, 200: 2048} if gpu else {100: 192, 200: 64}
    rounds = 1 if tiny else 5
    with threads(1):
        yield batch_table(batches, rounds, device)
        yield single_table(48 if tiny else 200, rounds if tiny else 15, device)
        for size, count in batches.items():
            yield stage_table(size, count, device)


def drawing(count: int, size: int, device: torch.device, first: int = 0) -> faces.Faces:
    """``count`` people with random AUs."""
    shown = np.random.default_rng(first).random((count, len(AUS)))
    return render_faces(torch.from_numpy(shown * (shown > 0.7)), size, seed=range(first, first + count), device=device)


def batch_table(batches: dict[int, int], rounds: int, device: torch.device) -> Table:
    """Faces a second from one thread, and from a thread on every core that draws its share of the batch."""
    gpu = device.type == "cuda"
    workers = 1 if gpu else cores()
    rows, goals = [], []
    with ThreadPoolExecutor(workers) as pool:
        for size, count in batches.items():
            alone = partial(drawing, count, size, device)
            share = -(-count // workers)
            parts = [[share] * workers, [size] * workers, [device] * workers, range(0, share * workers, share)]

            def together(parts=parts):
                return list(pool.map(drawing, *parts))

            one = spread([count / t for t in in_turns({"": alone}, rounds, device)[""]])
            wall = spread([count / t for t in in_turns({"": alone}, rounds, device, wall=True)[""]])
            all_cores = spread([share * workers / t for t in in_turns({"": together}, rounds, device, wall=True)[""]])
            moved = bytes_moved(alone) / count
            rows.append([size, count, None if gpu else one, wall, None if gpu else all_cores, moved / 1e6,
                         moved * wall.median / 1e9])
            if gpu and size == 200:
                goals.append(Goal("faces/s at 200 px on the GPU", wall.median, FASTEST_GPU_GOAL, at_least=True))
            limit = {100: 120.0, 200: 35.0}.get(size)
            if limit and not gpu:
                goals.append(Goal(f"faces/s at {size} px, one core by CPU time", one.median, limit, at_least=True))
    return Table("Faces a second", ["px", "batch", "one thread, CPU time", "one thread, wall",
                                    f"{workers} threads, wall", "MB moved a face", "GB/s"], rows,
                 "Random AUs, every face another person. Several threads: each draws its share of the batch, as far "
                 "as Python lets them at once. The goals are for two cores, so one core is the harder test. MB "
                 "moved: inputs and results of every operator, as if none stayed in a cache (an estimate from above).",
                 goals)


def single_table(size: int, rounds: int, device: torch.device) -> Table:
    """One face, as a slider asks for it."""
    times = in_turns({"": partial(drawing, 1, size, device)}, rounds, device, wall=True)[""]
    found = per(times)
    return Table("One face", ["px", "ms"], [[size, found]], f"Median (quartiles) of {rounds}, time on the wall.",
                 [Goal(f"ms for one face at {size} px", found.median, 60.0)] if size == 200 else [])


def stage_table(size: int, count: int, device: torch.device) -> Table:
    """Share of the time of each function of the renderer that ``render_faces`` calls, and of those that these call."""

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            return time.perf_counter()
        return time.process_time()

    drawing(count, size, device)
    with cProfile.Profile(clock) as record:
        drawing(count, size, device)
    folder = Path(faces.__file__).parent
    calls = {key: value for key, value in pstats.Stats(record).stats.items()
             if Path(key[0]).parent == folder and key[2][0] != "<"}
    top = next(key for key in calls if key[2] == "render_faces")
    total = calls[top][3]
    rows = []

    def within(caller, name: str) -> list[tuple]:
        """(seconds, path, function) of the house's functions that ``caller`` calls itself, longest first."""
        return sorted(((value[4][caller][3], f"{name}{key[2].strip('_')}", key) for key, value in calls.items()
                       if caller in value[4]), reverse=True)

    for took, name, stage in within(top, ""):
        if took / total >= 0.01:
            rows.append([name, took / total])
            rows += [[inner, t / total] for t, inner, _ in within(stage, f"{name} / ") if t / total >= 0.02]
    return Table(f"Stages at {size} px, batch {count}", ["stage", "share"], rows,
                 "Python's profiler, by CPU time on a CPU and synchronised on a GPU. Inner stages are part of their "
                 "outer one; below 1 % (inner: 2 %) not listed.")
