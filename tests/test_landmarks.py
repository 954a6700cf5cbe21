"""Landmarks: subsets, mirror, centres against the written rules, alignment of pixels and points alike."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch.testing import assert_close

from lorral_lite.facs import ACTION_UNITS
from lorral_lite.landmarks import (
    FROM_66,
    FROM_68,
    MIRROR,
    align_face,
    alignment,
    au_centers,
    interocular,
    mirror_landmarks,
    ruler,
    to_49,
    transform,
    warp,
)

ALL = tuple(ACTION_UNITS)


def face(shift=(0.0, 0.0), scale=1.0, degrees=0.0):
    """A plausible frontal face of 49 points, about 200 px wide, then moved by a similarity."""
    left = [(40, 60), (48, 52), (58, 49), (68, 50), (76, 54), (100, 65), (100, 78), (100, 90), (100, 102),
            (88, 112), (94, 114), (100, 116), (54, 68), (61, 63), (70, 63), (78, 69), (70, 72), (61, 72),
            (70, 132), (82, 127), (93, 124), (100, 126), (92, 142), (82, 139), (100, 144), (92, 131), (100, 131),
            (92, 135), (100, 135)]
    points = np.full((49, 2), np.nan)
    where = [0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 15, 16, 19, 20, 21, 22, 23, 24, 31, 32, 33, 34, 41, 42, 40, 43, 44,
             48, 47]
    points[where] = left
    for i, j in enumerate(MIRROR):
        if np.isnan(points[i, 0]):
            points[i] = 200 - points[j, 0], points[j, 1]
    assert np.isfinite(points).all()
    a = np.deg2rad(degrees)
    rotation = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return ((points - 100) @ rotation.T * scale + 100 + shift).astype(np.float32)


def test_subsets_of_66_and_68_points():
    assert len(FROM_66) == len(FROM_68) == 49
    assert [i for i in range(68) if i not in FROM_68] == [*range(17), 60, 64]
    p = np.random.default_rng(0).normal(size=(3, 68, 2))
    np.testing.assert_array_equal(to_49(p)[:, 31:43], p[:, 48:60])  # the outer lip of the 68-point scheme
    np.testing.assert_array_equal(to_49(p)[:, 43:46], p[:, 61:64])
    np.testing.assert_array_equal(to_49(p)[:, 46:49], p[:, 65:68])
    np.testing.assert_array_equal(to_49(p[:, :66])[:, 0], p[:, 17])
    with pytest.raises(ValueError, match="a face of 51 landmarks: 49, 66 or 68"):
        to_49(p[:, :51])


def test_mirror_is_its_own_inverse_and_swaps_sides():
    p = face((3, 4), 1.1, 5)
    twice = mirror_landmarks(mirror_landmarks(p, 230), 230)
    np.testing.assert_allclose(twice, p, atol=1e-4)
    m = mirror_landmarks(p, 230)
    np.testing.assert_allclose(m[31], [229 - p[37, 0], p[37, 1]], atol=1e-4)
    assert m[19, 0] < m[28, 0]  # the left eye is still on the left
    assert_close(mirror_landmarks(torch.from_numpy(p), 230), torch.from_numpy(m))


def test_ruler_and_interocular_distance_match_literal_loops(rng):
    p = rng.uniform(0, 200, (3, 49, 2))
    for face_points, unit, eyes in zip(p, ruler(p), interocular(torch.from_numpy(p)), strict=True):
        assert unit == pytest.approx(abs(face_points[22, 0] - face_points[25, 0]))
        left, right = ([sum(face_points[k, d] for k in eye) / 6 for d in range(2)]
                       for eye in ((19, 20, 21, 22, 23, 24), (25, 26, 27, 28, 29, 30)))
        assert float(eyes) == pytest.approx(math.dist(left, right))


def test_centres_follow_the_written_rules():
    p = face()
    r = abs(p[22, 0] - p[25, 0])
    assert ruler(p) == pytest.approx(r)
    expected = {  # point, point, rulers down: the published table
        1: (4, 5, -1 / 2), 2: (1, 8, -1 / 3), 4: (2, 7, 1 / 3), 6: (24, 29, 1), 7: (21, 26, 0), 9: (15, 17, -1 / 2),
        10: (43, 45, 0), 12: (31, 37, 0), 14: (31, 37, 0), 15: (31, 37, 0), 17: (39, 41, 1 / 2), 23: (34, 40, 0),
        24: (34, 40, 0), 25: (34, 40, 0), 26: (39, 41, 1 / 2),
    }
    centres = au_centers(p, tuple(expected))
    for row, (a, b, down) in zip(centres, expected.values(), strict=True):
        np.testing.assert_allclose(row, [p[a] + (0, down * r), p[b] + (0, down * r)], atol=1e-4)


@pytest.mark.parametrize("shape", [(49, 2), (2, 49, 2), (2, 3, 49, 2)])
def test_centres_of_batches_and_tensors_agree(shape, rng):
    p = rng.uniform(0, 200, shape)
    centres = au_centers(p, ALL)
    assert centres.shape == (*shape[:-2], len(ALL), 2, 2)
    assert_close(au_centers(torch.from_numpy(p), ALL), torch.from_numpy(centres), rtol=0, atol=1e-12)


def test_centres_of_a_mirrored_face_are_the_mirrored_centres():
    p = face((4, -3), 0.9)
    p[0:5, 1] -= 7  # make the sides differ
    p[31] += 3
    direct = au_centers(mirror_landmarks(p, 210), ALL)
    mirrored = au_centers(p, ALL) * (-1, 1) + (209, 0)
    for au, a, b in zip(ALL, direct, mirrored, strict=True):
        swapped = b if au in (23, 24, 25) else b[::-1]  # top and bottom stay, left and right swap
        np.testing.assert_allclose(a, swapped, atol=1e-3, err_msg=f"AU{au}")


@pytest.mark.parametrize(("degrees", "size"), [(12, 120), (-17, 100), (0, 200)])
def test_alignment_matches_the_rule_in_literal_loops(degrees, size):
    """Rotate the eyes level, put a square of 2.9 times the longer side of the five-point box around its middle."""
    p = face((20, 11), 1.3, degrees).astype(np.float64)
    left, right = ([sum(p[k, d] for k in eye) / 6 for d in range(2)] for eye in (range(19, 25), range(25, 31)))
    angle = math.atan2(right[1] - left[1], right[0] - left[0])

    def turned(point):
        x, y = point
        return (math.cos(angle) * x + math.sin(angle) * y, -math.sin(angle) * x + math.cos(angle) * y)

    five = [turned(point) for point in (left, right, p[13], p[31], p[37])]
    low, high = ([f(point[d] for point in five) for d in range(2)] for f in (min, max))
    side = 2.9 * max(high[0] - low[0], high[1] - low[1])
    found = transform(p, alignment(p, size))
    for k in range(49):
        for d in range(2):
            expected = (turned(p[k])[d] - (low[d] + high[d]) / 2) / side * (size - 1) + (size - 1) / 2
            assert found[k, d] == pytest.approx(expected, abs=1e-9)


def test_warp_is_bilinear_as_scipy_samples():
    image = np.random.default_rng(1).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    matrix = np.array([[0.9, 0.3, -4.0], [-0.3, 0.9, 11.0]])
    found = warp(image, matrix, 40)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    y, x = np.mgrid[:40, :40]
    source = np.einsum("ij,jyx->iyx", inverse, np.stack([x, y, np.ones_like(x)]))
    inside = (source[0] > 1) & (source[0] < 68) & (source[1] > 1) & (source[1] < 58)
    assert inside.sum() > 800
    for c in range(3):
        expected = map_coordinates(image[..., c].astype(float), source[::-1], order=1)
        np.testing.assert_array_less(abs(found[..., c][inside] - expected[inside]), 1 + 1e-9)  # cut to uint8
    outside = (source[0] < -2) | (source[1] < -2)
    assert (found[outside] == 128).all()


@pytest.mark.parametrize(("landmarks", "message"), [
    (np.zeros((48, 2)), r"shape \(49, 2\), got shape \(48, 2\)"),
    (np.full((49, 2), np.nan), "must be finite"),
    (np.zeros((49, 2)), "the two eye centres coincide"),
])
def test_bad_landmarks(landmarks, message):
    with pytest.raises(ValueError, match=message):
        alignment(landmarks)


def test_bad_image():
    with pytest.raises(ValueError, match=r"image must be \(H, W, 3\) uint8, got \(5, 5\) uint8"):
        align_face(np.zeros((5, 5), np.uint8), face())
