"""One table of another tool, row by row: which tool, which columns, which rows can be used.

The tools and their columns are listed in :mod:`lorral_lite.datasets.table`.
"""

import csv
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..facs import ACTION_UNITS, check_aus
from ..files import DataError
from ..landmarks import to_49
from .preparing import Skip

MESH_49 = (
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 1, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91,
    81, 13, 311, 402, 14, 178,
)  # fmt: skip
"""Vertex of MediaPipe's face mesh for each of the 49 points (D53): brows, eyes, lips and nose line of its own
connection lists. The mesh has no vertex exactly where the nose points of the 68-point scheme are marked."""


@dataclass(frozen=True)
class Kind:
    """How one tool names its columns. ``first`` is its number of the first frame, ``top`` its highest AU value."""

    name: str
    shown: str
    intensity: str
    first: int = 1
    top: float = 5.0
    threshold: float | None = None
    score: str | None = None


KINDS = {
    "openface": Kind("OpenFace", r"AU(\d+)_c", r"AU(\d+)_r", score="confidence"),
    "py-feat": Kind("py-feat", r"AU(\d+)", r"AU(\d+)", first=0, top=1.0, threshold=0.5, score="FaceScore"),
    "libreface": Kind("LibreFace", r"au_(\d+)", r"au_(\d+)_intensity", first=0),
    "own": Kind("own", r"AU(\d+)", r"AU(\d+)"),
}

FRAME_COLUMNS = ("frame", "frame_idx")
IMAGE_COLUMNS = ("image", "input", "path_to_frame", "input_image_path")


class Row(NamedTuple):
    """One usable row: ``image`` as the table writes it, or None when the frame number says it; (49, 2) points."""

    subject: str
    task: str
    frame: int
    image: str | None
    line: int
    points: np.ndarray
    labels: np.ndarray


@dataclass
class ToolTable:
    """What one table of another tool says. ``skips`` are the rows that cannot be used.

    relative: points are shares of the picture's width and height, not pixels.
    """

    path: Path
    kind: str
    aus: tuple[int, ...]
    rows: list[Row] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    relative: bool = False


def detect(header: list[str]) -> str | None:
    """The tool that wrote a header, a key of :data:`KINDS`; None when it is none of them."""
    names = set(header)
    if "confidence" in names and "x_67" in names:
        return "openface"
    if "FaceScore" in names or {"valence", "arousal"} <= names:
        return "py-feat"
    if any(re.fullmatch(KINDS["libreface"].shown, name) for name in header):
        return "libreface"
    if "image" in names and "x_48" in names:
        return "own"
    return None


def read_table(path, aus=None, threshold: float | None = None, confidence: float = 0.7, subject: str | None = None,
               subject_column: str = "subject") -> ToolTable:
    """Read one table. A file that cannot be used is a DataError; a row that cannot be used is in ``skips``.

    aus: which AUs; None takes all that the table has and :mod:`lorral_lite.facs` knows. threshold: an AU is shown from
    this value on (intensity 0–5; py-feat: probability 0–1). confidence: rows of OpenFace and py-feat below it are left
    out, as are those whose ``success`` is 0. subject: of all rows; else ``subject_column``, else the file's name.
    """
    path = Path(path)
    best: dict[tuple, tuple[float, Row]] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, skipinitialspace=True, strict=True)
            header = [name.strip() for name in next(lines, [])]
            reader = _RowReader(path, header, aus, threshold, confidence, subject, subject_column)
            table = ToolTable(path, reader.kind, reader.aus)
            for line, cells in enumerate(lines, start=2):
                if any(cell.strip() for cell in cells):
                    _add(table, reader, line, cells, best)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give the CSV that the tool wrote") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder; give the CSV files one by one") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file; give the CSV that the tool wrote") from None
    except csv.Error as error:
        raise DataError(f"{path}: not readable as CSV ({error}); give the CSV that the tool wrote") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    table.rows = [row for _, row in best.values()]
    table.relative = reader.mesh and all(np.abs(row.points).max() <= 2 for row in table.rows)
    return table


class _LeftOut(DataError):
    """A row that the reader's own options leave out."""


def _add(table: ToolTable, reader: "_RowReader", line: int, cells: list[str], best: dict) -> None:
    """Put one row among the usable ones (``best`` of each frame) or among the skipped."""
    try:
        score, row = reader.read(line, cells)
    except DataError as error:
        table.skips.append(Skip(table.path, line, str(error), isinstance(error, _LeftOut)))
        return
    key = row[:3] if table.kind == "own" else row[:4]  # py-feat numbers the frames of each picture anew
    other = best.get(key)
    if other and other[0] >= score:
        table.skips.append(Skip(table.path, line, f"the same frame as row {other[1].line}, which was kept"))
        return
    if other:
        table.skips.append(Skip(table.path, other[1].line, f"the same frame as row {line}, which was kept"))
    best[key] = (score, row)


class _RowReader:
    """Where everything stands in the rows under one ``header``, and what of it was asked for."""

    def __init__(self, path: Path, header: list[str], aus, threshold, confidence, subject, subject_column):
        self.kind = detect(header)
        if self.kind is None:
            raise DataError(f"{path}: not the header of OpenFace, py-feat, LibreFace or our own table (image, x_0 … "
                            "x_48, y_0 … y_48, AU1 …); keep the first line as the tool wrote it")
        twice = next((name for name in header if name and header.count(name) > 1), None)
        if twice:
            raise DataError(f"{path}: two columns are called {twice}; keep one")
        place = {name: k for k, name in enumerate(header)}
        self.tool = tool = KINDS[self.kind]
        found = {}
        for name, k in place.items():
            match = re.fullmatch(tool.shown if threshold is None else tool.intensity, name)
            if match and int(match[1]) in ACTION_UNITS:
                found[int(match[1])] = k
        self.aus = check_aus(sorted(found) if aus is None else aus)
        absent = [au for au in self.aus if au not in found]
        if absent or not self.aus:
            what = f"no column for AU {absent[0]}" if absent else "no column of an AU that we know"
            raise DataError(f"{path}: {what}; it has {', '.join(map(str, sorted(found))) or 'none'}")
        if subject is None and subject_column != "subject" and subject_column not in place:
            raise DataError(f"{path}: no column {subject_column}; name another one, or the person with --subject")
        self.width, self.stem = len(header), path.stem
        self.threshold = tool.threshold if threshold is None else threshold
        self.confidence, self.subject = confidence, subject
        self.au_columns = [found[au] for au in self.aus]
        self.point_columns, self.mesh = _points(path, place)
        self.frame_column = next((place[name] for name in FRAME_COLUMNS if name in place), None)
        self.image_column = next((place[name] for name in IMAGE_COLUMNS if name in place), None)
        if self.frame_column is None and self.image_column is None:
            raise DataError(f"{path}: neither a column for the frame nor one for the picture; add `frame` or `image`")
        self.score_column = place.get(tool.score)
        self.success_column = place.get("success") if self.kind == "openface" else None
        self.subject_column = place.get(subject_column)
        self.task_column = place.get("task") if self.kind == "own" else None

    def read(self, line: int, cells: list[str]) -> tuple[float, Row]:
        """(confidence, row); DataError says what is wrong with it."""
        if len(cells) != self.width:
            raise DataError(f"{len(cells)} cells, but the header has {self.width}")
        cells = [cell.strip() for cell in cells]
        score = 1.0
        if self.success_column is not None and _number(cells[self.success_column], "success") != 1:
            raise _LeftOut("success is not 1: no face was found")
        if self.score_column is not None:
            score = _number(cells[self.score_column], self.tool.score)
            if not score >= self.confidence:
                raise _LeftOut(f"{self.tool.score} {cells[self.score_column][:20]} is below {self.confidence:g}")
        points = np.array([_number(cells[k], "a landmark") for k in self.point_columns]).reshape(-1, 2)
        points = points if self.mesh else to_49(points)
        if not (np.abs(points) < 1e6).all():  # NaN too
            raise DataError("no landmarks")
        if not points.any():
            raise DataError("all landmarks are zero")
        image = cells[self.image_column] if self.image_column is not None else None
        frame = line - 2 + self.tool.first
        if self.frame_column is not None:
            frame = _number(cells[self.frame_column], "the frame")
            if not (math.isfinite(frame) and frame == int(frame) and 0 <= frame < 1e9):
                raise DataError(f"frame {cells[self.frame_column][:20]!r} is no whole number")
        labels = [self._label(cells[k], au) for k, au in zip(self.au_columns, self.aus, strict=True)]
        who = self.subject or (cells[self.subject_column] if self.subject_column is not None else self.stem)
        task = cells[self.task_column] if self.task_column is not None else self.stem
        if not who:
            raise DataError("no subject")
        return score, Row(who, task, int(frame), image, line, points.astype(np.float32), np.array(labels, np.int8))

    def _label(self, cell: str, au: int) -> int:
        """1, 0 or −1 of a cell; DataError when it holds none of the values that the tool writes."""
        value = _number(cell, f"AU {au}")
        if math.isnan(value) or value in (9, -1):
            return -1
        if self.threshold is None:
            if value not in (0, 1):
                raise DataError(f"AU {au} is {cell[:20]}: 0, 1 or 9 (unknown) can be read, or name a --threshold")
            return int(value)
        if not 0 <= value <= self.tool.top:
            raise DataError(f"AU {au} is {cell[:20]}, outside 0 to {self.tool.top:g}")
        return int(value >= self.threshold)


def _points(path: Path, place: dict[str, int]) -> tuple[list[int], bool]:
    """Columns of x and y of 68, 49 or mesh points, in turn, and whether they are of the mesh."""
    for count in (68, 49):
        names = [f"{axis}_{k}" for k in range(count) for axis in "xy"]
        if f"x_{count - 1}" in place:
            absent = next((name for name in names if name not in place), None)
            if absent:
                raise DataError(f"{path}: no column {absent}; all {count} landmarks are needed")
            return [place[name] for name in names], False
    for pattern in ("lm_mp_{}_{}", "mesh_{1}_{0}"):
        names = [pattern.format(k, axis) for k in MESH_49 for axis in "xy"]
        if all(name in place for name in names):
            return [place[name] for name in names], True
    raise DataError(f"{path}: no landmarks (x_0 … x_67, x_0 … x_48 or a face mesh); write the table again with them")


def _number(cell: str, what: str) -> float:
    if cell.lower() in ("", "nan"):
        return math.nan
    try:
        return float(cell)
    except ValueError:
        raise DataError(f"{what} is {cell[:20]!r}, not a number") from None
