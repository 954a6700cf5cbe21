"""Which faces are licensed, and what may be drawn of them: their landmarks, and pictures only when somebody asks.

Faces are licensed when anything says so, now or from before, or nothing says that they are not: that decides what
figures show, which folders are private, and which weights are published.
"""

from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..files import DataError, read_json
from ..landmarks import LINES
from ..pictures import STORED, look_at, read_picture
from .prepared import PreparedFolder
from .writing import is_marked, keep_private

PAPER, INK = (238, 238, 234), (20, 70, 120)
FINER = 4  # lines are drawn this many times larger and reduced, so that they are smooth


def is_licensed(folder: PreparedFolder) -> bool:
    """Whether the faces of a prepared folder are licensed, or were: its meta.json, or the mark of a private folder."""
    return folder.meta.get("licensed", True) is not False or is_marked(folder.path)


WITNESSES = ("step1_metrics.json", "*/metrics.json", "baselines/*/metrics.json", "data.json")
"""Files of a run folder that say whether its faces are licensed."""


def licensed_by(run) -> str:
    """The file that says that a run's faces are licensed, or were; an empty text when none does.

    Asked are all metrics and the record of the faces in the run folder, its mark as a private folder, and the prepared
    folder where the run looks for its faces, as it is now. (Reports only repeat what these said when they were made.)
    """
    run = Path(run)
    for path in sorted(path for name in WITNESSES for path in run.glob(name)):
        said = _json(path)
        about = said.get("data") if path.name.endswith("metrics.json") else said
        if said and (not isinstance(about, dict) or about.get("licensed", True) is not False):
            return path.relative_to(run).as_posix()
    if is_marked(run):
        return ".gitignore"
    data = Path(str(_json(run / "config.json").get("data") or "nowhere")).expanduser()
    for folder in (run / data, data):  # seen from the run or, in older ones, from the current folder
        meta = _json(folder / "meta.json")
        if (meta and meta.get("licensed", True) is not False) or is_marked(folder):
            return str(folder)
    return ""


def _json(path: Path) -> dict:
    """What a JSON file says; nothing when it is none: whoever needs it says so."""
    try:
        said = read_json(path)
    except DataError:
        return {}
    return said if isinstance(said, dict) else {}


def protect(run, folder: PreparedFolder) -> None:
    """Keep a run folder private when the faces that it comes from are licensed, and their own folder where it is ours:
    older versions left it open."""
    if is_licensed(folder):
        keep_private(Path(run))
        with suppress(DataError):
            keep_private(folder.path)


def shown_faces(folder: PreparedFolder, rows, show_licensed_faces: bool = False) -> np.ndarray:
    """Pictures (N, S, S, 3) uint8 of some rows, for figures and notebooks.

    Frames of a licensed folder (:func:`is_licensed`) are never among them unless ``show_licensed_faces``: each is
    replaced by a line drawing of its 49 landmarks.
    """
    rows = np.atleast_1d(rows)
    if show_licensed_faces or not is_licensed(folder):
        return np.asarray(folder.images[rows])
    return np.stack([drawn_face(folder.landmarks[row], folder.size) for row in rows])


def shown_pictures(paths, landmarks, show_licensed_faces: bool = False) -> list[np.ndarray]:
    """Pictures of a licensed data set as it was distributed, (H, W, 3) uint8 each, or drawings of their size.

    ``landmarks``: (49, 2) pixels of each, counted from 0.
    """
    found = []
    for path, points in zip(paths, landmarks, strict=True):
        size = look_at(path).size(STORED)
        found.append(read_picture(path, STORED)[0] if show_licensed_faces else drawn_face(points, *size))
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
