"""``python -m benchmarks threads``: a training step of lite() with one CPU thread and all, alone and beside others.

As PyTorch comes, threads that wait for each other spin, also while another program holds the core of the last one.
:data:`lorral_lite.device.WAITING` lets them sleep soon. A run tries one thread and all when it begins (D105).
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from lorral_lite.device import WAITING, cores, threads
from lorral_lite.facs import AU_SETS
from lorral_lite.reproduce.cost import noise
from lorral_lite.training.config import RunConfig
from lorral_lite.training.run_folder import new_model
from lorral_lite.training.steps import faster_threads, trial_step

from . import Goal, Table
from .timing import per, ratio

ONE, COMES, ALL, RUN = "1 thread", "all, as PyTorch comes", "all, waiting asleep", "a run, as it chooses"
LONGEST = 8.0
"""Seconds after which a process stops, however few steps it has done."""


def measure(device: torch.device, tiny: bool) -> Iterator[Table]:
    """Milliseconds a step, each from a process of its own, in turns; ``device`` is always the CPU."""
    steps, rounds = (1, 1) if tiny else (40, 5)
    rows, goals = [], []
    for name, neighbours in (("nothing else", 0), ("one busy program a core", cores())):
        with busy(neighbours):
            times: dict[str, list[float]] = {ONE: [], COMES: [], ALL: [], RUN: []}
            chosen = []
            for _ in range(rounds):
                for way, values in times.items():
                    spent, count = step_in_a_process(way, steps)
                    values.append(spent)
                    chosen += [count] if way == RUN else []
        better = [min(pair) for pair in zip(times[ONE], times[ALL], strict=True)]
        rows.append([name, *[per(values) for values in times.values()], " ".join(map(str, chosen)),
                     ratio(times[RUN], times[COMES]), ratio(times[RUN], better)])
        goals.append(Goal("alone: a run / all threads as PyTorch comes", rows[-1][-2].median, 1.05) if not neighbours
                     else Goal("beside busy programs: a run / the better of one and all", rows[-1][-1].median, 1.2))
    yield Table(f"A training step of lite(), 16 faces, 1 or {cores()} CPU threads",
                ["beside it", *[f"{way}, ms" for way in times], "threads chosen", "run / as PyTorch comes",
                 "run / better of 1 and all"], rows,
                f"Time on the wall, median (quartiles) of {rounds} processes in turns, of {steps} steps each or as "
                f"many as {LONGEST:g} seconds hold. The busy programs only count.", goals)


@contextmanager
def busy(count: int):
    """So many processes that do nothing but count, inside a with block."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def step_in_a_process(way: str, steps: int) -> tuple[float, int]:
    """(Seconds of a step, threads used) of a fresh process."""
    environment = {key: value for key, value in os.environ.items() if key not in (*WAITING, "OMP_NUM_THREADS")}
    environment |= WAITING if way != COMES else {}
    call = f"from benchmarks.threads import train; train({way!r}, {steps})"
    done = subprocess.run([sys.executable, "-c", call], env=environment, capture_output=True, text=True, check=True)
    return tuple(json.loads(done.stdout))


def train(way: str, steps: int) -> None:
    """Print the seconds of a step and the threads it had."""
    config = RunConfig.lite("", AU_SETS["bp4d"])
    dataset = noise(config)
    step = trial_step(new_model(config), dataset, config)
    count = {ONE: 1, RUN: 0}.get(way, cores()) or faster_threads(config, dataset.folder, dataset.rows)
    spent = []
    with threads(count):
        began = time.perf_counter()
        while len(spent) < 3 + steps and (len(spent) < 4 or time.perf_counter() - began < LONGEST):
            started = time.perf_counter()
            step()
            spent.append(time.perf_counter() - started)
    print(json.dumps([float(np.mean(spent[3:])), count]))
