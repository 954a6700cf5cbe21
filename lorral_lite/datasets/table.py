"""``lorral prepare table``: rows that another tool wrote about each frame, with the pictures beside them.

Which tool it was is seen in the header:

========= =========================== =============================== =========================================
Tool      known by the columns        landmarks                       labels
========= =========================== =============================== =========================================
OpenFace  ``confidence``, ``x_67``    68 → 49                         ``AU01_c``; with a threshold t ``AU01_r`` ≥ t
py-feat   ``FaceScore``               68 → 49, or MediaPipe's mesh    ``AU01`` ≥ t, 0.5 unless named
LibreFace ``au_1``                    MediaPipe's mesh → 49 (D53)     ``au_1``; with t ``au_1_intensity`` ≥ t
our own   ``image``, ``x_48``, AUs    49, pixels counted from 0       ``AU1``: 1, 0; 9, −1 or nothing: unknown
========= =========================== =============================== =========================================

Our own table may also have ``subject``, ``task`` and ``frame``; ``image`` is a path seen from the table's folder.
OpenFace and LibreFace write a table for each picture, which has the picture's name and lies beside it.
"""

import os
from collections import Counter
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from ..files import DataError
from ..pictures import PictureError, size_of
from .people import check_people, exactly, shown
from .prepared import PreparedFolder
from .preparing import Frames, Sequence, Skip, prepare_sequences
from .source import Coded, all_skipped, numbered
from .table_rows import KINDS, Row, ToolTable, read_table
from .videos import Video

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".wmv", ".mpg", ".mpeg")
MOST_PEOPLE = 20
"""Lines about people that :func:`prepare_table` prints."""


def prepare_table(
    out, tables, images=None, aus=None, threshold: float | None = None, confidence: float = 0.7,
    subject: str | None = None, subject_column: str = "subject", distinct=(), size: int = 200, may_share: bool = False,
    **options,
) -> PreparedFolder:
    """Prepare the frames of one or more ``tables`` (CSV files); arguments as in :func:`read_table`.

    images: the video, or the folder of pictures; with several tables, a folder with one video or folder of each
        table's name. None: beside each table, under its name, or where the table's own column says.
    aus: None takes those that all tables have. may_share: everybody in the pictures has agreed to be shown; else the
        folder is ``licensed``, and figures, reports and notebooks draw landmarks only.
    distinct: pairs of names that look like one person's, but are two people's.
    options: those of :func:`lorral_lite.datasets.preparing.prepare_sequences`.

    Of several tables one that cannot be read is left out: meta.json's ``left_out`` and skipped.csv say why; with
    ``strict`` it is a DataError.

    A folder of pictures is matched by number: its lowest number is the table's first frame (D54).
    """
    paths = [Path(tables)] if isinstance(tables, str | Path) else [Path(path) for path in tables]
    read = partial(read_table, threshold=threshold, confidence=confidence, subject=subject,
                   subject_column=subject_column)
    left_out: dict[Path, str] = {}

    def unless_bad(path: Path, call):
        try:
            return call()
        except DataError as error:
            if len(paths) == 1 or options.get("strict"):
                raise
            left_out[path] = str(error).removeprefix(f"{path}: ")

    found = [table for path in paths if (table := unless_bad(path, partial(read, path, aus)))]
    if not found:
        raise DataError(f"{paths[0]}: {left_out[paths[0]]}; none of the {len(paths)} tables can be used")
    shared = [au for au in found[0].aus if all(au in table.aus for table in found)]
    if not shared:
        raise DataError(f"{paths[-1]}: no AU that all tables have; prepare them one by one")
    found = [table if table.aus == tuple(shared) else read(table.path, shared) for table in found]
    distinct = _check_who(found, distinct)
    _say_who(found, threshold, options.get("say", print))
    sequences = [one for table in found
                 for one in unless_bad(table.path, partial(_sequences, table, images, len(paths) > 1)) or ()]
    sequences += [_unreadable(path, why, len(shared)) for path, why in left_out.items()]
    names = Counter((one.subject, one.task) for one in sequences)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice:
        raise DataError(f"{paths[-1]}: a second table for subject {twice[0]}, task {twice[1]}; rename one file")
    meta = {
        "source": "table", "licensed": not may_share, "tools": sorted({table.kind for table in found}),
        "tables": [path.name for path in paths], "threshold": threshold, "confidence": confidence, "subject": subject,
        "subject_column": subject_column, "distinct": distinct,
        **({"left_out": [f"{path.name}: {why}" for path, why in left_out.items()]} if left_out else {}),
    }
    return prepare_sequences(out, paths[0].parent, sequences, size, shared, meta, **options)


def _check_who(tables: list[ToolTable], distinct) -> list[list[str]]:
    """The pairs of ``distinct`` as the tables write the names; DataError where it is not clear who somebody is."""
    several, people = len(tables) > 1, {}
    by_name = [table for table in tables if table.by_name]
    stems = Counter(table.path.stem for table in by_name)
    for table in by_name:
        if stems[table.path.stem] > 1:
            raise DataError(f"{table.path}: another table has this name too; name the person with --subject or in a "
                            "column `subject`, or rename one of them")
        if table.still and several:
            raise DataError(f"{table.path}: its name is that of a picture; say who it is with --subject or in a column "
                            "`subject`")
    for table in tables:
        for row in table.rows:
            people.setdefault(row.subject, f"{table.path.name}, row {row.line}" if several else f"row {row.line}")
    written = {exactly(name)[1:-1]: name for name in people} | {name: name for name in people}
    nobody = next((name for pair in distinct for name in pair if name not in written), None)
    if nobody is not None:
        raise DataError(f"--distinct {nobody}: nobody is called that; there are {', '.join(sorted(people))[:200]}")
    distinct = sorted(sorted(written[name] for name in pair) for pair in distinct)
    place = tables[0].path.parent if several else tables[0].path
    check_people(place, people, distinct, "confirm it with --distinct A B")
    return distinct


def _say_who(tables: list[ToolTable], threshold: float | None, say) -> None:
    """Print the people that there are, and what else a reader should see before hours of work."""
    count = Counter(row.subject for table in tables for row in table.rows)
    by_name = any(table.by_name for table in tables) and len(tables) > 1
    say(f"people: {len(count)}" + (", one for each table's name (--subject or a column `subject` says otherwise)"
                                   if by_name else ""))
    for name in sorted(count)[:MOST_PEOPLE]:
        say(f"  {shown(name)}: {count[name]:,} frame{'s' * (count[name] != 1)}")
    if len(count) > MOST_PEOPLE:
        say(f"  … and {len(count) - MOST_PEOPLE:,} more")
    labels = [row.labels for table in tables for row in table.rows]
    if threshold is not None and labels and not (np.array(labels) == 1).any():
        say(f"no AU is shown in any frame: the highest value is {max(table.highest for table in tables):g}, below "
            f"--threshold {threshold:g}")


def _unreadable(path: Path, reason: str, aus: int) -> Sequence:
    """The line of skipped.csv about a table that cannot be used at all."""
    nothing = Coded(np.empty(0, int), np.empty((0, aus), np.int8), [Skip(path, None, reason)])
    return Sequence(path.stem, path.stem, 0, partial(all_skipped, nothing, path, reason))


def _sequences(table: ToolTable, images, several: bool) -> list[Sequence]:
    """The rows of each (subject, task) in the order of their frames; what cannot be used goes with the first."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows:
        groups.setdefault((row.subject, row.task), []).append(row)
    if not groups:
        groups[table.path.stem, table.path.stem] = []
    where = _Pictures(table, images, several)
    skips = [table.skips] + [[]] * (len(groups) - 1)
    return [Sequence(subject, task, len(rows) + len(lost), partial(_load, table, rows, lost, where))
            for ((subject, task), rows), lost in zip(groups.items(), skips, strict=True)]


def _load(table: ToolTable, rows: list[Row], skips: list[Skip], where: "_Pictures") -> Frames:
    rows = sorted(rows, key=lambda row: (row.frame, row.line))
    skips, kept, places, points = list(skips), [], [], []
    for row in rows:
        try:
            place = where.of(row)
            scale = np.array(_size(place[0])) if table.relative else None
        except (OSError, DataError) as error:
            skips.append(Skip(table.path, row.line, str(error)))
            continue
        kept.append(row)
        places.append(place)
        points.append(row.points if scale is None else row.points * scale - 0.5)
    files = sorted({place[0] for place in places if place[1] is not None})
    if len(files) > 1 or (files and any(place[1] is None for place in places)):
        raise DataError(f"{table.path}: one subject and task in more than one video; give each video its own table")
    images = Video(files[0], [place[1] for place in places]) if files else [place[0] for place in places]
    return Frames(np.array([row.frame for row in kept], int), images, np.array(points, np.float32).reshape(-1, 49, 2),
                  np.array([row.labels for row in kept], np.int8).reshape(-1, len(table.aus)), skips)


@lru_cache(maxsize=64)
def _size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, or of the frames of a video; DataError when it cannot be read."""
    if path.suffix.lower() not in VIDEOS:
        try:
            return size_of(path)
        except PictureError as error:
            raise DataError(f"{path.name}: {error}") from error
    first = Video(path, [0]).read(slice(0, 1))[0]
    if isinstance(first, str):
        raise DataError(first)
    return first.shape[1], first.shape[0]


class _Pictures:
    """Where the picture of a row is: (picture, None) or (video, position from 0)."""

    def __init__(self, table: ToolTable, images, several: bool):
        self.table, self.first = table, KINDS[table.kind].first
        self.source = Path(images) if images is not None else None
        if self.source is not None and not self.source.exists():
            raise DataError(f"{self.source}: no such file or folder; name the pictures of {table.path} with --images")
        if table.still:
            self.beside = self._picture(self.source or table.path.parent, table.path.stem)
        elif self.source is None or several:
            self.beside = self._beside(self.source or table.path.parent, table.path.stem)
        else:
            self.beside = self.source
        self.numbers = self._numbers(self.beside) if self.beside and self.beside.is_dir() else {}
        if not self.beside and any(row.image is None for row in table.rows):
            raise DataError(f"{table.path}: no video and no folder of pictures called {table.path.stem} beside it; "
                            "name it with --images")

    @staticmethod
    def _beside(folder: Path, stem: str) -> Path | None:
        for path in [folder / stem, *(folder / f"{stem}{suffix}" for suffix in VIDEOS)]:
            if path.is_dir() or (path.suffix in VIDEOS and path.is_file()):
                return path
        return None

    @staticmethod
    def _picture(place: Path, stem: str) -> Path:
        """The picture that a table called ``stem`` is about: ``place``, or in it."""
        found = sorted(place.glob("*")) if place.is_dir() else [place]
        found = [path for path in found if path.suffix.lower() in PICTURES and (path == place or path.stem == stem)]
        if len(found) != 1:
            what = f"{found[1].name} is there too; keep one" if found else "there is none; name it with --images"
            raise DataError(f"{found[0] if found else place / stem}: the picture that {stem}.csv is about; {what}")
        return found[0]

    @staticmethod
    def _numbers(folder: Path) -> dict[int, Path]:
        """Position from 0 → picture, by the last number in each name."""
        found = numbered(folder, PICTURES)
        for first, *others in found.values():
            if others:
                raise DataError(f"{others[0]}: the same number as {first.name}; keep one")
        return {number - min(found): paths[0] for number, paths in found.items()}  # D54 picture numbers

    def of(self, row: Row) -> tuple[Path, int | None]:
        if self.table.still:
            return self.beside, None
        place = self._named(row.image) if row.image is not None else None
        if place and place.suffix.lower() not in VIDEOS:
            return place, None
        if not place and (self.table.kind == "own" or not self.beside):
            raise DataError(f"no such picture: {row.image}")
        video = self.beside or place  # the video that --images names stands before the one that the table names
        position = row.frame - self.first
        if position < 0:
            raise DataError(f"frame {row.frame}, but this tool counts from {self.first}")
        if video.is_file():
            return video, position
        if position not in self.numbers:
            raise DataError(f"no picture of frame {row.frame} in {video.name}")
        return self.numbers[position], None

    def _named(self, image: str) -> Path | None:
        here, name = self.table.path.parent, Path(image.replace("\\", "/"))
        tries = [here / name, name] + [here / name.name] + ([self.source / name.name] if self.source else [])
        found = [path for path in tries if image and path.is_file()]
        inside = [path for path in found if any(Path(os.path.abspath(path)).is_relative_to(os.path.abspath(place))
                                                for place in (here, self.source) if place is not None)]
        if found and not inside:
            raise DataError(f"{image[:200]} lies outside the table's folder; name its folder with --images")
        return inside[0] if inside else None
