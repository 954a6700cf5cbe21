"""One AU at one threshold: scikit-learn's scores, other base rates, and what is refused."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from lorral_lite.measure.metrics import at_threshold


@pytest.fixture
def detector(rng):
    """Probabilities and labels of one AU shown in about 30 % of 400 frames, some labels unknown."""
    labels = (rng.random(400) < 0.3).astype(int)
    probabilities = 1 / (1 + np.exp(-(rng.normal(size=400) + 2 * labels - 1.2)))
    labels[::40] = -1
    return probabilities, labels


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


@pytest.mark.parametrize(("arguments", "message"), [
    (([0.1, 0.2], [1], 0.5), "one probability per label"),
    (([0.1, 0.2], [1, -1], 0.5), "frames that show the AU and frames that do not"),
    (([0.1, 0.2], [1, 0], 0.5, 1.0), "base rate must lie between 0 and 1, got 1.0"),
])
def test_thresholds_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        at_threshold(*arguments)
