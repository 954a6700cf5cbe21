"""AUCrops: the local windows around the two centres of each action unit (paper section 3, Figures 2 and 4)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..facs import check_aus
from ..landmarks import NUM_LANDMARKS, au_centers


class AUCrops(nn.Module):
    """Cut two windows of ``size`` × ``size`` cells per action unit out of a feature map, centred on its centres.

    Source: paper section 3, "cropped according to the predicted facial landmark and the AU centers"; the number and
    size of the windows and how they are read are not stated (D7). The windows keep the spacing of the map (one cell)
    and are read bilinearly, so they follow the centres by fractions of a cell; outside the map they read zeros, as the
    convolutions do. No gradient flows into the landmarks (D7): they learn from their own loss only.

    Cells and pixels: cell j of a map of w cells covers w-ths of the image, so its middle lies at pixel
    (j + 0.5) · image_size / w − 0.5, and pixel p lies at cell (p + 0.5) · w / image_size − 0.5. Window cell k of
    ``size`` lies k − (size − 1) / 2 cells from the centre.

    Shape:
        features:   (B, C, h, w)
        landmarks:  (B, 49, 2), (x, y) pixels of the image the features come from, 0-based
        image_size: side of that image in pixels
        return:     (B, A, 2, C, size, size): the first window is left, the second right (AU 23, 24, 25: top, bottom)

    >>> AUCrops((1, 12, 25), size=4)(torch.zeros(2, 5, 22, 22), torch.zeros(2, 49, 2), 88).shape
    torch.Size([2, 3, 2, 5, 4, 4])
    """

    def __init__(self, aus, size: int = 8) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"a crop needs a size of at least 1 cell, got {size}")
        self.aus = check_aus(aus)
        self.size = size
        self.register_buffer("offsets", torch.arange(size) - (size - 1) / 2, persistent=False)

    def forward(self, features: Tensor, landmarks: Tensor, image_size: float) -> Tensor:
        b, c, h, w = features.shape
        if landmarks.shape != (b, NUM_LANDMARKS, 2):
            raise ValueError(f"landmarks must be ({b}, {NUM_LANDMARKS}, 2), got {tuple(landmarks.shape)}")
        # grid_sample counts from -1 (left edge of the first cell) to 1 (right edge of the last), whatever the map.
        centers = (2 * au_centers(landmarks.detach(), self.aus) + 1) / image_size - 1  # (B, A, 2, xy)
        offsets = self.offsets.to(centers.dtype)
        x = centers[..., 0, None, None] + offsets * (2 / w)  # (B, A, 2, 1, size)
        y = centers[..., 1, None, None] + offsets[:, None] * (2 / h)  # (B, A, 2, size, 1)
        grid = torch.stack(torch.broadcast_tensors(x, y), dim=-1)
        # All windows of a face stand below each other: one grid_sample for all faces and action units.
        grid = grid.reshape(b, -1, self.size, 2)
        # D35 zeros outside
        crops = F.grid_sample(features.to(grid.dtype), grid, padding_mode="zeros", align_corners=False)
        crops = crops.reshape(b, c, len(self.aus), 2, self.size, self.size)
        return crops.permute(0, 2, 3, 1, 4, 5).to(features.dtype)

    def extra_repr(self) -> str:
        return f"aus={self.aus}, size={self.size}"
