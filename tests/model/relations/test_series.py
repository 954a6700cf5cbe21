"""The series is its three parts one after the other."""

import torch
from torch.testing import assert_close

from lorral_lite.model.relations import BiLSTMRelation, HopfieldRelation, SelfAttentionRelation, SeriesRelation


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
        part.load_state_dict(getattr(series, name).state_dict())
        expected = part.double().eval()(expected)
    assert_close(series(tokens), expected, rtol=1e-12, atol=1e-12)
    assert_close(series.attention, parts["hopfield"].attention, rtol=1e-12, atol=1e-12)
    assert_close(series.self_attention.attention, parts["self_attention"].attention, rtol=1e-12, atol=1e-12)
