"""What choices of DEVIATIONS.md are worth: F1 on unseen people with each of them made otherwise.

Not a matter of speed. Every row is a training of lite() on the same procedural faces with one thing changed, beside
the training that it is compared with. With ``--keep FOLDER`` the run folders stay, and what is done there already is
left as it is.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.datasets.synthetic import prepare_faces
from lorral_lite.files import DataError, read_json
from lorral_lite.measure.statistics import Estimate, mean_f1_interval, paired_gain
from lorral_lite.training.config import RunConfig, Schedule
from lorral_lite.training.evaluation import evaluate
from lorral_lite.training.run_folder import read_run_config, step1_of
from lorral_lite.training.steps import train_step1, train_step2

from . import Table

PEOPLE, FRAMES, DIFFICULTY = 60, 30, "easy"  # few frames teach what is not faint
DEFAULT, LITE = "default", "lite() as it is"


@dataclass(frozen=True)
class Variant:
    """One training: its folder, its number in DEVIATIONS.md, what is otherwise, and against which it is compared.

    ``changes`` are of :class:`RunConfig`, ``model`` of its model, ``options`` of the relation. Without ``step1`` the
    step 1 of the default is taken over: only step 2 is trained. Without ``step2`` training ends after step 1.
    """

    name: str
    number: str
    what: str
    changes: dict = field(default_factory=dict)
    model: dict = field(default_factory=dict)
    relation: str = "self_attention"
    options: dict = field(default_factory=dict)
    step1: bool = False
    step2: bool = True
    against: str = DEFAULT


def variants(tiny: bool) -> dict[str, list[Variant]]:
    """{title: rows}; a row is compared only with one above it."""
    def paper(epochs: int) -> dict:
        schedule = Schedule(1 + epochs // 30 if tiny else epochs)
        return {"step1": schedule, "step2": schedule}

    return {
        "step 2 trained anew": [
            Variant(DEFAULT, "–", LITE, step1=True),
            Variant("letter", "D18", "landmark module trains on, crops move, fresh views", {"views": 0}),
            Variant("local_before", "D15", "local loss before the relation", model={"local_before": True}),
            Variant("kept_heads", "D17", "AU heads of step 1 kept", model={"kept_heads": True}),
            Variant("no_position", "D12", "no position encoding", options={"position": False}),
            Variant("layers", "D10", "2 encoder layers instead of 1", options={"layers": 2}),
            Variant("bilstm", "–", "BiLSTM in place of self-attention", relation="bilstm"),
            Variant("residual", "D9", "BiLSTM with residual", relation="bilstm", options={"residual": True},
                    against="bilstm"),
            Variant("hopfield", "–", "Hopfield in place of self-attention", relation="hopfield"),
            Variant("steps", "D34", "Hopfield with 4 updates instead of 2", relation="hopfield", options={"steps": 4},
                    against="hopfield"),
        ],
        "both steps trained anew": [
            Variant("seed", "–", "the same with another seed", {"seed": 1}, step1=True),
            Variant("crops_4", "D7", "crops of 4×4 cells instead of 6×6", model={"crop_size": 4}, step1=True),
            Variant("crops_8", "D7", "crops of 8×8 cells, a third FeatConv on them",
                    model={"crop_size": 8, "local_channels": (16, 24, 24)}, step1=True),
            Variant("jaa", "D14", "--loss jaa: weights of AUs and Dice", {"loss": "jaa"}, step1=True),
            Variant("predicted", "D16", "crops at predicted landmarks from the start", {"true_landmark_epochs": 0},
                    step1=True),
            Variant("true", "D16", "crops at true landmarks in all of step 1", {"true_landmark_epochs": 1000},
                    step1=True),
            Variant("detached", "D23", "AU head sends no gradient into local features", model={"detached_head": True},
                    step1=True),
            Variant("mean", "D13", "AU head reads the mean over AUs", model={"mean_head": True}, step1=True),
            Variant("one_part", "D4", "no parts: PatchConv as a plain stack", model={"patch_grids": (1, 1)},
                    step1=True),
            Variant("light", "D70", "light and colours of the training faces left as they are", {"jitter": 0.0},
                    step1=True),
            Variant("held_out", "D24", "epoch chosen on held-out training people", {"select": "held_out"}, step1=True),
            Variant("end_to_end", "D92", "one step: the relation trained with all the rest, no step 2",
                    model={"relation": "self_attention"}, step1=True, step2=False),
        ],
        "the paper's schedule": [
            Variant("epochs_30", "D19", "the paper's 0.01 × 0.3 every 2, 30 + 30 epochs", paper(30), step1=True),
            Variant("epochs_12", "D19", "12 + 12 epochs of it instead of 30 + 30", paper(12), step1=True,
                    against="epochs_30"),
        ],
    }


def measure(device: torch.device, tiny: bool, keep=None) -> Iterator[Table]:
    """Render once, train and evaluate every variant; a table for each group of them."""
    with tempfile.TemporaryDirectory() as work:
        place = Path(keep or work)
        data, found = faces(place / "data", tiny, device), {}
        config = default_config(data.path, data.aus, tiny)
        for group, rows in variants(tiny).items():
            for variant in rows:
                found[variant.name] = trained(variant, config, place, device, progress=not tiny)
            yield table(group, rows, found, config)


def default_config(data, aus, tiny: bool) -> RunConfig:
    """lite() with 12 epochs of step 1 instead of 16: there are fewer faces, and many trainings."""
    few = {"step1": Schedule(1), "step2": Schedule(1)} if tiny else {"step1": Schedule(12, 0.02, 0.3, 4)}
    return RunConfig.lite(data, aus, **few)


def faces(out: Path, tiny: bool, device: torch.device):
    """The faces of all variants; DataError when others are kept there."""
    people, frames = (6, 4) if tiny else (PEOPLE, FRAMES)
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        prepare_faces(out, people, frames, difficulty=DIFFICULTY, device=device, progress=not tiny)
    data = open_prepared(out)
    if (data.meta["subjects"], data.meta["frames"]) != (people, people * frames):
        raise DataError(f"{out}: holds {data.meta['subjects']} people and {data.meta['frames']} frames, not "
                        f"{people} and {people * frames}; choose another --keep")
    return data


def trained(variant: Variant, default: RunConfig, place: Path, device: torch.device, progress: bool) -> dict:
    """The metrics after the last step, trained when they are not there yet."""
    config = replace(default, **{"model": replace(default.model, **variant.model), **variant.changes})
    run, first = place / variant.name, place / DEFAULT
    if variant.step1:
        train_step1(run, config, device, progress)
    else:
        new = not (run / "step1.safetensors").exists()
        step1_of(first, run, replace(config, threads=read_run_config(first).threads))
    if not variant.step1 and new:
        shutil.copytree(first / "features", run / "features", dirs_exist_ok=True)  # they depend on step 1 alone
    relation = variant.relation if variant.step2 else None
    if relation:
        train_step2(run, relation, device, progress, **variant.options)
    kept = run / relation / "metrics.json" if relation else run / "step1_metrics.json"
    metrics = read_json(kept) if kept.exists() else evaluate(run, relation, device, False)
    if variant.name != DEFAULT:
        shutil.rmtree(run / "features", ignore_errors=True)
    return metrics


def table(group: str, rows: list[Variant], found: dict, config: RunConfig) -> Table:
    """F1 of both outputs, and its difference to the row compared with."""
    cells = []
    for variant in rows:
        mine, other, values = found[variant.name], found[variant.against], []
        for output in ("au", "local"):
            people = mine["outputs"][output]["per_subject"]
            alone = variant.name == DEFAULT
            values += [mine["outputs"][output]["mean_f1"], in_words(mean_f1_interval(people), alone=True) if alone
                       else in_words(paired_gain(people, other["outputs"][output]["per_subject"]))]
        what = variant.what if variant.against == DEFAULT else f"{variant.what} (against {variant.against})"
        cells.append([variant.number, what, *values, mine["landmarks"]["nme_percent"]])
    base = found[DEFAULT]
    note = (f"{base['train_subjects']} people to train on ({base['train_frames']} frames), {base['subjects']} unseen "
            f"ones to test ({base['frames']}), fold 1, {DIFFICULTY} faces, {config.step1.epochs} + "
            f"{config.step2.epochs} epochs at lite()'s rates, seed {config.seed}, self-attention, unless the row says "
            "otherwise. Difference in points to the first row of the first table, or to the one named, with its 95 % "
            "jackknife interval over test people, not corrected for the number of rows (first row: the interval of F1 "
            "itself). Training again is not in the intervals: the row with another seed shows how much that moves.")
    return Table(
        f"One choice made otherwise, procedural faces: {group}",
        ["number", "what is otherwise", "F1 AU, %", "difference", "F1 local, %", "difference", "landmark error, %"],
        cells, note if rows[0].name == DEFAULT else "As above.",
    )


def in_words(e: Estimate, alone: bool = False) -> str:
    """An estimate's interval alone, or a difference with it."""
    if alone:
        return f"{e.low:.1f} to {e.high:.1f}"
    return f"{e.value:+.1f} ({e.low:+.1f} to {e.high:+.1f})".replace("-", "−")
