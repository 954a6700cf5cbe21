"""Baselines that every relation must beat, in the same fold and in the format of a relation's metrics.json.

    <run>/baselines/<name>/  metrics.json  predictions.safetensors

``always_positive`` says yes to every AU of every frame. ``linear_svm`` is the LSVM of the paper's Tables 1 and 2, whose
rows come from DRML (CVPR 2016): a descriptor of 128 numbers at each of the 49 landmarks, one LIBLINEAR SVM for each AU.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from skimage.feature import hog
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from ..datasets.folds import hold_out
from ..datasets.licensed_faces import protect
from ..datasets.prepared import PreparedFolder
from ..files import save_tensors, write_json
from ..landmarks import NUM_LANDMARKS
from ..measure.metrics import counts, f1_from_counts, summarise
from ..output import progress_bar
from ..training.evaluation import what_was_tested
from ..training.origin import open_fold, results_of
from ..training.run_folder import read_run_config

DRAW = {1: 100, 0: 200}
"""D95: training frames of each AU and video by label, as DRML drew them: 100 shown, 200 not shown."""
MOST_FRAMES = 8_000
"""D95: at most so many training frames of an AU, and so many held-out ones to choose C on; bounds the memory."""
C_GRID = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""D96: the values of C that are tried."""
TOLERANCE = 0.1
"""D96: LIBLINEAR's own default for its default solver, the dual one; scikit-learn's is stricter and far slower."""
BLOCK = 500
"""Test frames that are described at a time."""


def run_baseline(run, name: str, progress: bool = True) -> dict:
    """Fit the named baseline on the training subjects of a run's fold, test it on the others; writes and returns the
    metrics. A baseline has one output, which stands under both names, ``au`` and ``local``; it finds no landmarks."""
    run = Path(run)
    config = read_run_config(run)
    folder, rows, test = open_fold(run, config)
    made = results_of(run, baseline=name)
    protect(run, folder)
    started = time.perf_counter()
    logits, more = BASELINES[name](folder, rows, test, config.seed, progress)
    labels = np.asarray(folder.labels[test])
    output = summarise(logits, labels, folder.subjects[test])
    metrics = {
        "relation": None, "baseline": name, **what_was_tested(config, folder, rows, test, made),
        "outputs": {"au": output, "local": output}, "landmarks": None,
        "seconds": time.perf_counter() - started, "device": "cpu", **more,
    }
    out = run / "baselines" / name
    save_tensors(out / "predictions.safetensors", {
        "au_logits": torch.from_numpy(np.asarray(logits, np.float32)), "labels": torch.from_numpy(labels),
        "rows": torch.from_numpy(test)}, made)
    write_json(out / "metrics.json", metrics)
    return metrics


def always_positive(folder: PreparedFolder, rows, test, seed: int = 0, progress: bool = True):
    """(logits (len(test), A) of 1, what else the metrics say)."""
    return np.ones((len(test), len(folder.aus)), np.float32), {"parameters": 0}


def linear_svm(folder: PreparedFolder, rows, test, seed: int = 0, progress: bool = True):
    """Decision values (len(test), A) of one SVM per AU; an AU is shown where they are at least 0."""
    weights, bias, used = fit_svms(folder, rows, seed, progress)
    return decide(folder, test, weights, bias, progress), {"parameters": weights.size + bias.size, **used}


def fit_svms(folder: PreparedFolder, rows, seed: int = 0, progress: bool = True) -> tuple[np.ndarray, np.ndarray, dict]:
    """(weights (A, D), bias (A,), what else the metrics say) of one SVM per AU.

    C is the one of :data:`C_GRID` with the best F1 on held-out training subjects (a fifth, as in
    :func:`lorral_lite.datasets.folds.hold_out`), the smallest of equals; then all training subjects are fitted with it.
    """
    labels, videos = np.asarray(folder.labels), video_numbers(folder)
    turn = np.random.default_rng(seed).permutation(len(labels))  # one for all AUs, which then share frames
    rest, held = hold_out(folder, rows, seed=seed)
    held = spread(held, MOST_FRAMES)
    chosen = [draw_frames(rows, labels[:, a], videos, turn) for a in range(labels.shape[1])]
    every = np.unique(np.concatenate([held, *chosen]))
    described = np.empty((len(every), NUM_LANDMARKS * 128), np.float32)
    for k, row in enumerate(progress_bar(every, desc="descriptors", unit="face", disable=not progress, leave=False)):
        described[k] = descriptor(folder.images[row], folder.landmarks[row])
    fits = [fit_au(described, every, labels[:, a], chosen[a], np.isin(chosen[a], rest), held, seed)
            for a in progress_bar(range(labels.shape[1]), desc="SVMs", unit="AU", disable=not progress, leave=False)]
    used = {"c": [c for _, _, c in fits], "fitted_frames": [len(rows) for rows in chosen]}
    return np.stack([w for w, _, _ in fits]), np.array([b for _, b, _ in fits]), used


def decide(folder: PreparedFolder, test, weights: np.ndarray, bias: np.ndarray, progress: bool = True) -> np.ndarray:
    """Decision values (len(test), A) of the SVMs of :func:`fit_svms`."""
    logits = np.empty((len(test), len(bias)), np.float32)
    for first in progress_bar(range(0, len(test), BLOCK), desc="testing", unit="block", disable=not progress,
                              leave=False):
        block = test[first : first + BLOCK]
        faces = np.stack([descriptor(folder.images[row], folder.landmarks[row]) for row in block])
        logits[first : first + BLOCK] = faces @ weights.T + bias
    return logits


BASELINES = {"always_positive": always_positive, "linear_svm": linear_svm}


# --------------------------------------------------------------------------------------------------- pieces of the SVM


def descriptor(face: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Face (S, S, 3) uint8 and its 49 landmarks (49, 2) → (49 · 128,) float32, a HOG of the patch at each (D94).

    A patch is as SIFT's: 4×4 cells of 8 directions, S/25 pixels a cell, one block normalised as L2-Hys. Pixels outside
    the face repeat its edge.
    """
    cell = max(1, round(face.shape[0] / 25))
    side = 4 * cell
    grey = face @ np.array([0.299, 0.587, 0.114])
    corners = np.clip(np.rint(landmarks).astype(int), 0, face.shape[0] - 1)
    padded = np.pad(grey, side // 2, mode="edge")
    return np.concatenate([
        hog(padded[y : y + side, x : x + side], 8, (cell, cell), (4, 4), "L2-Hys") for x, y in corners
    ]).astype(np.float32)


def fit_au(described, every, labels, chosen, inside, held, seed: int) -> tuple[np.ndarray, float, float | None]:
    """(weights, bias, C) for one AU: C on the held-out rows, then all ``chosen`` ones. Where the frames show one thing
    only the answer is always that, and C None; where the held-out frames do, C is the middle of the grid.

    Each fit standardises by its own frames. Standardised by others too, their mean is not 0, the machine takes that
    direction for its bias, and fails on people who lie the other way."""
    def fits(rows: np.ndarray, values) -> Iterator[tuple[np.ndarray, float]]:
        faces = described[np.searchsorted(every, rows)]
        scaler = StandardScaler(copy=False).fit(faces)
        faces = scaler.transform(faces)
        for c in values:
            machine = LinearSVC(C=c, dual=True, tol=TOLERANCE, max_iter=10_000, random_state=seed)
            machine.fit(faces, labels[rows])
            weights = machine.coef_[0] / scaler.scale_
            yield weights, float(machine.intercept_[0] - weights @ scaler.mean_)

    shown = np.unique(labels[chosen])
    if len(shown) < 2:
        return np.zeros(described.shape[1]), 1.0 if list(shown) == [1] else -1.0, None
    c = C_GRID[len(C_GRID) // 2]
    held = held[labels[held] >= 0]
    if len(np.unique(labels[held])) == len(np.unique(labels[chosen[inside]])) == 2:
        faces, truth = described[np.searchsorted(every, held)], labels[held][:, None]
        scores = [f1_from_counts(counts((faces @ weights + bias)[:, None], truth))[0]
                  for weights, bias in fits(chosen[inside], C_GRID)]
        c = C_GRID[int(np.argmax(scores))]
    return (*next(fits(chosen, [c])), c)


def video_numbers(folder: PreparedFolder) -> np.ndarray:
    """(N,) a number for each frame's (subject, task)."""
    names = [f"{subject}\n{task}" for subject, task in zip(folder.subjects, folder.tasks, strict=True)]
    return np.unique(names, return_inverse=True)[1]


def draw_frames(rows: np.ndarray, labels: np.ndarray, videos: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The ascending rows that an AU is fitted on: of each video and label the first ones in the random order ``turn``,
    as many as :data:`DRAW` says, then of each label its share of :data:`MOST_FRAMES` (D95); none of unknown label."""
    rows, kept = rows[np.argsort(turn[rows])], []
    for label, most in DRAW.items():
        mine = rows[labels[rows] == label]
        mine = mine[np.argsort(videos[mine], kind="stable")]
        first = np.searchsorted(videos[mine], videos[mine])  # where the video of each begins
        mine = mine[np.arange(len(mine)) - first < most]
        kept.append(mine[np.argsort(turn[mine])][: MOST_FRAMES * most // sum(DRAW.values())])
    return np.sort(np.concatenate(kept))


def spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` of the rows, evenly spread."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]
