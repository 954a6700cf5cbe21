"""The trial's question, written before its seeds are drawn, and the rule that answers it.

**Primary.** The slope of a module: its mean AUC minus that of its deaf twin, at full strength minus at strength 0,
local output, step 1 on independent faces. Two-sided paired t over seeds, Holm over the four modules. The same on the AU
output is a family of its own, and so is, with step 1 on the faces of step 2 as in the paper, module minus twin at full
strength on either output.

**Verdict.** A gain or a loss when the corrected p is below 0.05. Else *not shown to work here* where the module did not
pass the gate, *smaller than of interest* where the 95 % interval lies within ± :func:`interest`, or *undecided*.

    <results>/pilot/…json   trial.json, the question   cells/…json
"""

import math
import subprocess
from pathlib import Path

import numpy as np

from ..files import DataError, data_file, read_json, write_json
from ..measure.statistics import Estimate, holm, jackknife, minimum_detectable
from . import teaching, trial
from .arms import ARMS, MODULES
from .trial import cell_file

PILOT, MOST_SEEDS = (903, 904, 905, 906, 907), 20
SEEDS = tuple(range(1000, 1000 + MOST_SEEDS))
CAUTION = 1.56
"""What the pilot's standard deviation is multiplied by: five seeds tell it only roughly."""
SHARE = 0.2
"""Of the all-token reader's slope: the smallest gain of interest."""
FAMILIES = {
    "local": ("independent", "local"), "au": ("independent", "au"),
    "local, as in the paper": ("same", "local"), "AU, as in the paper": ("same", "au"),
}
"""Name → step 1 and output. With independent step 1 the question is a slope, else a difference at full strength."""
BESIDE = {"f1": "F1 at ½", "f1_thresholds": "F1 at thresholds", "log_loss_recalibrated": "log loss, recalibrated"}


def run(place, results, reading: dict, jobs: int = 2, device=None, progress: bool = True, say=print) -> None:
    """The pilot, then the written question, then, when it is given once more, the trial; what is there is left."""
    place, results, tuning = Path(place), Path(results), data_file("results", "teaching")
    trial.run(place, results / "pilot", PILOT, reading, schedules(tuning), jobs, device, progress, say)
    if not (results / "trial.json").exists():
        write(results / "trial.json", tuning, results / "pilot")
        say(f"{results / 'trial.json'} holds the question: commit it, then give the same command again")
        return
    asked = read_json(results / "trial.json")
    trial.run(place, results / "cells", asked["seeds"], reading, asked["schedules"], jobs, device, progress, say)


# --------------------------------------------------------------------------------------------------- before the trial


def schedules(results) -> dict[str, tuple[float, int]]:
    """{arm: the rate and epochs with the lowest log loss on held-out development people}, each arm its own."""
    return {name: min(teaching.SCHEDULES, key=lambda schedule: teaching.log_loss(results, name, schedule))
            for name in ARMS}


def gate(results) -> dict[str, list[float]]:
    """{module: points of AUC above its twin on the AU that is a copy, one a development seed}, at its own schedule."""
    own = schedules(results)
    return {name: teaching.listening(results, name, own[name]) for name in MODULES}


def write(path, tuning, pilot) -> dict:
    """The question as JSON, from the tuning's cells and the pilot's: which arms, which seeds, what is of interest."""
    spread = {name: float(np.std(values(pilot, PILOT, name, "local"), ddof=1)) for name in MODULES}
    least = interest(pilot)
    wanted = max(seeds_for(least, CAUTION * sd) for sd in spread.values())
    seeds = SEEDS[:wanted]
    heard = gate(tuning)
    asked = {
        "commit": commit(), "schedules": schedules(tuning), "gate": heard,
        "passed": {name: min(each) >= teaching.GATE for name, each in heard.items()},
        "interest": round(least, 3), "pilot_seeds": PILOT, "pilot_sd": {k: round(v, 3) for k, v in spread.items()},
        "seeds": seeds, "found_in_80_of_100": {k: round(minimum_detectable(wanted, CAUTION * sd), 3)
                                               for k, sd in spread.items()},
    }
    write_json(Path(path), asked, rows=True)
    return asked


def interest(pilot) -> float:
    """The smallest gain of interest in points of AUC: a fifth of how much more, at full strength than at strength 0, a
    linear reader of all tokens knows than one of each AU's own."""
    def more(world: str, seed: int) -> float:
        read = read_json(cell_file(pilot, "independent", world, seed))["readers"]
        return float(np.mean(read["all"]["auc"]) - np.mean(read["own"]["auc"]))

    return SHARE * float(np.mean([more("strength1", seed) - more("strength0", seed) for seed in PILOT]))


def seeds_for(least: float, sd: float) -> int:
    """How many seeds find a slope of ``least`` in 80 of 100 trials, at most :data:`MOST_SEEDS`."""
    return next((n for n in range(3, MOST_SEEDS) if minimum_detectable(n, sd) <= least), MOST_SEEDS)


def commit() -> str | None:
    """The commit of the clone this package lies in, None outside of one."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True,
                              timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


# ---------------------------------------------------------------------------------------------------------- the answer


def values(results, seeds, name: str, family: str, measure: str = "auc", control: str | None = None) -> list[float]:
    """One number a seed: a module minus its ``control`` (its deaf twin), as the family asks; mean over the AUs."""
    step1, output = FAMILIES[family]
    control = control or f"deaf_{name}"

    def level(world: str, seed: int, arm: str) -> float:
        return mean(read_json(cell_file(results, step1, world, seed))["arms"][arm][output][measure])

    def more(world: str, seed: int) -> float:
        return level(world, seed, name) - level(world, seed, control)

    return [more("strength1", seed) - (more("strength0", seed) if step1 == "independent" else 0) for seed in seeds]


def again(results, seeds, name: str) -> list[float]:
    """The slope between two draws of independent AUs, one a seed: it must include 0."""
    def more(world: str, seed: int) -> float:
        arms = read_json(cell_file(results, "independent", world, seed))["arms"]
        return mean(arms[name]["local"]["auc"]) - mean(arms[f"deaf_{name}"]["local"]["auc"])

    return [more("again0", seed) - more("strength0", seed) for seed in seeds]


def company(results, seeds, name: str, output: str = "local") -> list[float]:
    """AUC that a module loses when all other AUs are another person's, at full strength minus at strength 0."""
    def lost(world: str, seed: int) -> float:
        part = read_json(cell_file(results, "independent", world, seed))["arms"][name][output]
        return mean(part["auc"]) - mean(part["auc_strangers"])

    return [lost("strength1", seed) - lost("strength0", seed) for seed in seeds]


def answer(results, asked: dict) -> dict[str, list[dict]]:
    """{family: a row for each module: name, estimate over seeds, each seed's value, p, p_holm, verdict}."""
    found = {}
    for family in FAMILIES:
        rows = [{"name": name, "values": values(results, asked["seeds"], name, family)} for name in MODULES]
        for row in rows:
            row["estimate"] = jackknife(np.array(row["values"]))
        adjusted, _ = holm([row["estimate"].p for row in rows])
        for row, p in zip(rows, adjusted, strict=True):
            row["p_holm"] = float(p)
            row["verdict"] = verdict(row["estimate"], p, asked["interest"], asked["passed"][row["name"]])
        found[family] = rows
    return found


def beside(results, asked: dict, family: str, measure: str, control: str | None = None) -> dict[str, Estimate]:
    """{module: what a family asks, in another ``measure`` or against another ``control``}, without any test."""
    return {name: jackknife(np.array(values(results, asked["seeds"], name, family, measure, control)))
            for name in MODULES}


def levels(results, asked: dict, step1: str, world: str, output: str, measure: str) -> dict[str, Estimate]:
    """{arm: mean over the AUs, over seeds}; and "floor": F1 of always saying yes."""
    cells = [read_json(cell_file(results, step1, world, seed)) for seed in asked["seeds"]]
    found = {name: [mean(cell["arms"][name][output][measure]) for cell in cells] for name in ARMS}
    return {name: jackknife(np.array(each)) for name, each in
            {**found, "floor": [mean(cell["floor"]) for cell in cells]}.items()}


def verdict(e: Estimate, p: float, least: float, passed: bool) -> str:
    """What follows for one module, by the rule above."""
    small = -least < e.low and e.high < least
    if p < 0.05:
        return ("gain" if e.value > 0 else "loss") + ", smaller than of interest" * small
    return "not shown to work here" if not passed else "smaller than of interest" if small else "undecided"


def mean(figures) -> float:
    """Over the AUs that have one."""
    there = [value for value in figures if value is not None and not math.isnan(value)]
    if not there:
        raise DataError("a cell of the trial has no figure for any AU; remove it: the same command makes it")
    return float(np.mean(there))


def table(results) -> str:
    """All families in plain text, once all seeds are there; no gain is printed before."""
    results = Path(results)
    asked = read_json(results / "trial.json")
    cells = results / "cells"
    left = [seed for seed in asked["seeds"]
            if not all(trial.done(cells, *cell, seed, asked["schedules"]) for cell in trial.CELLS)]
    if left:
        return f"{len(asked['seeds']) - len(left)} of {len(asked['seeds'])} seeds are there"
    lines = [f"{len(asked['seeds'])} seeds; smallest gain of interest {asked['interest']:.2f} points of AUC"]
    for family, rows in answer(cells, asked).items():
        lines.append(f"{family}: points of AUC, module minus deaf twin"
                     + (", full strength minus 0" if FAMILIES[family][0] == "independent" else ", full strength"))
        for row in rows:
            e = row["estimate"]
            lines.append(f"  {row['name']:16}{e.value:+6.2f} ({e.low:+.2f} to {e.high:+.2f})  p {row['p_holm']:.4f}  "
                         f"{row['verdict']}")
    return "\n".join(lines).replace("-", "−")
