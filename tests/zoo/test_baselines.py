"""Baselines: descriptors against a literal loop, which frames are drawn, C on held-out people, the metrics' format."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from tiny_run import AUS, tiny_config

from lorral_lite.datasets.folds import fold_rows
from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.datasets.writing import PreparedWriter
from lorral_lite.files import load_tensors, write_json
from lorral_lite.training.evaluation import evaluate
from lorral_lite.training.steps import train_step1
from lorral_lite.zoo import baselines
from lorral_lite.zoo.baselines import descriptor, draw_frames, fit_au, run_baseline

SIZE, ROWS = 25, 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six people, two videos each: AU 1 turns the stripes of the face, AU 4 is chance, AU 12 is never shown."""
    path, rng = tmp_path_factory.mktemp("svm") / "data", np.random.default_rng(5)
    labels = rng.integers(0, 2, (ROWS, 3)).astype(np.int8)
    labels[:, 2] = 0
    stripes = np.where(np.arange(SIZE) // 2 % 2, 200, 40)
    faces = np.where(labels[:, 0, None, None] == 1, stripes[:, None], stripes)
    faces = faces + rng.integers(-30, 30, (ROWS, SIZE, SIZE))
    labels[::7, 0] = -1
    points = rng.uniform(4, SIZE - 4, (49, 2)) + rng.normal(0, 0.5, (ROWS, 1, 2))
    index = [(f"S{i % 6}", f"T{i // 6 % 2}", i) for i in range(ROWS)]
    with PreparedWriter(path, SIZE, AUS, {"source": "test"}) as writer:
        writer.append(index, np.repeat(faces[..., None], 3, -1).astype(np.uint8), points.astype(np.float32), labels)
    return open_prepared(path)


@pytest.fixture
def run(folder, tmp_path):
    config = tiny_config(folder.path)
    write_json(tmp_path / "config.json", {**config.to_dict(), "model": {**config.model.to_dict(), "frame_size": SIZE}})
    return tmp_path


# -------------------------------------------------------------------------------------------------------- descriptors


def by_hand(patch: np.ndarray, cell: int) -> list[float]:
    """4×4 cells of 8 directions, one number at a time; central differences, none at the border; L2, cut at 0.2, L2."""
    side, votes = len(patch), [0.0] * 128
    for y in range(side):
        for x in range(side):
            down = patch[y + 1, x] - patch[y - 1, x] if 0 < y < side - 1 else 0.0
            right = patch[y, x + 1] - patch[y, x - 1] if 0 < x < side - 1 else 0.0
            angle = math.degrees(math.atan2(down, right)) % 180
            votes[((y // cell) * 4 + x // cell) * 8 + min(7, int(angle // 22.5))] += math.hypot(down, right) / cell**2
    for most in (0.2, math.inf):
        length = math.sqrt(sum(v * v for v in votes) + 1e-10)
        votes = [min(v / length, most) for v in votes]
    return votes


def test_a_descriptor_is_the_hog_around_each_landmark(rng):
    face = rng.integers(0, 256, (50, 50, 3), dtype=np.uint8)  # 50 px: cells of 2, patches of 8
    points = rng.uniform(5, 44, (49, 2))
    found = descriptor(face, points)
    assert (found.shape, found.dtype) == ((49 * 128,), np.float32)
    grey = 0.299 * face[..., 0] + 0.587 * face[..., 1] + 0.114 * face[..., 2]
    for k in (0, 17, 48):
        x, y = (round(v) for v in points[k])
        np.testing.assert_allclose(found[128 * k : 128 * (k + 1)], by_hand(grey[y - 4 : y + 4, x - 4 : x + 4], 2),
                                   rtol=1e-5, atol=1e-6)


def test_a_landmark_off_the_face_is_read_at_its_edge(rng):
    face = rng.integers(0, 256, (100, 100, 3), dtype=np.uint8)
    at_edge, off = np.full((49, 2), 50.0), np.full((49, 2), 50.0)
    at_edge[3], off[3] = (0, 99), (-20, 130)
    np.testing.assert_array_equal(descriptor(face, at_edge), descriptor(face, off))


# ------------------------------------------------------------------------------------------------------- drawn frames


def test_frames_are_drawn_by_video_and_label(monkeypatch):
    monkeypatch.setattr(baselines, "DRAW", {1: 3, 0: 5})
    rng = np.random.default_rng(0)
    labels, videos = rng.choice([-1, 0, 1], 400).astype(np.int8), rng.integers(0, 9, 400)
    videos[videos == 8], labels[videos == 7] = 2, 0  # one video more than there is, and one that shows nothing
    rows, turn = np.arange(50, 400), rng.permutation(400)
    drawn = draw_frames(rows, labels, videos, turn)
    assert (np.diff(drawn) > 0).all()
    assert drawn.min() >= 50
    for video in range(8):
        for label, most in ((1, 3), (0, 5), (-1, 0)):
            mine = rows[(videos[rows] == video) & (labels[rows] == label)]
            wanted = sorted(mine, key=lambda row: turn[row])[:most]
            assert sorted(wanted) == [row for row in drawn if videos[row] == video and labels[row] == label]
    monkeypatch.setattr(baselines, "MOST_FRAMES", 16)
    fewer = draw_frames(rows, labels, videos, turn)
    for label, most in ((1, 6), (0, 10)):  # the ratio stays
        wanted = sorted((row for row in drawn if labels[row] == label), key=lambda row: turn[row])[:most]
        assert sorted(wanted) == [row for row in fewer if labels[row] == label]


# ----------------------------------------------------------------------------------------------------------------- SVM


def pipeline(c: float):
    return make_pipeline(StandardScaler(), LinearSVC(C=c, dual=True, tol=0.1, max_iter=10_000, random_state=0))


def test_c_is_the_best_on_held_out_people_and_the_smallest_of_equals(rng):
    described = rng.normal(rng.normal(size=40), 1, size=(300, 40)).astype(np.float32)
    labels = ((described - described.mean(0))[:, :3].sum(1) + rng.normal(0, 2, 300) > 0.5).astype(np.int8)
    labels[::11] = -1
    every, held = np.arange(300), np.arange(200, 300)
    chosen = np.flatnonzero(labels >= 0)
    known, inside = held[labels[held] >= 0], chosen < 200
    scores = []
    for c in baselines.C_GRID:
        machine = pipeline(c).fit(described[chosen[inside]], labels[chosen[inside]])
        scores.append(f1_score(labels[known], machine.predict(described[known])))
    assert len(set(scores)) > 1
    best = baselines.C_GRID[scores.index(max(scores))]
    weights, bias, c = fit_au(described, every, labels, chosen, inside, held, 0)
    assert c == best
    whole = pipeline(c).fit(described[chosen], labels[chosen])
    np.testing.assert_array_equal(described @ weights + bias >= 0, whole.predict(described) == 1)


@pytest.mark.parametrize(("label", "bias"), [(0, -1.0), (1, 1.0)])
def test_an_au_that_is_always_or_never_shown_has_one_answer(rng, label, bias):
    rows = np.arange(20)
    labels = np.full(20, label, np.int8)
    weights, found, c = fit_au(rng.normal(size=(20, 5)), rows, labels, rows, rows < 15, rows[15:], 0)
    assert (weights.tolist(), found, c) == ([0.0] * 5, bias, None)


def test_the_decision_is_that_of_scikit_learns_own_pipeline(folder, run):
    metrics = run_baseline(run, "linear_svm", progress=False)
    faces = zip(folder.images, folder.landmarks, strict=True)
    described = np.stack([descriptor(face, points) for face, points in faces])
    rows, test = fold_rows(folder, 1)
    tensors, _ = load_tensors(run / "baselines" / "linear_svm" / "predictions.safetensors")
    assert tensors["rows"].tolist() == test.tolist()
    for a in (0, 1):
        known = rows[folder.labels[rows, a] >= 0]  # so few frames are all drawn
        machine = pipeline(metrics["c"][a]).fit(described[known], folder.labels[known, a])
        np.testing.assert_allclose(tensors["au_logits"][:, a], machine.decision_function(described[test]), rtol=1e-3,
                                   atol=1e-3)
        assert metrics["fitted_frames"][a] == len(known)


def test_it_learns_from_training_people_only_and_gives_equal_bytes(folder, run, monkeypatch):
    rows, test = fold_rows(folder, 1)
    asked, drawn = [], baselines.draw_frames
    monkeypatch.setattr(baselines, "draw_frames", lambda given, *a: asked.append(given) or drawn(given, *a))
    first = run_baseline(run, "linear_svm", progress=False)
    predictions = (run / "baselines" / "linear_svm" / "predictions.safetensors").read_bytes()
    assert all((given == rows).all() for given in asked)
    assert not set(folder.subjects[rows]) & set(folder.subjects[test])
    assert set(first["outputs"]["au"]["per_subject"]) == set(folder.subjects[test])
    labels = np.array(folder.labels)
    labels[test, 0] = 1 - labels[test, 0].clip(0, 1)  # other labels of test people: the same machines
    monkeypatch.setattr(baselines, "open_fold", lambda run, config: (folder, rows, test))
    monkeypatch.setattr(folder, "labels", labels)
    second = run_baseline(run, "linear_svm", progress=False)
    assert second["c"] == first["c"]
    assert second["outputs"]["au"]["f1"][0] < first["outputs"]["au"]["f1"][0]
    monkeypatch.undo()
    run_baseline(run, "linear_svm", progress=False)
    assert (run / "baselines" / "linear_svm" / "predictions.safetensors").read_bytes() == predictions


def test_test_frames_in_blocks_give_the_same(run, monkeypatch):
    whole = run_baseline(run, "linear_svm", progress=False)["outputs"]
    monkeypatch.setattr(baselines, "BLOCK", 7)
    assert run_baseline(run, "linear_svm", progress=False)["outputs"] == whole


# -------------------------------------------------------------------------------------------------------------- format


def test_always_positive_is_the_floor(run):
    metrics = run_baseline(run, "always_positive", progress=False)
    assert metrics["outputs"]["au"]["f1"] == pytest.approx(metrics["always_positive"]["f1"])
    assert metrics["outputs"]["au"]["mean_f1"] == pytest.approx(metrics["always_positive"]["mean_f1"])
    assert metrics["outputs"]["local"] == metrics["outputs"]["au"]
    counts = metrics["outputs"]["au"]["counts"]
    assert (counts["fn"], counts["tn"]) == ([0, 0, 0], [0, 0, 0])
    assert counts["tp"][0] + counts["fp"][0] < metrics["frames"]  # unknown labels count nowhere


def test_a_baseline_is_written_as_a_relation_is(tiny_data, tmp_path):
    train_step1(tmp_path, tiny_config(tiny_data), "cpu", progress=False)
    model = evaluate(tmp_path, None, "cpu", progress=False)
    for name in baselines.BASELINES:
        made = run_baseline(tmp_path, name, progress=False)
        assert json.loads((tmp_path / "baselines" / name / "metrics.json").read_text()) == made
        assert set(model) <= set(made)
        for key in ("fold", "folds", "seed", "aus", "data", "always_positive", "frames", "train_frames", "subjects",
                    "train_subjects"):
            assert made[key] == model[key], key
        assert set(made["outputs"]["au"]) == set(model["outputs"]["au"])
        tensors, _ = load_tensors(tmp_path / "baselines" / name / "predictions.safetensors")
        assert tensors["au_logits"].shape == tensors["labels"].shape == (made["frames"], 3)
