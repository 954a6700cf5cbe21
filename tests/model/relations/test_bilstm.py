"""The BiLSTM relation against a scalar loop in both directions, and a closed form."""

import math

import pytest
import torch
from encoding import bilstm_by_loops, sigmoid
from torch.testing import assert_close

from lorral_lite import BiLSTMRelation


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
    for b in range(2):
        expected = torch.tensor(bilstm_by_loops(layer.lstm, tokens[b]), dtype=torch.float64)
        assert_close(layer(tokens)[b], expected, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_without_weights_its_gates_are_constant_and_the_cell_a_geometric_series(layer):
    for name, value in layer.lstm.named_parameters():
        value.fill_(0.0) if "weight" in name else value.copy_(torch.arange(12, dtype=torch.float64) / 20 - 0.3)
    result = layer(torch.randn(1, 5, 6, dtype=torch.float64))
    for j in range(3):
        i, f, g, o = (2 * ((3 * k + j) / 20 - 0.3) for k in range(4))  # the two biases of each gate
        for t in range(5):
            cell = sigmoid(i) * math.tanh(g) * (1 - sigmoid(f) ** (t + 1)) / (1 - sigmoid(f))
            for direction, step in ((0, t), (3, 4 - t)):  # the second half reads backwards
                assert float(result[0, step, direction + j]) == pytest.approx(sigmoid(o) * math.tanh(cell), abs=1e-12)


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
