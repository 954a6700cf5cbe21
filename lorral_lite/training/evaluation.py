"""Testing a run on people the model has never seen: predictions first, then every measure from them."""

from pathlib import Path

import numpy as np
import torch

from ..datasets.licensed_faces import is_licensed, protect
from ..datasets.prepared import FaceDataset, PreparedFolder
from ..device import pick_device, threads
from ..files import read_log, save_tensors, write_json
from ..measure.metrics import always_positive_f1, landmark_errors, mean_or_none, or_none, summarise
from ..output import progress_bar
from .config import RunConfig
from .origin import open_fold, results_of
from .run_folder import load_model, read_run_config


@torch.no_grad()
def predict_rows(model, folder: PreparedFolder, rows, device=None, batch_size: int = 64, progress=False) -> dict:
    """Centre-crop predictions for rows of a prepared folder: CPU tensors ``au_logits``, ``local_au_logits`` (R, A),
    ``landmarks`` and ``true_landmarks`` (R, 49, 2) in pixels of the model input, ``labels`` (R, A), ``rows`` (R,)."""
    model.eval()
    device = next(model.parameters()).device if device is None else device
    dataset = FaceDataset(folder, rows, model.config.image_size, train=False)
    found: dict[str, list] = {}
    for first in progress_bar(range(0, len(dataset), batch_size), desc="evaluating", unit="batch", disable=not progress,
                      leave=False):
        batch = dataset[np.arange(first, min(first + batch_size, len(dataset)))]
        answer = model(batch["image"].to(device))
        wanted = {"au_logits": answer.au_logits, "local_au_logits": answer.local_au_logits,
                  "landmarks": answer.landmarks, "true_landmarks": batch["landmarks"],
                  "labels": batch["labels"], "rows": batch["row"]}
        for key, value in wanted.items():
            found.setdefault(key, []).append(value.cpu())
    return {key: torch.cat(value) for key, value in found.items()}


def evaluate(run, relation: str | None = None, device=None, progress: bool = True) -> dict:
    """Test the model of a run folder on its unseen subjects; writes and returns the metrics (step 1: relation None).

    F1 comes from counts pooled over the fold's test frames, threshold 0.5 (D28), unknown labels excluded, for both AU
    outputs; landmark NME is in % of the inter-ocular distance, a face fails above 10 %.
    """
    run, device = Path(run), pick_device(device)
    config = read_run_config(run)
    folder, rows, test = open_fold(run, config)
    model, made = load_model(run, relation, device), results_of(run, relation)
    with threads(config.threads):
        found = predict_rows(model, folder, test, device, progress=progress)
    protect(run, folder)
    out, before = (run, "step1_") if relation is None else (run / relation, "")
    metrics = {
        "relation": relation, **what_was_tested(config, folder, rows, test, made),
        "outputs": {"au": summarise(found["au_logits"], found["labels"], folder.subjects[test]),
                    "local": summarise(found["local_au_logits"], found["labels"], folder.subjects[test])},
        "landmarks": landmark_errors(found["landmarks"], found["true_landmarks"]),
        "seconds": sum(line["seconds"] for line in read_log(out / f"{before}log.jsonl")) or None,
        "device": str(device), "parameters": sum(p.numel() for p in model.parameters()),
    }
    save_tensors(out / f"{before}predictions.safetensors", found, made)
    write_json(out / f"{before}metrics.json", metrics)
    return metrics


def what_was_tested(config: RunConfig, folder: PreparedFolder, rows: np.ndarray, test: np.ndarray, made: dict) -> dict:
    """What the metrics of a model and of a baseline say alike: fold, data, people, frames and the floor to clear; and
    ``made``, what they were made of (:func:`.origin.results_of`)."""
    source = folder.meta["source"]
    if folder.meta.get("stand_in"):
        source += " stand-in (procedural faces)"  # its scores must not look like those of the real data
    floor = always_positive_f1(folder.labels[test])
    return {
        "fold": config.fold, "folds": config.folds, "seed": config.seed, "aus": list(folder.aus),
        "data": {"source": source, "licensed": is_licensed(folder), "frames": len(folder),
                 "path": Path(config.data).name, "fingerprint": made["data"]},
        "weights": made["weights"],
        "always_positive": {"f1": [or_none(v) for v in floor], "mean_f1": mean_or_none(floor)},
        "frames": len(test), "train_frames": len(rows),
        "subjects": len(set(folder.subjects[test])), "train_subjects": len(set(folder.subjects[rows])),
    }
