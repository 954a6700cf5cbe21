"""How must step 2 be taught so that its modules can listen? Rates and epochs, and the gate that each module must pass.

Step 1 is trained on faces whose AUs are independent, so that company is in no token. Then the same people show other
AUs in other frames, in three worlds: independent ones, those of BP4D, and the one in which AU 7 copies AU 12. In each,
every module, its deaf twin and the controls are taught with every rate and number of epochs, and asked about people
held out.

**Gate.** A module can listen when its AU 7 in the world of copies is at least :data:`GATE` points of AUC better than
its twin's, on the local output, in every development seed. What fails says nothing by its null.

**Choice.** Of the schedules with which all modules pass, lite() takes the one with the lowest log loss on people held
out, local output, mean over modules, seeds and the worlds of strength 0 and 1.

    <results>/<world>_<arm>_seed<s>.json    one arm with every schedule; what is there is not done again
"""

import itertools
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..datasets.folds import fold_rows
from ..datasets.prepared import PreparedFolder, open_prepared
from ..datasets.synthetic import prepare_faces
from ..faces.population import COPIED
from ..files import read_json, write_json
from ..training.config import RunConfig
from ..training.jobs import run_cells
from ..training.run_folder import load_model
from ..training.steps import train_step1
from .arms import ARMS, MODULES, ask, begin, look, moved, rounded, schedule_of, teach

SEEDS = (900, 901)
RATES, EPOCHS = (0.01, 0.03, 0.1), (16, 48)
SCHEDULES = tuple(itertools.product(RATES, EPOCHS))
WORLDS = {"strength0": {"relation_strength": 0.0}, "strength1": {"relation_strength": 1.0},
          "copy": {"structure": "copy"}}
GATE = 5.0
SUBJECTS, STEP1_FRAMES, FRAMES, FOLDS, VIEWS = 120, 50, 30, 2, 2
"""Half of the people are trained on, the other half asked about."""


def run(place, results, reading: dict, jobs: int = 2, device=None, progress: bool = True, say=print) -> None:
    """All worlds, arms and seeds; what is there already is left. ``reading``: fields of the model and of RunConfig."""
    place = Path(place)
    cells = {f"{world}, {name}, seed {seed}": (place, results, world, name, seed)
             for seed in SEEDS for world in WORLDS for name in arms_of(world)
             if not cell_file(results, world, name, seed).exists()}
    seeds = {f"step 1, seed {seed}": (place, reading, seed, device) for seed in SEEDS
             if any(cell[-1] == seed for cell in cells.values())}
    run_cells(prepare, seeds, jobs, place, "step 1", progress, say, device)
    run_cells(run_cell, cells, jobs, place, "arms", progress, say)


def arms_of(world: str) -> list[str]:
    """What is taught there: in the world of copies modules and twins alone, which the gate compares."""
    return [name for name, arm in ARMS.items() if world != "copy" or arm.relation in MODULES]


def prepare(place: Path, reading: dict, seed: int, device=None) -> None:
    """Step 1 of a seed on independent faces, and the faces of its worlds."""
    faces = _faces(place / f"step1_faces_seed{seed}", seed, STEP1_FRAMES, device, relation_strength=0.0)
    config = RunConfig.lite(faces.path, faces.aus, seed=seed, folds=FOLDS, threads=1, **reading["changes"])
    config = replace(config, model=replace(config.model, **reading["model"]))
    train_step1(place / f"step1_seed{seed}", config, device, progress=False)
    for world, recipe in WORLDS.items():
        _faces(place / f"{world}_faces_seed{seed}", seed, FRAMES, device, skip=STEP1_FRAMES, **recipe)


def _faces(out: Path, seed: int, frames: int, device=None, **recipe) -> PreparedFolder:
    if not out.exists():
        prepare_faces(out, SUBJECTS, frames, seed=seed, device=device, progress=False, **recipe)
    return open_prepared(out)


def run_cell(place: Path, results, world: str, name: str, seed: int) -> None:
    """One arm in one world with every schedule, on the CPU: its figures."""
    model = load_model(place / f"step1_seed{seed}", device="cpu")
    faces = open_prepared(place / f"{world}_faces_seed{seed}")
    rows, test = fold_rows(faces, 1, FOLDS)
    seen, asked = look(model, faces, rows, VIEWS, seed), look(model, faces, test)
    cell = {"world": world, "arm": name, "seed": seed, "aus": list(faces.aus), "taught": []}
    for rate, epochs in SCHEDULES:
        started = time.perf_counter()
        start, made = (begin(model, ARMS[name], seed) for _ in range(2))
        losses = teach(made, seen, schedule_of(rate, epochs), seed, VIEWS)
        last = epochs // 4
        found = ask(made, asked, faces.subjects[test])
        cell["taught"].append({
            "rate": rate, "epochs": epochs, **rounded(found), "train_loss": round(losses[-1], 4),
            "fell_in_last_quarter": round(1 - losses[-1] / losses[-1 - last], 4), "moved": round(moved(start, made), 3),
            "seconds": round(time.perf_counter() - started, 1)})
    write_json(cell_file(results, world, name, seed), cell)


def cell_file(results, world: str, name: str, seed: int) -> Path:
    return Path(results) / f"{world}_{name}_seed{seed}.json"


# ------------------------------------------------------------------------------------------------- the gate, the choice


def copied(results, arm: str, schedule: tuple[float, int]) -> list[float]:
    """AU 7's AUC of an arm in the world of copies, local output, in %, one a seed."""
    cells = [read_json(cell_file(results, "copy", arm, seed)) for seed in SEEDS]
    return [_taught(cell, schedule)["local"]["auc"][cell["aus"].index(COPIED[0])] for cell in cells]


def listening(results, name: str, schedule: tuple[float, int]) -> list[float]:
    """How far a module's :func:`copied` lies above its deaf twin's, in points, one a seed."""
    pairs = zip(copied(results, name, schedule), copied(results, f"deaf_{name}", schedule), strict=True)
    return [module - twin for module, twin in pairs]


def passes(results, name: str, schedule: tuple[float, int]) -> bool:
    return min(listening(results, name, schedule)) >= GATE


def log_loss(results, name: str, schedule: tuple[float, int]) -> float:
    """On people held out, local output, mean over seeds and the worlds of strength 0 and 1."""
    return float(np.mean([_taught(read_json(cell_file(results, world, name, seed)), schedule)["local"]["log_loss"]
                          for world in ("strength0", "strength1") for seed in SEEDS]))


def choose(results) -> tuple[float, int] | None:
    """The schedule that lite() takes, None where no schedule lets all modules pass."""
    fit = [schedule for schedule in SCHEDULES if all(passes(results, name, schedule) for name in MODULES)]
    return min(fit, key=lambda s: np.mean([log_loss(results, name, s) for name in MODULES]), default=None)


def _taught(cell: dict, schedule: tuple[float, int]) -> dict:
    return next(one for one in cell["taught"] if (one["rate"], one["epochs"]) == tuple(schedule))


def table(results) -> str:
    """Every schedule in plain text: what each module hears in each seed, and its log loss."""
    taken = choose(results)
    lines = [f"{'rate':>6}{'epochs':>8}" + "".join(f"{name:>28}" for name in MODULES) + "  taken"]
    for schedule in SCHEDULES:
        words = [f"{' '.join(f'{v:+.1f}' for v in listening(results, name, schedule))}, loss "
                 f"{log_loss(results, name, schedule):.3f}" for name in MODULES]
        lines.append(f"{schedule[0]:6g}{schedule[1]:8d}" + "".join(f"{word:>28}" for word in words)
                     + ("  yes" if schedule == taken else ""))
    return "\n".join(lines).replace("-", "−")
