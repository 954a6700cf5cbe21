"""Frames of a video by their number, decoded one after another (needs PyAV: ``pip install av``)."""

from pathlib import Path

import numpy as np

from ..files import DataError


class Video:
    """Chosen frames of a video file. ``positions``: (n,) ascending, 0 is the first frame of the file.

    :meth:`read` is meant to be called with one slice of the positions after the other; going back starts anew.
    """

    def __init__(self, path: Path, positions):
        self.path, self.positions = Path(path), np.asarray(positions, dtype=int)
        if len(self.positions) and (self.positions[0] < 0 or (np.diff(self.positions) <= 0).any()):
            raise ValueError(f"{path}: positions must be ascending and not negative")
        self._stream, self._next = None, 0

    def read(self, rows: slice) -> list:
        """A picture (H, W, 3) uint8 for each position of ``rows``, or the reason why there is none."""
        found = []
        for position in self.positions[rows]:
            if self._stream is None or position < self._next:
                self.close()
                self._stream, self._next, self._end = _pictures(self.path), 0, None
            picture = None
            while self._end is None and self._next <= position:
                try:
                    picture = next(self._stream)
                    self._next += 1
                except StopIteration:
                    self._end = f"the video ends after {self._next} frames"
                except DataError:
                    raise
                except Exception as error:  # PyAV raises many kinds on broken files
                    self._end = f"the video cannot be decoded after {self._next} frames ({one_line(error)})"
            found.append(self._end if picture is None else picture.to_ndarray(format="rgb24"))
        return found

    def close(self) -> None:
        """Let go of the file."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None


def _pictures(path: Path):
    """The decoded frames of the first video stream."""
    av = _av()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield from container.decode(stream)


def _av():
    try:
        import av
    except ImportError:
        raise DataError("reading videos needs PyAV: install it with `pip install av`, or extract the frames as "
                        "pictures") from None
    return av


def one_line(error: Exception) -> str:
    """What an error says, or its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
