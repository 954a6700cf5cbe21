"""Subject-exclusive folds: no subject is ever in both train and test.

A data set is cut into k parts of subjects. Fold f trains on all parts but one and tests on part k + 1 − f, the
numbering of ME-GraphAU: fold 1 of BP4D and DISFA trains on parts 1 and 2 and tests on part 3. Other codes number the
same three parts differently; :func:`fold_table` has them side by side.
"""

import json

import numpy as np

from ..files import DataError, data_file
from .people import shown, two_of
from .prepared import PreparedFolder


def subject_parts(subjects, k: int = 3, seed: int = 0) -> list[list[str]]:
    """The distinct subjects, shuffled by ``seed`` and dealt into k parts of nearly equal size."""
    names = sorted({str(s) for s in subjects})
    if len(names) < 2:
        raise DataError(f"one person ({shown(''.join(names))}): nobody would be left to test on; prepare the tables of "
                        "two people or more together")
    if not 2 <= k <= len(names):
        raise ValueError(f"{len(names)} subjects cannot be cut into {k} parts: choose 2 to {len(names)}")
    order = np.random.default_rng(seed).permutation(len(names))
    return [sorted(names[i] for i in order[part::k]) for part in range(k)]


def protocol_parts(source: str) -> list[list[str]] | None:
    """The published three parts of ``bp4d`` or ``disfa`` (data/protocol/folds.json); None for any other source."""
    return [_table()[source][str(part)] for part in (1, 2, 3)] if source in ("bp4d", "disfa") else None


def fold_table() -> str:
    """The three parts with their subjects, and which fold of which public code tests which part, as plain text."""
    table, golden = _table(), _table("golden_counts.json")
    codes = table["tested by fold"]
    width = max(map(len, codes))
    lines = ["Tested part".ljust(width) + "  1       2       3"]
    lines += [name.ljust(width) + "".join(f"  {fold:6}" for fold in folds) for name, folds in codes.items()]
    for source in ("bp4d", "disfa"):
        for p, names in enumerate(protocol_parts(source)):
            counts = ", ".join(f"--frames {rule} {numbers[p]:,}" for rule, numbers in golden[source]["frames"].items())
            lines.append(f"{source.upper()} part {p + 1}: {len(names)} subjects, {counts}\n  {' '.join(names)}")
    return "\n".join([*(line.rstrip() for line in lines), *table["notes"]])


def _table(name: str = "folds.json") -> dict:
    return json.loads(data_file("protocol", name).read_text(encoding="utf8"))


def fold_rows(folder: PreparedFolder, fold: int, k: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training and of the test subjects of fold 1 … k, both ascending.

    BP4D and DISFA use the published parts when k is 3 (D66); any other source or k is dealt by :func:`subject_parts`.
    A subject of BP4D or DISFA that is in no published part is a DataError, and so is a face that a test person and a
    training person have in common, byte for byte: they are one person, or one picture was taken for another.
    """
    parts = (protocol_parts(folder.meta["source"]) if k == 3 else None) or subject_parts(folder.subjects, k, seed)
    if not 1 <= fold <= len(parts):
        raise ValueError(f"fold must be 1 to {len(parts)}, got {fold}")
    stray = set(folder.subjects) - {name for part in parts for name in part}
    if stray:
        raise DataError(f"{folder.path / 'index.csv'}: subject {min(stray)} is in no published fold; leave it out")
    test = np.isin(folder.subjects, parts[len(parts) - fold])
    train_rows, test_rows = np.flatnonzero(~test), np.flatnonzero(test)
    for name, rows in (("training", train_rows), ("test", test_rows)):
        if not len(rows):
            raise DataError(f"{folder.path}: fold {fold} has no {name} subject; prepare more subjects")
    _check_unseen(folder, test)
    return train_rows, test_rows


def _check_unseen(folder: PreparedFolder, test: np.ndarray) -> None:
    """DataError when a face of a test person is also there under the name of a training person; ``test``: (N,) bool."""
    split = [rows for rows in folder.same_faces if 0 < test[rows].sum() < len(rows)]
    if split:
        rows = split[0]
        pair = two_of((rows[test[rows]][0], rows[~test[rows]][0]), folder.subjects)
        raise DataError(f"{folder.path / 'index.csv'}: {sum(test[rows].sum() for rows in split):,} test faces are byte "
                        f"for byte those of training people, such as {pair}; give one name to one person, or leave one "
                        "of the pictures out, and prepare again")


def hold_out(folder: PreparedFolder, rows: np.ndarray, seed: int = 0):
    """Split training rows by subject into (rest, a held-out fifth), for choosing an epoch without the test fold."""
    names = sorted(set(folder.subjects[rows]))
    count = max(1, round(len(names) / 5))
    if count >= len(names):
        raise ValueError(f"cannot hold out {count} of {len(names)} training subjects")
    held = np.random.default_rng(seed).choice(names, count, replace=False)
    inside = np.isin(folder.subjects[rows], held)
    return rows[~inside], rows[inside]
