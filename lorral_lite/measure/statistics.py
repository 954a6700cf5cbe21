"""How sure a mean F1 is, and whether one relation beats another: intervals over subjects, not over frames.

Frames of one person resemble each other, so a person, not a frame, is the unit that is left out or drawn
again. The input everywhere is the ``per_subject`` part of a ``metrics.json``: {subject: {"tp": [one count per
AU], "fp": …, "fn": …, "tn": …}}. With several folds and seeds it is a grid of cells, {(fold, seed): per_subject}:
seeds are nested in subjects, because the same people are tested again and again.

An interval over subjects says how the figure would move with other test people. It leaves out what training
again with another seed would change (D60): the standard deviation between seeds stands beside it.
"""

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
    seed_sd: float = float("nan")

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


def f1_percent(counts: np.ndarray) -> np.ndarray:
    r"""F1 per AU in percent from counts pooled over the subjects, (S, 4, A) → (A,).

    .. math:: F_1 = 100 \cdot \frac{2\,tp}{2\,tp + fp + fn}

    0 for an AU neither shown nor predicted, nan for one without a known label, as in
    :mod:`lorral_lite.measure.metrics`. Source: paper section 4.1.
    """
    return f1_from_counts(dict(zip(COUNTS, counts.sum(0), strict=True)))


def mean_f1(counts: np.ndarray) -> float:
    """Mean over the AUs of :func:`f1_percent`; AUs without a known label are left out (nan when none has one)."""
    f1 = f1_percent(counts)
    known = ~np.isnan(f1)
    return float(f1[known].mean()) if known.any() else float("nan")


def _leave_one_out(samples: np.ndarray, statistic: Callable[[np.ndarray], float]) -> np.ndarray:
    return np.array([statistic(np.delete(samples, i, axis=0)) for i in range(len(samples))])


def jackknife(samples: np.ndarray, statistic: Callable[[np.ndarray], float] = np.mean,
              level: float = 0.95) -> Estimate:
    r"""Leave one subject out at a time; interval with a t quantile.

    .. math:: se^2 = \frac{n-1}{n} \sum_i \big(\theta_{(i)} - \bar\theta_{(\cdot)}\big)^2, \qquad
              \theta \pm t_{n-1,\,1-\alpha/2}\; se

    For the mean of a sample this se is the classic :math:`s/\sqrt{n}` exactly. Source: Efron and Tibshirani
    1993, *An Introduction to the Bootstrap*, eq. (11.5). ``samples`` has one row per subject, (S, …).
    """
    _check_level(level)
    samples = np.asarray(samples, dtype=np.float64)
    n = len(samples)
    if n == 0:
        raise ValueError("the jackknife needs at least one subject, got none")
    value = float(statistic(samples))
    if n == 1:
        return Estimate(value, *[float("nan")] * 4, n, level)
    return _with_t(Estimate(value, _jackknife_se(samples, statistic), 0, 0, 0, n, level))


def _jackknife_se(samples: np.ndarray, statistic: Callable[[np.ndarray], float]) -> float:
    left, n = _leave_one_out(samples, statistic), len(samples)
    return float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))


def _with_t(e: Estimate) -> Estimate:
    """The estimate with interval and p from its value, standard error, degrees of freedom and level."""
    half = float(stats.t.ppf(0.5 + e.level / 2, e.df)) * e.se
    if e.se > 0:
        p = float(2 * stats.t.sf(abs(e.value) / e.se, e.df))
    else:
        p = float("nan") if np.isnan(e.se) or np.isnan(e.value) else float(e.value == 0)
    return replace(e, low=e.value - half, high=e.value + half, p=p)


def nested_jackknife(cells: dict[tuple[int, int], np.ndarray], statistic: Callable[[np.ndarray], float],
                     level: float = 0.95) -> NestedEstimate:
    r"""The jackknife where folds have people of their own and seeds score the same people again.

    With :math:`\theta_f` the mean over seeds of the statistic on fold f, and a person left out of all seeds at once,

    .. math:: \theta = \frac1F \sum_f \theta_f, \qquad
              se^2 = \frac1{F^2} \sum_f \frac{n_f-1}{n_f} \sum_i \big(\theta_{f(i)} - \bar\theta_{f(\cdot)}\big)^2,

    and a t quantile with :math:`\sum_f (n_f - 1)` degrees of freedom. One fold and one seed: :func:`jackknife`. Source:
    Shao and Tu 1995, *The Jackknife and Bootstrap*, section 6.2 (strata). ``cells``: {(fold, seed): (S, …)}, the rows
    of one fold the same people in the same order. ValueError when the seeds of a fold differ in their people.
    """
    _check_level(level)
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
        variances.append(_jackknife_se(together, score) ** 2 if len(together) > 1 else float("nan"))
    every = set.intersection(*({seed for f, seed in cells if f == fold} for fold in folds))
    per_seed = [np.mean([statistic(np.asarray(cells[fold, seed])) for fold in folds]) for seed in every]
    n = sum(len(seeds[0]) for seeds in folds.values())
    e = NestedEstimate(float(np.mean(values)), float(np.sqrt(np.sum(variances))) / len(folds), *[float("nan")] * 3, n,
                       level, seeds=len({seed for _, seed in cells}), folds=len(folds),
                       seed_sd=float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else float("nan"))
    return _with_t(e) if e.df > 0 else e


def bootstrap(samples: np.ndarray, statistic: Callable[[np.ndarray], float] = np.mean, level: float = 0.95,
              draws: int = 2000, seed: int = 0) -> Estimate:
    r"""Draw the subjects again with replacement; the interval runs between percentiles of the redrawn figure.

    .. math:: [\,q_{\alpha/2}(\theta^*),\; q_{1-\alpha/2}(\theta^*)\,]

    For teaching, beside the jackknife: with few subjects it is too short (it held the truth in .92, .91 and
    .88 of simulations at 41, 27 and 14 subjects where 0.95 was promised). Source: Efron and Tibshirani 1993,
    section 13.3. ``p`` is twice the smaller share of draws on one side of 0.
    """
    _check_level(level)
    samples = np.asarray(samples, dtype=np.float64)
    n = len(samples)
    if n == 0 or draws < 1:
        raise ValueError(f"the bootstrap needs subjects and draws, got {n} subjects and {draws} draws")
    value = float(statistic(samples))
    if n == 1:
        return Estimate(value, *[float("nan")] * 4, n, level)
    rows = np.random.default_rng(seed).integers(n, size=(draws, n))
    drawn = np.array([statistic(samples[r]) for r in rows])
    if np.isnan(drawn).all():
        return Estimate(value, *[float("nan")] * 4, n, level)
    low, high = np.nanquantile(drawn, [0.5 - level / 2, 0.5 + level / 2])
    p = min(1.0, 2 * min((drawn <= 0).mean(), (drawn >= 0).mean()))
    return Estimate(value, float(np.nanstd(drawn, ddof=1)), float(low), float(high), float(p), n, level)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")


def _method(name: str):
    methods = {"jackknife": jackknife, "bootstrap": bootstrap}
    if name not in methods:
        raise ValueError(f"unknown method {name!r}: choose from {', '.join(methods)}")
    return methods[name]


def mean_f1_interval(per_subject: dict, level: float = 0.95, method: str = "jackknife") -> Estimate:
    """Mean F1 (percent, mean over AUs) of one output with its interval over subjects."""
    return _method(method)(stack_counts(per_subject)[1], mean_f1, level)


def au_f1_intervals(per_subject: dict, level: float = 0.95, method: str = "jackknife") -> list[Estimate]:
    """F1 of each AU (percent) with its interval over subjects, in the order of the counts.

    Values are kept inside 0–100; nan where an AU has no known label, or none once a subject is left out.
    """
    counts = stack_counts(per_subject)[1]
    result = []
    for a in range(counts.shape[2]):
        e = _method(method)(counts[:, :, a:a + 1], mean_f1, level)
        low, high = (float(np.clip(x, 0, 100)) for x in (e.low, e.high))
        result.append(Estimate(e.value, e.se, low, high, e.p, e.n, e.level))
    return result


def paired_gain(per_subject: dict, control: dict, level: float = 0.95, method: str = "jackknife",
                aus: list[int] | None = None) -> Estimate:
    """Mean F1 of ``per_subject`` minus mean F1 of ``control`` in points, both scored on the same subjects.

    Leaving out one subject leaves it out on both sides: what makes a face hard for both cancels. ``aus`` are
    the positions of the AUs to compare (default: all). ValueError when the subjects are not the same.
    """
    subjects, ours = stack_counts(per_subject)
    others, theirs = stack_counts(control)
    if subjects != others:
        lonely = sorted(set(subjects) ^ set(others))[0]
        raise ValueError(f"a paired difference needs the same subjects twice: {lonely} is only on one side")
    if ours.shape != theirs.shape:
        raise ValueError(f"a paired difference needs the same AUs, got {ours.shape[2]} and {theirs.shape[2]}")
    both = np.stack([ours, theirs], axis=1)  # (S, 2, 4, A)
    if aus is not None:
        both = both[..., aus]
    return _method(method)(both, lambda pair: mean_f1(pair[:, 0]) - mean_f1(pair[:, 1]), level)


def _stacked_cells(cells: dict[tuple[int, int], dict]) -> tuple[dict, dict]:
    """{cell: (S, 4, A)}, and {fold: its subjects}. ValueError when a person is tested in two folds."""
    stacked, people = {}, {}
    for (fold, seed), per_subject in cells.items():
        subjects, stacked[fold, seed] = stack_counts(per_subject)
        if people.setdefault(fold, subjects) != subjects:
            raise ValueError(f"fold {fold}: its seeds were not scored on the same people and AUs")
    everybody = [subject for subjects in people.values() for subject in subjects]
    if len(everybody) != len(set(everybody)):
        twice = min(subject for subject in everybody if everybody.count(subject) > 1)
        raise ValueError(f"{twice} is tested in two folds: folds must have people of their own")
    return stacked, people


def nested_f1(cells: dict[tuple[int, int], dict], level: float = 0.95, au: int | None = None) -> NestedEstimate:
    """Mean F1 (percent) over a grid {(fold, seed): per_subject}: pooled in a fold, mean over AUs, then over folds.

    ``au`` is the position of one AU instead of the mean over all. Interval: :func:`nested_jackknife`.
    """
    stacked, _ = _stacked_cells(cells)
    return nested_jackknife({cell: counts if au is None else counts[:, :, au:au + 1]
                             for cell, counts in stacked.items()}, mean_f1, level)


def nested_gain(cells: dict[tuple[int, int], dict], control: dict[tuple[int, int], dict],
                level: float = 0.95) -> NestedEstimate:
    """Mean F1 of a grid minus that of its ``control`` in points, paired: same cell, same people, left out together.

    Cells that only one side has are left out. ValueError when none is shared or the people of a cell differ.
    """
    shared = sorted(set(cells) & set(control))
    if not shared:
        raise ValueError("a paired difference needs the same folds and seeds on both sides")
    ours, people = _stacked_cells({cell: cells[cell] for cell in shared})
    theirs, others = _stacked_cells({cell: control[cell] for cell in shared})
    for fold, subjects in people.items():
        if lonely := sorted(set(subjects) ^ set(others[fold])):
            raise ValueError(f"a paired difference needs the same subjects twice: {lonely[0]} is only on one side")
    if any(ours[cell].shape != theirs[cell].shape for cell in shared):
        raise ValueError("a paired difference needs the same AUs on both sides")
    both = {cell: np.stack([ours[cell], theirs[cell]], axis=1) for cell in shared}  # (S, 2, 4, A)
    return nested_jackknife(both, lambda pair: mean_f1(pair[:, 0]) - mean_f1(pair[:, 1]), level)


def cohens_dz(gain: Estimate) -> float:
    r"""Effect size of a paired difference: its mean over people in units of its spread between people.

    .. math:: d_z = \frac{\bar d}{s_d} = \frac{\theta}{se \sqrt n}

    F1 is no mean over people, so :math:`s_d` is that of the jackknife's pseudo-values; for a plain mean of differences
    the two are equal. Source: Cohen 1988, *Statistical Power Analysis*, section 2.3.5. nan without a spread.
    """
    return gain.value / (gain.se * gain.n**0.5) if gain.se > 0 else float("nan")


def minimum_detectable(n: int, sd: float = 1.0, power: float = 0.8, alpha: float = 0.05) -> float:
    r"""The smallest true difference that a two-sided paired t test on ``n`` people finds with this ``power``.

    In units of ``sd``, the standard deviation of the differences between people (1: the answer is a :math:`d_z`; for
    points of F1 give :math:`se \sqrt n` of a measured gain). From the noncentral t distribution, Cohen 1988, chapter 2.
    """
    if n < 3 or not 0 < alpha < power < 1 or sd < 0:
        raise ValueError(f"needs n of at least 3, sd of at least 0 and 0 < alpha < power < 1, got n {n}, sd {sd}, "
                         f"alpha {alpha}, power {power}")
    limit = stats.t.ppf(1 - alpha / 2, n - 1)

    def missing(d: float) -> float:  # found with the right sign; the chance of the wrong one is nil where power is high
        return float(stats.nct.sf(limit, n - 1, d * n**0.5)) - power

    return sd * float(brentq(missing, 0, (3 * limit + 5) / n**0.5))


def at_level(estimate: Estimate, level: float) -> Estimate:
    """The same jackknife estimate with its t interval at another ``level``."""
    _check_level(level)
    if estimate.df < 1:
        return replace(estimate, se=float("nan"), low=float("nan"), high=float("nan"), p=float("nan"), level=level)
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
