"""When do parts pay? PatchConv cut into many parts, few and none, and a linear SVM, against the number of faces.

All see equally many updates: what differs is how many faces these repeat. Test people are the same for all sizes.

    <results>/<kind>_<faces>_seed<s>.json    what one training gave; what is there is not done again
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..datasets.folds import fold_rows
from ..datasets.prepared import PreparedFolder, open_prepared
from ..datasets.synthetic import prepare_faces
from ..files import read_json, write_json
from ..measure.metrics import summarise
from ..training.config import RunConfig, Schedule
from ..training.evaluation import predict_rows
from ..training.jobs import run_cells
from ..training.steps import train_step1
from ..zoo.baselines import decide, fit_svms

KINDS = {"parts_8_4": (8, 4), "parts_4_2": (4, 2), "parts_2_2": (2, 2), "one_part": (1, 1), "linear_svm": None}
"""Name → parts a side of the two PatchConvs."""
FACES, SEEDS, TESTED = (1_000, 4_000, 16_000), (900, 901), 905
"""Training faces, development seeds of the training people, and the seed of the people that all are tested on."""
FRAMES, FOLDS = 50, 11  # ten of eleven people are trained on
TEST_PEOPLE, TEST_FRAMES = 90, 30
PASSES = 3
"""Over the most faces, in as many epochs of falling rate; fewer faces are passed over more often."""


def run(place, results, reading: dict, jobs: int = 2, device=None, progress: bool = True, say=print) -> None:
    """Train and test all kinds on all numbers of faces; what is there already is left."""
    place = Path(place)
    cells = {f"{kind}, {faces} faces, seed {seed}": (place, results, kind, faces, seed, reading, device, False)
             for faces in reversed(FACES) for seed in SEEDS for kind in KINDS
             if not cell_file(results, kind, faces, seed).exists()}
    drawn = {f"{faces} faces, seed {seed}": (place, faces, seed, device, False)
             for faces, seed in dict.fromkeys(cell[3:5] for cell in cells.values())}
    run_cells(training_faces, drawn, jobs, place, "faces", progress, say, device)
    if cells:
        tested_faces(place, device, progress)
    run_cells(run_cell, cells, jobs, place, "parts", progress, say, device)


def run_cell(place, results, kind: str, faces: int, seed: int, reading: dict | None = None, device=None,
             progress: bool = True) -> None:
    """Train one kind on so many faces and keep its figures; ``reading``: fields of the model and of RunConfig that are
    otherwise than in lite(), for all kinds alike."""
    train, test = training_faces(place, faces, seed, device, progress), tested_faces(place, device, progress)
    started = time.perf_counter()
    rows = fold_rows(train, 1, FOLDS)[0]
    if kind == "linear_svm":
        weights, bias, _ = fit_svms(train, rows, seed, progress)
        found = {"au": decide(test, np.arange(len(test)), weights, bias, progress)}
        device = "cpu"
    else:
        reading = reading or {}
        config = RunConfig.lite(train.path, train.aus, seed=seed, folds=FOLDS, threads=1, **reading.get("changes", {}))
        times = FACES[-1] // faces
        model = replace(config.model, **{**reading.get("model", {}), "patch_grids": KINDS[kind]})
        config = replace(config, model=model, step1=Schedule(PASSES * times, 0.02, 0.3, times),
                         true_landmark_epochs=max(1, PASSES * times // 8))
        fitted = train_step1(Path(place) / f"{kind}_{faces}_seed{seed}", config, device, progress)
        device = str(next(fitted.parameters()).device)
        answer = predict_rows(fitted, test, np.arange(len(test)), progress=progress)
        found = {"au": answer["au_logits"], "local": answer["local_au_logits"]}
    seconds = time.perf_counter() - started
    cell = {"kind": kind, "faces": faces, "seed": seed, "aus": list(test.aus), "train_frames": len(rows),
            "test_frames": len(test), "seconds": round(seconds, 1), "device": device}
    for output, logits in found.items():
        measured = summarise(logits, test.labels, test.subjects)
        for measure in ("mean_auc", "mean_f1", "auc", "f1"):
            cell[f"{output}_{measure}"] = np.round(measured[measure], 2).tolist()
    write_json(cell_file(results, kind, faces, seed), cell)


def training_faces(place, faces: int, seed: int, device, progress: bool) -> PreparedFolder:
    """The prepared folder whose first fold of :data:`FOLDS` has ``faces`` training faces."""
    people = faces // FRAMES * FOLDS // (FOLDS - 1)
    return _faces(Path(place) / f"faces{faces}_seed{seed}", people, FRAMES, seed, device, progress)


def tested_faces(place, device, progress: bool) -> PreparedFolder:
    """The prepared folder of the people whom all are tested on."""
    return _faces(Path(place) / "tested_faces", TEST_PEOPLE, TEST_FRAMES, TESTED, device, progress)


def _faces(out: Path, people: int, frames: int, seed: int, device, progress: bool) -> PreparedFolder:
    if not out.exists():
        prepare_faces(out, people, frames, seed=seed, device=device, progress=progress)
    return open_prepared(out)


def curve(results) -> dict[str, dict[str, np.ndarray]]:
    """{kind: {"f1", "auc": mean over AUs of the AU output in %, (numbers of faces, seeds)}}."""
    cells = {kind: [[read_json(cell_file(results, kind, faces, seed)) for seed in SEEDS] for faces in FACES]
             for kind in KINDS}
    return {kind: {measure: np.array([[cell[f"au_mean_{measure}"] for cell in row] for row in rows])
                   for measure in ("f1", "auc")} for kind, rows in cells.items()}


def pays(found: dict, kind: str, than: str = "one_part") -> list[int]:
    """With how many faces ``kind`` has the better AUC in every seed."""
    more = found[kind]["auc"] - found[than]["auc"]
    return [faces for faces, gains in zip(FACES, more, strict=True) if gains.min() > 0]


def table(results) -> str:
    """F1 and AUC of the AU output, mean over seeds, against the number of training faces, in plain text."""
    lines = [f"{'':12}" + "".join(f"{f'{faces:,} faces':>26}" for faces in FACES)]
    for kind, found in curve(results).items():
        words = [f"F1 {f1.mean():.1f} (±{np.ptp(f1) / 2:.1f}) AUC {auc.mean():.1f}"
                 for f1, auc in zip(found["f1"], found["auc"], strict=True)]
        lines.append(f"{kind:12}" + "".join(f"{word:>26}" for word in words))
    return "\n".join(lines)


def cell_file(results, kind: str, faces: int, seed: int) -> Path:
    return Path(results) / f"{kind}_{faces}_seed{seed}.json"
