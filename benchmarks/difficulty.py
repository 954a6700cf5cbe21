"""How hard the faces are: F1 on unseen people after the standard training of lite(), easy, default and hard.

Not a matter of speed but of the data: is anything left to learn, and are the AUs easy and hard that are so on BP4D?
"""

import csv
import tempfile
from pathlib import Path

import torch
from scipy.stats import spearmanr

from lorral_lite.datasets.synthetic import prepare_faces
from lorral_lite.faces.population import DIFFICULTIES
from lorral_lite.files import data_file
from lorral_lite.measure.statistics import mean_f1_interval
from lorral_lite.training.config import RunConfig
from lorral_lite.training.evaluation import evaluate
from lorral_lite.training.steps import train_step1

from . import Goal, Table

PUBLISHED = "LoRRaL(SA)"  # the variant whose order of AUs the note compares with


def measure(device: torch.device, tiny: bool):
    """Render, train step 1 and evaluate on the unseen third of the people, once for each difficulty."""
    size = {"subjects": 6, "frames": 4} if tiny else {}
    found = {}
    for difficulty in DIFFICULTIES:
        with tempfile.TemporaryDirectory() as folder:
            data, run = Path(folder) / "data", Path(folder) / "run"
            faces = prepare_faces(data, difficulty=difficulty, device=device, progress=not tiny, **size)
            config = RunConfig.lite(data, faces.aus)
            train_step1(run, config, device, progress=not tiny)
            found[difficulty] = evaluate(run, None, device, progress=False)
    aus = found["default"]["aus"]
    yield Table(
        "F1 in % on unseen people, procedural faces, AU output of step 1",
        ["difficulty", *[f"AU{au}" for au in aus], "mean", "95 % interval"],
        [["always positive", *found["default"]["always_positive"]["f1"],
          found["default"]["always_positive"]["mean_f1"], None],
         *[[name, *metrics["outputs"]["au"]["f1"], metrics["outputs"]["au"]["mean_f1"], interval(metrics)]
           for name, metrics in found.items()]],
        note=f"{found['default']['subjects']} people to test, {found['default']['train_subjects']} to train, fold 1, "
             f"one seed. Procedural faces: the values are not comparable with the paper's. Their order is: rank "
             f"correlation of the default's AUs with {PUBLISHED}'s on BP4D "
             f"{rank_correlation(aus, found['default']['outputs']['au']['f1']):.2f}.",
        goals=[Goal("default mean F1", found["default"]["outputs"]["au"]["mean_f1"], 57, at_least=True),
               Goal("default mean F1", found["default"]["outputs"]["au"]["mean_f1"], 75)],
    )


def interval(metrics: dict) -> str:
    """The jackknife interval over subjects of the mean F1, as text."""
    estimate = mean_f1_interval(metrics["outputs"]["au"]["per_subject"])
    return f"{estimate.low:.1f}–{estimate.high:.1f}"


def rank_correlation(aus, f1) -> float:
    """Spearman's correlation over AUs of ``f1`` with the published F1 on BP4D (data/published/f1.csv)."""
    with open(data_file("published", "f1.csv"), newline="", encoding="utf8") as file:
        published = {int(row["au"]): float(row["f1_percent"]) for row in csv.DictReader(file)
                     if row["dataset"] == "bp4d" and row["method"] == PUBLISHED}
    return float(spearmanr(f1, [published[au] for au in aus]).statistic)
