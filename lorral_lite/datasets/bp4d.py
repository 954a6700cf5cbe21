"""``lorral prepare bp4d``: BP4D-Spontaneous as distributed, in every layout that public code has met.

Found by looking below the root, upper or lower case: label files ``F001_T1.csv`` (or ``F001_01.csv``) with or without
``AU_OCC``; landmarks ``F001_T1.mat`` (MATLAB v7.3); pictures in ``F001/T1/`` or ``F001_T1/`` with 3, 4 or no digits of
padding; or videos ``2F01_T1.avi``. A picture, a line of labels and an entry of landmarks belong together by the number
of the frame, which counts from 1.
"""

import math
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from ..facs import AU_SETS
from ..files import DataError, check_file
from ..landmarks import NUM_LANDMARKS
from .preparing import Frames, Skip
from .source import (
    VIDEOS,
    Coded,
    Source,
    all_skipped,
    chosen_subjects,
    frame_number,
    numbered,
    read_rows,
    say_doubles,
    say_found,
    say_unlabelled,
    walk,
    whole,
    why_no_face,
    with_pictures,
)
from .videos import Video

AUS = AU_SETS["bp4d"]
TASKS = tuple(f"T{t}" for t in range(1, 9))
TASK_NUMBERS = ("01", "03", "07", "08", "09", "10", "11", "13")
"""What some copies call T1 … T8."""

MOST_ENTRIES = 1_000_000  # a foreign file may claim any size

_NAME = re.compile(r"2?([FM])(\d{2,3})_(T0?[1-8]|\d{2})", re.IGNORECASE)
_FOLDER = re.compile(r"(?:^|/)([FM])(\d{3})/(T0?[1-8])$|(?:^|/)2?([FM])(\d{2,3})_(T0?[1-8]|\d{2})$", re.IGNORECASE)


def bp4d(root, frames: str = "all", subjects: Iterable[str] = ()) -> Source:
    """Look at BP4D below ``root`` and read its labels; landmarks and pictures are read when their turn comes.

    frames: "all" keeps every coded frame (146,847 in the whole set; D38) and fills in landmarks where there are none
        (D36); "jaa" leaves those frames out, as JAA-Net does (146,576).
    subjects: F001 … to read, default all that have labels. Nothing to read is a DataError.
    """
    root = Path(root)
    found = labels, landmarks, folders, videos = _look(root)
    if not labels:
        raise DataError(f"{root}: no label file F001_T1.csv is below it; name the folder that holds AUCoding")
    who = chosen_subjects({subject for subject, _ in labels}, subjects)
    keys = sorted({key for kind in found for key in kind if key[0] in who or not subjects})
    source = Source("bp4d", root, AUS, {"frames": frames, "subjects": list(who)}, who)
    for key in keys:
        if key not in labels:
            source.missing.append(f"{' '.join(key)}: no label file")
            continue
        coded = read_occurrence(labels[key][0])
        marks, folder, video = (next(iter(kind.get(key, ())), None) for kind in (landmarks, folders, videos))
        source.add(" ".join(key), *key, labels[key][0], coded,
                   partial(_load, root, key, coded, marks, folder, video, frames),
                   {"landmark file": marks, "pictures or video": folder or video})
    wanted = len(who) * len(TASKS)
    for what, kind in zip(("label files", "landmark files", "folders of pictures", "videos"), found, strict=True):
        source.found.append(say_found(what, [kind[key][0] for key in keys if key in kind], root, wanted))
    seen = {key: [*folders.get(key, ()), *videos.get(key, ())] for key in keys}  # a folder stands before a video
    for what, kind in (("label files", labels), ("landmark files", landmarks), ("pictures or videos", seen)):
        source.found += say_doubles(what, [kind[key] for key in keys if key in kind], root)
    if not subjects:
        source.missing[:0] = say_unlabelled("bp4d", who, {subject for kind in found for subject, _ in kind})
    return source


def _look(root: Path):
    """Label files, landmark files, picture folders and videos below ``root``, lists by (subject, task), best first."""
    labels: dict[tuple[str, str], list[Path]] = {}
    landmarks, folders, videos = {}, {}, {}
    by_ending = {".csv": labels, ".mat": landmarks, **dict.fromkeys(VIDEOS, videos)}
    for folder, names in walk(root, _FOLDER):
        if names is None:
            letter, number, task = [g for g in _FOLDER.search(folder.relative_to(root).as_posix()).groups() if g]
            key = _key(letter, number, task)
            if key and numbered(folder):
                folders.setdefault(key, []).append(folder)
            continue
        for name in names:
            stem, ending = Path(name).stem, Path(name).suffix.lower()
            match = _NAME.fullmatch(stem)
            key = match and _key(*match.groups())
            if key and ending in by_ending:
                by_ending[ending].setdefault(key, []).append(folder / name)
    for paths in labels.values():
        paths.sort(key=lambda path: ("AU_OCC" not in path.as_posix().upper(), path))
    for paths in landmarks.values():
        paths.sort(key=lambda path: ("3DFEATURES" in path.as_posix().upper(), path))
    return labels, landmarks, folders, videos


def _key(letter: str, number: str, task: str) -> tuple[str, str] | None:
    task = task.upper()
    if task in TASK_NUMBERS:
        task = TASKS[TASK_NUMBERS.index(task)]
    elif not task.startswith("T"):
        return None
    return f"{letter.upper()}{int(number):03d}", f"T{int(task[1:])}"


def read_occurrence(path: Path) -> Coded:
    """The 12 AUs of one ``AU_OCC`` file: its header is 0,1,2,…; column 0 is the frame, column k is AU k; 9 is unknown.

    A line that cannot be used becomes a skip; so does the file as a whole when it is no such table.
    """
    def nothing(skips):
        return Coded(np.empty(0, int), np.empty((0, len(AUS)), np.int8), skips)

    try:
        rows = read_rows(path)
    except DataError as error:
        return nothing([Skip(path, None, str(error))])
    header, body = rows[0][1], rows[1:]
    if header[0] != "0" or len(set(header) - {""}) < sum(cell != "" for cell in header):
        return nothing([Skip(path, None, "the header is not 0,1,2,…; is this the file of AU occurrence?")])
    lacking = [au for au in AUS if str(au) not in header]
    if lacking:
        return nothing([Skip(path, line, f"no column for AU {lacking[0]}") for line, _ in body])
    columns = [header.index(str(au)) for au in AUS]
    found: dict[int, tuple[int, list[int]]] = {}
    skips = []
    for line, cells in body:
        try:
            if len(cells) <= max(columns):
                raise DataError(f"{len(cells)} cells, but the header has {len(header)}")
            number = frame_number(cells[0])
            if number in found:
                raise DataError(f"frame {number} is in line {found[number][0]} already")
            values = [whole(cells[column], f"AU {au}") for au, column in zip(AUS, columns, strict=True)]
            wrong = next(((au, v) for au, v in zip(AUS, values, strict=True) if v not in (0, 1, 9)), None)
            if wrong:
                raise DataError(f"AU {wrong[0]} is {wrong[1]}; it must be 0, 1 or 9 (unknown)")
            found[number] = (line, [-1 if v == 9 else v for v in values])  # D63 unknown labels
        except DataError as error:
            skips.append(Skip(path, line, str(error)))
    numbers = sorted(found)
    labels = np.array([found[n][1] for n in numbers], dtype=np.int8).reshape(len(numbers), len(AUS))
    return Coded(np.array(numbers, dtype=int), labels, skips)


def read_landmarks(path: Path, numbers: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
    """Landmarks of some frames from a v7.3 file: ``fit/pred`` refers to one 49 × 2 matrix per frame, or to nothing.

    Returns (n, 49, 2) pixels counted from 0 (the file counts from 1), NaN where the file has no landmarks, and
    {row: reason} of entries that are broken. A file that is no such file is a DataError.
    """
    points = np.full((len(numbers), NUM_LANDMARKS, 2), np.nan, np.float32)
    bad: dict[int, str] = {}
    try:
        check_file(path)
        with h5py.File(path, "r") as file, np.errstate(over="ignore"):  # infinite then, which is said
            for link in ("fit", "fit/pred"):
                if not isinstance(file.get(link, getlink=True), h5py.HardLink | None):
                    raise ValueError(f"{link} is a link to somewhere else")
            pred = file["fit/pred"]
            if pred.size > MOST_ENTRIES or h5py.check_ref_dtype(pred.dtype) is not h5py.Reference:
                raise ValueError(f"fit/pred has {pred.size:,} entries of type {pred.dtype}")
            entries = _inside(pred)[()].ravel()
            for k, number in enumerate(numbers.tolist()):
                if number > len(entries):
                    bad[k] = f"the file ends at frame {len(entries)}"
                elif entries[number - 1]:
                    entry = file[entries[number - 1]]
                    shape, kind = entry.shape, entry.dtype
                    if shape != (2, NUM_LANDMARKS):
                        if not (entry.attrs.get("MATLAB_empty", 0) or entry.size in (0, 2)):
                            bad[k] = f"landmarks of shape {shape[::-1]}, not (49, 2)"
                        continue
                    if kind.kind not in "fiu":
                        bad[k] = f"landmarks of type {kind}, not numbers"
                        continue
                    points[k] = _inside(entry)[()].astype(np.float64).T - 1  # MATLAB counts pixels from 1
                    if reason := why_no_face(points[k]):
                        bad[k] = reason
    except Exception as error:  # h5py raises many kinds on broken files
        raise DataError(f"{path}: {_why_not_v73(path, error)}") from None
    return points, bad


def _inside(dataset: h5py.Dataset) -> h5py.Dataset:
    """A data set whose numbers lie in this file, in pieces that fit into memory; else a ValueError."""
    made = dataset.id.get_create_plist()
    layout = made.get_layout()
    if layout == h5py.h5d.VIRTUAL or made.get_external_count():
        raise ValueError(f"the numbers of {dataset.name} are in another file")
    if layout == h5py.h5d.CHUNKED and math.prod(made.get_chunk()) > MOST_ENTRIES:
        raise ValueError(f"{dataset.name} is in pieces of {math.prod(made.get_chunk()):,} numbers")
    return dataset


def _why_not_v73(path: Path, error: Exception) -> str:
    try:
        check_file(path)
        with open(path, "rb") as file:
            head = file.read(20)
    except ValueError as problem:
        return str(problem)
    except OSError as problem:
        return f"cannot be read ({problem.strerror})"
    if not head:
        return "is empty; copy it again from the data set"
    if head.startswith(b"MATLAB 5"):
        return "is a MATLAB v5 file; BP4D's landmarks are v7.3"
    return f"not readable as MATLAB v7.3 with fit/pred ({' '.join(str(error).split())[:120]})"


def _load(root: Path, key, coded: Coded, landmark_file: Path | None, folder: Path | None, video: Path | None,
          frames: str) -> Frames:
    if landmark_file is None:
        return all_skipped(coded, root / "_".join(key), "no landmark file of this sequence")
    try:
        points, broken = read_landmarks(landmark_file, coded.numbers)
    except DataError as error:
        return all_skipped(coded, landmark_file, str(error).removeprefix(f"{landmark_file}: "))
    bad = {k: Skip(landmark_file, int(coded.numbers[k]), reason) for k, reason in broken.items()}
    absent = [k for k in np.flatnonzero(np.isnan(points).all((1, 2))).tolist() if k not in bad]
    count = len(absent)
    if folder is None and video is None:
        return all_skipped(coded, root / "_".join(key), "no pictures or video of this sequence", count)
    there = [k for k in range(len(points)) if k not in bad and k not in set(absent)]
    if frames == "jaa" or not there:
        reason = "left out by --frames jaa: no landmarks" if frames == "jaa" else "no frame here has landmarks"
        bad |= {k: Skip(landmark_file, int(coded.numbers[k]), reason, frames == "jaa") for k in absent}
        absent = []
    elif absent:  # D36 frames without landmarks
        known = points[there].reshape(len(there), -1)
        for column in range(known.shape[1]):
            filled = np.interp(coded.numbers[absent], coded.numbers[there], known[:, column])
            points.reshape(len(points), -1)[absent, column] = filled
    if folder is not None:
        images = folder, numbered(folder)
    else:
        images = Video(video, coded.numbers - 1)
    return with_pictures(coded, images, points, bad, count, absent)
