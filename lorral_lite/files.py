"""Files of this project: how they are read and written, all or nothing, where the package's data lie, and DataError."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise DataError(f"{folder}: another process is {what} it; let that end, or choose another folder") from None
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        for left in folder.glob(".*.partial"):
            if left.is_file():
                left.unlink()
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink()  # while it is held: who waits for it looks at the name again
        lock.release()


# ---------------------------------------------------------------------------------------------- files, all or nothing


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a hidden file beside ``path`` and rename it when complete; a failure leaves the old one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")  # no two processes share it
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            temporary.unlink()
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be written ({why}); free some space or choose another folder") from error


def write_text(path: Path, text: str) -> None:
    """Write text so that the file is either the old one or the new one, never half of it."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf8", newline=""))


def write_json(path: Path, value) -> None:
    """Write a value as JSON, whole, as :func:`write_text` does."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def save_tensors(path: Path, tensors: dict, metadata: dict | None = None) -> None:
    """Write a safetensors file all or nothing, with ``metadata`` (JSON values) and a checksum of its numbers; a full
    disk is a DataError and the old file stays."""
    from safetensors.torch import save  # it imports torch, which most readers of files do without

    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    about = json.dumps({**(metadata or {}), "sha256": _checksum_of(tensors)}, sort_keys=True)
    write_whole(path, lambda temporary: temporary.write_bytes(save(tensors, {ABOUT: about})))


def load_tensors(path: Path) -> tuple[dict, dict]:
    """(tensors, metadata) of a safetensors file. Anything else, a pickle too, numbers that are not those written, or
    not finite, are a DataError."""
    with _opened(path) as (file, metadata):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata.setdefault("sha256", there := _checksum_of(tensors)) != there:  # files of older versions have none
        raise DataError(f"{path}: its numbers are not those that were written; train again or restore it")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise DataError(f"{path}: {name} holds a number that is not finite; train again or restore it")
    return tensors, metadata


def read_metadata(path: Path) -> dict:
    """The metadata of a safetensors file alone, with the stated ``sha256`` of its numbers, which are not read."""
    with _opened(path) as (_, metadata):
        return metadata


@contextmanager
def _opened(path: Path) -> Iterator[tuple]:
    """(safetensors file, its metadata as one dict); whatever is wrong with it is a DataError."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            yield file, metadata | json.loads(metadata.pop(ABOUT, "{}"))
    except FileNotFoundError:
        raise DataError(f"{path}: missing; train it with `lorral train`") from None
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a whole safetensors file ({error}); train again or restore it") from None


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


def read_json(path: Path) -> dict:
    """A JSON file's content; a missing or broken file is a DataError."""
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        raise DataError(f"{path}: missing; is {path.parent} a run folder?") from None
    except (ValueError, OSError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON ({error})") from None
