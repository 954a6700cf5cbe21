"""The Hopfield relation: its update and energy in float64 loops, its limits, and self-attention at one step."""

import math

import pytest
import torch
from encoding import by_the_equations, pe
from torch.testing import assert_close

from lorral_lite import HopfieldRelation, SelfAttentionRelation
from lorral_lite.model.relations import HopfieldRetrieval, energy, hopfield_retrieve

EXACT = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture
def patterns():
    """3 states and 5 stored patterns of width 4, twice: a swapped axis cannot hide."""
    torch.manual_seed(8)
    return torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 5, 4, dtype=torch.float64)


def dot(x, y) -> float:
    return sum(float(p) * float(q) for p, q in zip(x, y, strict=True))


def by_the_formula(state, stored, beta):
    """One update, one number at a time."""
    out = torch.zeros_like(state)
    for b in range(state.shape[0]):
        for s in range(state.shape[1]):
            e = [math.exp(beta * dot(state[b, s], y)) for y in stored[b]]
            for n, y in enumerate(stored[b]):
                out[b, s] += e[n] / sum(e) * y
    return out


@pytest.mark.parametrize("beta", [0.0, 0.5, 3.0])
def test_one_step_matches_the_formula_in_literal_loops(patterns, beta):
    assert_close(hopfield_retrieve(*patterns, beta), by_the_formula(*patterns, beta), **EXACT)
    assert_close(HopfieldRetrieval(4, beta)(*patterns), by_the_formula(*patterns, beta), **EXACT)


def test_three_steps_are_one_step_thrice(patterns):
    state, stored = patterns
    expected = state
    for _ in range(3):
        expected = by_the_formula(expected, stored, 0.7)
    assert_close(HopfieldRetrieval(4, 0.7, steps=3)(state, stored), expected, **EXACT)
    assert_close(hopfield_retrieve(state, stored, 0.7, steps=3), expected, **EXACT)


def test_energy_matches_the_formula_in_literal_loops(patterns):
    state, stored = patterns
    for beta in (0.3, 2.0):
        result = energy(state, stored, beta)
        for b in range(2):
            largest = max(dot(y, y) for y in stored[b])
            for s in range(3):
                x = state[b, s]
                lse = math.log(sum(math.exp(beta * dot(x, y)) for y in stored[b])) / beta
                expected = -lse + dot(x, x) / 2 + math.log(5) / beta + largest / 2
                assert float(result[b, s]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("beta", [0.1, 1.0, 8.0])
def test_energy_never_rises_and_is_never_negative(patterns, beta):
    state, stored = patterns
    before = energy(state, stored, beta)
    first = before
    for _ in range(20):
        state = hopfield_retrieve(state, stored, beta)
        after = energy(state, stored, beta)
        assert (after <= before + 1e-12).all()
        assert (after >= 0).all()
        before = after
    assert (after < first - 1e-3).all()


def test_default_beta_is_that_of_attention():
    assert HopfieldRetrieval(16).beta == 0.25
    assert HopfieldRelation(24, 5).layers[0].beta == pytest.approx(1 / math.sqrt(24 / 4))


@pytest.mark.parametrize("layers", [1, 2])
def test_one_step_equals_self_attention_with_its_state_dict(layers):
    torch.manual_seed(9)
    attention = SelfAttentionRelation(8, 5, heads=2, layers=layers).double().eval()
    hopfield = HopfieldRelation(8, 5, steps=1, heads=2, layers=layers).double().eval()
    hopfield.load_state_dict(attention.state_dict())
    tokens = torch.randn(3, 5, 8, dtype=torch.float64)
    assert_close(hopfield(tokens), attention(tokens), **EXACT)
    assert_close(hopfield.attention, attention.attention, **EXACT)


@pytest.mark.parametrize(("steps", "beta"), [(1, None), (2, None), (3, 0.8)])
@torch.no_grad()
def test_whole_relation_matches_literal_loops(steps, beta):
    hopfield = HopfieldRelation(6, 5, steps=steps, beta=beta, heads=2).double().eval()
    for value in hopfield.parameters():
        value.normal_()
    hopfield.position = torch.tensor([pe(pos, 6) for pos in range(5)], dtype=torch.float64)
    tokens = torch.randn(2, 5, 6, dtype=torch.float64)
    for b in range(2):
        expected = by_the_equations(hopfield, tokens[b], 2, steps, beta)
        assert_close(hopfield(tokens)[b], expected, rtol=1e-11, atol=1e-11)


def test_gradcheck(patterns):
    state, stored = (p[:1].clone().requires_grad_() for p in patterns)
    assert torch.autograd.gradcheck(HopfieldRetrieval(4, 0.9, steps=2), (state, stored))
    assert torch.autograd.gradcheck(lambda s, p: energy(s, p, 0.9), (state, stored))


def test_attention_is_readable_after_a_call_and_holds_no_graph(patterns):
    layer = HopfieldRetrieval(4, 0.9, steps=2)
    assert layer.attention is None
    layer(*(p.clone().requires_grad_() for p in patterns))
    assert layer.attention.shape == (2, 3, 5)
    assert not layer.attention.requires_grad


def test_errors():
    for make in (lambda: HopfieldRetrieval(4, steps=0), lambda: HopfieldRelation(8, 5, steps=0)):
        with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
            make()
