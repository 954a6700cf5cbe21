"""Faces of the notebooks: one in the studio, marks drawn on it, samples of a population."""

import itertools

import numpy as np
import pytest
import torch
from PIL import ImageColor
from torch.testing import assert_close

from lorral_lite import AU_SETS, LoRRaL, LoRRaLConfig
from lorral_lite.course import portraits
from lorral_lite.course.portraits import mark_face, sample_faces, studio_face
from lorral_lite.datasets.prepared import FaceDataset
from lorral_lite.datasets.synthetic import prepare_faces
from lorral_lite.draw.base import ORANGE
from lorral_lite.faces.render import render_faces
from lorral_lite.landmarks import au_centers, ruler


def test_only_the_aus_move_in_a_portrait():
    neutral, smile = studio_face({}, 4), studio_face({12: 1.0}, 4)
    assert neutral[0].shape == (150, 150, 3)
    still = [*range(14), *range(19, 23), *range(25, 29)]  # brows, bridge of the nose, upper lids
    np.testing.assert_allclose(smile[1][still], neutral[1][still], atol=1e-3)
    assert (smile[1][[31, 37], 1] < neutral[1][[31, 37], 1] - 0.1 * ruler(neutral[1])).all()  # corners go up


def test_scene_0_is_the_studio_and_others_differ():
    faces = [studio_face({}, 4, scene)[0] for scene in (0, 1, 2)]
    assert all((a != b).any() for a, b in itertools.combinations(faces, 2))
    assert faces[0][2:8, 2:8].reshape(-1, 3).std(0).max() < 2  # plain ground
    for person in range(6):
        bottom = studio_face({}, person, 0, 100)[0][-1].astype(int)
        assert not (np.abs(bottom - 128).max(1) < 2).all(), f"a grey border below person {person}"


def test_a_named_pose_is_seen_and_a_scene_s_own_is_aligned_away():
    for scene in (0, 2):
        eyes = [studio_face({}, 4, scene, **more)[1] for more in ({}, {"roll": 10.0})]
        level, tilted = (p[25:31, 1].mean() - p[19:25, 1].mean() for p in eyes)
        assert abs(level) < 1e-3
        assert tilted > 2  # clockwise: the left eye rises


def test_faces_are_drawn_on_the_device_that_was_asked_for(monkeypatch):
    seen = []
    monkeypatch.setattr(portraits, "render_faces", lambda *a, **k: (seen.append(k["device"]), render_faces(*a, **k))[1])
    for device in (None, "cpu"):  # what was drawn elsewhere is not taken for it
        studio_face({12: 1.0}, 3, size=64, device=device)
    assert seen == [None, None, "cpu", "cpu"]


# ------------------------------------------------------------------------------------------------------------- marks


def near(image, colour, reach=40):
    """Where a picture has about this colour."""
    return np.abs(image.astype(int) - ImageColor.getrgb(colour)).sum(-1) < reach


def test_marks_lie_where_landmarks_and_centres_are():
    image, points = studio_face({}, 3, size=100)
    grey = np.full_like(image, 90)
    assert (mark_face(grey, points, (1, 12)) == 90).all()
    drawn = mark_face(grey, points, landmarks=True)
    for x, y in np.round(2 * points + 1).astype(int):
        assert near(drawn, "white")[y - 1:y + 2, x - 1:x + 2].any()
    dots = near(mark_face(grey, points, (1, 12), centers=True), ORANGE)
    wanted = 2 * au_centers(points.astype(np.float64), (1, 12)).reshape(-1, 2) + 1
    assert all(dots[int(y), int(x)] for x, y in wanted)
    y, x = np.nonzero(dots)
    assert np.hypot(x[:, None] - wanted[:, 0], y[:, None] - wanted[:, 1]).min(1).max() < 8


def test_a_crop_is_the_window_of_lite_around_the_centre():
    image, points = studio_face({}, 3, size=88)
    frames = near(mark_face(np.full_like(image, 90), points, (12,), crops=True), ORANGE)
    y, x = np.nonzero(frames[:, :88])  # the left one
    side = LoRRaLConfig.lite().crop_size * 4  # cells of 4 pixels
    assert np.ptp(x) == pytest.approx(2 * side, abs=2)
    np.testing.assert_allclose([(v.max() + v.min()) / 2 for v in (x, y)], 2 * points[31] + 1, atol=1)


# ----------------------------------------------------------------------------------------------------------- samples


def test_sample_is_what_prepare_faces_makes_and_the_model_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(portraits, "UNSEEN", 0)  # people of training, to compare with
    torch.manual_seed(0)
    model = LoRRaL(LoRRaLConfig.lite())
    sample = sample_faces(model, subjects=2, frames=3)
    folder = prepare_faces(tmp_path / "faces", subjects=2, frames=3, seed=1, progress=False)
    views = FaceDataset(folder, range(6), 88, train=False)[range(6)]
    inputs = torch.from_numpy(sample.images.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert_close(inputs, views["image"])
    np.testing.assert_allclose(sample.landmarks, views["landmarks"].numpy(), atol=1e-4)
    assert np.array_equal(sample.labels, views["labels"].numpy())
    with torch.no_grad():
        assert_close(sample.tokens, model.eval().features(inputs).local, rtol=1e-4, atol=1e-5)
    assert not np.array_equal(sample_faces(model, subjects=2, frames=3, seed=2).images, sample.images)
    with pytest.raises(ValueError, match="run: its model knows AU 1 2 4 6 9 12 25 26, but the faces drawn"):
        sample_faces(LoRRaL(LoRRaLConfig.lite(aus=AU_SETS["disfa"])))
