"""AUCrops against scalar loops: places, borders, gradients."""

import math

import pytest
import torch
from torch.testing import assert_close

from lorral_lite import AUCrops

AUS = (1, 6, 12, 24, 26)


@pytest.fixture
def scene():
    """Features (2, 3, 7, 10) and landmarks over the whole image of 40 pixels and beyond, so that windows hang out."""
    torch.manual_seed(3)
    return torch.randn(2, 3, 7, 10, dtype=torch.float64), 60 * torch.rand(2, 49, 2, dtype=torch.float64) - 10


PLACES = {1: (4, 5, -1 / 2), 6: (24, 29, 1), 12: (31, 37, 0), 24: (34, 40, 0), 26: (39, 41, 1 / 2)}
"""Landmarks of the two centres and how many rulers down: the published table."""


@pytest.mark.parametrize("size", [1, 3, 4])
def test_matches_literal_loops(scene, size):
    """Each number by itself: the four cells around a point of the window, weighted by their nearness."""
    features, landmarks = scene
    crops = AUCrops(AUS, size)(features, landmarks, 40)
    h, w = 7, 10
    for b in range(2):
        ruler = abs(float(landmarks[b, 22, 0]) - float(landmarks[b, 25, 0]))
        for a, au in enumerate(AUS):
            *points, down = PLACES[au]
            for side, point in enumerate(points):
                px, py = float(landmarks[b, point, 0]), float(landmarks[b, point, 1]) + down * ruler
                for row in range(size):
                    for column in range(size):
                        x = (px + 0.5) * w / 40 - 0.5 + column - (size - 1) / 2
                        y = (py + 0.5) * h / 40 - 0.5 + row - (size - 1) / 2
                        for c in range(3):
                            total = 0.0
                            for i in (math.floor(y), math.floor(y) + 1):
                                for j in (math.floor(x), math.floor(x) + 1):
                                    if 0 <= i < h and 0 <= j < w:
                                        total += float(features[b, c, i, j]) * (1 - abs(y - i)) * (1 - abs(x - j))
                            assert float(crops[b, a, side, c, row, column]) == pytest.approx(total, abs=1e-9)


def test_gradient_reaches_features_but_not_landmarks(scene):
    features, landmarks = (x.clone().requires_grad_() for x in scene)
    AUCrops(AUS, 4)(features, landmarks, 40).sum().backward()
    assert features.grad.abs().sum() > 0
    assert landmarks.grad is None


def test_gradcheck(scene):
    features, landmarks = scene[0][:1, :1].clone().requires_grad_(), scene[1][:1]
    assert torch.autograd.gradcheck(lambda f: AUCrops((1, 12), 3)(f, landmarks, 40), features)


def test_half_precision_features_keep_exact_positions(scene):
    features, landmarks = scene
    exact = AUCrops(AUS, 4)(features.bfloat16().double(), landmarks, 40)
    half = AUCrops(AUS, 4)(features.bfloat16(), landmarks.float(), 40)
    assert half.dtype == torch.bfloat16
    assert_close(half.double(), exact, rtol=1e-2, atol=1e-2)


def test_errors():
    with pytest.raises(ValueError, match="unknown action unit 99"):
        AUCrops((99,))
    with pytest.raises(ValueError, match="at least 1 cell, got 0"):
        AUCrops((1,), size=0)
    with pytest.raises(ValueError, match=r"landmarks must be \(2, 49, 2\), got \(2, 68, 2\)"):
        AUCrops((1,))(torch.zeros(2, 3, 8, 8), torch.zeros(2, 68, 2), 32)
    with pytest.raises(ValueError, match=r"landmarks must be \(2, 49, 2\), got \(1, 49, 2\)"):
        AUCrops((1,))(torch.zeros(2, 3, 8, 8), torch.zeros(1, 49, 2), 32)
