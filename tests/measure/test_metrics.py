"""The metrics against scikit-learn frame by frame, with unknown labels."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, roc_auc_score

from lorral_lite.measure.metrics import (
    accuracy_from_counts,
    always_positive_f1,
    auc,
    counts,
    f1_from_counts,
    landmark_errors,
    landmark_nme,
    summarise,
)


@pytest.fixture
def frames(rng):
    """60 frames of 4 AUs from 3 subjects: rates .5, .1, .3; the last AU is never known."""
    labels = (rng.random((60, 4)) < [0.5, 0.1, 0.3, 0.5]).astype(np.int8)
    labels[rng.random((60, 4)) < 0.2] = -1
    labels[:, 3] = -1
    logits = (rng.normal(size=(60, 4)) + (labels == 1)).round(1)  # some are equal
    return logits, labels, np.array(["F001", "F002", "M001"])[rng.integers(0, 3, 60)]


def known(labels, a):
    return labels[:, a] >= 0


def test_f1_auc_and_accuracy_equal_scikit_learn_with_unknown_labels(frames):
    logits, labels, _ = frames
    count = counts(logits, labels)
    for a in range(3):
        truth, score = labels[known(labels, a), a], logits[known(labels, a), a]
        said = (1 / (1 + np.exp(-score)) >= 0.5).astype(int)
        tn, fp, fn, tp = confusion_matrix(truth, said).ravel()
        assert [count[name][a] for name in ("tp", "fp", "fn", "tn")] == [tp, fp, fn, tn]
        assert f1_from_counts(count)[a] == pytest.approx(100 * f1_score(truth, said))
        assert accuracy_from_counts(count)[a] == pytest.approx(100 * accuracy_score(truth, said))
        assert auc(logits, labels)[a] == pytest.approx(100 * roc_auc_score(truth, score))
    for measure in (f1_from_counts(count), accuracy_from_counts(count), auc(logits, labels)):
        assert np.isnan(measure[3])
    assert np.isnan(auc(logits[:, :1], np.ones((60, 1))))  # one class only


def test_f1_of_an_au_that_neither_occurs_nor_is_predicted_is_0_as_in_scikit_learn():
    count = counts(-np.ones((5, 1)), np.zeros((5, 1)))
    assert f1_from_counts(count)[0] == 100 * f1_score(np.zeros(5), np.zeros(5), zero_division=0)


def test_a_logit_of_zero_counts_as_predicted():
    assert counts(np.zeros((1, 1)), np.ones((1, 1)))["tp"] == [1]


def test_always_positive_f1_is_2r_over_1_plus_r(frames):
    _, labels, _ = frames
    floor = always_positive_f1(labels)
    for a in range(3):
        rate = labels[known(labels, a), a].mean()
        assert floor[a] == pytest.approx(100 * 2 * rate / (1 + rate))
    assert np.isnan(floor[3])
    yes = summarise(np.ones(labels.shape), labels)  # a model that says it too has the same mean, over the same AUs
    assert np.nanmean(floor) == pytest.approx(yes["mean_f1"])


def test_summary_has_means_counts_and_subjects_that_add_up(frames):
    logits, labels, subjects = frames
    summary = summarise(torch.from_numpy(logits), torch.from_numpy(labels), subjects)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    for name in ("f1", "auc", "accuracy"):
        assert summary[name][3] is None
        assert summary[f"mean_{name}"] == pytest.approx(sum(summary[name][:3]) / 3)
    assert set(summary["per_subject"]) == {"F001", "F002", "M001"}
    for name, total in summary["counts"].items():
        parts = [subject[name] for subject in summary["per_subject"].values()]
        assert [sum(column) for column in zip(*parts, strict=True)] == total
    alone = summarise(logits[subjects == "F002"], labels[subjects == "F002"])
    assert alone["counts"] == summary["per_subject"]["F002"]
    assert alone["per_subject"] == {}


def test_landmark_errors_match_literal_loops(rng):
    truth = 200 * rng.random((3, 49, 2))
    predicted = truth + rng.normal(size=(3, 49, 2)) * np.array([1, 5, 30])[:, None, None]
    errors = []
    for face, guess in zip(truth, predicted, strict=True):
        distance = sum(math.dist(p, q) for p, q in zip(face, guess, strict=True)) / 49
        errors.append(100 * distance / math.dist(face[19:25].mean(0), face[25:31].mean(0)))
    assert landmark_nme(predicted, truth) == pytest.approx(errors)
    result = landmark_errors(torch.from_numpy(predicted), torch.from_numpy(truth))
    assert result["nme_percent"] == pytest.approx(sum(errors) / 3, rel=1e-5)
    assert result["failure_percent"] == pytest.approx(100 * sum(e > 10 for e in errors) / 3)


def test_errors(frames):
    logits, labels, subjects = frames
    with pytest.raises(ValueError, match=r"both be \(N, A\), got \(60, 4\) and \(60, 2\)"):
        counts(logits, labels[:, :2])
    with pytest.raises(ValueError, match="labels must be 1, 0 or -1"):
        counts(logits, np.full((60, 4), 9))
    with pytest.raises(ValueError, match="60 frames but 59 subjects"):
        summarise(logits, labels, subjects[1:])
    with pytest.raises(ValueError, match="logits must be finite"):
        summarise(logits * np.nan, labels)
    with pytest.raises(ValueError, match="differ in shape"):
        landmark_nme(np.zeros((2, 49, 2)), np.zeros((3, 49, 2)))
