"""FeatConv against its definition and against separate blocks."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lorral_lite import FeatConv


def random_block(*args, **options) -> FeatConv:
    torch.manual_seed(2)
    block = FeatConv(*args, **options).double()
    with torch.no_grad():
        for value in block.parameters():
            value.normal_()
    return block


@torch.no_grad()
def test_it_is_convolution_batchnorm_and_prelu_twice_then_a_maximum():
    block = random_block(2, 3)
    x = expected = torch.randn(2, 2, 5, 6, dtype=torch.float64)
    for conv, norm, act in ((block.conv1, block.norm1, block.act1), (block.conv2, block.norm2, block.act2)):
        expected = F.conv2d(expected, conv.weight, conv.bias, padding=1)
        expected = F.batch_norm(expected, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
        expected = F.prelu(expected, act.weight)
    assert_close(block(x), F.max_pool2d(expected, 2), rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_groups_are_separate_blocks_side_by_side():
    block, x = random_block(6, 9, groups=3), torch.randn(2, 6, 4, 6, dtype=torch.float64)
    for g in range(3):
        alone = FeatConv(2, 3).double()
        rows = slice(3 * g, 3 * g + 3)
        alone.load_state_dict({k: v[rows] if v.ndim else v for k, v in block.state_dict().items()})
        assert_close(block(x)[:, rows], alone(x[:, 2 * g : 2 * g + 2]), rtol=1e-10, atol=1e-10)


def test_gradcheck():
    x = torch.randn(2, 1, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(random_block(1, 2), x)


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match="channels 6 and 8 must be multiples of the 3 groups"):
        FeatConv(6, 8, groups=3)
