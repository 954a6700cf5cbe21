"""The three losses of LoRRaL (paper section 3.4): AUs from everything, AUs from local features, landmarks."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..landmarks import interocular

KINDS = ("ce", "jaa")


class Losses(NamedTuple):
    """``total`` to differentiate, and its three parts before weighting."""

    total: Tensor
    au: Tensor
    local_au: Tensor
    landmark: Tensor


def au_cross_entropy(logits: Tensor, labels: Tensor, au_weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of AU logits (B, A) against labels (B, A) in {1, 0, −1 unknown} → scalar (D14).

    First the mean over the frames whose label is known, AU by AU; then, times ``au_weights`` (A,) if given, the mean
    over the AUs that have any. Nothing known at all: 0.
    """
    known, target = split(logits, labels)
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    per_au = (each * known).sum(0) / known.sum(0).clamp(min=1)
    return mean_over_known_aus(per_au, known, au_weights)


def au_dice(logits: Tensor, labels: Tensor, au_weights: Tensor | None = None) -> Tensor:
    """Dice loss per AU, 1 − (2 Σ p y + 1) / (Σ p² + Σ y² + 1), sums over the known frames of the batch → scalar.

    Source: JAA-Net's paper formula. Its public PyTorch code also divides the fraction by the batch size, which leaves
    almost no gradient; we do not (D32). Weights and mean as in :func:`au_cross_entropy`.
    """
    known, target = split(logits, labels)
    p, y = logits.sigmoid() * known, target
    dice = (2 * (p * y).sum(0) + 1) / (p.square().sum(0) + y.square().sum(0) + 1)
    return mean_over_known_aus(1 - dice, known, au_weights)


def landmark_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """Squared error of all points of a face over twice its squared inter-ocular distance, mean over faces → scalar.

    Both (B, 49, 2) in pixels. Source: JAA-Net (D14). An inter-ocular distance below one pixel counts as one.
    """
    squared = (predicted - truth).square().sum(dim=(-2, -1))
    return (squared / (2 * interocular(truth).square().clamp(min=1))).mean()


def lorral_loss(
    output,
    labels: Tensor,
    landmarks: Tensor,
    kind: str = "ce",
    au_weights: Tensor | None = None,
    weights: tuple[float, float, float] = (1.0, 1.0, 0.5),
) -> Losses:
    """The weighted sum of the three losses (paper section 3.4; the weights 1, 1, 0.5 are JAA-Net's, D14).

    output:    a :class:`lorral_lite.model.lorral.Output`
    labels:    (B, A) in {1, 0, −1 unknown}; unknown labels neither cost nor teach anything
    landmarks: (B, 49, 2) true landmarks in pixels of the model's input
    kind:      "ce", the paper's cross-entropy; "jaa" adds :func:`au_dice` and wants ``au_weights``, see
               :func:`au_weights_from_rates`
    """
    if kind not in KINDS:
        raise ValueError(f"unknown loss {kind!r}: choose from {', '.join(KINDS)}")
    if labels.shape != output.au_logits.shape:
        raise ValueError(f"labels must be {tuple(output.au_logits.shape)} like the logits, got {tuple(labels.shape)}")
    if landmarks.shape != output.landmarks.shape:
        raise ValueError(f"landmarks must be {tuple(output.landmarks.shape)}, got {tuple(landmarks.shape)}")
    if au_weights is not None:
        au_weights = torch.as_tensor(au_weights, dtype=output.landmarks.dtype, device=labels.device)
    au, local = (au_cross_entropy(x, labels, au_weights) for x in (output.au_logits, output.local_au_logits))
    if kind == "jaa":
        au = au + au_dice(output.au_logits, labels, au_weights)
        local = local + au_dice(output.local_au_logits, labels, au_weights)
    points = landmark_loss(output.landmarks, landmarks)
    return Losses(weights[0] * au + weights[1] * local + weights[2] * points, au, local, points)


def au_weights_from_rates(rates) -> Tensor:
    """JAA-Net's weights w_i = (1 / r_i) / Σ (1 / r) · n from the occurrence rates r (A,), each in (0, 1]; mean 1."""
    rates = torch.as_tensor(rates, dtype=torch.float32)
    if rates.ndim != 1 or not bool(((rates > 0) & (rates <= 1)).all()):
        raise ValueError(f"occurrence rates must be above 0 and at most 1, got {rates.tolist()}")
    return (1 / rates) / (1 / rates).sum() * len(rates)


def split(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Labels → 1 where they are known, and the targets, 0 where they are not; both in the dtype of the logits."""
    return (labels >= 0).to(logits.dtype), (labels > 0).to(logits.dtype)


def mean_over_known_aus(per_au: Tensor, known: Tensor, au_weights: Tensor | None) -> Tensor:
    any_known = (known.sum(0) > 0).to(per_au.dtype)
    if au_weights is not None:
        per_au = per_au * au_weights
    return (per_au * any_known).sum() / any_known.sum().clamp(min=1)
