"""FeatConv: the block from which the global, landmark and local features are stacked (paper section 3, Figure 3a)."""

from torch import Tensor, nn


class FeatConv(nn.Module):
    """Twice (Conv2d 3×3, BatchNorm, PReLU), then a 2×2 max-pooling: half the height and width.

    Source: paper section 3 and Figure 3a, which give no widths (D5). With ``groups`` the block is that many separate
    blocks side by side on the channel axis, one per action unit, still one call per convolution (D8). Channel counts
    are totals, as in ``nn.Conv2d``: multiples of ``groups``.

    Shape: (B, in_channels, H, W) → (B, out_channels, H // 2, W // 2)

    >>> import torch
    >>> FeatConv(8, 12)(torch.zeros(2, 8, 10, 6)).shape
    torch.Size([2, 12, 5, 3])
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int = 1) -> None:
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"channels {in_channels} and {out_channels} must be multiples of the {groups} groups")
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, groups=groups)
        self.norm1, self.act1 = nn.BatchNorm2d(out_channels), nn.PReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=groups)
        self.norm2, self.act2 = nn.BatchNorm2d(out_channels), nn.PReLU(out_channels)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.norm1(self.conv1(x)))
        x = self.act2(self.norm2(self.conv2(x)))
        return self.pool(x)
