"""Finding out where a data set's files are by looking, and reading numbers from text without trusting it."""

import csv
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from ..files import DataError, check_file, reason, short_lines
from .folds import protocol_parts
from .preparing import Frames, Sequence, Skip
from .videos import Video

PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
VIDEOS = (".avi", ".mp4", ".mov", ".mkv")
LARGEST_LABELS = 8 << 20
"""Bytes of a label file: those of BP4D and DISFA have some 100 thousand, and what is read takes far more memory."""
_WHOLE = re.compile(r"-?\d{1,9}(\.0*)?", re.ASCII)


@dataclass
class Coded:
    """What the label files of one sequence say. numbers: (n,) frames, ascending; labels: (n, A) int8 1, 0, −1.

    skips: the lines that say nothing usable; rows: n plus those of them that are lines, not whole files. last: the
    highest frame that the label files agree on, usable or not.
    """

    numbers: np.ndarray
    labels: np.ndarray
    skips: list[Skip]
    last: int = 0

    @property
    def rows(self) -> int:
        return len(self.numbers) + sum(skip.row is not None for skip in self.skips)


@dataclass
class Source:
    """A data set as found under ``root``: its sequences and labels, what was found, what is missing, the choices."""

    name: str
    root: Path
    aus: tuple[int, ...]
    choices: dict
    subjects: list[str]
    sequences: list[Sequence] = field(default_factory=list)
    coded: dict[tuple[str, str], Coded] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def meta(self) -> dict:
        """What the prepared folder shall say of itself; a stand-in counts as licensed too, to show that path."""
        return {"source": self.name, "licensed": True, "stand_in": is_stand_in(self.root), "choices": self.choices}

    def add(self, title: str, subject: str, task: str, label_file: Path, coded: Coded, load: Callable[[], Frames],
            parts: dict[str, Path | None]) -> None:
        """Add a sequence, and to ``missing`` a line for each of its ``parts`` (what it is → its place) that is nowhere.

        A subject who is in no published fold gives nothing but skips of ``label_file``; ``load`` is not called then.
        """
        if not any(subject in part for part in protocol_parts(self.name)):
            reason = f"subject {subject} is in no published fold of {self.name.upper()}"
            self.missing.append(f"{title}: {reason}")
            load = partial(all_skipped, coded, label_file, reason)
        self.missing += [f"{title}: no {what}" for what, where in parts.items() if where is None]
        self.coded[subject, task] = coded
        self.sequences.append(Sequence(subject, task, coded.rows, load))


def is_data(name: str) -> bool:
    """Whether a file or folder of this name can be data. What systems put beside them is not: ``._a.jpg`` of macOS and
    other hidden names, ``__MACOSX`` of its archives, thumbnails of Synology, the bin of Windows."""
    return not name.startswith((".", "$")) and name not in ("__MACOSX", "@eaDir")


def walk(root: Path, leaf: re.Pattern | None = None):
    """Every folder below ``root`` as (folder, file names), sorted, without what :func:`is_data` excludes; links are
    followed, but no folder is seen twice.

    A folder whose path seen from ``root`` matches ``leaf`` comes as (folder, None): it is not read. A folder that
    cannot be read, or a missing root, is a DataError.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; name the folder that holds the data set as you received it")
    seen = set()

    def is_new(folder: Path) -> bool:
        status = os.stat(folder)
        before = len(seen)
        seen.add((status.st_dev, status.st_ino))
        return len(seen) > before

    def fail(error: OSError):
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); change its permissions") from error

    for place, folders, names in os.walk(root, onerror=fail, followlinks=True):
        folder = Path(place)
        if not is_new(folder):
            folders.clear()
            continue
        yield folder, sorted(filter(is_data, names))
        folders[:] = filter(is_data, folders)
        for name in sorted(folders):
            if leaf and leaf.search((folder / name).relative_to(root).as_posix()):
                if is_new(folder / name):
                    yield folder / name, None
                folders.remove(name)
        folders.sort()


def numbered(folder: Path, endings=PICTURES) -> dict[int, list[Path]]:
    """Files by the last number in their name: ``0643.jpg``, ``643.jpg``, or ``F007_T1_0643.jpg`` are 643.

    Of several series, names that differ in more than the number, the longest counts: ``643 (1).jpg`` is not frame 1.
    """
    return max(series(folder, endings), key=lambda one: sum(map(len, one.values())), default={})


def series(folder: Path, endings) -> list[dict[int, list[Path]]]:
    """As :func:`numbered`, each series of names for itself."""
    found: dict[str, dict[int, list[Path]]] = {}
    try:
        names = sorted(filter(is_data, os.listdir(folder)))
    except OSError:
        return []
    for name in names:
        stem, ending = os.path.splitext(name)
        before, digits, after = re.fullmatch(r"(.*?)(\d*)(\D*)", stem, re.DOTALL).groups()
        if ending.lower() in endings and 0 < len(digits) < 10:
            found.setdefault(f"{before}#{after}", {}).setdefault(int(digits), []).append(folder / name)
    return list(found.values())


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """(line, cells) of a comma-separated text, empty lines left out. A DataError says why it is no such text."""
    try:
        check_file(path, LARGEST_LABELS)
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(short_lines(file))
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except FileNotFoundError:
        raise DataError("no such file") from None
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"not readable as a text table ({reason(error)})") from None
    rows = [row for row in rows if any(row[1])]
    if not rows:
        raise DataError("is empty; copy it again from the data set")
    return rows


def whole(text: str, what: str) -> int:
    """The whole number that ``text`` says, ``2.0`` too; anything else is a DataError that begins with ``what``."""
    if _WHOLE.fullmatch(text):
        return int(float(text))
    raise DataError(f"{what} is {text[:20]!r}, which is no whole number")


def frame_number(text: str) -> int:
    """The frame that the first cell of a line of labels names, 1 or more; anything else is a DataError."""
    number = whole(text, "the frame")
    if number < 1:
        raise DataError(f"the frame is {number}; frames count from 1")
    return number


def why_no_face(points: np.ndarray) -> str | None:
    """Why (n, 2) points cannot be the landmarks of a face, or None."""
    if not np.isfinite(points).all():
        return "a landmark is not a finite number"
    return "all landmarks are the same point" if (points == points[0]).all() else None


def with_pictures(coded: Coded, images, points: np.ndarray, bad: dict[int, Skip], absent: int, filled=()) -> Frames:
    """The :class:`Frames` of a sequence whose pictures are there and whose landmarks are good; the others become skips.

    images: (folder, {frame: paths}), or a Video with a position for each coded frame. points: (n, 49, 2) beside
    ``coded.numbers``. bad: {row of these: why it cannot be used}. filled: rows whose landmarks are not the data set's.
    """
    skips, kept, paths = list(coded.skips), [], []
    for k, number in enumerate(coded.numbers.tolist()):
        if k in bad:
            skips.append(bad[k])
            continue
        if not isinstance(images, Video):
            there = images[1].get(number, [])
            if len(there) != 1:
                names = " and ".join(path.name for path in there)
                reason = f"frame {number} is there twice: {names}" if there else f"no picture of frame {number}"
                skips.append(Skip(images[0], number, reason))
                continue
            paths.append(there[0])
        kept.append(k)
    kept = np.array(kept, dtype=int)
    if isinstance(images, Video):
        paths = Video(images.path, images.positions[kept])
    return Frames(coded.numbers[kept], paths, points[kept], coded.labels[kept], skips, np.isin(kept, list(filled)),
                  absent)


def all_skipped(coded: Coded, file: Path, reason: str, absent: int | None = None) -> Frames:
    """No frame at all, each with the same reason."""
    skips = [*coded.skips, *(Skip(file, int(number), reason) for number in coded.numbers)]
    return Frames(coded.numbers[:0], [], np.empty((0, 49, 2), np.float32), coded.labels[:0], skips, absent=absent)


def chosen_subjects(found, asked) -> list[str]:
    """The subjects to read, sorted: those asked for, which must be there, or all."""
    found = sorted(found)
    if not asked:
        return found
    asked = [subject.upper() for subject in asked]
    for subject in asked:
        if subject not in found:
            raise DataError(f"--subjects {subject}: no labels of this subject were found; there are "
                            f"{', '.join(found) or 'none'}")
    return sorted(set(asked))


def say_found(what: str, files: list[Path], root: Path, wanted: int) -> str:
    """One line: how many of a kind of file there are, and where."""
    folders = sorted({_short(path.parent, root) for path in files})
    where = ", ".join(folders[:3]) + (f" and {len(folders) - 3} more folders" if len(folders) > 3 else "")
    return f"{what}: {len(files)} of {wanted}" + (f" in {where}" if files else "")


def say_doubles(what: str, found: Iterable[list[Path]], root: Path) -> list[str]:
    """A line for each pair of places where the same is there twice: the first of each list is read, no other."""
    places: dict[tuple[str, str], list[tuple[Path, Path]]] = {}
    for paths in found:
        for other in paths[1:]:
            pair = _short(paths[0].parent, root), _short(other.parent, root)
            places.setdefault(pair, []).append((paths[0].relative_to(root), other.relative_to(root)))
    return [f"{what}: {len(pairs)} twice, such as {pairs[0][0].as_posix()}, which is read, and "
            f"{pairs[0][1].as_posix()}, which is not" for pairs in places.values()]


def say_unlabelled(name: str, labelled, found) -> list[str]:
    """At most one line: the published subjects, and those ``found`` with other files, that have no label file."""
    published = {member for part in protocol_parts(name) for member in part}
    lacking = sorted((published | set(found)) - set(labelled))
    return [f"label files of {len(lacking)} subjects: {' '.join(lacking)}"] if lacking else []


def _short(folder: Path, root: Path) -> str:
    parts = folder.relative_to(root).parts
    return "/".join("…" if re.fullmatch(r"(?i)[FM]\d{2,3}|SN\d{3}", part) else part for part in parts) or "."


def is_stand_in(root) -> bool:
    """Whether a folder was written here, as its README.txt says."""
    path = Path(root) / "README.txt"
    return path.is_file() and path.read_text(encoding="utf8", errors="replace").startswith("Procedural stand-in")
