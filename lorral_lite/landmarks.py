"""The 49 facial landmarks: their scheme, mirroring, the ruler, AU centres and the similarity alignment.

Points are (x, y) pixels, x to the right, y down, 0-based: (0, 0) is the middle of the top left pixel. "Left" is the
left of the image. The scheme, 0-based: 0–4 left brow (outer to inner), 5–9 right brow (inner to outer), 10–13 nose
bridge (13 the tip), 14–18 nose base, 19–24 left eye (19 outer corner, 20–21 upper lid, 22 inner corner, 23–24 lower
lid), 25–30 right eye (25 inner corner, 26–27 upper lid, 28 outer corner, 29–30 lower lid), 31–42 outer lip (31, 37
corners, 34 top middle, 40 bottom middle), 43–45 inner upper lip, 46–48 inner lower lip.
"""

from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from .facs import ACTION_UNITS, check_aus

NUM_LANDMARKS = 49

FROM_68 = [i for i in range(68) if i > 16 and i not in (60, 64)]
"""Rows of a 68-point face (iBUG) that are the 49 points: no jaw, no inner mouth corners."""

FROM_66 = list(range(17, 66))  # D25 49 landmarks
"""Rows of a 66-point face (DISFA) that are the 49 points: no jaw."""

MIRROR = (
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 10, 11, 12, 13, 18, 17, 16, 15, 14]
    + [28, 27, 26, 25, 30, 29, 22, 21, 20, 19, 24, 23]
    + [37, 36, 35, 34, 33, 32, 31, 42, 41, 40, 39, 38, 45, 44, 43, 48, 47, 46]
)
"""Point i of a mirrored face is point MIRROR[i] of the face."""

LINES = {
    "left brow": list(range(0, 5)), "right brow": list(range(5, 10)),
    "nose bridge": list(range(10, 14)), "nose base": list(range(14, 19)),
    "left eye": [*range(19, 25), 19], "right eye": [*range(25, 31), 25],
    "outer lip": [*range(31, 43), 31], "inner lip": [31, 43, 44, 45, 37, 46, 47, 48, 31],
}
"""Polylines to draw a face from its landmarks."""

BORDER_GREY = 128
BOX_SCALE = 2.9
FARTHEST = 100
"""No landmark of an aligned face is more than so many times its size away: such points are no face."""


def to_49(points):
    """(…, 68, 2) or (…, 66, 2) or (…, 49, 2) → (…, 49, 2); any other number of points is a ValueError."""
    rows = {68: FROM_68, 66: FROM_66, 49: list(range(49))}.get(points.shape[-2])
    if rows is None:
        raise ValueError(f"a face of {points.shape[-2]} landmarks: 49, 66 or 68 can be read")
    return points[..., rows, :]


def mirror_landmarks(points, width: float):
    """Landmarks (…, 49, 2) of the face mirrored left to right in an image ``width`` pixels wide."""
    mirrored = points[..., MIRROR, :]
    x = (width - 1) - mirrored[..., 0]
    if isinstance(points, torch.Tensor):
        return torch.stack([x, mirrored[..., 1]], dim=-1)
    return np.stack([x, mirrored[..., 1]], axis=-1)


def ruler(points):
    """The face's own unit of length: horizontal distance of the inner eye corners, (…, 49, 2) → (…), in pixels."""
    return abs(points[..., 22, 0] - points[..., 25, 0])


def interocular(points):
    """Distance of the two eye centres (means of their six points), (…, 49, 2) → (…), in pixels."""
    gap = points[..., 19:25, :].mean(-2) - points[..., 25:31, :].mean(-2)
    return (gap[..., 0] ** 2 + gap[..., 1] ** 2) ** 0.5


def au_centers(landmarks, aus):
    """The two centres of each AU (paper Figure 4), for a face whose eyes are horizontal.

    Shape: (…, 49, 2) NumPy array or tensor, A action units → (…, A, 2, 2): AU, side, (x, y), in the unit of the
    input. The sides are left and right; for AU 23, 24 and 25 they are the top and the bottom of the lips.
    Each centre is a landmark moved down by a share of the ruler; the rules are in :mod:`lorral_lite.facs`.
    """
    aus = check_aus(aus)
    if isinstance(landmarks, torch.Tensor):
        rows, shift = _center_rules(aus, landmarks.dtype, landmarks.device)
        points = landmarks[..., rows, :]  # (…, A, 2, 2)
        down = shift * ruler(landmarks)[..., None]
        return torch.stack([points[..., 0], points[..., 1] + down[..., None]], dim=-1)
    points = landmarks[..., np.array([ACTION_UNITS[a].points for a in aus], dtype=int).reshape(-1, 2), :]
    down = np.array([ACTION_UNITS[a].shift for a in aus], dtype=landmarks.dtype) * ruler(landmarks)[..., None]
    return np.stack([points[..., 0], points[..., 1] + down[..., None]], axis=-1)


@lru_cache
def _center_rules(aus: tuple[int, ...], dtype: torch.dtype, device: torch.device):
    """Landmarks (A, 2) of the AU centres and their shifts (A,), kept on the device: a GPU then waits for no host."""
    with torch.inference_mode(False):  # what is kept must also serve a later training step
        rows = torch.tensor([ACTION_UNITS[a].points for a in aus], dtype=torch.long, device=device).reshape(-1, 2)
        return rows, torch.tensor([ACTION_UNITS[a].shift for a in aus], dtype=dtype, device=device)


def alignment(landmarks: np.ndarray, size: int = 200) -> np.ndarray:
    """The similarity transform that aligns a face, as a (2, 3) matrix from source pixels to aligned pixels.

    The eye centres become horizontal; the box of five points (eye centres, nose tip 13, mouth corners 31 and 37) is
    centred; half the aligned square is 1.45 times the longer side of that box. Source: the public preprocessing of
    JAA-Net, which the paper's 200×200 faces follow (D2). ValueError when the five points span no area.
    """
    p = np.asarray(landmarks, dtype=np.float64)
    if p.shape != (NUM_LANDMARKS, 2) or not np.isfinite(p).all():
        raise ValueError(f"landmarks must be finite and of shape (49, 2), got shape {p.shape}")
    left, right = p[19:25].mean(0), p[25:31].mean(0)
    dx, dy = right - left
    length = np.hypot(dx, dy)
    if length < 1e-6:
        raise ValueError("the two eye centres coincide: these landmarks are no face")
    rotation = np.array([[dx, dy], [-dy, dx]]) / length
    five = np.stack([left, right, p[13], p[31], p[37]]) @ rotation.T
    low, high = five.min(0), five.max(0)
    half = 0.5 * BOX_SCALE * (high - low).max()
    scale = (size - 1) / 2 / half
    centre = (low + high) / 2
    return np.concatenate([scale * rotation, (scale * (half - centre))[:, None]], axis=1)


def transform(landmarks: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Landmarks (…, 2) carried through a (2, 3) matrix, in their own dtype."""
    return (landmarks @ matrix[:, :2].T + matrix[:, 2]).astype(landmarks.dtype)


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) uint8 → (size, size, 3) uint8 through a (2, 3) source-to-target matrix: bilinear, grey border."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    inverse[:, 2] += 0.5 - 0.5 * inverse[:, :2].sum(1)  # Pillow counts pixel corners, we count pixel centres
    grey = (BORDER_GREY,) * 3
    source = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(
        source.transform((size, size), Image.Transform.AFFINE, inverse.ravel(), Image.Resampling.BILINEAR,
                         fillcolor=grey)
    )


def align_face(image: np.ndarray, landmarks: np.ndarray, size: int = 200):
    """(H, W, 3) uint8 image and 0-based (49, 2) landmarks → (aligned image, aligned landmarks).

    See :func:`alignment`. The image comes back as (size, size, 3) uint8, the landmarks as (49, 2) in its pixels.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
    matrix = alignment(landmarks, size)
    aligned = transform(np.asarray(landmarks, dtype=np.float32), matrix)
    if np.abs(aligned).max() > FARTHEST * size:
        raise ValueError("a landmark is far away from the others: these landmarks are no face")
    return warp(image, matrix, size), aligned
