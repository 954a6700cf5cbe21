"""Files of this project: how they are read and written, all or nothing, where the package's data lie, and DataError."""

import csv
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_origin

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

_PACKAGE = Path(__file__).resolve().parent


def data_file(*parts: str) -> Path:
    """Path of one file or folder of ``data``: ``data_file("protocol", "folds.json")``.

    A wheel carries ``data`` as ``lorral_lite/_data``; in a checkout (editable installation) it lies beside the
    package. Raises FileNotFoundError when it is in neither.
    """
    for root in (_PACKAGE / "_data", _PACKAGE.parent / "data"):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(
        f"{'/'.join(('data', *parts))} is missing: the installation is incomplete, install lorral-lite again"
    )


class DataError(ValueError):
    """Something in the reader's files is wrong: one line with the file, the row where there is one, and the remedy."""


# ------------------------------------------------------------------------------------------------ one writer at a time


@contextmanager
def only_one(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of ``folder``, a file beside it, while the body writes there; it goes with the process, however
    that ends. DataError when another process is ``what`` (preparing, training …) it. What an earlier one left half
    written is removed."""
    place = Path(os.path.realpath(folder))  # "." has a name too, and a link none of its own
    lock = FileLock(place.with_name(f".{place.name}.lock"), timeout=0)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise DataError(f"{folder}: another process is {what} it; let that end, or choose another folder") from None
    except (OSError, NotImplementedError) as error:  # the second: a disk that knows no locks
        raise DataError(f"{folder}: cannot be written ({reason(error)}); choose another folder") from error
    try:
        for left in folder.glob(".*.partial"):
            if left.is_file():
                left.unlink()
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink()  # while it is held: who waits for it looks at the name again
        lock.release()


# ------------------------------------------------------------------------------------------ nothing that stays behind


class Scratch(tempfile.TemporaryDirectory):
    """A temporary folder for what must not stay: only its owner sees inside, and it goes with this process, however
    that ends.

    A small process waits for the end of this one and removes the folder, after ``kill -9`` too. What a machine that
    stops leaves behind, a folder whose lock nobody holds, the next Scratch removes.
    """

    def __init__(self):
        owner = getattr(os, "getuid", int)()  # no numbers on Windows, where everybody has a temporary folder
        for left in Path(tempfile.gettempdir()).glob("lorral-*"):
            with suppress(OSError, Timeout, NotImplementedError):
                if left.lstat().st_uid == owner and (left / ".lock").exists():
                    with FileLock(left / ".lock", timeout=0):
                        shutil.rmtree(left, ignore_errors=True)
        super().__init__(prefix="lorral-", ignore_cleanup_errors=True)
        self._lock = FileLock(Path(self.name, ".lock"))
        self._lock.acquire()
        self._heir = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", HEIR, str(os.getpid()), self.name], start_new_session=True, cwd=os.sep,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def cleanup(self) -> None:
        """Remove the folder now."""
        self._lock.release()
        super().cleanup()
        self._heir.kill()
        self._heir.wait()


HEIR = """import os, shutil, sys, time
while os.getppid() == int(sys.argv[1]):
    time.sleep(0.2)
shutil.rmtree(sys.argv[2], ignore_errors=True)"""
"""What the small process does. (On Windows a parent that is gone keeps its number: the next Scratch removes there.)"""


def without_paths(text: str, *folders) -> str:
    """Text for files that go to others: a path inside one of ``folders`` or the current folder is seen from there, one
    inside this Python or this package from its top, and of every other absolute path only the last part stays."""
    own = {str(Path.home()): AWAY, tempfile.gettempdir(): AWAY, sys.prefix: "…/", str(_PACKAGE.parent): "…/"}
    known = own | {str(Path(folder).absolute()): "" for folder in (Path.cwd(), *folders)}

    def clean(piece: str) -> str:
        for place in sorted(known, key=len, reverse=True):  # by name: they may hold spaces, where patterns end
            if len(Path(place).parts) > 1:
                piece = re.sub(_BEFORE + re.escape(place) + r"[/\\]+", known[place], piece)
        return _ABSOLUTE.sub(r"…/\1", _QUOTED.sub(r"\1…/\2\1", piece))

    return "".join(map(clean, re.split(r"(\x1b\[[\d;]*m)", text)))  # the colours of a traceback touch its paths


def strip_logs(folder: Path) -> None:
    """When the jobs of a submitit folder have ended: keep what they said, without paths; what they were told goes."""
    for file in folder.glob("*"):
        with suppress(OSError, DataError):
            if file.suffix in (".out", ".err"):
                write_text(file, without_paths(file.read_text(encoding="utf8", errors="replace"), folder.parent))
            else:
                file.unlink()


AWAY = "\ue000/"
_BEFORE = r"(?:file://|(?<![\w./~…<)\]}])(?!//))"
_START = r"(?:/|[A-Za-z]:[/\\])"
_PART = r"[^\s/\\'\"<>|:;,()\[\]{}=]"
_QUOTED = re.compile(rf"(['\"]){_START}(?:[^'\"\n/\\]*[/\\]+)+([^'\"\n/\\]*)\1")
_ABSOLUTE = re.compile(rf"(?:{_BEFORE}{_START}(?:{_PART}+[/\\]+)|{AWAY})(?:{_PART}+[/\\]+)*({_PART}*)")


# ---------------------------------------------------------------------------------------------- files, all or nothing


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a hidden file beside ``path`` and rename it when complete; a failure leaves the old one."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")  # no two processes share it
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            temporary.unlink()
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be written ({why}); free some space or choose another folder") from error


def write_text(path: Path, text: str, private: bool = False) -> None:
    """Write text so that the file is either the old one or the new one, never half of it. ``private``: for its owner
    only."""
    def write(temporary: Path) -> None:
        temporary.touch(0o600 if private else 0o666)
        temporary.write_text(text, encoding="utf8", newline="")

    write_whole(path, write)


def write_json(path: Path, value, rows: bool = False) -> None:
    """Write a value as JSON, whole, as :func:`write_text` does; ``rows``: a list of numbers is one line."""
    text = json.dumps(value, indent=1)
    if rows:
        text = re.sub(r"\[[^][{}\"]*\]", lambda m: " ".join(m[0].split()), text)
    write_text(path, text + "\n")


def save_tensors(path: Path, tensors: dict, metadata: dict | None = None) -> None:
    """Write a safetensors file all or nothing, with ``metadata`` (JSON values) and a checksum of its numbers; a full
    disk is a DataError and the old file stays."""
    from safetensors.torch import save  # it imports torch, which most readers of files do without

    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    about = json.dumps({**(metadata or {}), "sha256": _checksum_of(tensors)}, sort_keys=True)
    write_whole(path, lambda temporary: temporary.write_bytes(save(tensors, {ABOUT: about})))


def load_tensors(path: Path) -> tuple[dict, dict]:
    """(tensors, metadata) of a safetensors file. Anything else, a pickle too, numbers that are not those written, not
    finite or absurdly large, are a DataError."""
    with _opened(path) as (file, metadata):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata.setdefault("sha256", there := _checksum_of(tensors)) != there:  # files of older versions have none
        raise DataError(f"{path}: its numbers are not those that were written; train again or restore it")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not (tensor.float().abs() < LARGEST_NUMBER).all():  # so is NaN
            raise DataError(f"{path}: {name} holds a number that is not finite, or absurdly large; train again or "
                            "restore it")
    return tensors, metadata


def read_metadata(path: Path) -> dict:
    """The metadata of a safetensors file alone, with the stated ``sha256`` of its numbers, which are not read."""
    with _opened(path) as (_, metadata):
        return metadata


@contextmanager
def _opened(path: Path) -> Iterator[tuple]:
    """(safetensors file, its metadata as one dict); whatever is wrong with it is a DataError."""
    try:
        check_file(path, LARGEST_TENSORS)
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            yield file, metadata | parse_json(metadata.pop(ABOUT, "{}"))
    except FileNotFoundError:
        raise DataError(f"{path}: missing; train it with `lorral train`") from None
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{path}: not a whole safetensors file ({reason(error)}); train again or restore it") from None


ABOUT = "about"
"""The one key of a safetensors file's own metadata, a JSON object: it writes several in no fixed order."""


def _checksum_of(tensors: dict) -> str:
    """Of names, types, shapes and bytes of CPU tensors, whatever their order."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def check_fit(path: Path, found: dict, wanted: dict, remedy: str) -> None:
    """DataError that names the first of the ``found`` tensors that is not one of ``wanted`` in name, shape and type."""
    for name, tensor in found.items():
        if name not in wanted:
            raise DataError(f"{path}: has {name}, which this model does not; {remedy}")
        for what, here, there in (("shape", tuple(tensor.shape), tuple(wanted[name].shape)),
                                  ("type", tensor.dtype, wanted[name].dtype)):
            if here != there:
                raise DataError(f"{path}: {name} has {what} {here}, this model needs {there}; {remedy}")


# ------------------------------------------------------------------------------- what the reader's files may hold


LARGEST_JSON, LARGEST_TENSORS = 64 << 20, 1 << 30
"""Bytes of a file that is read into memory at once: ours are far smaller."""
LARGEST_NUMBER = 1e9
"""No weight, momentum, logit or landmark comes near it; one flipped bit of an exponent does."""
MOST_SEED = 2**31 - 1
"""What every generator that a seed reaches can take."""
LONGEST_LINE = 1 << 20
"""Characters: a row of the widest table of another tool has some 30,000."""


def check_file(path: Path, most: float = math.inf) -> None:
    """ValueError unless ``path`` is a file (no pipe, no device) of at most ``most`` bytes; OSError when it is none."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is no file")
    if found.st_size > most:
        raise ValueError(f"{found.st_size:,} bytes, and at most {most:,} are read")


def parse_json(text: str):
    """What a JSON text says; ValueError where it is broken, nested without end, or a number in it is not finite."""
    try:
        return json.loads(text, parse_float=_finite, parse_int=_whole, parse_constant=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def _whole(text: str) -> int:
    value = int(text)
    _finite(text)  # larger ones are no number for who computes with them
    return value


def read_json(path: Path, remedy: str | None = None) -> dict:
    """A JSON file's object; a missing or broken file is a DataError, which ends with the ``remedy``."""
    try:
        value = parse_json(_text(path))
        if not isinstance(value, dict):
            raise ValueError("no JSON object")
        return value
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: missing; {remedy or f'is {path.parent} a run folder?'}") from None
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not readable as JSON ({reason(error)}); {remedy or 'restore it'}") from None


def read_log(path: Path) -> list[dict]:
    """The lines of a training log, numbers by their names, epoch and seconds among them; [] where there is none.
    DataError when a line says something else."""
    try:
        lines = [parse_json(line) for line in _text(path).splitlines() if line.strip()]
        for line in lines:
            check_log_line(line)
        return lines
    except FileNotFoundError:
        return []
    except (AttributeError, ValueError, OSError) as error:
        raise DataError(f"{path}: not readable as a training log ({reason(error)}); remove it") from None


def check_log_line(line: dict) -> None:
    """ValueError (or AttributeError) unless a line of a training log is numbers by their names, with all it needs."""
    wrong = {name: value for name, value in line.items() if not is_of(value, float | None)}
    if wrong or None in (line.get("epoch"), line.get("seconds")):
        raise ValueError(f"{wrong or line!r:.60}")


def _text(path: Path) -> str:
    check_file(path, LARGEST_JSON)
    return path.read_text(encoding="utf8")


def reason(error: Exception) -> str:
    """What is wrong, in a few words, without the path that an OSError repeats."""
    return " ".join(str(getattr(error, "strerror", None) or error).split())


def short_lines(file) -> Iterator[str]:
    """The lines of an open CSV; csv.Error at the first that is absurdly long, before it fills the memory."""
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise csv.Error(f"a line has more than {LONGEST_LINE:,} characters")
        yield line


def made_of(kind: type, values: dict, most: float = 2.0**63):
    """A dataclass from JSON values. TypeError names one that is not of its field's type, or no number below ``most``.
    """
    for field in fields(kind):
        if field.name in values and not is_of(values[field.name], field.type, most):
            raise TypeError(f"{field.name} is {values[field.name]!r:.40}")
    return kind(**values)


def is_of(value, kind, most: float = 2.0**63) -> bool:
    """Whether a value of JSON, or a dataclass made of some, is of an annotated type; a whole number is a float too."""
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(is_of(one, get_args(kind)[0], most) for one in value)
    if get_args(kind):
        return any(is_of(value, one, most) for one in get_args(kind))  # X | None
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool) and abs(value) < most  # nor is NaN
    return isinstance(value, kind)
