"""``lorral prepare disfa``: DISFA as distributed, in every layout that public code has met.

Found by looking below the root, upper or lower case: label files ``SN001_au1.txt`` with lines ``frame,intensity``;
landmarks ``SN001_0000_lm.mat`` (counted from 0) or ``l00001_lm.mat`` (from 1), MATLAB v5; videos
``LeftVideoSN001_comp.avi``; or folders of pictures with SN001 in their path, counted from 0 or 1. Labels count frames
from 1, so picture i of a folder that counts from 0 belongs to label line i + 1.
"""

import json
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import loadmat, whosmat

from ..facs import AU_SETS
from ..files import DataError, check_file, data_file, reason
from ..landmarks import to_49
from .preparing import Frames, Skip
from .source import (
    PICTURES,
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

AUS = AU_SETS["disfa"]
TASK = "video"
LARGEST_MAT = 64 << 10
"""Bytes of a landmark file: 66 points take a thousand; zlib makes at most a thousand times as many of them."""
NUMBERS = ("double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
_LABEL = re.compile(r"(SN\d{3})_AU(\d+)\.txt", re.IGNORECASE)
_LANDMARK = re.compile(r"(?:(SN\d{3})_(\d+)|l(\d+))_lm\.mat", re.IGNORECASE)
_SUBJECT = re.compile(r"SN\d{3}", re.IGNORECASE)


def disfa(root, frames: str = "all", threshold: int = 2, camera: str = "left", subjects: Iterable[str] = ()) -> Source:
    """Look at DISFA below ``root`` and read its labels; landmarks and pictures are read when their turn comes.

    frames: "all" keeps every frame (130,814 in the whole set; D38); "jaa" leaves out the frames of the data set's own
        list of landmark problems, as JAA-Net does (126,144).
    threshold: an AU is shown from this intensity on, 1 to 5.
    camera: "left" or "right" (D64). Pictures whose path names no camera count as the one asked for, and it is said.
    subjects: SN001 … to read, default all that have labels. Nothing to read is a DataError.
    """
    root = Path(root)
    labels, landmarks, folders, videos = _look(root)
    if not labels:
        raise DataError(f"{root}: no label file SN001_au1.txt is below it; name the folder that holds "
                        "ActionUnit_Labels")
    who = chosen_subjects(labels, subjects)
    choices = {"frames": frames, "threshold": threshold, "camera": camera, "subjects": list(who)}
    source = Source("disfa", root, AUS, choices, who)
    problems = json.loads(data_file("protocol", "golden_counts.json").read_text(encoding="utf8"))
    left_out = problems["disfa"]["landmark_problem"] if frames == "jaa" else {}
    used = {"folders": [], "videos": []}
    doubles = []
    for subject in who:
        files = {au: paths[0] for au, paths in labels[subject].items()}
        coded = read_intensities(files, threshold)
        of_camera = [_of_camera(kind.get(subject, []), camera, root) for kind in (folders, videos)]
        marks, folder, video = (next(iter(paths), None) for paths in (landmarks.get(subject, []), *of_camera))
        seen = folder or video
        used["folders"] += [folder] if folder else []
        used["videos"] += [video] if video and not folder else []
        doubles.append([*of_camera[0], *of_camera[1]])  # a folder stands before a video
        if seen and not _camera(seen, root):
            source.found.append(f"{subject}: {seen.relative_to(root)} names no camera; read as the {camera} one")
        source.add(subject, subject, TASK, files[min(files)], coded,
                   partial(_load, root, subject, coded, marks, folder, video, left_out.get(subject, [])),
                   {"landmarks": marks, f"pictures or video ({camera} camera)": seen})
    label_files = [paths for subject in who for au, paths in labels[subject].items() if au in AUS]
    marked = [landmarks[subject] for subject in who if subject in landmarks]
    source.found[:0] = [
        say_found("label files", [paths[0] for paths in label_files], root, len(who) * len(AUS)),
        say_found("folders of landmarks", [paths[0] for paths in marked], root, len(who)),
        say_found("folders of pictures", used["folders"], root, len(who)),
        say_found("videos", used["videos"], root, len(who)),
        *say_doubles("label files", label_files, root), *say_doubles("folders of landmarks", marked, root),
        *say_doubles(f"pictures or videos ({camera} camera)", doubles, root),
    ]
    if not subjects:
        source.missing[:0] = say_unlabelled("disfa", who, {*landmarks, *folders, *videos})
    return source


def _look(root: Path):
    """By subject: label files by AU, folders of landmark files, folders of pictures, videos; of each a list."""
    labels: dict[str, dict[int, list[Path]]] = {}
    landmarks, folders, videos = {}, {}, {}
    for folder, names in walk(root):
        subjects = _SUBJECT.findall(folder.relative_to(root).as_posix())
        for name in names:
            ending = Path(name).suffix.lower()
            if match := _LABEL.fullmatch(name):
                labels.setdefault(match[1].upper(), {}).setdefault(int(match[2]), []).append(folder / name)
            elif match := _LANDMARK.fullmatch(name):
                if match[1] or subjects:
                    there = landmarks.setdefault((match[1] or subjects[-1]).upper(), [])
                    there += [folder] * (folder not in there)
            elif ending in VIDEOS and _SUBJECT.search(name):
                videos.setdefault(_SUBJECT.search(name)[0].upper(), []).append(folder / name)
            elif ending in PICTURES and subjects:
                there = folders.setdefault(subjects[-1].upper(), [])
                there += [folder] * (folder not in there)
    return labels, landmarks, folders, videos


def _camera(path: Path, root: Path) -> str | None:
    sides = re.findall(r"(?<![a-z])(left|right)", path.relative_to(root).as_posix().lower())
    return sides[-1] if sides else None


def _of_camera(paths: list[Path], camera: str, root: Path) -> list[Path]:
    """Those that name the camera, then those that name none."""
    return [path for side in (camera, None) for path in paths if _camera(path, root) == side]


def read_intensities(files: dict[int, Path], threshold: int) -> Coded:
    """The 8 AUs of one subject: lines ``frame,intensity``, 0 to 5; from ``threshold`` on the AU is shown.

    Files are joined by the number of the frame. A frame that one of them lacks or that says something else becomes a
    skip, and so does each line that names no frame.
    """
    skips: list[Skip] = []
    read: dict[int, dict[int, int]] = {}
    wrong: dict[int, Skip] = {}
    folder = files[min(files)].parent
    for au in AUS:
        values = read[au] = {}
        if au not in files:
            skips.append(Skip(folder, None, f"no label file of AU {au}"))
            continue
        try:
            rows = read_rows(files[au])
        except DataError as error:
            skips.append(Skip(files[au], None, str(error)))
            continue
        for line, cells in rows:
            try:
                number = frame_number(cells[0])
                if number in values:
                    raise DataError(f"frame {number} is in a line above already")
            except DataError as error:
                skips.append(Skip(files[au], line, str(error)))
                continue
            values[number] = 0
            try:
                if len(cells) != 2:
                    raise DataError(f"{len(cells)} cells, not frame,intensity")
                values[number] = whole(cells[1], "the intensity")
                if not 0 <= values[number] <= 5:
                    raise DataError(f"the intensity is {values[number]}; it must be 0 to 5")
            except DataError as error:
                wrong.setdefault(number, Skip(files[au], line, str(error)))
    numbers, complete = [], []
    for number in sorted({number for values in read.values() for number in values}):
        lacking = next((au for au in AUS if number not in read[au]), None)
        if lacking is None:
            complete.append(number)
        if number in wrong:
            skips.append(wrong[number])
        elif lacking:
            skips.append(Skip(files.get(lacking, folder), number, f"no label of AU {lacking} for frame {number}"))
        else:
            numbers.append(number)
    labels = np.array([[read[au][n] >= threshold for au in AUS] for n in numbers], np.int8).reshape(-1, len(AUS))
    return Coded(np.array(numbers, dtype=int), labels, skips, max(complete, default=0))


def _load(root: Path, subject: str, coded: Coded, landmarks: Path | None, folder: Path | None, video: Path | None,
          left_out: list[list[int]]) -> Frames:
    listed = {n for n in coded.numbers.tolist() if any(low <= n - 1 <= high for low, high in left_out)}
    if landmarks is None:
        return all_skipped(coded, root / subject, "no landmarks of this subject", len(listed))
    if folder is None and video is None:
        reason = "no pictures or video of this subject and camera"
        return all_skipped(coded, root / subject, reason, len(listed))
    if folder is not None:
        pictures = numbered(folder)
        try:
            first = counts_from(pictures, coded.last)
        except DataError as error:
            return all_skipped(coded, folder, str(error), len(listed))
        images = folder, {number + 1 - first: paths for number, paths in pictures.items()}
    else:
        images = Video(video, coded.numbers - 1)
    files = landmark_files(landmarks, coded.last)
    points = np.full((len(coded.numbers), 49, 2), np.nan, np.float32)
    bad: dict[int, Skip] = {}
    filled = []
    for k, number in enumerate(coded.numbers.tolist()):
        if number in listed:
            bad[k] = Skip(landmarks, number, "left out by --frames jaa: listed landmark problem", True)
            continue
        file = files.get(number)
        if (subject, file and file.name.lower()) == ("SN031", "l03631_lm.mat") and number - 1 in files:
            file = files[number - 1]  # D65 one bad frame
            filled.append(k)
        if file is None:
            bad[k] = Skip(landmarks, number, f"no landmark file of frame {number}")
            continue
        try:
            points[k] = read_landmarks(file)
        except DataError as error:
            bad[k] = Skip(file, number, str(error).removeprefix(f"{file}: "))
    return with_pictures(coded, images, points, bad, len(listed), filled)


def counts_from(pictures, frames: int) -> int:
    """0 or 1: the number of the first picture, told from the numbers there are and the ``frames`` that are coded."""
    if not pictures:
        raise DataError("there are no pictures")
    if 0 in pictures:
        return 0
    if frames in pictures:
        return 1
    raise DataError(f"it cannot be told whether pictures count from 0 or 1: there is neither picture 0 nor {frames}; "
                    "restore the first or the last one")


def landmark_files(folder: Path, frames: int) -> dict[int, Path]:
    """Landmark files by frame, counted from 1. With one file too many the first is dropped, as public code does."""
    files = {}
    for path in sorted(folder.iterdir()):
        if match := _LANDMARK.fullmatch(path.name):
            files[int(match[2]) + 1 if match[2] else int(match[3])] = path
    if len(files) == frames + 1:
        first = min(files)
        files = {number - first: path for number, path in files.items() if number != first}
    return files


def read_landmarks(path: Path) -> np.ndarray:
    """A MATLAB v5 file, ``pts`` 66 × 2 counted from 1 (D39) → (49, 2) counted from 0; anything else is a DataError."""
    try:
        check_file(path, LARGEST_MAT)
        there = [kind for kind in whosmat(path) if kind[0] == "pts"]  # headers: a table of cells would take any memory
        wrong = next((kind for kind in there if kind[1] != (66, 2) or kind[2] not in NUMBERS), None)
        points = None if wrong or not there else loadmat(path, variable_names=["pts"])["pts"]
        if np.iscomplexobj(points):
            raise ValueError("complex numbers")
    except NotImplementedError:
        raise DataError(f"{path}: is MATLAB v7.3; DISFA's landmarks are v5") from None
    except Exception as error:  # SciPy raises many kinds on broken files
        if path.is_file() and not path.stat().st_size:
            raise DataError(f"{path}: is empty; copy it again from the data set") from None
        raise DataError(f"{path}: not readable as MATLAB v5 with pts ({reason(error)[:120]})") from None
    if not there:
        raise DataError(f"{path}: has no variable pts")
    if wrong:
        raise DataError(f"{path}: landmarks of shape {wrong[1]}, type {wrong[2]}, not (66, 2) numbers")
    with np.errstate(over="ignore"):  # infinite then
        points = points.astype(np.float32)
    if why := why_no_face(points):
        raise DataError(f"{path}: {why}")
    return to_49(points) - 1
