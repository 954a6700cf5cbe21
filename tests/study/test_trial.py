"""The trial: its figures of an arm against plain ones, the rule that answers on made-up cells, and one tiny seed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import f1_score
from tiny_run import tiny_config

from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.files import read_json, write_json
from lorral_lite.model.lorral import Features
from lorral_lite.study import question, teaching, trial
from lorral_lite.study.arms import ARMS, MODULES, Seen, begin, look
from lorral_lite.study.question import PILOT, answer, interest, schedules, seeds_for, values, verdict, write
from lorral_lite.study.readings import LETTER
from lorral_lite.study.trial import (
    CELLS,
    cell_file,
    figures,
    in_company_of_strangers,
    read_tokens,
    recalibrated,
    thresholds,
)
from lorral_lite.training.config import RunConfig, Schedule
from lorral_lite.training.run_folder import new_model

# ------------------------------------------------------------------------------------------------------- the figures


@pytest.fixture(scope="module")
def stage(tiny_data):
    model, folder = new_model(tiny_config(tiny_data)).eval(), open_prepared(tiny_data)
    return model, look(model, folder, np.arange(16)), look(model, folder, np.arange(16, 40)), folder


@torch.no_grad()
def test_strangers_change_what_a_module_hears_and_nothing_that_its_twin_does(stage, monkeypatch):
    model, asked, _, _ = stage
    monkeypatch.setattr(trial, "FRAMES", 4)
    for name, hears in (("bilstm", True), ("deaf_bilstm", False), ("none", False)):
        made = begin(model, ARMS[name], 1).eval()
        strangers = in_company_of_strangers(made, asked)
        own = made.from_features(asked.features)
        assert torch.allclose(strangers["local"], own.local_au_logits, atol=1e-6) != hears
        assert not torch.equal(strangers["au"], own.au_logits), "the AU head reads all tokens"
    a, face = 1, 5  # by hand: all tokens but one are the face's four places before
    tokens = asked.features.local[face - 4].clone()
    tokens[a] = asked.features.local[face, a]
    made = begin(model, ARMS["bilstm"], 1).eval()
    alone = made.local_head(made.relation(tokens[None]))[0, a]
    assert in_company_of_strangers(made, asked)["local"][face, a] == pytest.approx(float(alone), abs=1e-6)


def test_thresholds_are_half_of_the_best_f1(rng):
    p, labels = rng.random((60, 2)), rng.integers(0, 2, (60, 2))
    best = [max(f1_score(y, p[:, a] >= t) for t in p[:, a]) for a, y in enumerate(labels.T)]
    assert thresholds(p, labels) == pytest.approx(np.array(best) / 2)


def test_recalibration_is_monotone_and_fits_the_others_rates(rng):
    theirs, labels = rng.normal(size=(400, 2)), rng.integers(0, 2, (400, 2))
    labels[:, 1] = 0
    p = recalibrated(theirs, theirs, labels)
    assert p[:, 0].mean() == pytest.approx(labels[:, 0].mean(), abs=1e-3)
    assert (p[:, 1] == 0).all()
    order = np.argsort(theirs[:, 0])
    assert len(np.unique(np.sign(np.diff(p[order, 0])))) == 1


def test_an_arms_figures(stage):
    model, asked, known, folder = stage
    found, logits = figures(begin(model, ARMS["none"], 1), asked, known, folder.subjects[:16])
    assert set(found) == {"local", "au", "per_person"}
    assert len(found["per_person"]) == len(set(folder.subjects[:16]))
    hits = np.array(found["per_person"]).reshape(-1, 3, 3)[..., 0].sum(0)
    shown = (logits["local"][0].numpy() >= 0) & (asked.labels.numpy() == 1)
    np.testing.assert_array_equal(hits, shown.sum(0))


def test_a_reader_of_all_tokens_finds_what_stands_in_another_one(rng):
    labels = rng.integers(0, 2, (240, 2))
    tokens = rng.normal(size=(240, 2, 3))
    tokens[:, 1, 2] += 2 * labels[:, 0]  # AU 0 is told by the token of AU 1 alone
    seen, asked = (Seen(Features(torch.tensor(tokens[part]), None, None, None), torch.tensor(labels[part]))
                   for part in (slice(0, 160), slice(160, 240)))
    people = np.repeat(np.arange(8), 20)
    own, every = (read_tokens(seen, people, asked, every)["auc"][0] for every in (False, True))
    assert own < 65
    assert every > 85


# ------------------------------------------------------------------------------------------------- the rule, applied


def make(folder, seeds, slope=0.0, noise=0.1, paper=0.0, reader=5.0):
    """Cells in which every module gains ``slope`` from strength on both outputs, ``paper`` with step 1 on its faces."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for step1, world in CELLS:
            more = slope * (world == "strength1") if step1 == "independent" else paper
            arms = {}
            for name, arm in ARMS.items():
                auc = 80.0 + (more + noise * rng.normal() if name in MODULES else 0)
                part = {"auc": [auc, auc], "f1": [auc, None], "auc_strangers": [auc - 1, auc - 1]}
                arms[name] = {"local": part, "au": part, "like": arm.like}
            write_json(cell_file(folder, step1, world, seed), {
                "aus": [1, 2], "arms": arms,
                "readers": {"own": {"auc": [80, 80]}, "all": {"auc": [80 + reader * (world == "strength1")] * 2}}})
    return folder


@pytest.fixture
def tuning(tmp_path):
    for world in teaching.WORLDS:
        for k, name in enumerate(ARMS):
            for seed in teaching.SEEDS:
                auc = 60 + 9 * (name in MODULES and name != "series")
                taught = [{"rate": s[0], "epochs": s[1], "local": {
                    "auc": [60, auc], "log_loss": 0.5 - 0.1 * (i == k % 6)}} for i, s in enumerate(teaching.SCHEDULES)]
                cell = {"aus": [1, 7], "taught": taught}
                write_json(teaching.cell_file(tmp_path / "tuning", world, name, seed), cell)
    return tmp_path / "tuning"


def test_every_arm_has_the_schedule_of_its_own_lowest_loss(tuning):
    found = schedules(tuning)
    assert found == {name: teaching.SCHEDULES[k % 6] for k, name in enumerate(ARMS)}


def test_the_question_says_what_is_of_interest_and_how_many_seeds_ask_it(tuning, tmp_path):
    pilot = make(tmp_path / "pilot", PILOT)
    assert interest(pilot) == pytest.approx(1.0)
    asked = write(tmp_path / "trial.json", tuning, pilot)
    assert read_json(tmp_path / "trial.json")["schedules"] == {k: list(v) for k, v in asked["schedules"].items()}
    assert asked["passed"] == {"bilstm": True, "self_attention": True, "hopfield": True, "series": False}
    assert len(asked["seeds"]) == seeds_for(1.0, 1.56 * max(asked["pilot_sd"].values()))
    assert max(asked["found_in_80_of_100"].values()) <= 1.0
    assert not set(asked["seeds"]) & set(PILOT)
    assert len(asked["commit"]) == 40
    assert (seeds_for(1.0, 100), seeds_for(1e9, 1)) == (20, 3)


def test_slopes_are_module_minus_twin_and_strength_1_minus_0(tmp_path):
    cells = make(tmp_path, (1, 2), slope=2, paper=0.5, noise=0)
    assert values(cells, (1, 2), "bilstm", "local") == [2, 2]
    assert values(cells, (1, 2), "bilstm", "AU, as in the paper") == [0.5, 0.5]
    assert values(cells, (1, 2), "bilstm", "au", "f1", control="none") == [2, 2]
    assert question.again(cells, (1, 2), "series") == [0, 0]
    assert question.company(cells, (1, 2), "series") == [0, 0]


def test_an_answer_is_the_paired_t_test_with_holm(tmp_path, tuning):
    seeds = list(range(5))
    cells = make(tmp_path / "cells", seeds, slope=0.3, noise=0.2)
    asked = {"seeds": seeds, "interest": 1.0, "passed": dict.fromkeys(MODULES, True)}
    rows = answer(cells, asked)["local"]
    p = [stats.ttest_1samp(row["values"], 0).pvalue for row in rows]
    assert [row["estimate"].p for row in rows] == pytest.approx(p)
    assert min(row["p_holm"] for row in rows) == pytest.approx(min(1, 4 * min(p)))


def test_verdicts():
    def of(points, p, passed=True):
        return verdict(trial_estimate(points), p, 1.0, passed)

    assert of([2, 2.1, 2.2], 0.01) == "gain"
    assert of([-2, -2.1, -2.2], 0.01, passed=False) == "loss"
    assert of([0.5, 0.51, 0.52], 0.01) == "gain, smaller than of interest"
    assert of([0.1, 0, -0.1], 0.9) == "smaller than of interest"
    assert of([0.1, 0, -0.1], 0.9, passed=False) == "not shown to work here"
    assert of([3, 0, -3], 0.9) == "undecided"


def trial_estimate(points):
    from lorral_lite.measure.statistics import jackknife

    return jackknife(np.array(points, float))


# --------------------------------------------------------------------------------------------------------- a tiny seed


@pytest.mark.slow
def test_a_seed_goes_on_where_it_stopped(tmp_path, monkeypatch):
    lite = RunConfig.lite
    monkeypatch.setattr(RunConfig, "lite", lambda *a, **k: replace(lite(*a, **k), step1=Schedule(1, 0.02)))
    for name, value in (("PEOPLE", 8), ("CALIBRATION", 4), ("STEP1_FRAMES", 6), ("FRAMES", 6),
                        ("read_tokens", lambda *a: {"auc": np.full(12, 50.0)})):  # so few faces have AUs never shown
        monkeypatch.setattr(trial, name, value)
    reading = {"model": {**LETTER, "patch_grids": (2, 2)}, "changes": {"jitter": 0.0}}
    few = dict.fromkeys(("none", "self_attention", "deaf_self_attention"), (0.03, 4))
    place, results = tmp_path / "place", tmp_path / "cells"
    trial.run(place, results, [900], reading, dict(list(few.items())[:1]), 1, "cpu", progress=False)
    first = {path.name: read_json(path) for path in results.glob("*.json")}
    assert len(first) == len(CELLS)
    trial.run(place, results, [900], reading, few, 1, "cpu", progress=False)
    for path in results.glob("*.json"):
        cell = read_json(path)
        assert cell["arms"]["none"] == first[path.name]["arms"]["none"]
        assert set(cell["arms"]) == set(few)
        taught = cell["arms"]["self_attention"]
        assert np.array(taught["effects_taught"]).shape == (12, 12)
        assert np.array(taught["attention_start"]).sum() == pytest.approx(12, abs=0.01)
        deaf = cell["arms"]["deaf_self_attention"]["local"]
        assert deaf["auc"] == deaf["auc_strangers"], "a deaf twin hears nobody"
        assert len(cell["reference"]["local"]["auc"]) == 12
    monkeypatch.setattr(trial, "run_seed", None)  # all is there
    trial.run(place, results, [900], reading, few, 1, "cpu", progress=False)
