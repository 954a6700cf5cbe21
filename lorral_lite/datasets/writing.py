"""The writer of prepared folders (their format: :mod:`lorral_lite.datasets.prepared`).

A folder is written beside its final place and renamed when it is complete, so a half-written one never looks whole.
"""

import csv
import hashlib
import io
import itertools
import json
import os
import re
import shutil
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

from ..facs import check_aus
from ..files import DataError, only_one, read_json
from ..landmarks import NUM_LANDMARKS
from ..output import plain
from .people import check_people

FORMAT_VERSION = 1
SKIPPED = b"file,row,reason\r\n"
ARRAYS = {"frames.npy": np.uint8, "landmarks.npy": np.float32, "labels.npy": np.int8}


class PreparedWriter:
    """Appends frames to a prepared folder in constant memory; use as a context manager.

    ``with PreparedWriter(out, size, aus, meta) as w: w.append(index, frames, landmarks, labels)``, a block of frames at
    a time, ``index`` one (subject, task, frame) each. Frames that could not be used go to :meth:`skip`.

    On an exception nothing is left. With ``resume`` (any JSON value that says what is being made) the beginning stays
    beside ``out`` instead, and a later writer with the same ``resume``, size, AUs and meta goes on at the last
    :meth:`checkpoint`, whose ``state`` it finds in ``self.state`` (None at the start). The bytes do not depend on the
    blocks or on interruptions. An existing ``out``, a full or read-only disk, or the beginning of something else are a
    DataError.
    """

    def __init__(self, out, size: int, aus, meta: dict, resume=None):
        self.out, self.size, self.aus, self.meta = Path(out), size, check_aus(aus), dict(meta)
        self._check_free()
        self.partial = self.out.with_name(f".{self.out.name}.partial")
        self.keep, self.state = resume is not None, None
        asked = {"version": FORMAT_VERSION, "size": size, "aus": self.aus, "meta": self.meta, "resume": resume}
        self.asked = json.loads(json.dumps(asked))
        shapes = [(size, size, 3), (NUM_LANDMARKS, 2), (len(self.aus),)]
        self.shapes = dict(zip(ARRAYS, shapes, strict=True))

    def __enter__(self):
        self.alone = ExitStack()
        self.alone.enter_context(only_one(self.out, "preparing"))
        try:
            return self._begin()
        except BaseException:
            self.alone.close()
            raise

    def _check_free(self) -> None:
        if self.out.exists():
            if (self.out / "meta.json").exists():  # whole, but a kill may have come before its journal went
                (self.out / "journal.json").unlink(missing_ok=True)
            raise DataError(f"{self.out}: exists already; remove it or choose another folder")
        if self.out.is_symlink():
            raise DataError(f"{self.out}: a link to a folder that is not there; name that folder, or "
                            "remove the link")

    def _begin(self):
        self._check_free()  # another process may have finished meanwhile
        with self._clear_errors():
            sizes = self._journal()
            if sizes is not None and not (self.partial / "skipped.csv").exists():
                (self.partial / "skipped.csv").write_bytes(SKIPPED)  # it goes when a folder is finished without a skip
            for name, size in (sizes or {}).items():
                if not (self.partial / name).exists() or (self.partial / name).stat().st_size < size:
                    raise DataError(f"{self.partial / name}: shorter than its journal says; remove {self.partial} and "
                                    "give the same command again")
            if sizes is None:
                shutil.rmtree(self.partial, ignore_errors=True)
            if self.meta.get("licensed", False) is not False:
                keep_private(self.partial)
            self.partial.mkdir(parents=True, exist_ok=True)
            self.files = {}
            for name in (*ARRAYS, "index.csv", "skipped.csv"):
                file = open(self.partial / name, "wb" if sizes is None else "r+b")  # noqa: SIM115 - until the end
                self.files[name] = self.alone.enter_context(file)
                self.files[name].truncate(sizes[name] if sizes else 0)
                self.files[name].seek(0, os.SEEK_END)
            if sizes is None:
                for name in ARRAYS:
                    self.files[name].write(self._header(name, 0))
                self._lines("index.csv", [("subject", "task", "frame")])
                self.files["skipped.csv"].write(SKIPPED)
        return self

    def append(self, index, frames, landmarks, labels) -> None:
        """Add a block: k (subject, task, frame), (k, S, S, 3) frames, (k, 49, 2) landmarks, (k, A) labels."""
        with self._clear_errors():
            for name, block in zip(ARRAYS, (frames, landmarks, labels), strict=True):
                block = np.asarray(block).astype(ARRAYS[name], copy=False)
                if block.shape != (len(index), *self.shapes[name]):
                    raise ValueError(f"{name}: a block of {len(index)} frames has shape {block.shape}")
                self.files[name].write(np.ascontiguousarray(block).data)
            self._lines("index.csv", index)

    @property
    def rows(self) -> int:
        """How many frames are written."""
        return (self.files["labels.npy"].tell() - len(self._header("labels.npy", 0))) // len(self.aus)

    def skip(self, rows) -> None:
        """Add (file, row, reason) lines to skipped.csv."""
        with self._clear_errors():
            self._lines("skipped.csv", rows)

    def checkpoint(self, state) -> None:
        """Promise that everything up to now is on the disk; ``state`` (any JSON value) says where to go on."""
        with self._clear_errors():
            for file in self.files.values():
                file.flush()
                os.fsync(file.fileno())
            sizes = {name: file.tell() for name, file in self.files.items()}
            journal = self.partial / "journal.json"
            fresh = journal.with_name("journal.new")
            journal_of = {"asked": self.asked, "sizes": sizes, "state": state}
            fresh.write_text(json.dumps({**journal_of, "sha256": _digest(journal_of)}), encoding="utf8")
            os.replace(fresh, journal)

    def __exit__(self, kind, error, trace) -> None:
        finished = False
        try:
            if kind is None:
                with self._clear_errors():
                    self._finish()
                    finished = True
        finally:
            for file in self.files.values():
                with suppress(OSError):  # closing may write once more to a full disk
                    file.close()
            if not finished and not self.keep:
                shutil.rmtree(self.partial, ignore_errors=True)
            self.alone.close()

    def _journal(self) -> dict | None:
        """Sizes of the files at the last checkpoint; None when there is nothing to go on from."""
        if not (self.partial / "journal.json").exists():
            return None
        journal = read_json(self.partial / "journal.json", "remove that folder and give the same command again")
        if journal.pop("sha256", None) != _digest(journal):
            raise DataError(f"{self.partial / 'journal.json'}: not what was written there; remove {self.partial} and "
                            "give the same command again")
        if journal["asked"] != self.asked:
            raise DataError(f"{self.partial}: the beginning of another preparation is there (other options, or the "
                            "source changed); remove that folder, or repeat the command that made it")
        self.state = journal["state"]
        return journal["sizes"]

    def _header(self, name: str, rows: int) -> bytes:
        """The .npy header, as long for any number of rows."""
        shape = {"descr": np.dtype(ARRAYS[name]).str, "fortran_order": False, "shape": (rows, *self.shapes[name])}
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, shape)
        return header.getvalue()

    def _lines(self, name: str, rows) -> None:
        text = io.StringIO()
        csv.writer(text).writerows([[as_cell(value) for value in row] for row in rows])
        self.files[name].write(text.getvalue().encode("utf8", "backslashreplace"))  # names of files need not be text

    def _read(self, name: str):
        """The lines of a finished CSV after its header, one at a time."""
        with open(self.partial / name, newline="", encoding="utf8") as file:
            for row in itertools.islice(csv.reader(file), 1, None):
                yield [from_cell(cell) for cell in row]

    @contextmanager
    def _clear_errors(self):
        try:
            yield
        except OSError as error:
            rest = "free some space and repeat the command: it goes on from there" if self.keep else "nothing was kept"
            why = error.strerror or error
            raise DataError(f"{self.out}: cannot be written ({why}); choose another folder, or {rest}") from error

    def _finish(self) -> None:
        rows = self.rows
        skipped = self.files["skipped.csv"].tell() > len(SKIPPED)
        for name in ARRAYS:
            self.files[name].seek(0)
            self.files[name].write(self._header(name, rows))
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()  # Windows renames no folder whose files are open
        if not rows:
            reason = ""
            if skipped:
                reason = "; the first one left out is {} {}: {}".format(*next(self._read("skipped.csv")))
            shutil.rmtree(self.partial, ignore_errors=True)
            raise DataError(f"{self.out}: there are no frames to write{reason}")
        people = {row[0]: "a subject" for row in self._read("index.csv")}
        check_people(self.out, people, self.meta.get("distinct", []), 'say so in its meta: "distinct": [["A", "B"]]')
        labels = np.load(self.partial / "labels.npy")
        names = [*ARRAYS, "index.csv", *(["skipped.csv"] if skipped else [])]
        meta = {
            "format_version": FORMAT_VERSION,
            "licensed": False,
            **self.meta,
            "aus": list(self.aus),
            "size": self.size,
            "frames": rows,
            "subjects": len(people),
            "skipped": sum(1 for row in self._read("skipped.csv") if row[1]) if skipped else 0,
            "positives": (labels == 1).sum(0).tolist(),
            "unknown": (labels == -1).sum(0).tolist(),
            "sha256": {name: checksum(self.partial / name) for name in names},
        }
        (self.partial / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf8")
        self._check_free()
        if not skipped:
            (self.partial / "skipped.csv").unlink()
        os.replace(self.partial, self.out)
        (self.out / "journal.json").unlink(missing_ok=True)  # last: until now the same command goes on


FORMULA = r"'*[=+\-@\t\r\n＝＋－＠]"
"""What a spreadsheet would compute begins so; and with apostrophes before it, so that what was written is read back."""
_CELL_START = "(?<![^;])"  # in many countries a semicolon ends a cell


def as_cell(value):
    """A cell of a CSV that is text for a spreadsheet too: an apostrophe stands before what would be a formula."""
    return re.sub(f"{_CELL_START}(?={FORMULA})", "'", value) if isinstance(value, str) else value


def from_cell(text: str) -> str:
    """What :func:`as_cell` was given."""
    return re.sub(f"{_CELL_START}'(?={FORMULA})", "", text)


def check_names(where, names) -> None:
    """DataError for a name with characters that are not seen, such as a line break or a switch of direction."""
    for name in names:
        if plain(name) != name:
            raise DataError(f"{where}: the name {plain(name)} holds a character that is not seen, written here with a "
                            "backslash; rename it")


def keep_private(folder: Path) -> None:
    """Make a folder for what comes from licensed faces, or make one so: only its owner sees inside, and git ignores
    it wherever it lies. DataError when it cannot be written."""
    mark = folder / ".gitignore"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        lines = mark.read_text(encoding="utf8").splitlines() if mark.exists() else []
        if lines[-1:] != ["*"]:
            mark.write_text("\n".join([*lines, "*", ""]), encoding="utf8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{folder}: cannot be written and kept private ({why}); free some space or choose another "
                        "folder") from error


def is_marked(folder: Path) -> bool:
    """Whether :func:`keep_private` was here: the faces were licensed once, whatever other files say now."""
    try:
        return "*" in (folder / ".gitignore").read_text(encoding="utf8", errors="replace").splitlines()
    except OSError:
        return False


def _digest(value) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
