"""What may be drawn of licensed faces: their landmarks, and the pictures only when somebody asks for them."""

import numpy as np
from PIL import Image, ImageDraw

from ..landmarks import LINES
from ..pictures import read_picture, size_of
from .prepared import PreparedFolder

PAPER, INK = (238, 238, 234), (20, 70, 120)
FINER = 4  # lines are drawn this many times larger and reduced, so that they are smooth


def shown_faces(folder: PreparedFolder, rows, show_licensed_faces: bool = False) -> np.ndarray:
    """Pictures (N, S, S, 3) uint8 of some rows, for figures and notebooks.

    Frames of a folder whose meta.json says ``licensed`` are never among them unless ``show_licensed_faces``: each is
    replaced by a line drawing of its 49 landmarks. A folder that does not say counts as licensed.
    """
    rows = np.atleast_1d(rows)
    if show_licensed_faces or folder.meta.get("licensed", True) is False:
        return np.asarray(folder.images[rows])
    return np.stack([drawn_face(folder.landmarks[row], folder.size) for row in rows])


def shown_pictures(paths, landmarks, show_licensed_faces: bool = False) -> list[np.ndarray]:
    """Pictures of a licensed data set as it was distributed, (H, W, 3) uint8 each, or drawings of their size.

    ``landmarks``: (49, 2) pixels of each, counted from 0.
    """
    found = []
    for path, points in zip(paths, landmarks, strict=True):
        found.append(read_picture(path)[0] if show_licensed_faces else drawn_face(points, *size_of(path)))
    return found


def drawn_face(landmarks: np.ndarray, width: int, height: int | None = None) -> np.ndarray:
    """(49, 2) landmarks in pixels of a picture → (height, width, 3) uint8 line drawing; square unless named."""
    height = width if height is None else height
    finer = FINER if width <= 512 else 1
    page = Image.new("RGB", (width * finer, height * finer), PAPER)
    pen = ImageDraw.Draw(page)
    points = (np.asarray(landmarks, float) + 0.5) * finer
    for line in LINES.values():
        pen.line([tuple(points[k]) for k in line], fill=INK, width=max(finer, width * finer // 90), joint="curve")
    return np.asarray(page.resize((width, height), Image.Resampling.BOX))
