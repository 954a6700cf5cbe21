"""Other readings of the paper: each changes what it says, and nothing when there is none."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from test_model import batch, tiny
from tiny_run import tiny_config
from torch.testing import assert_close

from lorral_lite.model.lorral import READINGS, LoRRaL
from lorral_lite.model.losses import lorral_loss
from lorral_lite.model.relations import BiLSTMRelation
from lorral_lite.training.config import RunConfig, upgraded
from lorral_lite.training.run_folder import load_model, read_run_config
from lorral_lite.training.steps import train_step1, train_step2


def make(*readings, relation="self_attention", seed=3) -> LoRRaL:
    torch.manual_seed(seed)
    return LoRRaL(tiny(relation=relation, **dict.fromkeys(readings, True))).eval()


def gradients(model, part: int) -> dict[str, bool]:
    """Part of the model → whether the loss ``part`` (1 AU, 2 local AU) reaches its parameters."""
    images, points = batch(model.config)
    lorral_loss(model(images, points), torch.tensor([[1, 0, 1]] * 2), points.flip(0))[part].backward()
    return {name: any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
            for name, module in model.named_children() if list(module.parameters())}


def reading(name: str, data="x", **changes):
    """A run's config with one reading."""
    config = tiny_config(data, **changes)
    return replace(config, model=replace(config.model, **{name: True}))


TAKEN = ()


def test_no_other_reading_is_taken_unasked():
    for recipe in (RunConfig.paper, RunConfig.lite):
        assert set(READINGS) & set(recipe("x", (1, 2)).to_dict()["model"]) == set(TAKEN)
    assert reading("mean_head").to_dict()["model"]["mean_head"] is True
    assert [name for name in READINGS if name in repr(make())] == list(TAKEN)


@torch.no_grad()
def test_mean_reads_the_mean_over_the_aus():
    model = make("mean_head")
    features = model.features(*batch(model.config))
    tokens = model.relation(features.local)
    mean = sum(tokens[:, a] for a in range(3)) / 3
    expected = model.au_head(torch.cat([mean, features.global_, features.landmark], dim=1))
    output = model.from_features(features)
    assert_close(output.au_logits, expected)
    assert_close(output.local_au_logits, model.local_head(tokens))
    assert model.au_head[0].in_features == make().au_head[0].in_features - 2 * tokens.shape[2]


def test_detached_stops_the_au_loss_before_local_features_and_relation():
    assert all(gradients(make(), 1)[name] for name in ("patch", "global_", "local", "relation"))
    reached = gradients(make("detached_head"), 1)
    assert (reached["local"], reached["relation"]) == (False, False)
    assert reached["patch"], "the shared features learn through the global ones"
    assert reached["au_head"]
    assert all(gradients(make("detached_head"), 2)[name] for name in ("patch", "local", "relation", "local_head"))


def test_local_before_takes_the_relation_out_of_the_local_output():
    model = make("local_before")
    features = model.features(*batch(model.config))
    assert_close(model.from_features(features).local_au_logits, model.local_head(features.local))
    assert gradients(make(), 2)["relation"]
    assert not gradients(model, 2)["relation"]
    assert gradients(make("local_before"), 1)["relation"]


def test_kept_heads_are_those_of_step_1_beside_the_same_new_relation():
    kept, anew = make("kept_heads", relation=None), make(relation=None)
    before = {k: v.clone() for k, v in kept.state_dict().items()}
    for model in (kept, anew):
        model.set_relation("bilstm", seed=5)
    for name, value in kept.state_dict().items():
        if name.startswith(("local_head", "au_head")):
            assert torch.equal(value, before[name])
            assert value.ndim < 2 or not torch.equal(value, anew.state_dict()[name])
        else:
            assert torch.equal(value, anew.state_dict()[name])


@pytest.mark.parametrize("relation", ["bilstm", "series"])
def test_the_residual_is_the_bilstms_alone_or_in_series_and_an_option_goes_before_it(relation):
    found = {}
    for asked in (True, False):
        model = make(relation=None)
        model.config = replace(model.config, bilstm_residual=asked)
        model.set_relation(relation, seed=5)
        found[asked] = {part.residual for part in model.relation.modules() if isinstance(part, BiLSTMRelation)}
        model.set_relation(relation, seed=5, residual=not asked)
        assert {part.residual for part in model.relation.modules() if isinstance(part, BiLSTMRelation)} == {not asked}
    assert found == {True: {True}, False: {False}}


@pytest.mark.parametrize("name", READINGS)
def test_a_run_remembers_its_reading(tiny_data, tiny_finished, tmp_path, name):
    config = reading(name, tiny_data, threads=1)
    train_step1(tmp_path, config, "cpu", progress=False)
    trained = train_step2(tmp_path, "self_attention", "cpu", progress=False)
    again = load_model(tmp_path, "self_attention", "cpu")
    assert getattr(again.config, name)
    assert repr(again).splitlines()[0].endswith(f", {name}")
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(trained(images), again(images), strict=True))
    assert replace(read_run_config(tmp_path), data=config.data) == config
    plain, read = (load_file(run / "step1.safetensors") for run in (tiny_finished, tmp_path))
    same = all(torch.equal(value, plain[key]) for key, value in read.items() if value.shape == plain[key].shape)
    later = name in ("local_before", "kept_heads", "bilstm_residual")
    assert same == later, "only readings of step 2 leave step 1 as it was"


def test_errors():
    with pytest.raises(ValueError, match="together leave the relation without any gradient"):
        make("local_before", "detached_head")


def test_what_older_runs_call_readings_are_fields_of_the_model():
    values = tiny_config("x").to_dict()
    old = {**values, "readings": ["kept_heads", "mean", "detached"]}
    config = RunConfig.from_dict(old)
    assert [name for name in READINGS if getattr(config.model, name)] == ["mean_head", "detached_head", "kept_heads"]
    assert upgraded(old) == config.to_dict()
    assert upgraded(values) == values
    with pytest.raises(ValueError, match="unknown model field 'max'"):
        RunConfig.from_dict({**values, "readings": ["max"]})
