"""Intervals over subjects: closed forms, hand-computed cases and scipy as oracles."""

import math

import numpy as np
import pytest
from scipy import stats

from lorral_lite.measure.statistics import (
    at_level,
    au_f1_intervals,
    cohens_dz,
    holm,
    jackknife,
    mean_f1,
    mean_f1_interval,
    minimum_detectable,
    nested_f1,
    nested_gain,
    nested_jackknife,
    paired_gain,
    stack_counts,
)


def people(seed: int, subjects: int = 9, aus: int = 4) -> dict:
    rng = np.random.default_rng(seed)
    return {
        f"P{i:02d}": {name: rng.integers(low, 60, aus).tolist() for name, low in
                      (("tp", 20), ("fp", 1), ("fn", 1), ("tn", 30))}
        for i in range(subjects)
    }


def test_jackknife_of_a_mean_is_the_classic_t_interval():
    x = np.random.default_rng(0).normal(3, 2, 11)
    ours = jackknife(x)
    low, high = stats.t.interval(0.95, 10, loc=x.mean(), scale=stats.sem(x))
    assert ours.se == pytest.approx(stats.sem(x), rel=1e-12)
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-12)
    assert ours.p == pytest.approx(stats.ttest_1samp(x, 0).pvalue, rel=1e-9)


def test_jackknife_of_a_ratio_by_hand():
    x = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]])  # ratio of sums: 9/15; left out: 8/13, 6/11, 4/6
    left = [8 / 13, 6 / 11, 4 / 6]
    centre = sum(left) / 3
    se = math.sqrt(2 / 3 * sum((v - centre) ** 2 for v in left))
    ours = jackknife(x, lambda s: s[:, 0].sum() / s[:, 1].sum())
    assert ours.value == pytest.approx(0.6)
    assert ours.se == pytest.approx(se, rel=1e-12)
    assert ours.high - ours.value == pytest.approx(4.302652729911275 * se, rel=1e-9)  # t, n-1 = 2


def test_f1_is_pooled_over_subjects_and_skips_what_has_none():
    counts = stack_counts({
        "b": {"tp": [3, 0], "fp": [1, 0], "fn": [0, 0], "tn": [5, 0]},
        "a": {"tp": [1, 0], "fp": [1, 0], "fn": [2, 0], "tn": [5, 0]},
    })
    assert counts[0] == ["a", "b"]
    assert mean_f1(counts[1]) == pytest.approx(100 * 8 / 12)  # not the mean over people, 60.7
    assert math.isnan(mean_f1(counts[1][:, :, 1:]))


def test_interval_of_each_au_is_that_of_a_one_au_mean():
    subjects = people(2)
    one = {s: {k: v[2:3] for k, v in c.items()} for s, c in subjects.items()}
    whole, alone = au_f1_intervals(subjects)[2], mean_f1_interval(one)
    assert (whole.value, whole.se, whole.low) == pytest.approx((alone.value, alone.se, alone.low))


def test_paired_gain_by_a_plain_loop_and_zero_against_itself():
    a, b = people(3), people(4)

    def score(counts):
        per_au = []
        for i in range(4):
            tp, fp, fn = (sum(c[k][i] for c in counts) for k in ("tp", "fp", "fn"))
            per_au.append(100 * tp / (tp + 0.5 * (fp + fn)))
        return sum(per_au) / 4

    names = sorted(a)
    left = [score([a[s] for s in names if s != out]) - score([b[s] for s in names if s != out])
            for out in names]
    se = math.sqrt(8 / 9 * sum((v - sum(left) / 9) ** 2 for v in left))
    gain = paired_gain(a, b)
    assert gain.value == pytest.approx(score(list(a.values())) - score(list(b.values())))
    assert gain.se == pytest.approx(se, rel=1e-9)
    same = paired_gain(a, a)
    assert (same.value, same.se, same.low, same.high, same.p) == (0, 0, 0, 0, 1)


def test_holm_by_hand():
    adjusted, levels = holm([0.04, 0.01, 0.03])  # sorted .01·3, .03·2, max(.06, .04·1)
    np.testing.assert_allclose(adjusted, [0.06, 0.03, 0.06])
    np.testing.assert_allclose(levels, [0.025, 0.05 / 3, 0.025])  # .03 > .05/2 stops the testing there
    adjusted, levels = holm([0.001, float("nan"), 0.04])
    np.testing.assert_allclose(adjusted, [0.002, np.nan, 0.04])
    np.testing.assert_allclose(levels, [0.025, np.nan, 0.05])
    assert holm([0.9, 0.8])[0].tolist() == [1, 1]


# ---------------------------------------------------------------------------------------- several folds and seeds


def grid(start: int, folds: int = 3, seeds: int = 2, subjects: int = 5) -> dict:
    """{(fold, seed): per_subject}; people have the number of their fold in their names."""
    return {(f, s): {f"F{f}{name}": counts for name, counts in people(start + 10 * f + s, subjects).items()}
            for f in range(1, folds + 1) for s in range(seeds)}


def test_a_grid_of_one_cell_is_the_plain_jackknife():
    a, b = people(3), people(4)
    for nested, plain in ((nested_f1({(2, 7): a}), mean_f1_interval(a)),
                          (nested_gain({(2, 7): a}, {(2, 7): b}), paired_gain(a, b))):
        assert (nested.value, nested.se, nested.low, nested.high, nested.p, nested.n) == pytest.approx(
            (plain.value, plain.se, plain.low, plain.high, plain.p, plain.n))
        assert math.isnan(nested.seed_sd)
    assert nested_f1({(1, 0): a}, au=2).value == pytest.approx(au_f1_intervals(a)[2].value)


def test_folds_and_seeds_by_a_plain_loop():
    cells = grid(20)

    def score(fold, out=None):  # the mean over seeds, one person left out of both
        there = [{name: c for name, c in cells[fold, seed].items() if name != out} for seed in (0, 1)]
        return np.mean([mean_f1(stack_counts(per_subject)[1]) for per_subject in there])

    value = np.mean([score(f) for f in (1, 2, 3)])
    variance = 0.0
    for f in (1, 2, 3):
        left = np.array([score(f, out) for out in cells[f, 0]])
        variance += 4 / 5 * ((left - left.mean()) ** 2).sum() / 9
    per_seed = [np.mean([mean_f1(stack_counts(cells[f, s])[1]) for f in (1, 2, 3)]) for s in (0, 1)]
    e = nested_f1(cells)
    assert (e.value, e.se) == pytest.approx((value, math.sqrt(variance)))
    assert e.high - e.value == pytest.approx(stats.t.ppf(0.975, 12) * math.sqrt(variance))  # 15 people less 3 folds
    assert (e.n, e.seeds, e.folds, e.df) == (15, 2, 3, 12)
    assert e.seed_sd == pytest.approx(abs(per_seed[0] - per_seed[1]) / math.sqrt(2))
    wide = at_level(e, 0.99)
    assert wide.high - wide.value == pytest.approx(stats.t.ppf(0.995, 12) * math.sqrt(variance))
    assert (wide.level, wide.seed_sd) == (0.99, e.seed_sd)


def test_a_nested_mean_has_the_variance_of_stratified_sampling():
    """Against 4,000 simulated grids: people differ, and differ again from seed to seed."""
    rng = np.random.default_rng(11)
    means, claims = [], []
    for _ in range(4000):
        cells = {}
        for fold, n in ((1, 6), (2, 9)):
            person = rng.normal(0, 2, (n, 1))
            cells |= {(fold, s): person + rng.normal(0, 1, (n, 1)) for s in range(3)}
        e = nested_jackknife(cells, lambda x: float(x.mean()))
        means.append(e.value)
        claims.append(e.se**2)
    assert np.mean(claims) == pytest.approx(np.var(means), rel=0.05)
    assert np.var(means) == pytest.approx((4 + 1 / 3) * (1 / 6 + 1 / 9) / 4, rel=0.05)


def test_a_nested_gain_pairs_cells_and_leaves_out_those_of_one_side():
    a, b = grid(40), grid(60)
    e = nested_gain(a, b)
    by_hand = np.mean([paired_gain(a[cell], b[cell]).value for cell in a])
    assert e.value == pytest.approx(by_hand)
    short = {cell: counts for cell, counts in b.items() if cell != (3, 1)}
    assert nested_gain(a, short).value == pytest.approx(np.mean([
        np.mean([paired_gain(a[f, s], b[f, s]).value for s in ((0, 1) if f < 3 else (0,))]) for f in (1, 2, 3)]))
    assert nested_gain(a, a).p == 1


def test_one_subject_or_a_fold_of_one_has_a_value_and_no_interval():
    for e in (mean_f1_interval(people(9, subjects=1)),
              nested_f1({(1, 0): people(0), (2, 0): {"alone": people(1)["P00"]}})):
        assert e.value > 0
        assert all(math.isnan(v) for v in (e.se, e.low, e.high, e.p, at_level(e, 0.9).low))


# ---------------------------------------------------------------------------------------- effect size and power


def test_cohens_dz_is_mean_over_spread_for_plain_differences():
    d = np.random.default_rng(12).normal(1, 2, 27)
    assert cohens_dz(jackknife(d)) == pytest.approx(d.mean() / d.std(ddof=1), rel=1e-12)
    assert math.isnan(cohens_dz(jackknife(np.ones(4))))


def test_minimum_detectable_difference_against_known_tables():
    """G*Power, paired t test, two-sided 5 %, 80 %: d 0.5 needs 34 people and d 0.8 needs 15 (33 and 14 are too few)."""
    assert minimum_detectable(34) < 0.5 < minimum_detectable(33)
    assert minimum_detectable(15) < 0.8 < minimum_detectable(14)
    assert minimum_detectable(27, sd=3.0) == pytest.approx(3 * minimum_detectable(27))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: stack_counts({}), "no subject to count"),
    (lambda: stack_counts({"a": {"tp": [1], "fp": [1]}}), "subject a has no count fn"),
    (lambda: stack_counts({"a": {"tp": [1], "fp": [1], "fn": [1, 2], "tn": [1]}}), r"per AU, got lengths \[1, 2\]"),
    (lambda: paired_gain(people(0), people(0, subjects=8)), "P08 is only on one side"),
    (lambda: paired_gain(people(0), people(0, aus=3)), "same AUs, got 4 and 3"),
    (lambda: nested_f1({(1, 0): people(0), (1, 1): people(0, subjects=8)}), "fold 1: its seeds were not scored"),
    (lambda: nested_f1({(1, 0): people(0), (2, 0): people(1)}), "P00 is tested in two folds"),
    (lambda: nested_gain({(1, 0): people(0)}, {(1, 1): people(0)}), "the same folds and seeds"),
])
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
