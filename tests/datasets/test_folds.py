"""Folds: every subject tests once, none is ever in train and test, the published parts are used for BP4D and DISFA."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorral_lite.datasets.folds import fold_rows, fold_table, hold_out, protocol_parts, subject_parts
from lorral_lite.files import DataError


class Folder:
    """As much of a prepared folder as folds look at."""

    path, same_faces = Path("somewhere"), ()

    def __init__(self, subjects, source="faces"):
        self.subjects, self.meta = np.array(subjects), {"source": source}


@st.composite
def cohorts(draw):
    """(folder, its subjects, number of folds): people of anybody or all of a published set, with rows in any order."""
    source = draw(st.sampled_from(["faces", "bp4d", "disfa"]))
    names = [name for part in protocol_parts(source) or [] for name in part]
    names = names or [f"P{i}" for i in range(draw(st.integers(4, 60)))]
    return Folder(draw(st.permutations(names * 2)), source), names, draw(st.integers(2, min(len(names), 10)))


@given(cohorts(), st.integers(0, 99))
def test_no_subject_is_in_two_folds(cohort, seed):
    """Every fold of every k keeps train, held-out and test apart, and each subject is tested once."""
    folder, names, k = cohort
    tested = []
    for fold in range(1, k + 1):
        train, test = fold_rows(folder, fold, k, seed)
        rest, held = hold_out(folder, train, seed=seed)
        assert sorted([*rest, *held, *test]) == list(range(2 * len(names)))
        groups = [set(folder.subjects[rows]) for rows in (rest, held, test)]
        assert all(groups)
        assert sum(map(len, groups)) == len(set.union(*groups)) == len(names)
        tested += groups[2]
    assert sorted(tested) == sorted(names)


def test_three_folds_of_bp4d_and_disfa_are_the_published_ones():
    for source in ("bp4d", "disfa"):
        parts = protocol_parts(source)
        folder = Folder([name for part in parts for name in part], source)
        for fold, part in ((1, 3), (2, 2), (3, 1)):
            assert sorted(set(folder.subjects[fold_rows(folder, fold)[1]])) == sorted(parts[part - 1])
        assert sorted(set(folder.subjects[fold_rows(folder, 1, k=2)[1]])) != sorted(parts[2])


def test_the_table_of_fold_numbers():
    lines = fold_table().splitlines()
    assert "DISFA part 1: 9 subjects, --frames all 43,604, --frames jaa 43,173" in lines
    folder = Folder([f"F{n:03d}" for n in range(1, 24)] + [f"M{n:03d}" for n in range(1, 19)], "bp4d")
    for fold, part in ((1, 3), (2, 2), (3, 1)):  # what the table says of this project is what fold_rows does
        title = next(k for k, line in enumerate(lines) if line.startswith(f"BP4D part {part}:"))
        assert lines[title + 1].split() == sorted(folder.subjects[fold_rows(folder, fold)[1]])


def test_the_page_about_the_data_has_the_same_table():
    page = (Path(__file__).parents[2] / "data" / "README.md").read_text(encoding="utf8")
    for line in fold_table().splitlines()[:4]:
        assert f"| {' | '.join(re.split('  +', line))} |" in page


def test_parts_are_even_and_depend_on_the_seed():
    names = [f"P{i:02d}" for i in range(41)]
    assert sorted(len(p) for p in subject_parts(names)) == [13, 14, 14]
    assert subject_parts(names, seed=1) == subject_parts(list(reversed(names)), seed=1)
    assert subject_parts(names, seed=1) != subject_parts(names, seed=2)


@pytest.mark.parametrize(("source", "sizes"), [("bp4d", [14, 14, 13]), ("disfa", [9, 9, 9])])
def test_published_parts(source, sizes):
    parts = protocol_parts(source)
    assert [len(part) for part in parts] == sizes
    assert len(set().union(*parts)) == sum(sizes)


def test_bad_requests():
    with pytest.raises(ValueError, match="2 subjects cannot be cut into 3 parts"):
        fold_rows(Folder(["a", "b"]), 1)
    with pytest.raises(DataError, match=r"one person \(ann\): nobody would be left to test on"):
        fold_rows(Folder(["ann", "ann"]), 1)
    with pytest.raises(ValueError, match="fold must be 1 to 3, got 4"):
        fold_rows(Folder(["a", "b", "c"]), 4)
    with pytest.raises(DataError, match="subject F099 is in no published fold"):
        fold_rows(Folder(["F001", "F003", "F004", "F099"], "bp4d"), 1)
    with pytest.raises(DataError, match="fold 1 has no test subject"):
        fold_rows(Folder(["F001"], "bp4d"), 1)
