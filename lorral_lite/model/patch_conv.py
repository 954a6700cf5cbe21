"""PatchConv: one convolution for the whole map, then each part of a grid learns its own (paper section 3, Figure 3)."""

import torch
from torch import Tensor, nn


class PatchConv(nn.Module):
    """Conv2d on the whole map, then an own BatchNorm, PReLU and Conv2d for each part of a grid×grid partition.

    An aligned face has its brows and its mouth always in the same parts, so each part may learn its own filters.

    Source: paper section 3 and Figure 3; the grid, the 3×3 kernels and the widths are not stated there (D4). Nor is
    what ``identity`` and ``halo`` decide. ``identity``: the map is added to what the parts make of it, as in the region
    layer that the paper cites. ``halo``: at its seams a part's second convolution sees one pixel of its neighbours,
    treated as its own; without it, it sees zeros and nothing of them.

    All parts are computed at once: *folding* lays the parts side by side on the channel axis, where one BatchNorm, one
    PReLU with a slope per channel and one convolution with ``groups = grid * grid`` treat each part on its own. Part
    (row r, column c) is group ``r * grid + c``.

    Shape: (B, in_channels, H, W) → (B, out_channels, H, W), H and W divisible by ``grid``; the result is laid out
    channels-last, whatever the input was.

    >>> PatchConv(3, 16, grid=4)(torch.zeros(2, 3, 24, 32)).shape
    torch.Size([2, 16, 24, 32])
    """

    def __init__(self, in_channels: int, out_channels: int, grid: int = 8, identity: bool = False,
                 halo: bool = False) -> None:
        super().__init__()
        if min(in_channels, out_channels, grid) < 1:
            raise ValueError(f"channels and grid must be at least 1, got {in_channels}, {out_channels} and {grid}")
        self.grid, self.identity, self.halo = grid, identity, halo
        folded = grid * grid * out_channels
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.part_norm = nn.BatchNorm2d(folded)
        self.part_act = nn.PReLU(folded)
        self.part_conv = nn.Conv2d(folded, folded, 3, padding=0 if halo else 1, groups=grid * grid)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2] % self.grid or x.shape[-1] % self.grid:
            near = [max(self.grid, round(n / self.grid) * self.grid) for n in x.shape[-2:]]
            raise ValueError(
                f"a map of {x.shape[-2]}×{x.shape[-1]} cannot be cut into {self.grid}×{self.grid} equal parts: height "
                f"and width must be multiples of {self.grid}, the nearest is {near[0]}×{near[1]}"
            )
        x = self.conv(x.contiguous(memory_format=torch.channels_last))
        parts = fold_with_halo(x, self.grid) if self.halo else fold(x, self.grid)
        parts = self.part_conv(self.part_act(self.part_norm(parts)))
        return x + unfold(parts, self.grid) if self.identity else unfold(parts, self.grid)

    def extra_repr(self) -> str:
        return f"grid={self.grid}" + ", identity" * self.identity + ", halo" * self.halo


def fold(x: Tensor, grid: int) -> Tensor:
    """(B, C, H, W) → (B, grid·grid·C, H/grid, W/grid), the parts row by row on the channel axis.

    Both directions, and their gradients, write channels-last memory: one copy of runs of C numbers, and the layout in
    which CPUs convolve groups fastest.
    """
    b, c, h, w = x.shape
    parts = x.permute(0, 2, 3, 1).reshape(b, grid, h // grid, grid, w // grid, c)  # B, row, y, column, x, C
    parts = parts.permute(0, 2, 4, 1, 3, 5).reshape(b, h // grid, w // grid, grid * grid * c)
    return parts.permute(0, 3, 1, 2)


def fold_with_halo(x: Tensor, grid: int) -> Tensor:
    """:func:`fold` of parts that are two pixels larger: (B, C, H, W) → (B, grid·grid·C, H/grid + 2, W/grid + 2).

    A part's rim holds the neighbours' pixels, and zeros outside the map.
    """
    c, h, w = x.shape[1], x.shape[-2] // grid, x.shape[-1] // grid
    x = nn.functional.pad(x, (1, 1, 1, 1))
    parts = x.unfold(2, h + 2, h).unfold(3, w + 2, w)  # B, C, row, column, y, x
    parts = parts.permute(0, 4, 5, 2, 3, 1).reshape(len(x), h + 2, w + 2, grid * grid * c)
    return parts.permute(0, 3, 1, 2)


def unfold(parts: Tensor, grid: int) -> Tensor:
    """The inverse of :func:`fold`."""
    b, c, h, w = parts.shape
    x = parts.permute(0, 2, 3, 1).reshape(b, h, w, grid, grid, c // grid**2)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(b, grid * h, grid * w, c // grid**2).permute(0, 3, 1, 2)
