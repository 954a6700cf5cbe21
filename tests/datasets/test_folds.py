"""Folds: every subject tests once, none is ever in train and test, the published parts are used for BP4D and DISFA."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorral_lite.datasets import DataError
from lorral_lite.datasets.folds import fold_rows, hold_out, protocol_parts, subject_parts


class Folder:
    """As much of a prepared folder as folds look at."""

    path = __import__("pathlib").Path("somewhere")

    def __init__(self, subjects, source="faces"):
        self.subjects, self.meta = np.array(subjects), {"source": source}


@given(st.integers(3, 60), st.integers(2, 3), st.integers(0, 99))
def test_no_subject_is_in_two_folds(count, k, seed):
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
    folder = Folder(["F001", "F003", "F004", "F004"], "bp4d")
    train, test = fold_rows(folder, 1)
    assert folder.subjects[test].tolist() == ["F004", "F004"]  # fold 1 tests part 3
    assert folder.subjects[train].tolist() == ["F001", "F003"]


def test_bad_requests():
    with pytest.raises(ValueError, match="2 subjects cannot be cut into 3 parts"):
        fold_rows(Folder(["a", "b"]), 1)
    with pytest.raises(ValueError, match="fold must be 1 to 3, got 4"):
        fold_rows(Folder(["a", "b", "c"]), 4)
    with pytest.raises(DataError, match="subject F099 is in no published fold"):
        fold_rows(Folder(["F001", "F003", "F004", "F099"], "bp4d"), 1)
    with pytest.raises(DataError, match="fold 1 has no test subject"):
        fold_rows(Folder(["F001"], "bp4d"), 1)
