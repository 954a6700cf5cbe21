"""What the commands print goes anywhere: to a terminal, a notebook, a file, a pipe, an output of few characters."""

import errno
import os
import select
import sys
import unicodedata

from tqdm.auto import tqdm
from tqdm.std import tqdm as plain_tqdm

EVERY = 30.0
"""Seconds between two lines of a progress bar that goes into a file."""

UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Classes of characters that do something instead of being seen: move, colour, turn the direction of reading."""

JOINERS = "\u200c\u200d"
"""Of these classes, but letters of Persian and Hindi and parts of emoji are joined and kept apart by them."""


def plain(text: str) -> str:
    """One line in which every character is seen: a line break as \\n, a switch of direction as \\u202e."""
    return "".join(c if c in JOINERS or unicodedata.category(c) not in UNSEEN else
                   c.encode("unicode_escape").decode() for c in text)


class Lines(plain_tqdm):
    """A progress bar for files and logs: a line now and then and one at its end, none for what is soon done."""

    written: float | None = None  # when the last line was, or the beginning
    said: float | None = None  # how far the last line said that it is

    def display(self, msg=None, pos=None):
        """Write the bar as a line of its own, unless it began or wrote one a moment ago."""
        if self.written is None:
            self.written = self._time()
        if self._time() - self.written >= EVERY:
            self.write_line()

    def write_line(self):
        """Write the bar as it stands now."""
        self.fp.write(f"{self}\n")
        self.fp.flush()
        self.said, self.written = self.n, self._time()

    def close(self):
        """Write a last line, if there were others and it says more, and nothing else."""
        if not self.disable and self.said not in (None, self.n):
            self.write_line()
        self.delay = float("inf")  # tqdm then ends without lines of its own
        super().close()


def progress_bar(iterable=None, **options):
    """tqdm's bar in a notebook or a terminal, else :class:`Lines`; ``options`` are tqdm's."""
    in_notebook = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
    return (tqdm if in_notebook or on_terminal() else Lines)(iterable, **options)


def on_terminal() -> bool:
    """Whether bars go to a terminal, where they can move."""
    return sys.stderr is not None and sys.stderr.isatty()


def forgive_characters() -> None:
    """From now on a character that standard output or error cannot hold is replaced, and the work goes on."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in a notebook
            stream.reconfigure(errors="replace")


def is_broken_pipe(error: BaseException) -> bool:
    """Whether something was written that nobody reads; on Windows that is an invalid argument."""
    return isinstance(error, BrokenPipeError) or (
        os.name == "nt" and isinstance(error, OSError) and error.errno == errno.EINVAL)


def is_full_memory(error: BaseException) -> bool:
    """Whether there was no memory left, the machine's or a GPU's, of which PyTorch says it in other errors."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error))


def nobody_reads() -> bool:
    """Whether a write has failed because a reader of our output has gone, as after ``lorral … | head -1``."""
    return any(_closed(stream, failed=True) for stream in (sys.stdout, sys.stderr))


def drop_what_nobody_reads(failed: bool = False) -> bool:
    """Whether a reader of our output has gone; what is still to be written there is then dropped without a word.

    ``failed``: a write has failed, so look also where nothing waits to be written.
    """
    gone = [stream for stream in (sys.stdout, sys.stderr) if _closed(stream, failed)]
    for stream in gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(gone)


def full_output() -> str | None:
    """Why standard output cannot be written, though somebody would read it; what waits there is then dropped."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except ValueError:  # it was closed on our side
        pass
    except OSError as error:
        if not is_broken_pipe(error):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return error.strerror
    return None


def _closed(stream, failed: bool) -> bool:
    if stream is None:  # such as after >&-
        return False
    try:
        stream.flush()
    except OSError as error:
        return is_broken_pipe(error)
    except ValueError:  # it was closed on our side
        return False
    try:
        poll = select.poll()  # not on Windows
        poll.register(stream.fileno(), select.POLLERR)
        return failed and any(event & select.POLLERR for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # no file behind it
        return False
