"""The two controls: nothing at all, and as many parameters without any relation; and what all relations share."""

import pytest
import torch
from encoding import add, layer_norm, linear
from torch.testing import assert_close

from lorral_lite.model.relations import RELATIONS, MLPRelation, NoRelation, SelfAttentionRelation


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_no_relation_hands_the_tokens_on():
    tokens = torch.randn(2, 5, 6)
    assert NoRelation(6, 5)(tokens) is tokens
    assert count(NoRelation(6, 5)) == 0


@pytest.mark.parametrize("dim", [8, 24, 160])
def test_mlp_has_the_parameters_of_self_attention_within_2_percent(dim):
    target = count(SelfAttentionRelation(dim, 12))
    assert count(MLPRelation(dim, 12)) == pytest.approx(target, rel=0.02)
    assert count(MLPRelation(dim, 12, parameters=target)) == count(MLPRelation(dim, 12))


def test_mlp_meets_a_given_number():
    assert count(MLPRelation(24, 12, parameters=3000)) == pytest.approx(3000, rel=0.02)
    with pytest.raises(ValueError, match="an MLP of width 24 cannot have 10 parameters within 2 %: nearest 121"):
        MLPRelation(24, 12, parameters=10)


@torch.no_grad()
def test_mlp_matches_its_formula():
    torch.manual_seed(0)
    layer, x = MLPRelation(4, 3).double().eval(), torch.randn(2, 3, 4, dtype=torch.float64)
    norm, first, _, _, last = layer.mlp
    for given, found in zip(x.flatten(0, 1).tolist(), layer(x).flatten(0, 1).tolist(), strict=True):
        hidden = [max(0.0, u) for u in linear(first.weight, first.bias, layer_norm(norm, given))]
        assert found == pytest.approx(add(given, linear(last.weight, last.bias, hidden)), abs=1e-12)


def test_mlp_drops_hidden_units_while_training_only():
    """D30."""
    torch.manual_seed(0)
    layer, tokens, inputs = MLPRelation(8, 5, dropout=0.5), torch.randn(2, 5, 8), []
    layer.mlp[-1].register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    for mode in (True, False):
        layer.train(mode)(tokens)
    kept = inputs[0] != 0
    assert 0 < kept.double().mean() < (inputs[1] != 0).double().mean()
    assert_close(inputs[0][kept], 2 * inputs[1][kept])
    assert MLPRelation(8, 5).mlp[3].p == 0.1


@pytest.mark.parametrize("name", RELATIONS)
def test_every_relation_keeps_shape_and_dtype_treats_faces_alone_and_has_the_gradient_of_its_numbers(name):
    torch.manual_seed(0)
    layer, tokens = RELATIONS[name](8, 5).eval(), torch.randn(3, 5, 8)
    assert (layer(tokens).shape, layer(tokens).dtype) == (tokens.shape, torch.float32)
    layer, tokens = layer.double(), tokens.double()
    assert_close(layer(tokens)[2:], layer(tokens[2:]), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(layer, tokens[2:].requires_grad_())


@pytest.mark.parametrize("name", RELATIONS)
def test_wrong_tokens_are_refused(name):
    with pytest.raises(ValueError, match=r"tokens must be \(B, 5, 8\), got \(2, 8, 5\)"):
        RELATIONS[name](8, 5)(torch.zeros(2, 8, 5))


def test_a_relation_without_tokens_is_refused():
    with pytest.raises(ValueError, match="at least 1 feature and 1 action unit, got 0 and 5"):
        NoRelation(0, 5)
