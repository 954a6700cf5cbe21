"""A deaf twin hears nothing of the other AUs, and is its module in everything else."""

import pytest
import torch

from lorral_lite.model.relations import RELATIONS, deafen

MODULES = ("bilstm", "self_attention", "hopfield", "series")


def module(name: str, aus: int = 5, **options):
    torch.manual_seed(4)
    return RELATIONS[name](8, aus, **options).eval()


@pytest.mark.parametrize("name", MODULES)
def test_what_a_twin_says_of_an_au_does_not_change_when_the_others_do(name):
    tokens = torch.randn(3, 5, 8)
    other = torch.randn(3, 5, 8)
    other[:, 2] = tokens[:, 2]
    heard, twin = module(name), deafen(module(name))
    assert not torch.allclose(heard(tokens)[:, 2], heard(other)[:, 2], atol=1e-4)
    assert torch.equal(twin(tokens)[:, 2], twin(other)[:, 2])


@pytest.mark.parametrize("name", MODULES)
def test_with_one_token_module_and_twin_are_equal_to_the_bit(name):
    tokens = torch.randn(7, 1, 8)
    assert torch.equal(module(name, 1)(tokens), deafen(module(name, 1))(tokens))


@pytest.mark.parametrize("name", MODULES)
def test_a_twin_has_the_same_weights_and_all_of_them_that_matter_to_one_token_learn(name):
    heard, twin = module(name), deafen(module(name))
    assert all(torch.equal(a, b) for a, b in zip(heard.state_dict().values(), twin.state_dict().values(), strict=True))
    twin(torch.randn(3, 5, 8)).square().sum().backward()
    silent = {n for n, p in twin.named_parameters() if p.grad is None or not p.grad.abs().any()}
    assert all(any(part in n for part in ("query", "key", "weight_hh")) for n in silent), silent


def test_a_deaf_attention_listens_to_itself():
    twin = deafen(module("hopfield", steps=3))
    twin(torch.randn(2, 5, 8))
    assert torch.equal(twin.attention, torch.eye(5).expand(2, 4, 5, 5))
