"""From a source of frames to a prepared folder: decode, align, write, in parallel and in constant memory.

A source is a list of :class:`Sequence` (one video, one person's task, one table). Each knows who it is and how many
rows its label file has; its ``load`` reads the rest when it is that sequence's turn, so that one is held at a time::

    prepare_sequences(out, root, [Sequence("F001", "T1", 553, load)], 200, (1, 2, 4), {"source": "bp4d", ...})

What a source cannot use is a :class:`Skip`: nothing is dropped without one, and ``rows`` of a sequence is always the
frames that ``load`` gives plus its skips that name a row.
"""

import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..device import cores
from ..files import DataError, without_paths
from ..landmarks import NUM_LANDMARKS, align_face, alignment
from ..output import progress_bar
from ..pictures import NO_PICTURE, PictureError, read_picture
from .people import two_of
from .prepared import PreparedFolder, open_prepared
from .videos import Video
from .writing import PreparedWriter, check_names

CHUNK = 32
"""Frames that one process decodes at a time."""

CHECKPOINT_SECONDS = 10.0
"""At most so much work is done again after an interruption."""


class Skip(NamedTuple):
    """A line of skipped.csv. ``row``: line of a text file, number of a frame, or None when a whole file is unusable.

    ``chosen``: left out because the reader's options say so, not because something is wrong.
    """

    file: Path
    row: int | None
    reason: str
    chosen: bool = False

    def line(self, root: Path) -> tuple[str, object, str]:
        """(file seen from ``root``, row or "", reason), without paths of this machine."""
        file = self.file.relative_to(root) if self.file.is_relative_to(root) else self.file
        file = Path("…", file.name) if file.is_absolute() else file
        reason = without_paths(" ".join(self.reason.split()), root)
        return file.as_posix(), "" if self.row is None else self.row, reason


@dataclass
class Frames:
    """The usable frames of a sequence, n of them, and what was left out while they were read.

    numbers: (n,) int, as the index of the prepared folder shall name them. images: n paths of pictures, or a
    :class:`lorral_lite.datasets.videos.Video` with n positions. landmarks: (n, 49, 2) pixels of the source picture,
    counted from 0. labels: (n, A) int8 of 1, 0 and −1 (unknown). filled: (n,) bool, True where the landmarks are not
    the source's own; the prepared folder lists these rows. absent: how many rows the source itself calls without
    (good) landmarks, where that can be told. seen: "upright" or "stored", how pictures that are stored turned were
    seen when the landmarks were made (a Video knows it itself); None skips such pictures.
    """

    numbers: np.ndarray
    images: list[Path] | Video
    landmarks: np.ndarray
    labels: np.ndarray
    skips: list[Skip] = field(default_factory=list)
    filled: np.ndarray | None = None
    absent: int | None = None
    seen: str | None = None


@dataclass(frozen=True)
class Sequence:
    """One sequence of a source. ``rows``: how many its label file has; ``load``: reads it, called when needed."""

    subject: str
    task: str
    rows: int
    load: Callable[[], Frames]


def prepare_sequences(
    out, root, sequences: list[Sequence], size: int, aus, meta: dict, *, workers: int | None = None,
    fast_decode: bool = False, strict: bool = False, progress: bool = True, say: Callable[[str], None] = print,
) -> PreparedFolder:
    """Write ``sequences`` as the prepared folder ``out`` and open it; skipped.csv names files as seen from ``root``.

    size: pixels of the aligned face. meta: at least ``source`` and ``licensed``; every choice that changes the result.
    workers: processes that decode pictures (videos are decoded by FFmpeg's own threads); default: one per CPU. The
        bytes written are the same for any number.
    fast_decode: let the JPEG decoder halve large pictures as long as the face stays at least ``size`` (D37).
    strict: stop at the first frame that cannot be used; else it goes to skipped.csv.

    An interrupted call, even by kill −9, is finished by the same call. DataError: a frame under ``strict``, an
    unwritable disk, nothing usable, or another preparation begun at ``out``.
    """
    out, root = Path(out), Path(root)
    check_names(root, {name for one in sequences for name in (one.subject, one.task)})
    workers = workers or cores()
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if not 16 <= size <= 1024:
        raise ValueError(f"size must be 16 to 1024 pixels, got {size}; 200 for paper, 100 for lite")
    plan = [(s.subject, s.task, s.rows) for s in sequences]
    digest = hashlib.sha256(json.dumps([2, plan]).encode()).hexdigest()  # 2: what a journal holds
    total = sum(s.rows for s in sequences)
    with PreparedWriter(out, size, aus, {**meta, "fast_decode": fast_decode}, resume=digest) as writer:
        here, done, filled, read = writer.state or (0, 0, [], [])
        before = sum(s.rows for s in sequences[:here]) + done
        if before:
            say(f"{out}: {before:,} of {total:,} frames are done; going on")
        for sequence, digest in zip(sequences, read, strict=False):
            if digest_of(checked(sequence)) != digest:
                raise DataError(f"{out}: the labels, landmarks or pictures of {sequence.subject} {sequence.task} are "
                                f"not those that this preparation began with; put them back, or remove "
                                f"{writer.partial} to begin anew")
        _estimate(out, sequences[here:], total - before, size, len(writer.aus), workers, fast_decode, say)
        jobs = _jobs(sequences, here, done, CHUNK)
        last = time.monotonic()
        workers = min(workers, 1 + (total - before) // (8 * CHUNK))  # a few frames are not worth a process
        bar = progress_bar(total=total, initial=before, desc=out.name, unit="frame", disable=not progress,
                           smoothing=0.05)
        with bar:
            for job, faces in _decode(jobs, size, workers, fast_decode):
                skips, kept = list(job.skips), []
                for k, face in enumerate(faces):
                    if isinstance(face, str):
                        skips.append(Skip(job.file(k), int(job.frames.numbers[job.first + k]), face))
                    else:
                        kept.append(k)
                wrong = next((skip for skip in skips if not skip.chosen), None) if strict else None
                if wrong:
                    file, row, reason = wrong.line(root)
                    file = wrong.file if file.startswith("…") else file  # the reader's own screen may name it
                    raise DataError(f"{file}{'' if row == '' else f', row {row}'}: {reason} (--strict stops here)")
                rows = job.first + np.array(kept, dtype=int)
                owner = sequences[job.sequence]
                if kept:
                    if job.frames.filled is not None:
                        filled += (writer.rows + np.flatnonzero(job.frames.filled[rows])).tolist()
                    index = [(owner.subject, owner.task, int(n)) for n in job.frames.numbers[rows]]
                    writer.append(index, [faces[k][0] for k in kept], [faces[k][1] for k in kept],
                                  job.frames.labels[rows])
                writer.skip([skip.line(root) for skip in skips])
                bar.update(len(faces) + sum(skip.row is not None for skip in job.skips))
                read = [*read[: job.sequence], job.digest]
                if time.monotonic() - last > CHECKPOINT_SECONDS:
                    writer.checkpoint((*job.state, filled, read))
                    last = time.monotonic()
        writer.checkpoint((len(sequences), 0, filled, read))
        if filled:
            say(f"{len(filled):,} frames have no landmarks of their own and got filled-in ones (meta.json lists them)")
            writer.meta["filled_landmarks"] = filled  # row numbers
    folder = open_prepared(out)
    if same := folder.same_faces:
        say(f"{sum(map(len, same)):,} faces are byte for byte the same under several names, such as "
            f"{two_of(same[0], folder.subjects)} of index.csv; no fold may train on one and test on the other")
    return folder


@dataclass
class _Job:
    """A few frames of one sequence; ``state`` is where to go on once they are written."""

    sequence: int
    frames: Frames
    digest: str
    first: int
    count: int
    skips: list[Skip]
    state: tuple[int, int]

    def file(self, k: int) -> Path:
        images = self.frames.images
        return images.path if isinstance(images, Video) else images[self.first + k]


def _jobs(sequences: list[Sequence], here: int, done: int, chunk: int) -> Iterator[_Job]:
    """The sequences from ``here`` on cut into jobs, without the first ``done`` frames and their skips."""
    for number in range(here, len(sequences)):
        sequence = sequences[number]
        frames = checked(sequence)
        n, digest = len(frames.numbers), digest_of(frames)
        start = done if number == here else 0
        for first in range(start, max(n, start + 1), chunk):
            stop = min(first + chunk, n)
            yield _Job(number, frames, digest, first, stop - first, frames.skips if first == 0 else [],
                       (number, stop) if stop < n else (number + 1, 0))


def checked(sequence: Sequence) -> Frames:
    """Load a sequence; DataError when its frames and skips are not as many as its rows."""
    frames = sequence.load()
    n, lost = len(frames.numbers), sum(skip.row is not None for skip in frames.skips)
    count = len(frames.images.positions) if isinstance(frames.images, Video) else len(frames.images)
    if n + lost != sequence.rows or not n == count == len(frames.landmarks) == len(frames.labels):
        raise DataError(f"{sequence.subject} {sequence.task}: {sequence.rows} rows were found, but {n} frames and "
                        f"{lost} skipped ones were read; do the files change at this moment?")
    return frames


def digest_of(frames: Frames) -> str:
    """One name for what a sequence was read from: labels, landmarks, and each picture's path, size and time."""
    digest = hashlib.sha256()
    for array in (frames.numbers, frames.landmarks, frames.labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    for path in [frames.images.path] if isinstance(frames.images, Video) else frames.images:
        try:
            found = os.stat(path)
        except OSError:
            found = None
        digest.update(f"{os.path.abspath(path)} {found and (found.st_size, found.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def _decode(jobs: Iterator[_Job], size: int, workers: int, fast: bool):
    """(job, list of (face, landmarks) or reason) in the order of the jobs, with a few of them under way."""
    pool = None
    waiting: deque = deque()
    try:
        for job in jobs:
            images = job.frames.images
            chosen = slice(job.first, job.first + job.count)
            points = np.asarray(job.frames.landmarks[chosen], dtype=np.float32)
            if isinstance(images, Video):
                pictures = images.read(chosen) if job.count else []
                waiting.append((job, [_aligned(picture, p, size) for picture, p in zip(pictures, points, strict=True)]))
            elif workers == 1 or not job.count:
                waiting.append((job, align_files(images[chosen], points, size, fast, job.frames.seen)))
            else:
                pool = pool or ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _quiet_child)
                waiting.append((job, pool.submit(align_files, images[chosen], points, size, fast, job.frames.seen)))
            if len(waiting) > 2 * workers or pool is None:
                yield _result(*waiting.popleft())
        while waiting:
            yield _result(*waiting.popleft())
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _result(job: _Job, faces):
    try:
        return job, faces if isinstance(faces, list) else faces.result()
    except BrokenProcessPool as error:
        raise DataError(f"{job.file(0)}: a decoding process ended (is the memory full?); the same command goes on, "
                        "with fewer --workers if need be") from error


def _quiet_child() -> None:
    """In a worker: leave Ctrl-C to the parent, and end when the parent does, even by kill −9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def wait():
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def align_files(paths: list[Path], points: np.ndarray, size: int, fast: bool = False, seen: str | None = None) -> list:
    """Pictures and their (k, 49, 2) landmarks → k times (face (size, size, 3) uint8, landmarks) or a reason why not."""
    return [_aligned_file(path, p, size, fast, seen) for path, p in zip(paths, points, strict=True)]


def _aligned_file(path: Path, points: np.ndarray, size: int, fast: bool, seen: str | None):
    def smaller(sides):  # D37 fast decoding
        room = _room(points, size)
        return [int(np.ceil(side / room)) for side in sides]

    try:
        pixels, shrunk = read_picture(path, seen, smaller if fast else None)
    except PictureError as error:
        return str(error) if str(error) == NO_PICTURE else f"not readable as a picture ({error})"
    if shrunk == 1:
        return _aligned(pixels, points, size)
    return _aligned(pixels, (points + 0.5) / shrunk - 0.5, size)


def _room(points: np.ndarray, size: int) -> float:
    """How many source pixels there are for each aligned one, at least 1."""
    try:
        return max(1.0, 1 / np.linalg.norm(alignment(points, size)[0, :2]))
    except ValueError:
        return 1.0


def _aligned(picture: np.ndarray | str, points: np.ndarray, size: int):
    """(face, landmarks), or the reason why not; a ``picture`` that is a reason already stays one."""
    if isinstance(picture, str):
        return picture
    height, width = picture.shape[:2]
    inside = ((points >= -0.5) & (points < (width - 0.5, height - 0.5))).all(1).mean()
    if inside < 0.5:
        return f"landmarks outside the picture of {width} × {height} pixels"
    try:
        return align_face(picture, points, size)
    except ValueError as error:
        return str(error)


def _estimate(out: Path, sequences, frames: int, size: int, aus: int, workers: int, fast: bool, say) -> None:
    """Print what is ahead: frames, disk, hours. The speed is that of a few frames of the first usable sequence."""
    need = frames * (3 * size * size + 8 * NUM_LANDMARKS + aus + 20)
    folder = next(p for p in (out.absolute().parent, *out.absolute().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    line = f"{frames:,} frames to go at {size} px: {need / 1e9:.2f} GB of disk ({free / 1e9:.0f} GB free)"
    if need > free:
        raise DataError(f"{out}: {line}; free some space or choose another folder")
    job = next((job for job in _jobs(sequences, 0, 0, 8) if job.count), None)
    if job:
        started = time.monotonic()
        list(_decode(iter([job]), size, 1, fast))
        seconds = time.monotonic() - started
        if isinstance(job.frames.images, Video):
            seconds /= job.frames.images.positions[job.count - 1] + 1
        else:
            seconds /= job.count * workers
        line += f", about {frames * seconds / 3600:.2f} hours with {workers} process{'es' if workers > 1 else ''}"
    say(line)
