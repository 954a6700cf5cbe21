"""What the other AUs tell about one: the cross-fitted logistic regression of scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import KFold, cross_val_predict

from lorral_lite.study.ceiling import others_f1


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
    never = np.full((60, 1), -1)  # an AU of which nothing is known takes no frame from the others
    told = others_f1(np.hstack([labels, never]), np.hstack([logits, logits[:, :1]]))
    np.testing.assert_allclose(told, [*others_f1(labels, logits), np.nan])
    assert np.isnan(others_f1(labels[:4])).all()
    assert others_f1(np.zeros((20, 2), int)).tolist() == [0, 0]
    with pytest.raises(ValueError, match="logits, the other labels, or both"):
        others_f1(labels, others=False)
