"""Do 95 % intervals hold the truth in 95 of 100 simulated data sets? And is the simulation what it says?"""

import json

import numpy as np
import pytest

from benchmarks.coverage import SETTINGS, coverage, simulate
from lorral_lite.faces.population import Population
from lorral_lite.files import data_file
from lorral_lite.measure.statistics import mean_f1, minimum_detectable, nested_jackknife


@pytest.fixture(scope="module")
def population():
    return Population("bp4d", seed=3)


def test_people_and_frames_are_counted_once_for_each_model(population):
    counts = simulate(population, 7, frames=40)
    assert counts.shape == (7, 2, 4, 12)
    assert (counts.sum(2) == 40).all()
    shown = counts[:, :, 0] + counts[:, :, 2]  # tp + fn: the labels, the same for both models
    assert (shown[:, 0] == shown[:, 1]).all()
    assert (shown[:, 0] == population.subjects(7, 40).labels.sum(1)).all()
    assert (simulate(population, 7, frames=40) == counts).all()
    assert (simulate(population, 7, frames=40, first=7) != counts).any()


def test_people_differ_in_how_wrongly_they_are_read(population):
    _, fp, _, tn = simulate(population, 400, frames=100)[:, 0].transpose(1, 0, 2)
    for a in (population.aus.index(au) for au in (6, 7, 10, 12)):
        absent = (fp + tn)[:, a]
        rate = (fp / np.maximum(fp + tn, 1))[absent >= 20, a]  # from nothing but the person's own bias for the AU
        by_chance = (rate.mean() * (1 - rate.mean()) / absent[absent >= 20]).mean()
        assert rate.var() > 3 * by_chance


def test_coverage_counts_intervals_by_a_plain_loop(population):
    true = (61.0, 1.2)
    found = coverage("bp4d", 9, folds=3, sets=12, seed=3, true=true)
    values, held, gains = [], 0, 0
    for k in range(12):
        counts = simulate(population, 9, first=9 * k)
        folds = {(f, 0): counts[[i for i in range(9) if i % 3 == f]] for f in range(3)}
        e = nested_jackknife({c: x[:, 0] for c, x in folds.items()}, mean_f1)
        g = nested_jackknife(folds, lambda p: mean_f1(p[:, 1]) - mean_f1(p[:, 0]))
        values.append(e.value)
        held += e.low <= 61 <= e.high
        gains += g.low <= 1.2 <= g.high
    assert found["mean"] == pytest.approx(np.mean(values))
    assert (found["jackknife"], found["gain"]) == pytest.approx((100 * held / 12, 100 * gains / 12))
    assert found["bootstrap"] is None


def stored() -> tuple[dict, dict, dict]:
    """The three committed tables, rows by their first cell."""
    document = json.loads(data_file("results", "coverage.json").read_text(encoding="utf8"))
    assert document["command"] == "python -m benchmarks coverage"
    return tuple({row[0]: dict(zip(table["columns"], row, strict=True)) for row in table["rows"]}
                 for table in document["tables"])


def test_the_committed_coverage_lies_between_93_and_97_and_the_bootstrap_below():
    f1, gains, least = stored()
    assert len(f1) == len(gains) == len(SETTINGS)
    for name, row in f1.items():
        true, own = row["jackknife-t holds the true F1, %"], row["holds the mean of the figure, %"]
        boot = row["percentile bootstrap holds the true F1, %"]
        assert 93 <= gains[name]["jackknife-t holds it, %"] <= 97, name
        if boot is not None:
            assert boot < true, name
        if name == "DISFA's rates, 27 people in 3 folds":  # F1 of nine people with rare AUs lies low: held is its mean
            assert 93 <= own <= 97
            assert row["mean of the figure, %"] < row["true F1, %"] - 1
        elif name != "DISFA's rates, 9 people":  # one such fold: too few people for any promise
            assert 93 <= true <= 97, name
            assert 93 <= own <= 97, name
    for name, n in (("41, all of BP4D", 41), ("27, all of DISFA", 27)):
        assert least[name]["effect size d_z"] == pytest.approx(minimum_detectable(n))


@pytest.mark.slow
@pytest.mark.parametrize(("profile", "people", "folds"), [("bp4d", 41, 1), ("bp4d", 41, 3), ("bp4d", 14, 1),
                                                          ("disfa", 27, 1)])
def test_1000_simulated_data_sets_hold_the_truth_as_often_as_promised(profile, people, folds):
    """Fresh: another seed than the committed table's. By chance alone 95 % moves by ±1.4."""
    found = coverage(profile, people, folds, sets=1000, seed=17)
    assert 93 <= found["jackknife"] <= 97
    assert 93 <= found["gain"] <= 97
    if folds == 1:
        assert found["bootstrap"] < found["jackknife"] - 1
