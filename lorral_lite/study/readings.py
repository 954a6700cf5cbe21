"""Where the paper is silent: which reading works best, by a rule that was written down before any of them was tried.

Faces are the default ones, of development people that no other study draws (:data:`SEEDS`), relations at full
strength. Each of at most eight candidates changes one thing in lite() and is judged by the mean AUC of the AU output on
people held out, after step 1, or after step 2 when it is about a relation. It becomes the default when it gains
:data:`LEAST` point in the mean and something in every seed; of two that change the same field, the better one. Those
chosen are run together once; if the sum is worse than the best of them alone, that one is taken. There is no second
round. A control is printed beside them and never chosen.

    <results>/<reading>_seed<s>.json    what one training gave; what is there is not done again
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..datasets.prepared import open_prepared
from ..datasets.synthetic import prepare_faces
from ..files import read_json, write_json
from ..training.config import RunConfig, Schedule
from ..training.evaluation import evaluate
from ..training.jobs import run_cells
from ..training.run_folder import step1_of
from ..training.steps import train_step1, train_step2

SEEDS = (900, 901, 902)
LEAST = 1.0
"""Points of AUC."""
SUBJECTS, FRAMES = 90, 50  # as `make reproduce`


@dataclass(frozen=True)
class Reading:
    """What is otherwise than in ``against``: fields of the model, or of :class:`RunConfig`. The rule may choose it when
    it is a candidate."""

    number: str
    what: str
    model: dict = field(default_factory=dict)
    changes: dict = field(default_factory=dict)
    relation: str | None = None
    against: str = "letter"
    candidate: bool = True


LETTER = {"patch_grids": (8, 4), "patch_identity": False, "patch_halo": False, "detached_head": False,
          "kept_heads": False, "bilstm_residual": False}
FIRST = {"jitter": 1.0, "step2": Schedule(10, 0.01, 0.3, 4)}
"""Fields of the model and of RunConfig as the first version read them; lite() may have others by now."""

READINGS = {
    "letter": Reading("–", "nearest the letter: 8×8 and 4×4 parts, no identity path, zeros at the seams, light varied",
                      candidate=False),
    "parts_4_2": Reading("D4", "4×4 and 2×2 parts", {"patch_grids": (4, 2)}),
    "parts_2_2": Reading("D4", "2×2 and 2×2 parts", {"patch_grids": (2, 2)}),
    "identity": Reading("D4", "identity path around the parts", {"patch_identity": True}),
    "halo": Reading("D4", "parts see one pixel of their neighbours", {"patch_halo": True}),
    "detached_head": Reading("D23", "no gradient of the AU head in the tokens", {"detached_head": True}),
    "light_as_is": Reading("D70", "light of the training faces left as it is", changes={"jitter": 0.0}),
    "one_part": Reading("D4", "control: no parts, a plain stack", {"patch_grids": (1, 1)}, candidate=False),
    "attention": Reading("–", "the letter with self-attention", relation="self_attention", candidate=False),
    "kept_heads": Reading("D17", "step 2 goes on with the AU heads of step 1", {"kept_heads": True},
                          relation="self_attention", against="attention"),
    "bilstm": Reading("–", "the letter with a BiLSTM", relation="bilstm", candidate=False),
    "residual": Reading("D9", "a residual around the BiLSTM", {"bilstm_residual": True}, relation="bilstm",
                        against="bilstm"),
}


# ------------------------------------------------------------------------------------------------- training the cells


def run(place, results, jobs: int = 2, device=None, progress: bool = True, say=print) -> None:
    """Train and test all readings, then those chosen together; what is there already is left. Faces and run folders lie
    in ``place``, figures in ``results``."""
    place = Path(place)
    for seed in SEEDS:
        if not (place / f"seed{seed}").exists():
            prepare_faces(place / f"seed{seed}", SUBJECTS, FRAMES, seed=seed, device=device, progress=progress)
    step1 = {name: reading for name, reading in READINGS.items() if reading.relation is None}
    step2 = {name: reading for name, reading in READINGS.items() if reading.relation is not None}
    run_group(place, results, step1, jobs, device, progress, say)
    begun = {f"letter, seed {seed}": (place, READINGS["letter"], "letter", seed, device) for seed in SEEDS
             if not all(cell_file(results, name, seed).exists() for name in step2)}
    run_cells(step1_run, begun, jobs, place, "step 1", progress, say, device)
    run_group(place, results, step2, jobs, device, progress, say)
    if names := [name for name in chosen(gains(results)) if name in step1]:
        run_group(place, results, {"together": together(names)}, jobs, device, progress, say)


def run_group(place, results, readings: dict[str, Reading], jobs: int, device, progress: bool, say) -> None:
    """The cells of some readings that are not there yet."""
    cells = {f"{name}, seed {seed}": (place, results, name, reading, seed, device)
             for seed in SEEDS for name, reading in readings.items() if not cell_file(results, name, seed).exists()}
    run_cells(run_cell, cells, jobs, place, "readings", progress, say, device)


def config_of(place: Path, reading: Reading, seed: int) -> RunConfig:
    """lite() as the first version had it, but for what the reading changes."""
    data = place / f"seed{seed}"
    config = RunConfig.lite(data, open_prepared(data).aus, seed=seed, threads=1, **{**FIRST, **reading.changes})
    return replace(config, model=replace(config.model, **{**LETTER, **reading.model}))


def step1_run(place: Path, reading: Reading, name: str, seed: int, device=None) -> Path:
    """The run folder of a reading, after step 1."""
    run = place / f"{name}_seed{seed}"
    train_step1(run, config_of(place, reading, seed), device, progress=False)
    return run


def run_cell(place: Path, results, name: str, reading: Reading, seed: int, device=None) -> None:
    """One training, and what it gave. A reading of step 2 begins with the step 1 of the letter."""
    if reading.relation is None:
        run = step1_run(place, reading, name, seed, device)
    else:
        run = place / f"{name}_seed{seed}"
        step1_of(place / f"letter_seed{seed}", run, config_of(place, reading, seed))
        train_step2(run, reading.relation, device, progress=False)
    metrics = evaluate(run, reading.relation, device, progress=False)
    write_json(cell_file(results, name, seed), scores(metrics, name, seed))


def scores(metrics: dict, name: str, seed: int) -> dict:
    """What a cell keeps of metrics.json, rounded to a hundredth of a point."""
    def rounded(value):
        return [rounded(v) for v in value] if isinstance(value, list) else None if value is None else round(value, 2)

    kept = {f"{output}_{measure}": rounded(metrics["outputs"][output][measure]) for output in ("au", "local")
            for measure in ("mean_auc", "mean_f1", "auc", "f1")}
    return {"reading": name, "seed": seed, "aus": metrics["aus"], **kept,
            "floor_f1": rounded(metrics["always_positive"]["mean_f1"]),
            "landmark_error": rounded(metrics["landmarks"]["nme_percent"]), "train_frames": metrics["train_frames"],
            "test_frames": metrics["frames"], "seconds": rounded(metrics["seconds"]), "device": metrics["device"]}


def cell_file(results, name: str, seed: int) -> Path:
    return Path(results) / f"{name}_seed{seed}.json"


# --------------------------------------------------------------------------------------------------- the rule, applied


def gains(results, readings=None) -> dict[str, list[float]]:
    """{reading: its mean AUC minus that of what it is judged against, one a seed}, in points."""
    def auc(name: str, seed: int) -> float:
        return read_json(cell_file(results, name, seed))["au_mean_auc"]

    readings = READINGS if readings is None else readings
    return {name: [auc(name, seed) - auc(reading.against, seed) for seed in SEEDS]
            for name, reading in readings.items() if name != reading.against}


def chosen(gained: dict[str, list[float]]) -> list[str]:
    """The candidates that the rule takes, before they are run together; the best first."""
    passed = [name for name, values in gained.items()
              if READINGS[name].candidate and np.mean(values) >= LEAST and min(values) > 0]
    best: dict[tuple, str] = {}
    for name in sorted(passed, key=lambda name: -np.mean(gained[name])):
        reading = READINGS[name]
        best.setdefault((*reading.model, *reading.changes), name)
    return list(best.values())


def together(names: list[str]) -> Reading:
    """One reading of several."""
    parts = [READINGS[name] for name in names]
    return Reading("–", " and ".join(names) + " together", {k: v for part in parts for k, v in part.model.items()},
                   {k: v for part in parts for k, v in part.changes.items()}, candidate=False)


def taken(results) -> list[str]:
    """The readings of step 1 that the rule makes the default, and those of one relation each."""
    gained = gains(results)
    names = chosen(gained)
    step1 = [name for name in names if READINGS[name].relation is None]
    sums = gains(results, {"together": together(step1)})["together"] if len(step1) > 1 else None
    if sums and np.mean(sums) < np.mean(gained[step1[0]]):
        names = [name for name in names if name not in step1[1:]]
    return names


def adopted(results) -> dict[str, dict]:
    """{"model": fields of the model, "changes": fields of RunConfig} with the readings that were taken."""
    reading = together(taken(results))
    return {"model": {**LETTER, **reading.model}, "changes": {**FIRST, **reading.changes}}


def table(results) -> str:
    """All readings in plain text: AUC and F1 in the mean over seeds, the gain in each seed and its mean."""
    seeds = f"gain in AUC, seeds {', '.join(map(str, SEEDS))}"
    lines = [f"{'reading':15}{'AUC':>7}{'F1':>7}  {seeds:34}{'mean':>6}  taken"]
    for row in rows(results):
        each = "  ".join(f"{value:+.2f}" for value in row["gains"])
        mean = f"{np.mean(row['gains']):+.2f}" if row["gains"] else ""
        yes = "yes" if row["taken"] else ""
        lines.append(f"{row['name']:15}{row['auc']:7.2f}{row['f1']:7.2f}  {each:34}{mean:>6}  {yes:5}  "
                     f"{row['reading'].what}")
    return "\n".join(lines).replace("-", "−")


def rows(results) -> list[dict]:
    """Of all readings: name, reading, auc and f1 of the AU output (mean over seeds), gains (one a seed), taken."""
    names, gained, readings = taken(results), gains(results), dict(READINGS)
    if cell_file(results, "together", SEEDS[0]).exists():
        readings["together"] = together([name for name in chosen(gained) if READINGS[name].relation is None])
        gained |= gains(results, {"together": readings["together"]})
    found = []
    for name, reading in readings.items():
        cells = [read_json(cell_file(results, name, seed)) for seed in SEEDS]
        mean = {measure: float(np.mean([cell[f"au_mean_{measure}"] for cell in cells])) for measure in ("auc", "f1")}
        found.append({"name": name, "reading": reading, **mean, "gains": gained.get(name, []), "taken": name in names})
    return found
