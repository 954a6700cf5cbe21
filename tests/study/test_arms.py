"""Arms of the trial: equal starts, equal batches, and only what step 2 may change changes."""

import numpy as np
import pytest
import torch
from tiny_run import tiny_config

from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.model.lorral import Features, LoRRaL, LoRRaLConfig
from lorral_lite.model.relations import RELATIONS
from lorral_lite.study.arms import ARMS, MODULES, Arm, Seen, ask, begin, look, moved, rounded, schedule_of, teach
from lorral_lite.training.run_folder import new_model


@pytest.fixture(scope="module")
def stage(tiny_data):
    """(model after step 1, what it sees of some faces)."""
    model, folder = new_model(tiny_config(tiny_data)).eval(), open_prepared(tiny_data)
    return model, look(model, folder, np.arange(24), views=2), look(model, folder, np.arange(24, 40)), folder


def test_what_is_seen_is_what_the_model_gives(stage):
    _, views, centre, folder = stage
    assert views.labels.shape == (48, 3)
    assert torch.equal(views.labels[:24], views.labels[24:])
    assert not torch.equal(views.features.local[:24], views.features.local[24:])
    np.testing.assert_array_equal(centre.labels.numpy(), folder.labels[24:40])


@pytest.mark.parametrize("relation", MODULES)
def test_a_twin_starts_as_its_module_and_both_heads_start_alike_in_all_arms(stage, relation):
    model = stage[0]
    own, twin, other = (begin(model, ARMS[name], 3) for name in (relation, f"deaf_{relation}", "none"))
    assert all(torch.equal(a, b) for a, b in zip(own.state_dict().values(), twin.state_dict().values(), strict=True))
    for head in ("local_head", "au_head"):
        for a, b in zip(getattr(own, head).parameters(), getattr(other, head).parameters(), strict=True):
            assert torch.equal(a, b)
    assert model.config.relation == "none"


def test_teaching_lowers_the_loss_moves_the_relation_and_leaves_step_1_as_it_was(stage):
    model, seen, other, folder = stage
    start, made = (begin(model, Arm("mlp"), 3) for _ in range(2))
    losses = teach(made, seen, schedule_of(0.1, 8), 3)
    assert losses[-1] < losses[0]
    assert moved(start, made) > 0
    assert moved(*(begin(model, ARMS["none"], 3) for _ in range(2))) == 0
    before, after = model.state_dict(), made.state_dict()
    for name in before:
        if not name.startswith(("relation.", "au_head.", "local_head.")):
            assert torch.equal(before[name], after[name]), name
    again = begin(model, Arm("mlp"), 3)
    assert teach(again, seen, schedule_of(0.1, 8), 3) == losses
    twice = Seen(Features(*(torch.cat([v, v]) for v in seen.features)), torch.cat([seen.labels, seen.labels]))
    once, again = (begin(model, Arm("none"), 3) for _ in range(2))
    plain, views = teach(once, seen, schedule_of(0.01, 2), 3), teach(again, twice, schedule_of(0.01, 2), 3, views=2)
    assert views == pytest.approx(plain, rel=0.02), "an epoch shows one view of each face: as many updates as with one"
    found = ask(made, other, folder.subjects[24:40])
    assert found["local"]["log_loss"] > 0
    assert len(found["au"]["auc"]) == 3


def test_the_rate_falls_twice():
    for epochs in (16, 48):
        rates = {round(schedule_of(0.1, epochs).at(e), 6) for e in range(epochs)}
        assert rates == {0.1, 0.03, 0.009}


def test_modules_are_relations():
    assert set(MODULES) <= set(RELATIONS)


def test_an_mlp_has_as_many_weights_as_its_module_within_two_percent():
    model = LoRRaL(LoRRaLConfig.lite())
    size = {name: begin(model, arm, 0).parameter_count()["relation"] for name, arm in ARMS.items()}
    assert size["none"] == 0
    assert size["hopfield"] == size["self_attention"]
    for name in MODULES:
        assert size[name] == size[f"deaf_{name}"]
        if name != "hopfield":
            assert size[f"mlp_{name}"] == pytest.approx(size[name], rel=0.02)


def test_a_figure_that_is_not_known_can_be_written_and_read_again():
    found = rounded({"auc": np.array([0.123456, np.nan]), "hits": np.array([[1, 2]]), "mean": None, "list": [1.23456]})
    assert found == {"auc": [0.1235, None], "hits": [[1, 2]], "mean": None, "list": [1.2346]}
