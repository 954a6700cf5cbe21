"""What may be drawn of a prepared folder: its frames, or for licensed faces their landmarks alone."""

import numpy as np
from PIL import Image, ImageDraw

from ..landmarks import LINES
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


def drawn_face(landmarks: np.ndarray, size: int) -> np.ndarray:
    """(49, 2) landmarks in pixels of a picture of ``size`` → (size, size, 3) uint8 line drawing."""
    page = Image.new("RGB", (size * FINER, size * FINER), PAPER)
    pen = ImageDraw.Draw(page)
    points = (np.asarray(landmarks, float) + 0.5) * FINER
    for line in LINES.values():
        pen.line([tuple(points[k]) for k in line], fill=INK, width=max(FINER, size * FINER // 90), joint="curve")
    return np.asarray(page.resize((size, size), Image.Resampling.BOX))
