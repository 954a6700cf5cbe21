"""The BiLSTM relation against a scalar loop in both directions."""

import pytest
import torch
from encoding import bilstm_by_loops
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


def test_residual_adds_the_tokens(layer, tokens):
    residual = BiLSTMRelation(6, 5, residual=True).double()
    residual.load_state_dict(layer.state_dict())
    assert_close(residual(tokens), layer(tokens) + tokens)


def test_an_odd_width_is_refused():
    with pytest.raises(ValueError, match="dim must be even, got 7"):
        BiLSTMRelation(7, 5)
