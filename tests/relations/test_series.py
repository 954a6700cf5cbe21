"""The series is its three parts one after the other."""

import torch
from torch.testing import assert_close

from lorral_lite.relations import BiLSTMRelation, HopfieldRelation, SelfAttentionRelation, SeriesRelation


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


def test_gradcheck():
    torch.manual_seed(0)
    series = SeriesRelation(4, 3, heads=2).double().eval()
    assert torch.autograd.gradcheck(series, torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True))
