"""The ceiling of a relation: against sums over patterns written out with math, and limits that are known."""

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lorral_lite.faces.population import Population
from lorral_lite.study.ceiling import all_patterns, calibrate, ceiling, joint_posterior, pattern_probabilities


def by_the_formula(alone, rates, prior):
    """P(y_a | x) as a sum over patterns, one scalar at a time."""
    result = []
    for p in alone:
        weights = {}
        for k, y in enumerate(itertools.product((0, 1), repeat=len(rates))):
            weight = prior[k]
            for a, shown in enumerate(y):
                weight *= (p[a] / (1 - p[a]) * (1 - rates[a]) / rates[a]) ** shown
            weights[y] = weight
        total = math.fsum(weights.values())
        result.append([math.fsum(w for y, w in weights.items() if y[a]) / total for a in range(len(rates))])
    return result


def test_the_joint_posterior_is_the_sum_over_patterns(rng):
    prior = rng.dirichlet(np.ones(8))
    rates = all_patterns(3).T @ prior
    alone = rng.uniform(0.02, 0.98, (5, 3))
    assert_allclose(joint_posterior(alone, rates, prior), by_the_formula(alone, rates, prior), rtol=1e-10)


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_probabilities_of_patterns_have_the_rates_and_phi_of_the_population(strength):
    people = Population(relation_strength=strength)
    p = pattern_probabilities(people, draws=400_000)
    patterns = all_patterns(12).astype(float)
    assert_allclose(p.sum(), 1)
    rates = p @ patterns
    assert_allclose(rates, people.rates, atol=0.006)
    both = patterns.T @ (p[:, None] * patterns)
    spread = np.sqrt(rates * (1 - rates))
    realised = (both - np.outer(rates, rates)) / np.outer(spread, spread)
    assert_allclose(realised, people.expected_phi, atol=0.02)


def test_calibration_never_sees_the_persons_own_labels(rng):
    subjects = np.repeat(np.arange(10), 20)
    labels = rng.integers(0, 2, (200, 2))
    logits = labels + rng.normal(size=(200, 2))
    before = calibrate(logits, labels, subjects)
    turned = labels.copy()
    turned[subjects == 3] = 1 - turned[subjects == 3]
    after = calibrate(logits, turned, subjects)
    assert np.array_equal(before[subjects == 3], after[subjects == 3])
    assert not np.array_equal(before[subjects != 3], after[subjects != 3])


def test_calibrated_probabilities_match_how_often_aus_are_shown(rng):
    subjects = np.repeat(np.arange(100), 100)
    truth = rng.uniform(0.05, 0.95, (10_000, 1))
    labels = (rng.random(truth.shape) < truth).astype(int)
    skewed = 3 * np.log(truth / (1 - truth)) + 2  # a detector that exaggerates and says yes too often
    assert_allclose(calibrate(skewed, labels, subjects), truth, atol=0.03)


def test_an_au_that_everybody_else_shows_gets_their_rate():
    labels = np.ones((30, 1), int)
    assert_allclose(calibrate(np.zeros((30, 1)), labels, np.arange(30) % 6), 1)


def gain(strength: float, hidden: tuple[int, ...]) -> np.ndarray:
    people = Population(relation_strength=strength, subject_effects=False, seed=1)
    labels = people.draw(6000)
    logits = 3 * (labels - 0.5) + np.random.default_rng(0).normal(0, 1.5, labels.shape)
    for au in hidden:
        logits[:, people.aus.index(au)] = 0
    found = ceiling(logits, labels, np.arange(6000) % 30, people, pattern_probabilities(people, draws=400_000))
    return dict(zip(people.aus, found["joint"] - found["alone"], strict=True))


def test_without_relations_the_ceiling_is_zero():
    assert abs(np.mean(list(gain(0.0, ()).values()))) < 0.3


def test_hidden_evidence_raises_the_ceiling_of_the_hidden_au():
    seen, hidden = gain(1.0, ()), gain(1.0, (6,))
    assert seen[6] > 0.5
    assert hidden[6] > 40  # from never to often: AU 12, 10 and 7 tell


def test_unknown_labels_are_refused():
    labels = np.array([[1] * 12, [-1] + [0] * 11])
    with pytest.raises(ValueError, match="needs known labels"):
        ceiling(np.zeros((2, 12)), labels, ["a", "b"], Population())
