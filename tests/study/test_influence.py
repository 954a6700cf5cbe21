"""Who hears whom: influence, its comparison with other tables, and retrieval, against definitions written out here."""


import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lorral_lite import BiLSTMRelation
from lorral_lite.model.lorral import LocalHead
from lorral_lite.model.relations import NoRelation
from lorral_lite.study.influence import effective_number, influence, pair_correlation, retrieval_rate, swap_effect


@pytest.fixture
def tokens():
    torch.manual_seed(1)
    return torch.randn(3, 12, 8)


def test_influence_matches_finite_differences(tokens):
    torch.manual_seed(2)
    relation = BiLSTMRelation(8, 12).double()
    x = tokens.double()
    found = influence(relation, x)
    block = torch.zeros(3, 8, 8, dtype=torch.float64)
    for m in range(8):
        step = torch.zeros_like(x)
        step[:, 5, m] = 1e-5
        block[:, :, m] = (relation(x + step) - relation(x - step))[:, 9].detach() / 2e-5
    assert_close(found[9, 5], block.square().sum((1, 2)).sqrt().mean(), rtol=1e-6, atol=1e-8)


def test_swap_effect_of_a_known_rule():
    """AU1's logit is minus AU2's first feature, which is 1 where AU2 is shown: the effect is −1, all else 0 off ±1."""
    labels = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 0]])
    tokens = torch.zeros(4, 3, 2)
    tokens[..., 0] = labels.float()

    class Oppose(NoRelation):
        def forward(self, x):
            return torch.stack([-x[:, 1], x[:, 1], x[:, 2]], dim=1)

    head = LocalHead(2, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0], [1, 0], [1, 0]]))
    effect = swap_effect(Oppose(2, 3), head, tokens, labels.numpy())
    assert_close(effect, torch.tensor([[0.0, -1, 0], [0, 1, 0], [0, 0, 1]]))


def test_pair_correlation_ignores_the_diagonal_and_finds_chance():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(12, 12))
    b = -2 * a + 5
    np.fill_diagonal(b, 1e6)
    r, p = pair_correlation(a, b, permutations=199)
    assert r == pytest.approx(-1)
    assert p == pytest.approx(1 / 200)  # of the random renamings only the table itself does as well
    r, p = pair_correlation(a, rng.normal(size=(12, 12)), permutations=199)
    assert abs(r) < 0.3
    assert p > 0.05


def test_pair_correlation_has_the_right_error_rate():
    """Tables whose rows share a level are what fools a plain test; renaming whole AUs keeps 5 % at 5 %."""
    rng = np.random.default_rng(1)
    rejected = 0
    for _ in range(100):
        a, b = (np.add.outer(x, x) + 0.3 * rng.normal(size=(8, 8)) for x in rng.normal(size=(2, 8)))
        rejected += pair_correlation(a, b, permutations=99)[1] <= 0.05
    assert 0 <= rejected <= 14


def test_effective_number():
    assert_close(effective_number(torch.full((2, 12), 1 / 12)), torch.full((2,), 12.0))
    assert_close(effective_number(torch.tensor([0.0, 1.0, 0.0])), torch.tensor(1.0))
    assert_close(effective_number(torch.tensor([0.5, 0.0, 0.5])), torch.tensor(2.0))


def test_retrieval_rate_is_all_or_nothing_at_the_ends():
    assert retrieval_rate(64, 1.0) == 1.0
    assert retrieval_rate(64, 0.0) == 0.0  # the mean of all is nobody
    assert retrieval_rate(8, 0.05) < retrieval_rate(4, 0.05)
