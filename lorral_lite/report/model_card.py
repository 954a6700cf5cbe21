"""The model card that stands beside weights that ship: everything in it comes from the files in the same folder."""

from pathlib import Path

from ..datasets.licensed_faces import licensed_by
from ..draw.faces import PHOTO_WARNING
from ..files import DataError, read_json
from ..model.relations import RELATIONS, label_of
from ..training.origin import RECIPE
from ..training.run_folder import read_run_config
from .page import template
from .results import STEP1

SVM = "baselines/linear_svm"


def model_card(folder) -> str:
    """The README.md of a folder with a run's weights, metrics and ``data.json``, as Markdown (model_card.md.jinja)."""
    folder = Path(folder)
    if said := licensed_by(folder):
        raise DataError(f"{folder}: trained on licensed faces ({said} says so); such weights are not published")
    found = {STEP1: read_json(folder / "step1_metrics.json")}
    found |= {name: read_json(folder / name / "metrics.json") for name in RELATIONS
              if (folder / name / "metrics.json").exists()}
    relations = [name for name in found if name != STEP1]
    svm = folder / SVM / "metrics.json"
    return template("model_card.md.jinja").render(
        folder=folder, config=read_run_config(folder), data=read_json(folder / "data.json"), recipe=RECIPE,
        found=found, one=found[STEP1], step2_seconds=sum(found[name]["seconds"] or 0 for name in relations),
        weights=[folder / "step1.safetensors", *(folder / name / "step2.safetensors" for name in relations)],
        schedule=lambda s: f"{s.epochs} epochs from {s.lr:g} × {s.gamma:g} every {s.every}",
        warning=PHOTO_WARNING[0].upper() + PHOTO_WARNING[1:], label_of=label_of,
        svm=read_json(svm) if svm.exists() else None,
    )
