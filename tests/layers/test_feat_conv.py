"""FeatConv against scalar loops and against separate blocks."""

import pytest
import torch
from torch.testing import assert_close

from lorral_lite import FeatConv


def convolve(x, weight, bias):
    """3×3 cross-correlation with a border of zeros, one number at a time."""
    (b, c_in, h, w), c_out = x.shape, len(weight)
    out = torch.zeros(b, c_out, h, w, dtype=x.dtype)
    for n in range(b):
        for o in range(c_out):
            for y in range(h):
                for z in range(w):
                    total = float(bias[o])
                    for i in range(c_in):
                        for dy in range(-1, 2):
                            for dz in range(-1, 2):
                                if 0 <= y + dy < h and 0 <= z + dz < w:
                                    total += float(x[n, i, y + dy, z + dz] * weight[o, i, dy + 1, dz + 1])
                    out[n, o, y, z] = total
    return out


def norm_act(x, norm, slope):
    """BatchNorm with the statistics of this batch, then PReLU."""
    out = torch.zeros_like(x)
    for c in range(x.shape[1]):
        values = [float(v) for v in x[:, c].flatten()]
        mean = sum(values) / len(values)
        var = sum((v - mean) ** 2 for v in values) / len(values)
        z = (x[:, c] - mean) / (var + norm.eps) ** 0.5 * norm.weight[c] + norm.bias[c]
        out[:, c] = torch.where(z > 0, z, slope[c] * z)
    return out


def by_the_definition(block, x):
    for conv, norm, act in ((block.conv1, block.norm1, block.act1), (block.conv2, block.norm2, block.act2)):
        x = norm_act(convolve(x, conv.weight, conv.bias), norm, act.weight)
    b, c, h, w = x.shape
    out = torch.zeros(b, c, h // 2, w // 2, dtype=x.dtype)
    for y in range(h // 2):
        for z in range(w // 2):
            out[:, :, y, z] = x[:, :, 2 * y : 2 * y + 2, 2 * z : 2 * z + 2].amax((-2, -1))
    return out


def random_block(*args, **options) -> FeatConv:
    torch.manual_seed(2)
    block = FeatConv(*args, **options).double()
    with torch.no_grad():
        for value in block.parameters():
            value.normal_()
    return block


@torch.no_grad()
def test_matches_literal_loops():
    block, x = random_block(2, 3), torch.randn(2, 2, 5, 6, dtype=torch.float64)
    assert_close(block(x), by_the_definition(block, x), rtol=1e-10, atol=1e-10)


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


def test_shape_and_dtype():
    result = FeatConv(3, 4)(torch.zeros(2, 3, 11, 8))
    assert result.shape == (2, 4, 5, 4)
    assert result.dtype == torch.float32


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match="channels 6 and 8 must be multiples of the 3 groups"):
        FeatConv(6, 8, groups=3)
