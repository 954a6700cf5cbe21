"""How much a relation could add at most: the exact posterior of all action units together, by enumeration.

A detector without relation gives each AU its own probability. If the evidence for one AU says nothing about the others
once the AUs themselves are known, the posterior over whole patterns y of AUs is

.. math:: P(y \\mid x) \\propto P(y) \\prod_a \\Big(\frac{p_a}{1 - p_a} \\cdot \frac{1 - r_a}{r_a}\\Big)^{y_a}

with P(y) the true distribution of patterns, p_a the detector's calibrated probability and r_a the rate of AU a. Its
marginals use everything that relations between AUs can tell; no relation module can know more on average.
"""

import numpy as np
from scipy.special import expit, logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from ..faces.population import Population
from ..measure.metrics import counts, f1_from_counts


def all_patterns(num_aus: int) -> np.ndarray:
    """(2^A, A) int8: every pattern; row k holds the bits of k, the first AU the highest."""
    return ((np.arange(2**num_aus)[:, None] >> np.arange(num_aus)[::-1]) & 1).astype(np.int8)


def pattern_probabilities(population: Population, draws: int = 1_000_000, block: int = 200_000) -> np.ndarray:
    """(2^A,) probability of every pattern, from ``draws`` independent frames of people who do not differ.

    Half a frame is added to every pattern, so that none is impossible. The frames are those of
    ``population.latent``'s distribution; the generator is seeded, so the same population gives the same numbers.
    """
    a = len(population.aus)
    powers = 1 << np.arange(a)[::-1]
    values, vectors = np.linalg.eigh(population.latent_correlation)
    root = vectors * np.sqrt(np.maximum(values, 0))
    random = np.random.default_rng(0)
    seen = np.zeros(2**a)
    for first in range(0, draws, block):
        latent = random.standard_normal((min(block, draws - first), a)) @ root.T
        seen += np.bincount(population.labels(latent) @ powers, minlength=2**a)
    return (seen + 0.5) / (draws + 0.5 * 2**a)


def joint_posterior(alone: np.ndarray, rates: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """(N, A) posterior of each AU given the evidence for all: ``alone`` (N, A) posteriors of single AUs under ``rates``
    (A,), ``prior`` (2^A,) in the order of :func:`all_patterns`."""
    alone = np.clip(alone, 1e-9, 1 - 1e-9)
    evidence = np.log(alone / (1 - alone)) - np.log(rates / (1 - rates))
    patterns = all_patterns(alone.shape[1])
    log_joint = np.log(prior) + evidence @ patterns.T  # (N, 2^A)
    return np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True)) @ patterns


def calibrate(logits: np.ndarray, labels: np.ndarray, subjects, folds: int = 5) -> np.ndarray:
    """(N, A) probabilities: each AU's logit through a logistic curve fitted on other people (Platt 1999).

    Cross-fitted over ``folds`` groups of subjects. Labels must be known; an AU that the other people all show, or
    never, gets their rate.
    """
    result = np.empty(logits.shape)
    for rest, block in GroupKFold(min(folds, len(set(subjects)))).split(logits, groups=subjects):
        for a, y in enumerate(labels.T):
            if len(np.unique(y[rest])) < 2:
                result[block, a] = y[rest].mean()
                continue
            curve = LogisticRegression(C=1e6).fit(logits[rest, a, None], y[rest])
            result[block, a] = expit(curve.decision_function(logits[block, a, None]))
    return result


def ceiling(logits, labels, subjects, population: Population, prior: np.ndarray | None = None) -> dict:
    """F1 per AU in percent of the calibrated single posteriors and of the joint one, threshold 0.5: {"alone": (A,),
    "joint": (A,)}. The difference of their means is the ceiling of any relation's gain on this evidence.

    logits, labels: (N, A) of unseen people, labels all known; ``population``: who they were drawn from.
    It leaves out what knowing the person's own habits would add: P(y) is that of the population.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    if (labels < 0).any():
        raise ValueError("the ceiling needs known labels")
    prior = pattern_probabilities(population) if prior is None else prior
    alone = calibrate(logits, labels, subjects)
    joint = joint_posterior(alone, population.rates, prior)
    return {name: f1_from_counts(counts(p - 0.5, labels)) for name, p in (("alone", alone), ("joint", joint))}


def others_f1(labels, logits=None, others: bool = True, blocks: int = 5) -> np.ndarray:
    """F1 per AU in percent of a linear reader that is told the true labels of all other AUs: (N, A) → (A,).

    Given ``logits`` (N, A) it also sees the AU's own logit; with ``others=False`` it sees that alone. The difference
    of the two is what an all-knowing relation could add: a ceiling for what relations of a linear kind can give.
    Cross-fitted: the frames are cut into ``blocks`` successive blocks (of people, where frames are stored person by
    person) and each is read by a logistic regression fitted on the rest. nan for an AU without any known label; frames
    with another unknown label are left out; nan for all when fewer than ``blocks`` remain.
    """
    labels = np.asarray(labels)
    result, there = np.full(labels.shape[1], np.nan), np.flatnonzero((labels >= 0).any(0))
    known = (labels[:, there] >= 0).all(1)
    if logits is None and not others:
        raise ValueError("the reader needs logits, the other labels, or both")
    if known.sum() < blocks or not len(there):
        return result
    labels = labels[known][:, there]
    logits = None if logits is None else np.asarray(logits, dtype=np.float64)[known][:, there]
    told = np.zeros(labels.shape)
    for a, y in enumerate(labels.T):
        x = np.delete(labels, a, axis=1).astype(np.float64) if others else np.empty((len(y), 0))
        if logits is not None:
            x = np.column_stack([logits[:, a], x])
        for block in np.array_split(np.arange(len(y)), blocks):
            rest = np.delete(np.arange(len(y)), block)
            if len(np.unique(y[rest])) < 2:
                told[block, a] = y[rest][0]
            else:
                told[block, a] = LogisticRegression(max_iter=1000).fit(x[rest], y[rest]).predict(x[block])
    result[there] = f1_from_counts(counts(told - 0.5, labels))
    return result
