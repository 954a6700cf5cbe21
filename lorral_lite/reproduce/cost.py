"""What a grid will cost, before it starts: disk from the sizes of its files, hours from a short measurement here.

The measurement trains the grid's own model on noise of the right size for a few batches of each kind.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from ..datasets.prepared import FaceDataset
from ..device import pick_device, threads
from ..landmarks import NUM_LANDMARKS
from ..model.lorral import LoRRaL
from ..training.config import RunConfig
from ..training.run_folder import new_model
from ..training.steps import faster_threads, trial_step
from ..zoo.baselines import descriptor
from .cell import Cell, Plan

SECONDS = 60.0
"""The measurement takes at most about so long: its share is given to each of its parts, which run at least once."""


class Cost(NamedTuple):
    """Bytes that stay on the disk, and seconds on one device."""

    bytes: float
    seconds: float


class Speed(NamedTuple):
    """What was measured: seconds of a batch of step 1 and, by relation, of step 2; of one face's features, test and
    descriptor; bytes of all weights and of one face's features."""

    step1: float
    step2: dict[str, float]
    feature: float
    test: float
    describe: float
    weights: int
    feature_bytes: int


def measure(config: RunConfig, relations, device=None, seconds: float = SECONDS) -> Speed:
    """Train a few batches of noise as a cell of ``config`` would."""
    device, dataset = pick_device(device), noise(config)
    count = config.threads or (faster_threads(config, dataset.folder, dataset.rows) if device.type == "cpu" else None)
    with threads(count):
        return _measure(config, relations, new_model(config).to(device), dataset, seconds / (4 + len(relations)))


def _measure(config: RunConfig, relations, model: LoRRaL, dataset: FaceDataset, share: float) -> Speed:
    device = model.mean_shape.device
    step1 = time_of(trial_step(model, dataset, config), share, device)
    weights = 4 * sum(p.numel() for p in model.state_dict().values())
    model.eval()
    images = dataset[dataset.rows]["image"].to(device)
    with torch.no_grad():
        test = time_of(lambda: model(images), share, device) / len(images)
        feature = time_of(lambda: model.features(images), share, device) / len(images)
        features = model.features(images)
    spent = {}
    for relation in relations:
        model.set_relation(relation, seed=0)
        model.to(device).freeze_step1(train_landmarks=config.views == 0)
        answer = (lambda _: model.from_features(features)) if config.views else None
        with threads(1 if config.views else None):  # D80 cached features
            spent[relation] = time_of(trial_step(model, dataset, config, answer), share, device)
    folder = dataset.folder
    describe = time_of(lambda: descriptor(folder.images[0], folder.landmarks[0]), min(share, 0.2), device)
    size = sum(value[0].numel() * 4 for value in features)
    return Speed(step1, spent, feature, test, describe, weights, size)


def time_of(call: Callable[[], object], seconds: float, device) -> float:
    """Seconds of one call in the mean, after one to warm up; at least once, then for ``seconds``."""
    wait = torch.cuda.synchronize if torch.device(device).type == "cuda" else (lambda: None)
    started = time.perf_counter()
    call()
    wait()
    first = time.perf_counter() - started
    if first > seconds / 2:
        return first  # too slow to repeat within the share
    started, count = time.perf_counter(), 0
    while count == 0 or (count < 20 and time.perf_counter() - started < seconds - first):
        call()
        wait()
        count += 1
    return (time.perf_counter() - started) / count


def noise(config: RunConfig) -> FaceDataset:
    """As many faces of noise as a batch has, with landmarks inside and random labels."""
    rng, size, count = np.random.default_rng(0), config.model.frame_size, config.batch_size

    class Folder:
        images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        landmarks = rng.uniform(size * 0.2, size * 0.8, (count, NUM_LANDMARKS, 2)).astype(np.float32)
        labels = rng.integers(0, 2, (count, len(config.model.aus))).astype(np.int8)

    Folder.size = size
    return FaceDataset(Folder, np.arange(count), config.model.image_size, True, 0, config.jitter)


def cost_of_cell(plan: Plan, cell: Cell, speed: Speed, train: int, test: int) -> Cost:
    """What is missing of a cell that trains on ``train`` and tests on ``test`` faces; photograph, notebooks, report and
    the fit of the SVM are not in it."""
    config, missing = plan.config, plan.missing(cell)
    relations = [name for name in plan.relations if f"{name}/metrics.json" in missing]
    models = len(relations) + ("step1_metrics.json" in missing)
    seconds = models * test * speed.test
    if "step1_metrics.json" in missing:
        seconds += config.step1.epochs * max(1, train // config.batch_size) * speed.step1
    for name in relations:
        seconds += config.step2.epochs * -(-train // config.batch_size) * speed.step2[name]
    if "baselines/linear_svm/metrics.json" in missing:
        seconds += (train + test) * speed.describe
    predictions = test * (9 * len(config.model.aus) + 16 * NUM_LANDMARKS + 8)
    size = models * (speed.weights + predictions)
    if relations:
        seconds += config.views * train * speed.feature
        size += config.views * train * speed.feature_bytes
    return Cost(size, seconds)
