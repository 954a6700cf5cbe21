"""The BiLSTM relation against nn.LSTM in both directions, a scalar loop, and its dependence on order."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lorral_lite import BiLSTMRelation


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def one_direction(tokens, w_in, w_state, b_in, b_state):
    """An LSTM over a list of tokens, one number at a time (gates in the order input, forget, cell, output)."""
    hidden = w_state.shape[1]
    h, c, outputs = [0.0] * hidden, [0.0] * hidden, []
    for token in tokens:
        gate = [
            float(b_in[r]) + float(b_state[r])
            + sum(float(w) * float(x) for w, x in zip(w_in[r], token, strict=True))
            + sum(float(w) * x for w, x in zip(w_state[r], h, strict=True))
            for r in range(4 * hidden)
        ]  # fmt: skip
        new_h = []
        for j in range(hidden):
            i, f, g, o = (gate[k * hidden + j] for k in range(4))
            c[j] = sigmoid(f) * c[j] + sigmoid(i) * math.tanh(g)
            new_h.append(sigmoid(o) * math.tanh(c[j]))
        h = new_h
        outputs.append(h)
    return outputs


@pytest.fixture
def layer():
    torch.manual_seed(4)
    return BiLSTMRelation(6, 5).double()


@pytest.fixture
def tokens():
    torch.manual_seed(5)
    return torch.randn(2, 5, 6, dtype=torch.float64)


@torch.no_grad()
def test_matches_literal_loops(layer, tokens):
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    forwards = [getattr(layer.lstm, f"{kind}_l0") for kind in kinds]
    backwards = [getattr(layer.lstm, f"{kind}_l0_reverse") for kind in kinds]
    for b in range(2):
        there = one_direction(tokens[b], *forwards)
        back = one_direction(tokens[b].flip(0), *backwards)[::-1]
        expected = torch.tensor([x + y for x, y in zip(there, back, strict=True)], dtype=torch.float64)
        assert_close(layer(tokens)[b], expected, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_equals_two_nn_lstms(layer, tokens):
    there, back = (nn.LSTM(6, 3, batch_first=True).double() for _ in range(2))
    state = layer.lstm.state_dict()
    there.load_state_dict({k: v for k, v in state.items() if "reverse" not in k})
    back.load_state_dict({k.removesuffix("_reverse"): v for k, v in state.items() if "reverse" in k})
    expected = torch.cat([there(tokens)[0], back(tokens.flip(1))[0].flip(1)], dim=-1)
    assert_close(layer(tokens), expected, rtol=1e-12, atol=1e-12)


def test_bilstm_depends_on_the_order_of_aus(layer, tokens):
    order = torch.tensor([3, 0, 4, 2, 1])
    assert (layer(tokens[:, order]) - layer(tokens)[:, order]).abs().max() > 1e-3


def test_every_au_hears_every_other(layer, tokens):
    tokens.requires_grad_()
    for a in range(5):
        (grad,) = torch.autograd.grad(layer(tokens)[:, a].sum(), tokens)
        assert (grad.abs().amax((0, 2)) > 0).all()


def test_residual_adds_the_tokens(layer, tokens):
    residual = BiLSTMRelation(6, 5, residual=True).double()
    residual.load_state_dict(layer.state_dict())
    assert_close(residual(tokens), layer(tokens) + tokens)


def test_gradcheck():
    layer, tokens = BiLSTMRelation(2, 3).double(), torch.randn(1, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, tokens)


def test_an_odd_width_is_refused():
    with pytest.raises(ValueError, match="dim must be even, got 7"):
        BiLSTMRelation(7, 5)
