"""How sure a mean F1 is, and whether one relation beats another: intervals over subjects, not over frames.

Frames of one person resemble each other, so a person, not a frame, is the unit that is left out or drawn
again. The input everywhere is the ``per_subject`` part of a ``metrics.json``: {subject: {"tp": [one count per
AU], "fp": …, "fn": …, "tn": …}}. With several folds and seeds it is a grid of cells, {(fold, seed): per_subject}:
seeds are nested in subjects, because the same people are tested again and again.

An interval over subjects says how the figure would move with other test people. It leaves out what training
again with another seed would change (D60): the standard deviation between seeds stands beside it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from .metrics import COUNTS, f1_from_counts


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval: ``value`` in [``low``, ``high``] at ``level``, standard error ``se``.

    ``p`` is two-sided against 0 (meaningful for differences), ``n`` counts subjects. With one subject,
    ``se``, ``low``, ``high`` and ``p`` are nan: nothing can be said about other people.
    """

    value: float
    se: float
    low: float
    high: float
    p: float
    n: int
    level: float = 0.95

    @property
    def df(self) -> int:
        """Degrees of freedom of the t quantile."""
        return self.n - 1


@dataclass(frozen=True)
class NestedEstimate(Estimate):
    """An estimate over the subjects of ``folds`` folds, each scored by ``seeds`` trainings that were averaged.

    ``seed_sd``: standard deviation between the seeds' own figures (mean over folds), over the seeds that every fold
    has; nan with fewer than two. It is not in the interval.
    """

    seeds: int = 1
    folds: int = 1
    seed_sd: float = math.nan

    @property
    def df(self) -> int:
        return self.n - self.folds


def stack_counts(per_subject: dict) -> tuple[list[str], np.ndarray]:
    """``per_subject`` of a metrics.json → subjects in sorted order and their counts (S, 4, A): tp, fp, fn, tn.

    ValueError when there is no subject, a count is missing or negative, or the subjects differ in length.
    """
    if not per_subject:
        raise ValueError("no subject to count: per_subject is empty")
    subjects = sorted(per_subject)
    rows = []
    for subject in subjects:
        missing = [name for name in COUNTS if name not in per_subject[subject]]
        if missing:
            raise ValueError(f"subject {subject} has no count {missing[0]}: tp, fp, fn and tn are needed")
        rows.append([per_subject[subject][name] for name in COUNTS])
    lengths = {len(row) for counts in rows for row in counts}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"every subject needs one count per AU, got lengths {sorted(lengths)}")
    counts = np.asarray(rows, dtype=np.float64)
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError("counts must be finite and not negative")
    return subjects, counts


def mean_f1(counts: np.ndarray) -> float:
    r"""F1 in percent from counts pooled over the subjects, averaged over the AUs: (S, 4, A) → a number.

    .. math:: F_1 = 100 \cdot \frac{2\,tp}{2\,tp + fp + fn}

    0 for an AU neither shown nor predicted, as in :mod:`lorral_lite.measure.metrics`. AUs without a known label are
    left out (nan when none has one). Source: paper section 4.1.
    """
    f1 = f1_from_counts(dict(zip(COUNTS, counts.sum(0), strict=True)))
    known = ~np.isnan(f1)
    return float(f1[known].mean()) if known.any() else math.nan


def f1_gain(pair: np.ndarray) -> float:
    """Mean F1 of the first of two outputs minus that of the second, in points: (S, 2, 4, A) → a number."""
    return mean_f1(pair[:, 0]) - mean_f1(pair[:, 1])


def jackknife(samples: np.ndarray, statistic: Callable[[np.ndarray], float] = np.mean,
              level: float = 0.95) -> Estimate:
    r"""Leave one subject out at a time; interval with a t quantile.

    .. math:: se^2 = \frac{n-1}{n} \sum_i \big(\theta_{(i)} - \bar\theta_{(\cdot)}\big)^2, \qquad
              \theta \pm t_{n-1,\,1-\alpha/2}\; se

    For the mean of a sample this se is the classic :math:`s/\sqrt{n}` exactly. Source: Efron and Tibshirani
    1993, *An Introduction to the Bootstrap*, eq. (11.5). ``samples`` has one row per subject, (S, …).
    """
    samples = np.asarray(samples, dtype=np.float64)
    if not len(samples):
        raise ValueError("the jackknife needs at least one subject, got none")
    value, se = float(statistic(samples)), _jackknife_se(samples, statistic)
    return _with_t(Estimate(value, se, math.nan, math.nan, math.nan, len(samples), level))


def _jackknife_se(samples: np.ndarray, statistic: Callable[[np.ndarray], float]) -> float:
    n = len(samples)
    if n < 2:
        return math.nan
    left = np.array([statistic(np.delete(samples, i, axis=0)) for i in range(n)])
    return float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))


def _with_t(e: Estimate) -> Estimate:
    """The estimate with interval and p from its value, standard error, degrees of freedom and level."""
    if not 0 < e.level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {e.level}")
    half = float(stats.t.ppf(0.5 + e.level / 2, e.df)) * e.se
    if e.se > 0:
        p = float(2 * stats.t.sf(abs(e.value) / e.se, e.df))
    else:
        p = math.nan if math.isnan(e.se) or math.isnan(e.value) else float(e.value == 0)
    return replace(e, low=e.value - half, high=e.value + half, p=p)


def nested_jackknife(cells: dict[tuple[int, int], np.ndarray],
                     statistic: Callable[[np.ndarray], float]) -> NestedEstimate:
    r"""The jackknife where folds have people of their own and seeds score the same people again.

    With :math:`\theta_f` the mean over seeds of the statistic on fold f, and a person left out of all seeds at once,

    .. math:: \theta = \frac1F \sum_f \theta_f, \qquad
              se^2 = \frac1{F^2} \sum_f \frac{n_f-1}{n_f} \sum_i \big(\theta_{f(i)} - \bar\theta_{f(\cdot)}\big)^2,

    and a t quantile with :math:`\sum_f (n_f - 1)` degrees of freedom. One fold and one seed: :func:`jackknife`. Source:
    Shao and Tu 1995, *The Jackknife and Bootstrap*, section 6.2 (strata). ``cells``: {(fold, seed): (S, …)}, the rows
    of one fold the same people in the same order. ValueError when the seeds of a fold differ in their people.
    """
    if not cells:
        raise ValueError("no cell of the grid to estimate from")
    folds: dict[int, list[np.ndarray]] = {}
    for (fold, _), samples in sorted(cells.items(), key=lambda cell: cell[0]):
        folds.setdefault(fold, []).append(np.asarray(samples, dtype=np.float64))
    values, variances = [], []
    for fold, seeds in folds.items():
        if len({s.shape for s in seeds}) > 1:
            raise ValueError(f"fold {fold}: its seeds were not scored on the same people and AUs")
        together = np.stack(seeds, axis=1)  # (S, seeds, …): a person goes with all seeds

        def score(people: np.ndarray) -> float:
            return float(np.mean([statistic(people[:, k]) for k in range(people.shape[1])]))

        values.append(score(together))
        variances.append(_jackknife_se(together, score) ** 2)
    every = set.intersection(*({seed for f, seed in cells if f == fold} for fold in folds))
    per_seed = [np.mean([statistic(np.asarray(cells[fold, seed])) for fold in folds]) for seed in every]
    e = NestedEstimate(float(np.mean(values)), float(np.sqrt(np.sum(variances))) / len(folds),
                       math.nan, math.nan, math.nan, n=sum(len(seeds[0]) for seeds in folds.values()),
                       seeds=len({seed for _, seed in cells}), folds=len(folds),
                       seed_sd=float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else math.nan)
    return _with_t(e)


def mean_f1_interval(per_subject: dict) -> Estimate:
    """Mean F1 (percent, mean over AUs) of one output with its interval over subjects."""
    return jackknife(stack_counts(per_subject)[1], mean_f1)


def au_f1_intervals(per_subject: dict) -> list[Estimate]:
    """F1 of each AU (percent) with its interval over subjects, in the order of the counts.

    nan where an AU has no known label, or none once a subject is left out.
    """
    counts = stack_counts(per_subject)[1]
    return [jackknife(counts[:, :, a:a + 1], mean_f1) for a in range(counts.shape[2])]


def paired_gain(per_subject: dict, control: dict) -> Estimate:
    """Mean F1 of ``per_subject`` minus mean F1 of ``control`` in points, both scored on the same subjects.

    Leaving out one subject leaves it out on both sides: what makes a face hard for both cancels. ValueError when the
    subjects or the AUs are not the same.
    """
    return jackknife(_stack_pair(per_subject, control)[1], f1_gain)


def _stack_pair(per_subject: dict, control: dict) -> tuple[list[str], np.ndarray]:
    """The subjects, and the counts of both sides, (S, 2, 4, A)."""
    subjects, ours = stack_counts(per_subject)
    others, theirs = stack_counts(control)
    if lonely := sorted(set(subjects) ^ set(others)):
        raise ValueError(f"a paired difference needs the same subjects twice: {lonely[0]} is only on one side")
    if ours.shape != theirs.shape:
        raise ValueError(f"a paired difference needs the same AUs, got {ours.shape[2]} and {theirs.shape[2]}")
    return subjects, np.stack([ours, theirs], axis=1)


def _own_people(cells: dict[tuple[int, int], tuple[list[str], np.ndarray]]) -> dict[tuple[int, int], np.ndarray]:
    """The counts of {(fold, seed): (subjects, counts)}; ValueError unless each fold has people of its own."""
    people: dict[int, list[str]] = {}
    for (fold, _), (subjects, _) in cells.items():
        if people.setdefault(fold, subjects) != subjects:
            raise ValueError(f"fold {fold}: its seeds were not scored on the same people and AUs")
    everybody = [subject for subjects in people.values() for subject in subjects]
    if len(everybody) != len(set(everybody)):
        twice = min(subject for subject in everybody if everybody.count(subject) > 1)
        raise ValueError(f"{twice} is tested in two folds: folds must have people of their own")
    return {cell: counts for cell, (_, counts) in cells.items()}


def nested_f1(cells: dict[tuple[int, int], dict], au: int | None = None) -> NestedEstimate:
    """Mean F1 (percent) over a grid {(fold, seed): per_subject}: pooled in a fold, mean over AUs, then over folds.

    ``au`` is the position of one AU instead of the mean over all. Interval: :func:`nested_jackknife`.
    """
    stacked = _own_people({cell: stack_counts(per_subject) for cell, per_subject in cells.items()})
    wanted = slice(None) if au is None else slice(au, au + 1)
    return nested_jackknife({cell: counts[:, :, wanted] for cell, counts in stacked.items()}, mean_f1)


def nested_gain(cells: dict[tuple[int, int], dict], control: dict[tuple[int, int], dict]) -> NestedEstimate:
    """Mean F1 of a grid minus that of its ``control`` in points, paired: same cell, same people, left out together.

    Cells that only one side has are left out. ValueError when none is shared or the people of a cell differ.
    """
    shared = sorted(set(cells) & set(control))
    if not shared:
        raise ValueError("a paired difference needs the same folds and seeds on both sides")
    return nested_jackknife(_own_people({cell: _stack_pair(cells[cell], control[cell]) for cell in shared}), f1_gain)


def cohens_dz(gain: Estimate) -> float:
    r"""Effect size of a paired difference: its mean over people in units of its spread between people.

    .. math:: d_z = \frac{\bar d}{s_d} = \frac{\theta}{se \sqrt n}

    F1 is no mean over people, so :math:`s_d` is that of the jackknife's pseudo-values; for a plain mean of differences
    the two are equal. Source: Cohen 1988, *Statistical Power Analysis*, section 2.3.5. nan without a spread.
    """
    return gain.value / (gain.se * gain.n**0.5) if gain.se > 0 else math.nan


def minimum_detectable(n: int, sd: float = 1.0) -> float:
    r"""The smallest true difference that a two-sided paired t test at 5 % on ``n`` people finds in 80 of 100 trials.

    In units of ``sd``, the standard deviation of the differences between people (1: the answer is a :math:`d_z`; for
    points of F1 give :math:`se \sqrt n` of a measured gain). From the noncentral t distribution, Cohen 1988, chapter 2.
    """
    if n < 3 or sd < 0:
        raise ValueError(f"needs n of at least 3 and sd of at least 0, got n {n}, sd {sd}")
    limit = stats.t.ppf(0.975, n - 1)

    def missing(d: float) -> float:  # found with the right sign; the chance of the wrong one is nil
        return float(stats.nct.sf(limit, n - 1, d * n**0.5)) - 0.8

    return sd * float(brentq(missing, 0, (3 * limit + 5) / n**0.5))


def at_level(estimate: Estimate, level: float) -> Estimate:
    """The same jackknife estimate with its t interval at another ``level``."""
    return _with_t(replace(estimate, level=level))


def holm(p_values, alpha: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    r"""Holm's correction for several questions at once: adjusted p values, and the level each was tested at.

    .. math:: \tilde p_{(k)} = \max_{j \le k} \min\big(1, (m - j + 1)\, p_{(j)}\big)

    The k-th smallest p is tested at :math:`\alpha/(m-k+1)`, and testing stops at the first that fails: that
    one and all after it carry the level of the stop. An interval drawn at 1 − that level lies off zero
    exactly where Holm rejects (D61). Source: Holm 1979, *Scandinavian Journal of Statistics* 6. nan p values
    (nothing to test) stay nan and are not counted in m.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
    p = np.asarray(p_values, dtype=np.float64)
    known = ~np.isnan(p)
    if ((p[known] < 0) | (p[known] > 1)).any():
        raise ValueError("p values must lie between 0 and 1")
    adjusted, levels = np.full(p.shape, np.nan), np.full(p.shape, np.nan)
    order = np.flatnonzero(known)[np.argsort(p[known], kind="stable")]
    m, highest, level, stopped = len(order), 0.0, alpha, False
    for k, i in enumerate(order):
        highest = max(highest, min(1.0, (m - k) * p[i]))
        adjusted[i] = highest
        if not stopped:
            level = alpha / (m - k)
            stopped = p[i] > level
        levels[i] = level
    return adjusted, levels
