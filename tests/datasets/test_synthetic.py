"""Prepared procedural faces: labels are the population's, faces are aligned, the same seed gives the same bytes."""

import numpy as np
import pytest

from lorral_lite.datasets.synthetic import prepare_faces
from lorral_lite.faces import AUS
from lorral_lite.faces.correlation import phi
from lorral_lite.faces.population import Population


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepare_faces(tmp_path_factory.mktemp("faces") / "p", 3, 5, 64, seed=4, progress=False)


def test_labels_and_people_are_the_populations(folder):
    drawn = Population(profile="bp4d", seed=4).subjects(3, 5)
    np.testing.assert_array_equal(folder.labels, drawn.labels.reshape(15, 12))
    assert folder.subjects.tolist() == ["P001"] * 5 + ["P002"] * 5 + ["P003"] * 5
    assert folder.meta["licensed"] is False
    assert folder.meta["population"]["profile"] == "bp4d"
    assert folder.images.shape == (15, 64, 64, 3)


def test_the_truth_is_written_beside_the_faces(folder):
    people, truth = Population(profile="bp4d", seed=4), folder.meta["population"]
    for name in ("rates", "latent_correlation", "expected_phi", "subject_rate_sd"):
        np.testing.assert_allclose(truth[name], getattr(people, name), atol=1e-4)
    realised = np.array(truth["realised_phi"], dtype=float)  # None, of an AU that never changes, is NaN
    np.testing.assert_allclose(realised, phi(folder.labels), atol=1e-4)
    assert np.isfinite(realised).any()


def test_same_seed_same_bytes_and_frames_differ(folder, tmp_path):
    again = prepare_faces(tmp_path / "q", 3, 5, 64, seed=4, progress=False)
    assert again.meta["sha256"] == folder.meta["sha256"]
    other = prepare_faces(tmp_path / "r", 3, 5, 64, seed=5, progress=False)
    assert other.meta["sha256"]["frames.npy"] != folder.meta["sha256"]["frames.npy"]
    assert len({frame.tobytes() for frame in folder.images}) == 15


def test_frames_that_are_skipped_come_back_in_no_other_folder(folder, tmp_path):
    whole = prepare_faces(tmp_path / "whole", 2, 5, seed=9, progress=False, device="cpu")
    rest = prepare_faces(tmp_path / "rest", 2, 2, seed=9, skip=3, progress=False, device="cpu")
    mine = [3, 4, 8, 9]  # the last two of five frames of each person
    np.testing.assert_array_equal(rest.images, whole.images[mine])
    np.testing.assert_array_equal(rest.labels, whole.labels[mine])
    assert list(rest.subjects) == list(whole.subjects[mine])
    assert rest.meta["skip"] == 3
    with pytest.raises(ValueError, match="can be drawn"):
        prepare_faces(tmp_path / "none", 2, 2, skip=-1, progress=False)


def test_disfa_profile(tmp_path):
    folder = prepare_faces(tmp_path / "d", 3, 2, 48, profile="disfa", progress=False)
    assert folder.aus == (1, 2, 4, 6, 9, 12, 25, 26)


def test_hidden_aus_leave_no_trace_in_frames_or_landmarks(tmp_path, monkeypatch):
    """Whatever the covered AUs do, the folder holds the same bytes: alignment by moving lips would tell of them."""
    def shown(name, value):
        def to_render(self, *args):
            strengths = original(self, *args)
            strengths[..., [AUS.index(au) for au in (12, 15, 26)]] = value
            return strengths

        monkeypatch.setattr(Population, "to_render", to_render)
        return prepare_faces(tmp_path / name, 3, 2, 48, hidden=(12,), progress=False)

    original = Population.to_render
    still, moving = shown("still", 0), shown("moving", 0.9)
    assert moving.meta["sha256"] == still.meta["sha256"]
    assert moving.meta["population"]["covered"] == [10, 12, 14, 15, 17, 23, 24]
    assert moving.labels[:, moving.aus.index(12)].any()  # the labels stay


@pytest.mark.parametrize(("arguments", "message"), [
    ({"size": 47}, "size must be a whole number of pixels from 48 to 819, got 47"),
    ({"relation_strength": 1.5}, "relation_strength must be between 0 and 1, got 1.5; the largest admissible value"),
])
def test_what_is_refused_leaves_no_folder(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        prepare_faces(tmp_path / "p", progress=False, **{"subjects": 3, "frames": 2, "size": 48, **arguments})
    assert list(tmp_path.iterdir()) == []
