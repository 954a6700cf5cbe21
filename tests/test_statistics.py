"""Intervals over subjects: closed forms, hand-computed cases and scipy as oracles."""

import math

import numpy as np
import pytest
from scipy import stats

from lorral_lite.statistics import (
    at_level,
    au_f1_intervals,
    bootstrap,
    f1_percent,
    holm,
    jackknife,
    mean_f1,
    mean_f1_interval,
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
    f1 = f1_percent(counts[1])
    assert f1[0] == pytest.approx(100 * 8 / 12)  # not the mean over people, 60.7
    assert math.isnan(f1[1])
    assert mean_f1(counts[1]) == pytest.approx(100 * 8 / 12)


def test_mean_f1_equals_scikit_learn_on_the_frames_behind_the_counts():
    from sklearn.metrics import f1_score

    subjects = people(1)
    mean = np.mean([
        f1_score(*zip(*[pair for s in subjects.values() for name, pair in
                        (("tp", (1, 1)), ("fp", (0, 1)), ("fn", (1, 0)), ("tn", (0, 0)))
                        for _ in range(s[name][a])], strict=True))
        for a in range(4)
    ])
    assert mean_f1_interval(subjects).value == pytest.approx(100 * mean, rel=1e-12)


def test_interval_of_each_au_is_that_of_a_one_au_mean():
    subjects = people(2)
    one = {s: {k: v[2:3] for k, v in c.items()} for s, c in subjects.items()}
    whole, alone = au_f1_intervals(subjects)[2], mean_f1_interval(one)
    assert (whole.value, whole.se, whole.low) == pytest.approx((alone.value, alone.se, alone.low))
    assert all(0 <= e.low <= e.value <= e.high <= 100 for e in au_f1_intervals(subjects))


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


def test_pairing_removes_what_both_sides_share():
    a = people(5)
    b = {s: {**c, "fp": [x + 3 for x in c["fp"]]} for s, c in a.items()}
    assert paired_gain(a, b).se < 0.2 * mean_f1_interval(a).se


def test_bootstrap_agrees_with_the_normal_limit_and_its_seed_counts():
    x = np.random.default_rng(6).normal(0, 1, 400)
    ours = bootstrap(x, draws=4000)
    assert ours.se == pytest.approx(x.std() / 20, rel=0.05)
    assert ours.low == pytest.approx(x.mean() - 1.96 * x.std() / 20, abs=0.01)
    assert bootstrap(x, draws=50, seed=1) == bootstrap(x, draws=50, seed=1) != bootstrap(x, draws=50, seed=2)


def test_the_percentile_bootstrap_falls_short_with_few_subjects():
    rng = np.random.default_rng(7)
    held = {"jackknife": 0, "bootstrap": 0}
    for _ in range(300):
        x = rng.normal(0, 1, 8)
        for method in (jackknife, bootstrap):
            e = method(x, np.mean, **({"draws": 200} if method is bootstrap else {}))
            held[method.__name__] += e.low <= 0 <= e.high
    assert held["jackknife"] > 0.92 * 300 > held["bootstrap"]


def test_holm_by_hand():
    adjusted, levels = holm([0.04, 0.01, 0.03])  # sorted .01·3, .03·2, max(.06, .04·1)
    np.testing.assert_allclose(adjusted, [0.06, 0.03, 0.06])
    np.testing.assert_allclose(levels, [0.025, 0.05 / 3, 0.025])  # .03 > .05/2 stops the testing there
    adjusted, levels = holm([0.001, float("nan"), 0.04])
    np.testing.assert_allclose(adjusted, [0.002, np.nan, 0.04])
    np.testing.assert_allclose(levels, [0.025, np.nan, 0.05])
    assert holm([0.9, 0.8])[0].tolist() == [1, 1]


def test_the_interval_at_holms_level_leaves_zero_exactly_where_holm_rejects():
    rng = np.random.default_rng(8)
    rejected = 0
    for _ in range(40):
        gains = [jackknife(rng.normal(shift, 1, 12)) for shift in (0, 0.4, 0.8, 1.2)]
        adjusted, levels = holm([g.p for g in gains])
        for g, p, level in zip(gains, adjusted, levels, strict=True):
            wide = at_level(g, 1 - level)
            assert (wide.low > 0 or wide.high < 0) == (p <= 0.05)
            rejected += p <= 0.05
    assert 40 < rejected < 140


def test_one_subject_has_a_value_and_no_interval():
    only = mean_f1_interval(people(9, subjects=1))
    assert only.value > 0
    assert all(math.isnan(v) for v in (only.se, only.low, only.high, only.p))
    assert math.isnan(at_level(only, 0.9).low)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: stack_counts({}), "no subject to count"),
    (lambda: stack_counts({"a": {"tp": [1], "fp": [1]}}), "subject a has no count fn"),
    (lambda: stack_counts({"a": {"tp": [1], "fp": [1], "fn": [1, 2], "tn": [1]}}), r"per AU, got lengths \[1, 2\]"),
    (lambda: stack_counts({"a": {"tp": [-1], "fp": [1], "fn": [1], "tn": [1]}}), "not negative"),
    (lambda: paired_gain(people(0), people(0, subjects=8)), "P08 is only on one side"),
    (lambda: paired_gain(people(0), people(0, aus=3)), "same AUs, got 4 and 3"),
    (lambda: mean_f1_interval(people(0), method="guess"), "'guess': choose from jackknife, bootstrap"),
    (lambda: mean_f1_interval(people(0), level=95), "level must lie between 0 and 1, got 95"),
    (lambda: holm([1.2]), "between 0 and 1"),
    (lambda: jackknife(np.empty(0)), "at least one subject"),
])
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
