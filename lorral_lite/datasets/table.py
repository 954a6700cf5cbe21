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

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from ..files import DataError
from .people import check_people, exactly, shown
from .prepared import PreparedFolder
from .preparing import Frames, Sequence, Skip, prepare_sequences
from .source import Coded, all_skipped
from .table_pictures import Place, TablePictures
from .table_rows import Row, ToolTable, read_table
from .videos import Video

MOST_PEOPLE = 20
"""Lines about people that :func:`prepare_table` prints."""


def prepare_table(
    out, tables, images=None, aus=None, threshold: float | None = None, confidence: float = 0.7,
    subject: str | None = None, subject_column: str = "subject", distinct=(), size: int = 200, may_share: bool = False,
    orientation: str | None = None, order: str | None = None, **options,
) -> PreparedFolder:
    """Prepare the frames of one or more ``tables`` (CSV files); arguments as in :func:`read_table`.

    images: the video, or the folder of pictures; with several tables, a folder with one video or folder of each
        table's name. None: beside each table, under its name, or where the table's own column says.
    aus: None takes those that all tables have. may_share: everybody in the pictures has agreed to be shown; else the
        folder is ``licensed``, and figures, reports and notebooks draw landmarks only.
    distinct: pairs of names that look like one person's, but are two people's.
    orientation: "upright" or "stored", how the tool saw pictures and videos that are stored turned. order: "names" or
        "numbers", what numbers the pictures of a folder (D54). None: as tool, names and landmarks tell; where they
        leave two answers that is a DataError.
    options: those of :func:`lorral_lite.datasets.preparing.prepare_sequences`.

    Of several tables one that cannot be read is left out: meta.json's ``left_out`` and skipped.csv say why; with
    ``strict`` it is a DataError.
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
    shared = list(found[0].aus)
    for table in found:
        if not (shared := [au for au in shared if au in table.aus]):
            raise DataError(f"{table.path}: no AU that all tables before it have too; prepare it by itself")
    found = [table if table.aus == tuple(shared) else read(table.path, shared) for table in found]
    distinct = _check_who(found, distinct)
    say = options.get("say", print)
    _say_who(found, say)
    look = partial(TablePictures, images=images, several=len(paths) > 1, orientation=orientation, order=order)
    pictures = [one for table in found if (one := unless_bad(table.path, partial(look, table)))]
    sequences, owners = [], {}
    for place in pictures:
        own = unless_bad(place.table.path, partial(_sequences, place)) or []
        sequences += own
        for one in own:
            first = owners.setdefault((one.subject, one.task), place.table.path)
            if first is not place.table.path:
                raise DataError(f"{place.table.path}: a second table for subject {one.subject}, task {one.task}, after "
                                f"{first}; give one of them another task: its column `task`, else the file's name")
    sequences += [_unreadable(path, why, len(shared)) for path, why in left_out.items()]
    meta = {
        "source": "table", "licensed": not may_share, "tools": sorted({table.kind for table in found}),
        "tables": [path.name for path in paths], "threshold": threshold, "confidence": confidence, "subject": subject,
        "subject_column": subject_column, "distinct": distinct, "orientation": orientation, "order": order,
        **({"left_out": [f"{path.name}: {why}" for path, why in left_out.items()]} if left_out else {}),
    }
    for line in [table.note for table in found if table.note] + [line for one in pictures for line in one.notes]:
        say(line)
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


def _say_who(tables: list[ToolTable], say) -> None:
    """Print the people that there are."""
    count = Counter(row.subject for table in tables for row in table.rows)
    by_name = any(table.by_name for table in tables) and len(tables) > 1
    say(f"people: {len(count)}" + (", one for each table's name (--subject or a column `subject` says otherwise)"
                                   if by_name else ""))
    for name in sorted(count)[:MOST_PEOPLE]:
        say(f"  {shown(name)}: {count[name]:,} frame{'s' * (count[name] != 1)}")
    if len(count) > MOST_PEOPLE:
        say(f"  … and {len(count) - MOST_PEOPLE:,} more")


def _unreadable(path: Path, reason: str, aus: int) -> Sequence:
    """The line of skipped.csv about a table that cannot be used at all."""
    nothing = Coded(np.empty(0, int), np.empty((0, aus), np.int8), [Skip(path, None, reason)])
    return Sequence("", "", 0, partial(all_skipped, nothing, path, reason))


def _sequences(pictures: TablePictures) -> list[Sequence]:
    """The rows of each (subject, task) in the order of their frames; what cannot be used goes with the first."""
    table = pictures.table
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows:
        groups.setdefault((row.subject, row.task), []).append(row)
    if not groups:
        groups[table.path.stem, table.path.stem] = []
    for rows in groups.values():
        files = {place.path if place.position is not None else None for row in rows
                 if isinstance(place := pictures.places[row.line], Place)}
        if len(files) > 1:
            raise DataError(f"{table.path}: one subject and task in more than one video; give each video its own table")
    skips = [table.skips] + [[]] * (len(groups) - 1)
    return [Sequence(subject, task, len(rows) + len(lost), partial(_load, pictures, rows, lost))
            for ((subject, task), rows), lost in zip(groups.items(), skips, strict=True)]


def _load(pictures: TablePictures, rows: list[Row], skips: list[Skip]) -> Frames:
    table = pictures.table
    rows = sorted(rows, key=lambda row: (row.frame, row.line))
    skips = [*skips, *(Skip(table.path, row.line, place) for row in rows
                       if not isinstance(place := pictures.places[row.line], Place))]
    kept = [row for row in rows if isinstance(pictures.places[row.line], Place)]
    places = [pictures.places[row.line] for row in kept]
    points = [pictures.scaled(row.points, pictures.look(place.path), pictures.seen)
              for row, place in zip(kept, places, strict=True)]
    files = [place.path for place in places if place.position is not None]
    images = Video(files[0], [place.position for place in places], pictures.seen) if files else [
        place.path for place in places]
    return Frames(np.array([row.frame for row in kept], int), images, np.array(points, np.float32).reshape(-1, 49, 2),
                  np.array([row.labels for row in kept], np.int8).reshape(-1, len(table.aus)), skips,
                  seen=pictures.seen)
