"""Other readings of the paper: each changes what it says, and nothing when there is none."""

import json

import pytest
import torch
from safetensors.torch import load_file
from test_model import batch, tiny
from tiny_run import tiny_config
from torch.testing import assert_close

from lorral_lite.model.lorral import LoRRaL
from lorral_lite.model.losses import lorral_loss
from lorral_lite.model.readings import READINGS, OtherReading
from lorral_lite.training.config import RunConfig
from lorral_lite.training.evaluation import evaluate
from lorral_lite.training.run_folder import load_model, new_model
from lorral_lite.training.steps import train_step1, train_step2


def make(*readings, relation="self_attention", seed=3) -> OtherReading:
    torch.manual_seed(seed)
    return OtherReading(tiny(relation=relation), readings).eval()


def gradients(model, part: int) -> dict[str, bool]:
    """Part of the model → whether the loss ``part`` (1 AU, 2 local AU) reaches its parameters."""
    images, points = batch(model.config)
    lorral_loss(model(images, points), torch.tensor([[1, 0, 1]] * 2), points.flip(0))[part].backward()
    return {name: any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
            for name, module in model.named_children() if list(module.parameters())}


def test_no_reading_is_lorral_itself():
    torch.manual_seed(3)
    plain, model = LoRRaL(tiny(relation="self_attention")).eval(), make()
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), model.state_dict().values(), strict=True))
    images, points = batch(plain.config)
    assert all(torch.equal(a, b) for a, b in zip(plain(images, points), model(images, points), strict=True))
    assert type(new_model(tiny_config("x"))) is LoRRaL
    assert "readings" not in tiny_config("x").to_dict()


@torch.no_grad()
def test_mean_reads_the_mean_over_the_aus():
    model = make("mean")
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
    reached = gradients(make("detached"), 1)
    assert (reached["local"], reached["relation"]) == (False, False)
    assert reached["patch"], "the shared features learn through the global ones"
    assert reached["au_head"]
    assert all(gradients(make("detached"), 2)[name] for name in ("patch", "local", "relation", "local_head"))


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


@pytest.mark.parametrize("reading", READINGS)
def test_a_run_remembers_its_reading(tiny_data, tmp_path, reading):
    config = tiny_config(tiny_data, readings=(reading,), threads=1)
    train_step1(tmp_path, config, "cpu", progress=False)
    trained = train_step2(tmp_path, "self_attention", "cpu", progress=False)
    again = load_model(tmp_path, "self_attention", "cpu")
    assert again.readings == (reading,)
    assert f"other reading, {READINGS[reading]}" in repr(again)
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(trained(images), again(images), strict=True))
    assert 0 <= evaluate(tmp_path, "self_attention", "cpu", progress=False)["outputs"]["au"]["mean_f1"] <= 100
    assert RunConfig.from_dict(json.loads((tmp_path / "config.json").read_text())) == config


def test_step_1_is_the_same_where_the_reading_is_of_step_2(tiny_data, tmp_path):
    weights = {}
    for readings in ((), *((name,) for name in READINGS)):
        run = tmp_path / "_".join(readings)
        train_step1(run, tiny_config(tiny_data, readings=readings), "cpu", progress=False)
        weights[readings] = load_file(run / "step1.safetensors")
    for name in READINGS:
        equal = all(torch.equal(v, weights[()][k]) for k, v in weights[(name,)].items()
                    if v.shape == weights[()][k].shape)
        assert equal == (name in ("local_before", "kept_heads")), name


def test_errors():
    with pytest.raises(ValueError, match="unknown reading 'max': choose from local_before, kept_heads, detached, mean"):
        tiny_config("x", readings=("max",))
    with pytest.raises(ValueError, match="together leave the relation without any gradient"):
        make("local_before", "detached")
