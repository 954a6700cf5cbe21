"""PatchConv against the loop of per-part modules that it replaces, and its parts against each other."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lorral_lite import PatchConv
from lorral_lite.model.patch_conv import fold, unfold


class LoopPatchConv(nn.Module):
    """The definition: for each part its own nn modules, applied one after the other and concatenated."""

    def __init__(self, folded: PatchConv, in_channels: int, width: int) -> None:
        super().__init__()
        self.grid, self.identity, self.halo = folded.grid, folded.identity, folded.halo
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)
        self.parts = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(width), nn.PReLU(width), nn.Conv2d(width, width, 3, padding=1 - self.halo))
            for _ in range(self.grid**2)
        )
        self.conv.load_state_dict(folded.conv.state_dict())
        for p, (norm, act, conv) in enumerate(self.parts):
            rows = slice(p * width, (p + 1) * width)
            for mine, theirs in ((norm, folded.part_norm), (act, folded.part_act), (conv, folded.part_conv)):
                state = theirs.state_dict()
                mine.load_state_dict({k: v[rows] if v.ndim else v for k, v in state.items()})

    def forward(self, x):
        x = self.conv(x)
        h, w = x.shape[-2] // self.grid, x.shape[-1] // self.grid
        rim = 2 * self.halo
        wide = nn.functional.pad(x, [int(self.halo)] * 4)
        rows = []
        for r in range(self.grid):
            row = []
            for c in range(self.grid):
                part = wide[:, :, r * h : (r + 1) * h + rim, c * w : (c + 1) * w + rim]
                row.append(self.parts[r * self.grid + c](part))
            rows.append(torch.cat(row, dim=3))
        return torch.cat(rows, dim=2) + (x if self.identity else 0)


def random_patch_conv(in_channels=3, out_channels=5, grid=4, **reading) -> PatchConv:
    """Every part with other numbers, as after training."""
    torch.manual_seed(1)
    layer = PatchConv(in_channels, out_channels, grid, **reading)
    with torch.no_grad():
        for value in (*layer.parameters(), layer.part_norm.running_mean):
            value.normal_()
        layer.part_norm.running_var.uniform_(0.5, 2)
    return layer


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("reading", [{}, {"identity": True}, {"halo": True}, {"identity": True, "halo": True}])
def test_folded_patch_conv_equals_loop_of_per_part_modules(training, memory_format, reading):
    layer = random_patch_conv(**reading).train(training)
    loop = LoopPatchConv(layer, 3, 5).train(training)
    x = torch.randn(2, 3, 12, 20).to(memory_format=memory_format)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    result, expected = layer(ours), loop(theirs)
    assert_close(result, expected, atol=1e-5, rtol=1e-5)
    direction = torch.randn_like(expected)
    result.backward(direction)
    expected.backward(direction)
    assert_close(ours.grad, theirs.grad, atol=1e-4, rtol=1e-4)
    for i, mine in enumerate((layer.part_norm, layer.part_act, layer.part_conv)):
        for name, value in mine.named_parameters():
            parts = torch.cat([getattr(part[i], name).grad for part in loop.parts])
            assert_close(value.grad, parts, atol=1e-3, rtol=1e-4)
    assert_close(layer.conv.weight.grad, loop.conv.weight.grad, atol=1e-3, rtol=1e-4)
    means = torch.cat([part[0].running_mean for part in loop.parts])
    assert_close(layer.part_norm.running_mean, means, atol=1e-6, rtol=1e-5)


def test_fold_lays_parts_row_by_row_and_unfold_inverts_it():
    x = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    parts = fold(x, 2)
    assert parts.shape == (2, 12, 2, 3)
    assert_close(parts[:, 3:6], x[:, :, :2, 3:])  # part 1: first row, second column
    assert_close(parts[:, 6:9], x[:, :, 2:, :3])
    assert_close(unfold(parts, 2), x)


def test_sizes_that_do_not_divide_are_refused_with_sizes_that_do():
    with pytest.raises(ValueError, match=r"a map of 44×45 cannot be cut into 8×8 equal parts.*multiples of 8.*48×48"):
        PatchConv(3, 4, grid=8)(torch.zeros(1, 3, 44, 45))
    for height, width in ((48, 45), (45, 48)):
        with pytest.raises(ValueError, match=rf"a map of {height}×{width} cannot be cut .* the nearest is 48×48"):
            PatchConv(3, 4, grid=8)(torch.zeros(1, 3, height, width))
    with pytest.raises(ValueError, match="at least 1, got 3, 4 and 0"):
        PatchConv(3, 4, grid=0)
