"""Self-attention against the equations in float64 loops."""

import math

import pytest
import torch
from encoding import by_the_equations, pe, softmax
from torch.testing import assert_close

from lorral_lite import SelfAttentionRelation
from lorral_lite.model.relations import position_encoding, self_attention

EXACT = {"rtol": 1e-11, "atol": 1e-11}


@pytest.fixture
def relation():
    """Width 6, 5 action units, 2 heads, far from its initial values."""
    torch.manual_seed(6)
    relation = SelfAttentionRelation(6, 5, heads=2).double().eval()
    with torch.no_grad():
        for value in relation.parameters():
            value.normal_()
    relation.position = position_encoding(5, 6).double()
    return relation


@pytest.fixture
def tokens():
    torch.manual_seed(7)
    return torch.randn(2, 5, 6, dtype=torch.float64)


def test_position_encoding_matches_equations():
    for length, dim in ((12, 24), (5, 7), (1, 1)):
        expected = torch.tensor([pe(pos, dim) for pos in range(length)], dtype=torch.float32)
        assert_close(position_encoding(length, dim), expected, rtol=1e-6, atol=1e-7)


@torch.no_grad()
def test_self_attention_matches_equation_3_3_in_literal_loops():
    q, k, v = (torch.randn(s, dtype=torch.float64) for s in ((3, 4), (5, 4), (5, 2)))
    result, weights = self_attention(q, k, v)
    for s in range(3):
        w = softmax([sum(float(x * y) for x, y in zip(q[s], key, strict=True)) / math.sqrt(4) for key in k])
        assert_close(weights[s].tolist(), w, **EXACT)
        for e in range(2):
            assert float(result[s, e]) == pytest.approx(sum(w[n] * float(v[n, e]) for n in range(5)), abs=1e-12)


@torch.no_grad()
def test_whole_relation_matches_literal_loops(relation, tokens):
    relation.position = torch.tensor([pe(pos, 6) for pos in range(5)], dtype=torch.float64)
    for b in range(2):
        assert_close(relation(tokens)[b], by_the_equations(relation, tokens[b], heads=2), **EXACT)


def test_position_false_leaves_the_position_encoding_out():
    assert SelfAttentionRelation(8, 5, position=False).position.abs().max() == 0
    assert SelfAttentionRelation(8, 5).position.abs().max() > 0


def test_attention_is_readable_after_a_call_and_holds_no_graph(relation, tokens):
    assert SelfAttentionRelation(8, 5).attention is None
    relation(tokens.requires_grad_())
    assert relation.attention.shape == (2, 2, 5, 5)
    assert not relation.attention.requires_grad
    assert_close(relation.attention.sum(-1), torch.ones(2, 2, 5, dtype=torch.float64))


def test_layers_are_stacked(tokens):
    torch.manual_seed(0)
    two = SelfAttentionRelation(6, 5, heads=2, layers=2).double().eval()
    one = SelfAttentionRelation(6, 5, heads=2).double().eval()
    one.load_state_dict({k: v for k, v in two.state_dict().items() if not k.startswith("layers.1")})
    assert_close(two(tokens), two.layers[1](one(tokens)))
    assert_close(two.attention, two.layers[1].attention)
    assert (two.attention - two.layers[0].attention).abs().max() > 1e-3


def test_preprocessing_is_linear_then_layernorm_then_dropout_then_position(tokens):
    torch.manual_seed(0)
    relation = SelfAttentionRelation(6, 5, heads=2, dropout=0.5).double()
    inputs = []
    relation.layers[0].register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    relation(tokens)
    dropped = inputs[0] - relation.position
    kept = dropped.abs() > 1e-12
    assert 0.2 < kept.double().mean() < 0.8
    assert_close(dropped[kept], 2 * relation.norm(relation.linear(tokens))[kept], rtol=1e-9, atol=1e-9)


def test_each_layer_drops_what_it_adds_to_the_residual_twice():
    """D30: after the heads and after the MLP."""
    torch.manual_seed(0)
    layer, x = SelfAttentionRelation(8, 5, dropout=0.5).layers[0].double(), torch.randn(2, 5, 8, dtype=torch.float64)
    heard, dropped = [], []
    layer.dropout.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    layer.dropout.register_forward_hook(lambda _, given, result: dropped.append(result))
    result = layer(x)
    assert len(heard) == 2
    for before, after in zip(heard, dropped, strict=True):
        assert 0 < (after == 0).double().mean() < 1
        assert_close(after[after != 0], 2 * before[after != 0])
    assert_close(heard[0], layer.attend(x))
    assert_close(result, layer.norm2(layer.norm1(x + dropped[0]) + dropped[1]))
    assert SelfAttentionRelation(8, 5).layers[0].dropout.p == 0.1


def test_errors():
    with pytest.raises(ValueError, match="6 features cannot be shared by 4 heads"):
        SelfAttentionRelation(6, 5)
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        SelfAttentionRelation(8, 5, layers=0)
