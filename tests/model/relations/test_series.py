"""The series is its three parts one after the other."""

import torch
from encoding import bilstm_by_loops, by_the_equations, pe
from torch.testing import assert_close

from lorral_lite.model.relations import BiLSTMRelation, HopfieldRelation, SelfAttentionRelation, SeriesRelation


def sub_state(state: dict, part: str) -> dict:
    return {k.removeprefix(part + "."): v for k, v in state.items() if k.startswith(part + ".")}


def test_series_is_bilstm_then_self_attention_then_hopfield():
    torch.manual_seed(0)
    series = SeriesRelation(8, 5, steps=3, beta=0.7, heads=2).double().eval()
    parts = {
        "bilstm": BiLSTMRelation(8, 5),
        "self_attention": SelfAttentionRelation(8, 5, heads=2),
        "hopfield": HopfieldRelation(8, 5, steps=3, beta=0.7, heads=2),
    }
    tokens = expected = torch.randn(2, 5, 8, dtype=torch.float64)
    for name, part in parts.items():
        part.load_state_dict(sub_state(series.state_dict(), name))
        expected = part.double().eval()(expected)
    assert_close(series(tokens), expected, rtol=1e-12, atol=1e-12)
    assert_close(series.attention, parts["hopfield"].attention, rtol=1e-12, atol=1e-12)
    assert_close(series.self_attention.attention, parts["self_attention"].attention, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_matches_literal_loops():
    """BiLSTM, then self-attention, then Hopfield with 3 updates, one number at a time."""
    torch.manual_seed(1)
    series = SeriesRelation(6, 5, steps=3, beta=0.7, heads=2).double().eval()
    for value in series.parameters():
        value.normal_()
    for part in (series.self_attention, series.hopfield):
        part.position = torch.tensor([pe(pos, 6) for pos in range(5)], dtype=torch.float64)
    tokens = torch.randn(2, 5, 6, dtype=torch.float64)
    for b in range(2):
        x = torch.tensor(bilstm_by_loops(series.bilstm.lstm, tokens[b]), dtype=torch.float64)
        x = by_the_equations(series.self_attention, x, 2)
        x = by_the_equations(series.hopfield, x, 2, 3, 0.7)
        assert_close(series(tokens)[b], x, rtol=1e-11, atol=1e-11)


def test_gradcheck():
    torch.manual_seed(0)
    series = SeriesRelation(4, 3, heads=2).double().eval()
    assert torch.autograd.gradcheck(series, torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True))
