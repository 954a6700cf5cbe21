"""Frames of a video by their number, decoded one after another (needs PyAV: ``pip install av``)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import DataError
from ..pictures import TURNS, UPRIGHT, Look, upright

MOST_PLACEHOLDER = 16
"""Bytes of a packet that may stand for no frame: some encoders mark a repeated one so."""

ASKEW = "is neither stored upright nor turned by right angles"

UNSHOWN = ("vp8",)
"""Codecs with packets that are never shown."""


class VideoLook(NamedTuple):
    """A video without its pixels. ``frames`` is counted; ``rates`` are the frames a second that its header tells."""

    look: Look
    frames: int
    rates: tuple[float, ...]


class Video:
    """Chosen frames of a video file. ``positions``: (n,) ascending, 0 is the first frame of the file. ``seen``:
    "upright" or "stored", needed where the video says that it is turned.

    :meth:`read` is meant to be called with one slice of the positions after the other; going back starts anew.
    """

    def __init__(self, path: Path, positions, seen: str | None = None):
        self.path, self.positions, self.seen = Path(path), np.asarray(positions, dtype=int), seen
        if len(self.positions) and (self.positions[0] < 0 or (np.diff(self.positions) <= 0).any()):
            raise ValueError(f"{path}: positions must be ascending and not negative")
        self._stream, self._next = None, 0

    def read(self, rows: slice) -> list:
        """A picture (H, W, 3) uint8 for each position of ``rows``, or the reason why there is none.

        After a frame that is lost nothing is read: which frame the next one is, nobody knows.
        """
        found = []
        for position in self.positions[rows]:
            if self._stream is None or position < self._next:
                _av()
                self.close()
                self._stream, self._next, self._end = _pictures(self.path), 0, None
            frame = None
            while self._end is None and self._next <= position:
                try:
                    frame = next(self._stream)
                    self._next += 1
                except StopIteration:
                    self._end = f"the video ends after {self._next} frames"
                except _LostError:
                    self._end = f"the video is broken: frame {self._next + 1} is lost"
                except DataError as error:
                    self._end = str(error).removeprefix(f"{self.path}: ")
                except Exception as error:  # PyAV raises many kinds on broken files
                    self._end = f"the video cannot be decoded after {self._next} frames ({one_line(error)})"
            found.append(self._end if frame is None else self._picture(frame))
        return found

    def _picture(self, frame) -> np.ndarray | str:
        orientation = _orientation(frame)
        if frame.is_corrupt:
            return f"frame {self._next} of the video is broken"
        if orientation not in TURNS:
            return f"the video {ASKEW}"
        if orientation != 1 and self.seen is None:
            return f"the video is stored turned (as EXIF orientation {orientation})"
        pixels = frame.to_ndarray(format="rgb24")
        return upright(pixels, orientation) if self.seen == UPRIGHT else pixels

    def close(self) -> None:
        """Let go of the file."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None


def look_at_video(path: Path) -> VideoLook:
    """What a video says of itself, and how many frames it holds, without decoding more than one; else a DataError."""
    try:
        with _opened(path) as (container, stream):
            rates = tuple(float(rate) for rate in (stream.average_rate, stream.base_rate, stream.guessed_rate) if rate)
            packets = [(packet.dts, packet.is_discard) for packet in container.demux(stream) if packet.size]
            counted = sum(1 for _, discarded in packets if not discarded)
            last = max((time for time, _ in packets if time is not None), default=0)
            lost = stream.frames - 1 - last if "avi" in container.format.name else 0  # an AVI counts time in frames
        with _opened(path) as (container, stream):
            frame = next(container.decode(stream), None)
            if frame is None:
                raise DataError(f"{path}: no frame of the video can be decoded; copy it again")
            look = Look(frame.width, frame.height, _orientation(frame))
    except DataError:
        raise
    except Exception as error:  # PyAV raises many kinds on broken files
        raise DataError(f"{path}: not readable as a video ({one_line(error)}); copy it again") from None
    if look.orientation not in TURNS:
        raise DataError(f"{path}: {ASKEW}; write its frames as pictures and let the tool see those")
    if lost > 0:
        raise DataError(f"{path}: the video is broken, {lost} of its frames are lost, and nobody can tell which; copy "
                        "it again")
    return VideoLook(look, counted, rates)


class _LostError(Exception):
    """A packet of the video gave no frame."""


def _pictures(path: Path) -> Iterator:
    """The decoded frames of the video; a frame that is lost ends them with a _LostError."""
    with _opened(path) as (container, stream):
        whole = stream.codec_context.name not in UNSHOWN
        waiting: list[int] = []  # times of packets whose frames have not come yet
        started = False
        for packet in container.demux(stream):
            counts = packet.size > MOST_PLACEHOLDER and packet.pts is not None and not packet.is_discard
            if whole and counts and (started or packet.is_keyframe):
                waiting.append(packet.pts)
            for frame in packet.decode():
                if frame.pts is not None:
                    lost = any(time < frame.pts for time in waiting)
                    waiting = [time for time in waiting if time > frame.pts]
                    if lost:
                        raise _LostError
                started = True
                yield frame


@contextmanager
def _opened(path: Path):
    """(container, its one video stream); a DataError where there is none, or several."""
    av = _av()
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: it is no file; name the video itself")
    with av.open(str(path)) as container:
        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams:
            raise DataError(f"{path}: has no pictures, only sound; name the video itself")
        if len(streams) > 1:
            raise DataError(f"{path}: holds {len(streams)} videos; save the one that the tool saw as a file of its own")
        streams[0].thread_type = "AUTO"
        yield container, streams[0]


def _orientation(frame) -> int:
    """Of a decoded frame, as EXIF counts, from its display matrix; 0 when that is none of them."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5] / 65536  # x' = ax + cy, y' = bx + dy
            return next((number for number, turn in TURNS.items() if np.allclose((a, b, c, d), _matrix(*turn))), 0)
    return 1


def _matrix(swap: int, flip_x: int, flip_y: int) -> tuple[int, int, int, int]:
    x, y = 1 - 2 * flip_x, 1 - 2 * flip_y
    return (0, y, x, 0) if swap else (x, 0, 0, y)


def _av():
    try:
        import av
    except ImportError:
        raise DataError("reading videos needs PyAV: install it with `pip install av`, or extract the frames as "
                        "pictures") from None
    return av


def one_line(error: Exception) -> str:
    """What an error says, or its kind where it says nothing."""
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
