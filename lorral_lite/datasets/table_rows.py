"""One table of another tool, row by row: which tool, which columns, which rows can be used.

The tools and their columns are listed in :mod:`lorral_lite.datasets.table`.
"""

import csv
import math
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..facs import ACTION_UNITS, check_aus
from ..files import LONGEST_LINE, DataError, short_lines
from ..landmarks import interocular, to_49
from ..pictures import STORED, UPRIGHT
from .people import person_key
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
    """How one tool names its columns. ``first`` is its number of the first frame, ``top`` its highest AU value.

    sees_pictures, sees_videos: "upright" or "stored", how it sees those that are stored turned, where all its versions
    do the same.
    """

    name: str
    shown: str
    intensity: str
    first: int = 1
    top: float = 5.0
    threshold: float | None = None
    score: str | None = None
    sees_pictures: str | None = None
    sees_videos: str | None = None


KINDS = {
    "openface": Kind("OpenFace", r"AU(\d{1,3})_c", r"AU(\d{1,3})_r", score="confidence", sees_pictures=UPRIGHT),
    "py-feat": Kind("py-feat", r"AU(\d{1,3})", r"AU(\d{1,3})", first=0, top=1.0, threshold=0.5, score="FaceScore",
                    sees_pictures=STORED),
    "libreface": Kind("LibreFace", r"au_(\d{1,3})", r"au_(\d{1,3})_intensity", first=0, sees_pictures=UPRIGHT,
                      sees_videos=UPRIGHT),
    "own": Kind("own", r"AU(\d{1,3})", r"AU(\d{1,3})"),
}

FRAME_COLUMNS = ("frame", "frame_idx")
IMAGE_COLUMNS = ("image", "input", "path_to_frame", "input_image_path")
SUBJECT_COLUMNS = ("subject", "subject_id", "participant", "participant_id", "person", "person_id")
"""Who it is, in capitals or small letters."""
FACE_COLUMNS = ("face_id", "face", "identity")
"""How OpenFace and py-feat number the faces of one table; in the next table they begin anew."""
VIDEO_COLUMNS = ("timestamp", "success", "frame_time_in_ms")
"""A table with neither these nor a frame is about one picture."""
NOBODY = ("", "nan", "NaN", "None", "NULL", "null", "N/A", "#N/A")
"""What tools write where they know no name."""


class Row(NamedTuple):
    """One usable row: ``image`` as the table writes it, or None when the frame number says it; (49, 2) points; ``face``
    as the tool numbers it; ``frame_size``: width and height of the picture that the tool saw, where it says them."""

    subject: str
    task: str
    frame: int
    image: str | None
    line: int
    points: np.ndarray
    labels: np.ndarray
    face: str = ""
    frame_size: tuple[int, int] | None = None


@dataclass
class ToolTable:
    """What one table of another tool says. ``skips`` are the rows that cannot be used.

    relative: points are shares of the picture's width and height, not pixels. still: it is about one picture, which has
    its name. by_name: no column and no option says who the person is, so the table's name does. last: the highest frame
    in any row, usable or not. rate: frames a second as the times of the frames say; 0 when no frame has a time, None
    when nothing says it. note: what the reader should know of the values.
    """

    path: Path
    kind: str
    aus: tuple[int, ...]
    rows: list[Row] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    relative: bool = False
    still: bool = False
    by_name: bool = False
    last: int = 0
    rate: float | None = None
    note: str | None = None


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

    Several faces in a frame are never one person. Those that the tool numbers and shows side by side are people of
    their own, ``<table>_<number>``; anything less clear is a DataError that asks.
    """
    path = Path(path)
    found: list[tuple[float, Row]] = []
    if path.exists() and not path.is_file() and not path.is_dir():
        raise DataError(f"{path}: it is no file; give the CSV that the tool wrote")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(short_lines(file), skipinitialspace=True, strict=True)
            header = [name.strip() for name in next(lines, [])]
            reader = _RowReader(path, header, aus, threshold, confidence, subject, subject_column)
            table = ToolTable(path, reader.kind, reader.aus, still=reader.still, by_name=reader.by_name)
            for line, cells in enumerate(lines, start=2):
                if any(cell.strip() for cell in cells):
                    try:
                        found.append(reader.read(line, cells))
                    except DataError as error:
                        table.skips.append(Skip(path, line, str(error), isinstance(error, _LeftOut)))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give the CSV that the tool wrote") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder; give the CSV files one by one") from None
    except UnicodeDecodeError:
        row = _not_utf8(path)
        raise DataError(f"{path}: not a text file in UTF-8 (row {row}); save the table as “CSV UTF-8”") from None
    except csv.Error as error:
        why = _separated(path) or f"not readable as CSV ({error}); give the CSV that the tool wrote"
        raise DataError(f"{path}: {why}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    reader.check_subject()
    table.rows = _one_face_each(table, _people_of(reader, found))
    table.relative = reader.mesh and all(np.abs(row.points).max() <= 2 for row in table.rows)
    table.last, table.rate = reader.last, reader.rate()
    if reader.highest is not None and reader.highest < reader.threshold:
        table.note = (f"{path}: no AU is ever shown: the highest value is {reader.highest:g}, below the threshold of "
                      f"{reader.threshold:g}")
    return table


class _LeftOut(DataError):
    """A row that the reader's own options leave out."""


def _people_of(reader: "_RowReader", found: list[tuple[float, Row]]) -> list[tuple[float, Row]]:
    """The rows again: faces that a column numbers, in a table whose name says who, are people of their own.

    They are when every two of them share a frame and none jumps to where another one was: OpenFace's numbers may go
    from person to person when tracking fails. Else a DataError asks.
    """
    if not reader.by_name or len({row.face for _, row in found}) < 2:
        return found
    place, column = f"{reader.path}: column {reader.face_name}", f"--subject-column {reader.face_name}"
    frames: dict[str, set] = {}
    last: dict[str, np.ndarray] = {}
    for _, row in found:
        frames.setdefault(row.face, set()).add((row.frame, row.image))
    one, two = next((pair for pair in combinations(frames, 2) if not frames[pair[0]] & frames[pair[1]]), (None, None))
    if one is not None:
        raise DataError(f"{place} has {one[:20]!r} and {two[:20]!r}, never in one frame: if they are two people, say "
                        f"{column}; if they are one, name the person with --subject")
    for row in sorted((row for _, row in found), key=lambda row: row.frame):
        here, face = row.points.mean(0), row.face
        jumped = face in last and _apart(here, last[face], row.points)
        if jumped and not all(_apart(here, there, row.points) for other, there in last.items() if other != face):
            raise DataError(f"{place}: in row {row.line} face {face[:20]!r} is where another one was before; if the "
                            f"numbers stay with their people, say {column}; else write who it is in a column `subject`")
        last[face] = here
    return [(score, row._replace(subject=f"{row.subject}_{row.face}")) for score, row in found]


def _apart(here: np.ndarray, there: np.ndarray, points: np.ndarray) -> bool:
    """Whether two centres of faces are too far apart to be one face, of which there are (49, 2) ``points``."""
    return np.linalg.norm(here - there) > interocular(points)


def _one_face_each(table: ToolTable, found: list[tuple[float, Row]]) -> list[Row]:
    """The better of two rows about one face in a frame; the other is skipped. Two faces in it are a DataError."""
    best: dict[tuple, tuple[float, Row]] = {}
    for score, row in found:
        key = row[:3] if table.kind == "own" else row[:4]  # py-feat numbers the frames of each picture anew
        other, first = best.get(key, (score, row))
        if first.image == row.image and _apart(first.points.mean(0), row.points.mean(0), row.points):
            raise DataError(f"{table.path}: rows {first.line} and {row.line} are two faces in frame {row.frame}, but "
                            f"one person, {row.subject[:60]!r}; write who is who in a column `subject`, or name the "
                            "column that says so with --subject-column, or leave the others out")
        if first is row or other < score:
            best[key] = (score, row)
        if first is not row:
            lost, kept = (first, row) if other < score else (row, first)
            table.skips.append(Skip(table.path, lost.line, f"the same frame as row {kept.line}, which was kept"))
    table.skips.sort(key=lambda skip: skip.row)
    return [row for _, row in best.values()]


def _not_utf8(path: Path) -> int:
    """The first line of a file that is not UTF-8."""
    row = 1
    with open(path, "rb") as file, suppress(UnicodeDecodeError):
        for line in file:
            line.decode("utf8")
            row += 1
    return row


def _separated(path: Path) -> str | None:
    """What is wrong with a table whose cells are separated by something else than commas, or None."""
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        first = file.readline(LONGEST_LINE)
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        if detect([cell.strip('" \r\n') for cell in first.split(sign)]):
            return f"its cells are separated by {name}; save it with commas between them and points in its numbers"
    return None


class _RowReader:
    """Where everything stands in the rows under one ``header``, and what of it was asked for."""

    def __init__(self, path: Path, header: list[str], aus, threshold, confidence, subject, subject_column):
        self.kind = detect(header)
        if self.kind is None:
            why = _separated(path) or ("not the header of OpenFace, py-feat, LibreFace or our own table (image, x_0 … "
                                       "x_48, y_0 … y_48, AU1 …); keep the first line as the tool wrote it")
            raise DataError(f"{path}: {why}")
        twice = next((name for name, count in Counter(header).items() if name and count > 1), None)
        if twice:
            raise DataError(f"{path}: two columns are called {twice}; keep one")
        place = {name: k for k, name in enumerate(header)}
        self.tool = tool = KINDS[self.kind]
        found = {}
        for name, k in place.items():
            match = re.fullmatch(tool.shown if threshold is None else tool.intensity, name)
            if match and int(match[1]) in ACTION_UNITS:
                if int(match[1]) in found:
                    raise DataError(f"{path}: {header[found[int(match[1])]]} and {name} are one AU; keep one")
                found[int(match[1])] = k
        self.aus = check_aus(sorted(found) if aus is None else aus)
        absent = [au for au in self.aus if au not in found]
        if absent or not self.aus:
            what = f"no column for AU {absent[0]}" if absent else "no column of an AU that we know"
            raise DataError(f"{path}: {what}; it has {', '.join(map(str, sorted(found))) or 'none'}")
        if subject is not None and not subject.strip():
            raise DataError("--subject names nobody")
        if subject_column != "subject" and subject is not None:
            raise DataError(f"--subject {subject} and --subject-column {subject_column}: give one of them")
        if subject_column != "subject" and subject_column not in place:
            raise DataError(f"{path}: no column {subject_column}; name another one, or the person with --subject")
        self.path, self.width, self.stem = path, len(header), path.stem.strip()
        self.threshold = tool.threshold if threshold is None else threshold
        if self.threshold is not None and not 0 < self.threshold <= tool.top:
            raise DataError(f"--threshold {threshold:g}: {tool.name}'s AUs go from 0 to {tool.top:g}; choose a value "
                            "above 0 and up to that")
        self.confidence, self.subject = confidence, subject
        self.au_columns = [found[au] for au in self.aus]
        self.point_columns, self.mesh = _points(path, place, self.kind)
        self.frame_column = next((place[name] for name in FRAME_COLUMNS if name in place), None)
        self.image_column = next((place[name] for name in IMAGE_COLUMNS if name in place), None)
        self.still = self.frame_column is self.image_column is None and self.kind in ("openface", "libreface")
        self.still = self.still and ("face" in place or not any(name in place for name in VIDEO_COLUMNS))
        if self.frame_column is None and self.image_column is None and not self.still:
            raise DataError(f"{path}: neither a column for the frame nor one for the picture; add `frame` or `image`")
        self.score_column = place.get(tool.score)
        self.success_column = place.get("success") if self.kind == "openface" else None
        small = {name.casefold(): name for name in reversed(place)}
        who = next((small[name] for name in SUBJECT_COLUMNS if name in small), None)
        self.subject_name = who if subject_column == "subject" else subject_column
        self.subject_column = place.get(self.subject_name)
        self.by_name = subject is None and self.subject_column is None
        self.face_name = next((small[name] for name in FACE_COLUMNS if name in small), None)
        self.face_column = place.get(self.face_name)
        self.before = f"{self.stem}_" if subject_column.casefold() in FACE_COLUMNS else ""
        self.overruled: set[str] = set()
        self.size_columns = [place[name] for name in ("FrameWidth", "FrameHeight") if name in place]
        self.time_column = place.get("timestamp") if self.kind == "openface" else None
        self.last, self.latest, self.highest = tool.first, (0.0, tool.first), None
        self.task_column = place.get("task") if self.kind == "own" else None

    def read(self, line: int, cells: list[str]) -> tuple[float, Row]:
        """(confidence, row); DataError says what is wrong with it."""
        if len(cells) != self.width:
            raise DataError(f"{len(cells)} cells, but the header has {self.width}")
        cells = [cell.strip() for cell in cells]
        self._remember(line, cells)
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
        frame = self._frame(line, cells)
        labels = [self._label(cells[k], au) for k, au in zip(self.au_columns, self.aus, strict=True)]
        who = self.stem if self.subject is None else self.subject.strip()
        if self.subject_column is not None:
            named = cells[self.subject_column] not in NOBODY
            if self.subject is None and not named:
                raise DataError("no subject")
            if self.subject is None:
                who = self.before + cells[self.subject_column]
            elif named:
                self.overruled.add(cells[self.subject_column])
        task = cells[self.task_column] if self.task_column is not None else self.stem
        face = cells[self.face_column] if self.face_column is not None else ""
        points, labels = points.astype(np.float32), np.array(labels, np.int8)
        seen = [_number(cells[k], "the size of the picture") for k in self.size_columns]
        size = tuple(map(int, seen)) if len(seen) == 2 and all(map(math.isfinite, seen)) else None
        return score, Row(who, task, frame, image, line, points, labels, face, size)

    def check_subject(self) -> None:
        """DataError when --subject names one person and the table's own column names several."""
        if len({person_key(name) for name in self.overruled}) > 1:
            names = sorted(self.overruled)
            raise DataError(f"{self.path}: --subject names one person, but column {self.subject_name} has "
                            f"{names[0][:60]!r} and {names[-1][:60]!r}; leave --subject out")

    def _frame(self, line: int, cells: list[str]) -> int:
        if self.still:
            return self.tool.first
        if self.frame_column is None:
            return line - 2 + self.tool.first
        frame = _number(cells[self.frame_column], "the frame")
        if not (math.isfinite(frame) and frame == int(frame) and 0 <= frame < 1e9):
            raise DataError(f"frame {cells[self.frame_column][:20]!r} is no whole number")
        return int(frame)

    def _remember(self, line: int, cells: list[str]) -> None:
        """What a row tells of the whole table, also when it cannot be used."""
        with suppress(DataError):
            frame = self._frame(line, cells)
            self.last = max(self.last, frame)
            if self.time_column is not None:
                self.latest = max(self.latest, (_number(cells[self.time_column], "the time"), frame))

    def rate(self) -> float | None:
        """Frames a second, see :class:`ToolTable`."""
        time, frame = self.latest
        if self.time_column is None or self.last == self.tool.first:
            return None
        return (frame - self.tool.first) / time if time > 0 else 0.0

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
        self.highest = max(value, self.highest or 0)
        return int(value >= self.threshold)


def _points(path: Path, place: dict[str, int], kind: str) -> tuple[list[int], bool]:
    """Columns of x and y of 68, 49 or mesh points, in turn, and whether they are of the mesh."""
    count = 1 + max((int(name[2:]) for name in place if re.fullmatch(r"x_\d{1,4}", name)), default=-1)
    if count in (68, 49):
        names = [f"{axis}_{k}" for k in range(count) for axis in "xy"]
        absent = next((name for name in names if name not in place), None)
        if absent:
            raise DataError(f"{path}: no column {absent}; all {count} landmarks are needed")
        return [place[name] for name in names], False
    patterns = ("lm_mp_{}_{}", "mesh_{1}_{0}") + (("{1}_{0}",) if kind == "py-feat" and count in (468, 478) else ())
    for pattern in patterns:
        names = [pattern.format(k, axis) for k in MESH_49 for axis in "xy"]
        if all(name in place for name in names):
            return [place[name] for name in names], True
    what = f"x_0 … x_{count - 1} are {count} landmarks, which nobody here knows" if count else "no landmarks"
    raise DataError(f"{path}: {what} (x_0 … x_67, x_0 … x_48 or a face mesh are read); write the table again with them")


def _number(cell: str, what: str) -> float:
    if cell.lower() in ("", "nan"):
        return math.nan
    try:
        if "_" in cell or not cell.isascii():  # Python reads 1_000 and digits of any script
            raise ValueError
        return float(cell)
    except ValueError:
        raise DataError(f"{what} is {cell[:20]!r}, not a number") from None
