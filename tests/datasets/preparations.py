"""What tests of several sources share: preparing quietly, what was skipped, and whether a folder holds the truth."""

import csv
from pathlib import Path

import numpy as np

from lorral_lite.datasets.bp4d import bp4d
from lorral_lite.datasets.disfa import disfa
from lorral_lite.datasets.preparing import prepare_sequences
from lorral_lite.landmarks import alignment, transform

SIZE = 48
SOURCES = {"bp4d": bp4d, "disfa": disfa}
QUIET = {"workers": 1, "progress": False, "say": lambda line: None}


def prepare(name, root, out, size=SIZE, strict=False, **choices):
    source = SOURCES[name](root, **choices)
    return prepare_sequences(out, root, source.sequences, size, source.aus, source.meta, strict=strict, **QUIET)


def skipped(folder) -> list[tuple[str, str, str]]:
    """(file, row, reason), and on the way the check that totals add up."""
    if not (folder.path / "skipped.csv").exists():
        return []
    with open(folder.path / "skipped.csv", newline="", encoding="utf8") as file:
        header, *lines = [tuple(line) for line in csv.reader(file)]
    assert header == ("file", "row", "reason")
    assert folder.meta["skipped"] == sum(line[1] != "" for line in lines)
    return lines


def assert_same_as(made, folder, frames=None):
    """Index, labels and landmarks of a prepared folder are those that the stand-in was made of (``frames`` of them)."""
    rows = np.arange(len(made.index)) if frames is None else np.flatnonzero(frames)
    assert [*zip(folder.subjects, folder.tasks, folder.frames.tolist(), strict=True)] == [made.index[k] for k in rows]
    np.testing.assert_array_equal(folder.labels, made.labels[rows])
    for row, k in enumerate(rows):
        if made.tracked[k]:
            expected = transform(made.landmarks[k], alignment(made.landmarks[k], SIZE))
            np.testing.assert_allclose(folder.landmarks[row], expected, atol=1e-3)


def rename_files(root: Path, pattern: str, new_name) -> None:
    """Give every path below ``root`` that matches ``pattern`` the name that ``new_name(path)`` says."""
    for path in sorted(root.rglob(pattern), reverse=True):
        path.rename(path.with_name(new_name(path)))


def edit(path: Path, line: int, column: int, value: str) -> None:
    """Change one cell of a CSV file."""
    rows = [row.split(",") for row in path.read_text().splitlines()]
    rows[line - 1][column] = value
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)
