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

    path = Path("somewhere")

    def __init__(self, subjects, source="faces"):
        self.subjects, self.meta = np.array(subjects), {"source": source}


@given(st.integers(2, 60).flatmap(lambda count: st.tuples(st.just(count), st.integers(2, min(count, 10)))),
       st.integers(0, 99))
def test_no_subject_is_in_two_folds(counts, seed):
    """Any number of subjects, any number of folds up to theirs (10 at most)."""
    count, k = counts
    folder = Folder([f"P{i % count}" for i in range(3 * count)])
    tested = []
    for fold in range(1, k + 1):
        train, test = fold_rows(folder, fold, k, seed)
        assert not set(folder.subjects[train]) & set(folder.subjects[test])
        assert sorted([*train, *test]) == list(range(3 * count))
        tested += sorted(set(folder.subjects[test]))
        rest, held = hold_out(folder, train, seed=seed) if len(set(folder.subjects[train])) > 1 else (train, test)
        assert not set(folder.subjects[rest]) & set(folder.subjects[held])
    assert sorted(tested) == sorted({f"P{i}" for i in range(count)})


@given(st.sampled_from(["bp4d", "disfa"]), st.integers(2, 6), st.integers(0, 99), st.randoms(use_true_random=False))
def test_no_subject_of_the_published_sets_crosses_for_any_k(source, k, seed, random):
    """Any rows in any order, with all 41 or 27 subjects: every fold of every k keeps train, held-out and test apart."""
    names = [name for part in protocol_parts(source) for name in part]
    rows = names * 2
    random.shuffle(rows)
    folder, tested = Folder(rows, source), []
    for fold in range(1, k + 1):
        train, test = fold_rows(folder, fold, k, seed)
        rest, held = hold_out(folder, train, seed=seed)
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
    assert lines[0].split() == ["Tested", "part", "1", "2", "3"]
    assert lines[1].split()[-6:] == ["fold", "3", "fold", "2", "fold", "1"]
    assert ["FMAE", "fold", "1", "fold", "2", "fold", "3"] in [line.split() for line in lines]
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


def test_published_parts():
    bp4d, disfa = protocol_parts("bp4d"), protocol_parts("disfa")
    assert [len(p) for p in bp4d] == [14, 14, 13]
    assert [len(p) for p in disfa] == [9, 9, 9]
    assert len({s for p in bp4d for s in p}) == 41
    assert len({s for p in disfa for s in p}) == 27
    assert protocol_parts("faces") is None


def test_bad_requests():
    with pytest.raises(ValueError, match="2 subjects cannot be cut into 3 parts"):
        fold_rows(Folder(["a", "b"]), 1)
    with pytest.raises(ValueError, match="fold must be 1 to 3, got 4"):
        fold_rows(Folder(["a", "b", "c"]), 4)
    with pytest.raises(DataError, match="subject F099 is in no published fold"):
        fold_rows(Folder(["F001", "F003", "F004", "F099"], "bp4d"), 1)
    with pytest.raises(DataError, match="fold 1 has no test subject"):
        fold_rows(Folder(["F001"], "bp4d"), 1)
