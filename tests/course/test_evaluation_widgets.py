"""Pictures and sliders of the notebooks on training and evaluation: what is drawn equals what was computed."""

import math
import re

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_recall_fscore_support
from sklearn.model_selection import KFold, cross_val_predict

from lorral_lite.course.ch08_training import live_curves, plot_schedule, schedule_explorer
from lorral_lite.course.ch09_evaluation import (
    plot_audit,
    plot_floor,
    plot_published,
    plot_threshold,
    threshold_explorer,
)
from lorral_lite.course.ch10_ablation import plot_relation_strength, relation_dial
from lorral_lite.course.explore import picture_html
from lorral_lite.draw import base as figures
from lorral_lite.draw.results import plot_estimates
from lorral_lite.faces.population import Population
from lorral_lite.measure.metrics import at_threshold, floor_f1
from lorral_lite.measure.statistics import Estimate
from lorral_lite.report.published import FLOORS, audit_published
from lorral_lite.study.ceiling import others_f1
from lorral_lite.training.config import Schedule

LOG = [{"epoch": e, "train_loss": 2.0 - e / 4, "au": 1.0, "local_au": 0.8, "landmark": 0.2, "lr": 0.01}
       for e in range(3)]


@pytest.fixture
def detector(rng):
    """Probabilities and labels of one AU shown in about 30 % of 400 frames, some labels unknown."""
    labels = (rng.random(400) < 0.3).astype(int)
    probabilities = 1 / (1 + np.exp(-(rng.normal(size=400) + 2 * labels - 1.2)))
    labels[::40] = -1
    return probabilities, labels


def alt(box) -> str:
    return re.search(r'alt="([^"]*)"', box.picture.value).group(1)


# ------------------------------------------------------------------------------------------------------- thresholds


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_a_threshold_scores_as_scikit_learn(detector, threshold):
    p, y = detector
    now = at_threshold(p, y, threshold)
    known = y >= 0
    precision, recall, f1, _ = precision_recall_fscore_support(
        y[known], p[known] >= threshold, average="binary", zero_division=0)
    assert [now["precision"], now["recall"], now["f1"]] == pytest.approx([100 * precision, 100 * recall, 100 * f1])
    assert now["floor"] == pytest.approx(100 * f1_score(y[known], np.ones(known.sum())))
    assert now["rate"] == pytest.approx((y[known] == 1).mean())


def test_another_base_rate_is_the_same_as_copies_of_frames(detector):
    p, y = detector
    more = np.concatenate([np.flatnonzero(y == 1)] * 7 + [np.flatnonzero(y == 0)] * 3)
    copied = at_threshold(p[more], y[more], 0.4)
    now = at_threshold(p, y, 0.4, rate=copied["rate"])
    assert now == pytest.approx(copied)
    assert now["f1"] != pytest.approx(at_threshold(p, y, 0.4)["f1"], abs=1)


def test_threshold_zero_is_always_saying_yes(detector):
    for rate in (None, 0.05, 0.9):
        now = at_threshold(*detector, 0.0, rate)
        assert now["f1"] == pytest.approx(now["floor"])


@pytest.mark.parametrize(("arguments", "message"), [
    (([0.1, 0.2], [1], 0.5), "one probability per label"),
    (([0.1, 0.2], [1, -1], 0.5), "frames that show the AU and frames that do not"),
    (([0.1, 0.2], [1, 0], 0.5, 1.0), "base rate must lie between 0 and 1, got 1.0"),
])
def test_thresholds_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        at_threshold(*arguments)


def test_the_threshold_picture_draws_what_it_scores(detector):
    p, y = detector
    fig = plot_threshold(p, y, 0.3, name="AU12")
    left, right = fig.axes
    lines = {line.get_label(): line for line in right.lines}
    known = y >= 0
    expected = [100 * f1_score(y[known], p[known] >= t, zero_division=0) for t in np.linspace(0, 1, 101)]
    np.testing.assert_allclose(lines["F1"].get_ydata(), expected)
    assert np.isnan(lines["precision"].get_ydata()[-1])
    assert sum(patch.get_height() for patch in left.patches) == pytest.approx(100)
    assert f"F1 {expected[30]:.0f}" in fig.alt
    assert "AU12 at threshold 0.30" in fig.alt


# ------------------------------------------------------------------------------------------------- floors and schedules


def test_the_floor_is_f1_of_always_yes():
    for positives in (1, 25, 100):
        y = np.arange(100) < positives
        assert floor_f1(positives / 100) == pytest.approx(100 * f1_score(y, np.ones(100)))


def test_floors_lie_on_their_curve():
    fig = plot_floor({"A": {1: 0.5, 2: 0.51, 4: 0.1}, "B": {12: 0.2}})
    curve, first, *_ = fig.axes[0].lines
    assert np.interp(50, curve.get_xdata(), curve.get_ydata()) == pytest.approx(200 / 3)
    assert first.get_ydata() == pytest.approx([200 / 3, 102 / 1.51, 20 / 1.1])
    assert "1, 2" in [text.get_text() for text in fig.axes[0].texts]
    assert "B 33.33 %" in fig.alt


@pytest.mark.parametrize(("gamma", "every"), [(0.3, 2), (0.5, 3), (1.0, 1)])
def test_the_schedule_picture_is_the_schedule(gamma, every):
    fig = plot_schedule(gamma=gamma, every=every)
    rates = [Schedule(gamma=gamma, every=every).at(e) for e in range(30)]
    np.testing.assert_allclose(fig.axes[0].lines[0].get_ydata(), rates)
    spent = np.cumsum(rates) / sum(rates)
    np.testing.assert_allclose(fig.axes[1].lines[0].get_ydata(), 100 * spent)
    assert f"after epoch {1 + int(np.argmax(spent >= 0.999))} of 30" in fig.alt


def test_the_papers_schedule_is_spent_after_epoch_12():
    assert "after epoch 12 of 30" in plot_schedule().alt


@pytest.mark.parametrize("wrong", [{"lr": 0}, {"gamma": 0}, {"gamma": 1.1}, {"every": 0}, {"epochs": 0}])
def test_a_schedule_that_is_none(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        plot_schedule(**wrong)


# ------------------------------------------------------------------------------------------------ estimates and audits


def test_estimates_are_drawn_with_their_ends():
    def estimate(value, half):
        return Estimate(value, 0.0, value - half, value + half, math.nan, 5)

    fig = plot_estimates(
        {"x": {"a": estimate(1, 0.5), "b": estimate(2, math.nan)}, "y": {"a": estimate(3, 1), "b": estimate(4, 1)}},
        "Two", "points", zero=True)
    drawn = [tuple(line.get_xdata()) for line in fig.axes[0].lines]
    assert (0.5, 1.5) in drawn
    assert (2, 4) in drawn
    assert (1, 2) in drawn  # the marks of x
    assert "a 1.0 (0.5 to 1.5), b 2.0; y: a 3.0 (2.0 to 4.0)" in fig.alt
    for wrong in ({}, {"x": {"a": estimate(1, 1)}, "y": {"b": estimate(1, 1)}}):
        with pytest.raises(ValueError, match="the same labels"):
            plot_estimates(wrong, "t", "x")


def test_the_audit_picture_marks_the_rows_that_do_not_match():
    audit = audit_published()
    fig = plot_audit(audit)
    dots = [line for ax in fig.axes for line in ax.lines if line.get_marker() == "o"]
    marked = [dot for dot in dots if dot.get_color() == figures.RED]
    assert len(marked) == sum(row["mismatch"] for row in audit) == 5
    assert "EAC-Net on DISFA -8.9" in fig.alt


def test_ours_is_marked_as_other_data_unless_it_is_not():
    apart = plot_published(audit_published(), FLOORS, {"mine": 80.0}, 46.0)
    assert [ax.get_title() for ax in apart.axes] == ["BP4D", "DISFA", "OTHER DATA: procedural faces"]
    assert any("not comparable" in text.get_text() for text in apart.axes[2].texts)
    same = plot_published(audit_published(), FLOORS, {"mine": 60.0}, 48.0, "BP4D")
    assert same.axes[2].get_title() == "this run, one fold of BP4D"
    assert not any("not comparable" in text.get_text() for text in same.axes[2].texts)
    assert len(plot_published(audit_published(), FLOORS).axes) == 2


def test_relation_strength_shows_the_true_phi():
    fig = plot_relation_strength((0.0, 1.0))
    shown = [ax.images[0].get_array() for ax in fig.axes[:2]]
    off = ~np.eye(12, dtype=bool)
    np.testing.assert_allclose(shown[0][off], 0, atol=1e-9)
    np.testing.assert_allclose(shown[1][off], Population().expected_phi[off])
    assert [t.get_text() for t in fig.axes[2].get_yticklabels()][-1] == "AU4 with 12"
    with pytest.raises(ValueError, match="relation_strength must be between 0 and 1"):
        plot_relation_strength([2.0])


# ------------------------------------------------------------------------------------------------- what others can tell


def test_others_f1_is_a_cross_fitted_logistic_regression(rng):
    labels = (rng.normal(size=(200, 3)) @ np.array([[1, 0.8, 0], [0, 1, 0.7], [0, 0, 1]]) > 0.3).astype(int)
    logits = rng.normal(size=(200, 3)) + labels
    for others in (True, False):
        expected = []
        for a in range(3):
            x = np.column_stack([logits[:, a], np.delete(labels, a, 1)]) if others else logits[:, [a]]
            told = cross_val_predict(LogisticRegression(max_iter=1000), x, labels[:, a], cv=KFold(5))
            expected.append(100 * f1_score(labels[:, a], told))
        np.testing.assert_allclose(others_f1(labels, logits, others), expected)
    assert others_f1(labels, logits).mean() > others_f1(labels, logits, others=False).mean()


def test_a_copy_tells_everything_and_noise_nothing(rng):
    labels = (rng.random((300, 3)) < 0.4).astype(int)
    labels[:, 1] = labels[:, 0]
    f1 = others_f1(labels)
    assert f1[:2].tolist() == [100, 100]
    assert f1[2] < 30


def test_others_f1_leaves_unknown_frames_out_and_survives_little_data(rng):
    labels = (rng.random((60, 2)) < 0.5).astype(int)
    logits = rng.normal(size=(60, 2))
    holed = np.concatenate([labels, [[1, -1]] * 9])
    np.testing.assert_allclose(others_f1(holed, np.concatenate([logits, np.full((9, 2), 50.0)])),
                               others_f1(labels, logits))
    assert np.isnan(others_f1(labels[:4])).all()
    assert others_f1(np.zeros((20, 2), int)).tolist() == [0, 0]
    with pytest.raises(ValueError, match="logits, the other labels, or both"):
        others_f1(labels, others=False)


# ------------------------------------------------------------------------------------------------------------- widgets


def test_live_curves_grow_with_the_log():
    curves = live_curves("Step 1")
    assert "No epoch" in curves.value
    curves.update(LOG[:1])
    first = curves.value
    assert "Step 1: 1 epoch done" in first
    curves.update(LOG)
    assert "Step 1: 3 epochs done" in curves.value
    assert curves.value != first


def test_the_schedule_slider_moves_the_picture():
    box = schedule_explorer()
    assert "after epoch 12 of 30" in alt(box)
    box.controls["gamma"].value = 1.0
    assert "after epoch 30 of 30" in alt(box)
    box.controls["every"].value = 10
    box.controls["gamma"].value = 0.1
    assert "every 10 epochs" in alt(box)


def test_the_threshold_explorer_starts_at_the_datas_own_rate(detector):
    p, y = detector
    box = threshold_explorer(np.stack([p, 1 - p], 1), np.stack([y, np.where(y < 0, y, 1 - y)], 1), [6, 12])
    own = round(100 * (y == 1).sum() / (y >= 0).sum())
    assert box.controls["rate"].value == own
    assert f"AU6 Cheek Raiser at threshold 0.50 and base rate {own} %".lower() in alt(box).lower()
    box.controls["au"].value = 12
    assert box.controls["rate"].value == 100 - own
    box.controls["threshold"].value = 0.0
    now = at_threshold(1 - p, np.where(y < 0, y, 1 - y), 0.0, (100 - own) / 100)
    assert f"F1 {now['f1']:.0f}" in alt(box)
    box.controls["rate"].value = 5
    assert "base rate 5 %" in alt(box)


def test_an_au_without_both_kinds_of_frames_is_said_not_raised():
    box = threshold_explorer(np.full((4, 1), 0.5), np.zeros((4, 1), int), [6])
    assert "role='alert'" in box.picture.value
    assert "frames that show the AU" in box.picture.value


def test_the_dial_turns_the_relations():
    box = relation_dial()
    assert "+0.54" in alt(box)
    box.controls["strength"].value = 0.0
    assert "+0.00" in alt(box)


def test_words_of_a_picture_cannot_break_the_page():
    fig = plot_schedule()
    fig.alt = 'a "b" <c>'
    assert 'alt="a &quot;b&quot; &lt;c&gt;"' in picture_html(fig)
