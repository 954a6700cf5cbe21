"""The arms of the trial: relations, their deaf twins and controls, taught step 2 on the features that a step 1 gives.

Features are computed once for all arms of a seed; what an arm learns is its relation and both AU heads, from equal
starts (D17), on equal batches.
"""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..datasets.prepared import FaceDataset, PreparedFolder
from ..measure.metrics import summarise
from ..model.lorral import Features, LoRRaL
from ..model.losses import au_cross_entropy
from ..model.relations import deafen
from ..training.config import Schedule, seed_of

MODULES = ("bilstm", "self_attention", "hopfield", "series")
"""The modules on trial."""


@dataclass(frozen=True)
class Arm:
    """A relation, deaf or not. An MLP has as many weights as the module ``like``."""

    relation: str
    deaf: bool = False
    like: str | None = None


ARMS = {"none": Arm("none"), **{f"mlp_{name}": Arm("mlp", like=name) for name in MODULES if name != "hopfield"},
        **{f"{'deaf_' * deaf}{name}": Arm(name, deaf) for name in MODULES for deaf in (False, True)}}
"""All arms by name. Self-attention and Hopfield have equally many weights, hence one MLP."""
OUTPUTS = ("local", "au")
BATCH, MOMENTUM, WEIGHT_DECAY = 16, 0.9, 5e-4  # as step 2 of RunConfig


@dataclass(frozen=True)
class Seen:
    """Faces as step 2 sees them: features of N views and their labels (N, A)."""

    features: Features
    labels: Tensor

    def __getitem__(self, rows) -> "Seen":
        return Seen(Features(*(value[rows] for value in self.features)), self.labels[rows])


@torch.no_grad()
def look(model: LoRRaL, folder: PreparedFolder, rows: np.ndarray, views: int = 0, seed: int = 0,
         jitter: float = 0.0) -> Seen:
    """Features of ``rows``: of so many random views of each, one after the other, or with 0 of the centre crop."""
    model.eval()
    found: list[Seen] = []
    for view in range(max(1, views)):
        dataset = FaceDataset(folder, rows, model.config.image_size, train=views > 0, seed=seed, jitter=jitter)
        if views:
            dataset.set_epoch(view)
        for block in np.array_split(np.arange(len(dataset)), -(-len(dataset) // 64)):
            batch = dataset[block]
            found.append(Seen(model.features(batch["image"]), batch["labels"]))
    features = Features(*(torch.cat(values) for values in zip(*(one.features for one in found), strict=True)))
    return Seen(features, torch.cat([one.labels for one in found]))


def begin(model: LoRRaL, arm: Arm, seed: int) -> LoRRaL:
    """A copy of a model after step 1 with the arm's new relation and new heads, which are equal for all arms."""
    made, options = copy.deepcopy(model), {}
    if arm.like:
        made.set_relation(arm.like, seed=0)
        options = {"parameters": made.parameter_count()["relation"]}
    made.set_relation(arm.relation, seed=seed_of(seed, 2, 0), **options)
    if arm.deaf:
        deafen(made.relation)
    made.freeze_step1(train_landmarks=False)
    return made


def teach(made: LoRRaL, seen: Seen, schedule: Schedule, seed: int, views: int = 1) -> list[float]:
    """Step 2 of an arm, in place, by the cross-entropy of both outputs; returns the mean loss of each epoch.

    ``seen`` holds so many views of each face, one view after the other (:func:`look`); an epoch shows one of them
    (D103).
    """
    made.train()
    taught = [p for p in made.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(taught, lr=schedule.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True)
    losses = []
    for epoch in range(schedule.epochs):
        torch.manual_seed(seed_of(seed, 2, epoch))
        optimiser.param_groups[0]["lr"] = schedule.at(epoch)
        faces = len(seen.labels) // views
        chosen = torch.randperm(faces) + faces * torch.randint(views, (faces,))
        total, shuffled = torch.zeros(()), seen[chosen]
        twice = shuffled.labels.repeat(1, 2)
        for first in range(0, len(twice), BATCH):
            rows = slice(first, first + BATCH)
            answer = made.from_features(shuffled[rows].features)
            both = torch.cat([answer.au_logits, answer.local_au_logits], dim=1)
            loss = 2 * au_cross_entropy(both, twice[rows])  # the sum of the two: AUs are known in both or in neither
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.detach() * len(both)
        losses.append(float(total) / faces)
    return losses


@torch.no_grad()
def ask(made: LoRRaL, seen: Seen, subjects) -> dict[str, dict]:
    """{output: AUC and F1 of each AU and their means, and the log loss} of a taught arm on other people's faces."""
    made.eval()
    answer = made.from_features(seen.features)
    found = {}
    for output, logits in zip(OUTPUTS, (answer.local_au_logits, answer.au_logits), strict=True):
        measured = summarise(logits, seen.labels, subjects)
        found[output] = {name: measured[name] for name in ("auc", "f1", "mean_auc", "mean_f1")}
        found[output]["log_loss"] = float(au_cross_entropy(logits, seen.labels))
    return found


def schedule_of(rate: float, epochs: int) -> Schedule:
    """The rate falls to 0.3 of itself after each three eighths of the epochs, as in the first version's 16."""
    return Schedule(epochs, rate, 0.3, -(-3 * epochs // 8))


@torch.no_grad()
def moved(before: LoRRaL, after: LoRRaL) -> float:
    """How far the relation's weights moved: the norm of their change over their own norm at the start."""
    pairs = list(zip(before.relation.parameters(), after.relation.parameters(), strict=True))
    if not pairs:
        return 0.0
    change = torch.stack([(b - a).norm() for a, b in pairs]).norm()
    return float(change / torch.stack([a.norm() for a, _ in pairs]).norm())


def rounded(value):
    """Numbers in nested dicts, lists and arrays with four digits; whole numbers stay, NaN becomes None."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, np.ndarray):
        return rounded(value.tolist())
    if isinstance(value, list):
        return [rounded(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    return value
