"""Every exercise: untouched, wrong and right answers; and each is asked in one notebook and solved in its solution."""

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from lorral_lite.course.ch01_faces import QUIZ_AUS, quiz_item
from lorral_lite.course.check import Exercise, check, exercise, exercises, is_correct

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))


@cache
def truth(number):
    return exercises()[number].answer()


def slightly_wrong(value, tolerance):
    """The nearest answer that must not pass."""
    if isinstance(value, (bool, np.bool_)):
        return not value
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, (set, frozenset)):
        return value | {99}
    if isinstance(value, tuple):
        return (*value[:-1], value[-1] + 1 if np.isreal(value[-1]) else "x")
    return np.asarray(value, dtype=float) + 1.01 * tolerance + 1e-6


@pytest.mark.parametrize("number", exercises())
def test_an_untouched_exercise_is_not_attempted(number, capsys):
    check(number, ...)
    assert capsys.readouterr().out == f"Exercise {number}: not attempted yet\n"


@pytest.mark.parametrize("number", exercises())
def test_the_right_answer_is_correct(number, capsys):
    assert is_correct(number, truth(number)) is True
    check(number, truth(number))
    assert capsys.readouterr().out == f"Exercise {number}: correct\n"


@pytest.mark.parametrize("number", exercises())
def test_a_wrong_answer_gets_the_hint(number, capsys):
    item = exercises()[number]
    for wrong in (slightly_wrong(truth(number), item.tolerance), None, "no answer", object(), [], 1e9):
        assert is_correct(number, wrong) is False, repr(wrong)
        check(number, wrong)
        assert capsys.readouterr().out == f"Exercise {number}: not yet. Hint: {item.hint}\n"


@pytest.mark.parametrize("number", exercises())
def test_a_number_may_be_off_by_its_tolerance(number):
    value, tolerance = truth(number), exercises()[number].tolerance
    if isinstance(value, (bool, str, set, frozenset, tuple)):
        assert tolerance == 0
    else:
        assert is_correct(number, np.asarray(value, dtype=float) - 0.99 * tolerance)


@pytest.mark.parametrize("number", exercises())
def test_every_exercise_has_a_hint_that_helps_and_an_answer_that_stays(number):
    assert len(exercises()[number].hint) >= 20
    assert "\n" not in exercises()[number].hint
    again = exercises()[number].answer()
    assert type(again) is type(truth(number))
    assert is_correct(number, again)


@pytest.mark.parametrize(("number", "by_hand"), [
    ("1.1", 23), ("1.2", {4, 7, 20}), ("2.1", 0.117), ("2.2", {4, 12}), ("2.3", [0.464, 0.773]), ("2.4", 12 - 2 - 1),
    ("3.1", 12 * 12), ("3.2", ((11 + 1) * 2 + 1 + 1) ** 2), ("3.3", 64 * (64 * 64 * 9 + 64)), ("4.1", (22, 11, 5)),
    ("4.2", sum(9 * c * (b + c) + 8 * c for b, c in ((128, 96), (96, 128), (128, 160)))), ("4.3", 24), ("4.4", 0.625),
    ("9.4", 90), ("10.4", 0.071 / 0.526), ("10.5", 0), ("11.2", (123, 122)),
    ("11.3", 4845 - 43 - 180 - 16 - 34 - 46 - 616 - 2104 - 13), ("11.5", 171.3),
])  # fmt: skip
def test_answers_worked_out_by_hand_pass(number, by_hand):
    assert is_correct(number, by_hand)


def test_the_smilers_kappa_is_scikit_learns():
    truth = [au in quiz_item(n).aus for n in range(20) for au in QUIZ_AUS]
    assert exercises()["1.3"].answer() == pytest.approx(
        cohen_kappa_score(truth, [au in (6, 12) for au in QUIZ_AUS] * 20))


def test_an_unknown_or_doubled_number_is_named():
    with pytest.raises(ValueError, match=r"there is no exercise 99\.9: choose from 1\.1, "):
        check("99.9", 1)
    with pytest.raises(ValueError, match=r"exercise 1\.1 exists already"):
        exercise("1.1", "hint")(lambda: 1)


def test_a_shape_must_fit_and_a_set_may_be_a_list(monkeypatch):
    monkeypatch.setitem(exercises(), "array", Exercise(lambda: np.array([1.0, 2.0]), "h", 0.1))
    monkeypatch.setitem(exercises(), "set", Exercise(lambda: {4, 12}, "h"))
    assert is_correct("array", [1.05, 1.95])
    assert not is_correct("array", [1.05, 2.2])
    assert not is_correct("array", 1.0)  # would fit by broadcasting
    assert not is_correct("array", [1.0, float("nan")])
    assert is_correct("set", [12, 4])
    assert not is_correct("set", 12)


# ------------------------------------------------------------------------------------------------ the notebooks


@cache
def cells(path: Path) -> list[dict]:
    return [c for c in json.loads(path.read_text(encoding="utf8"))["cells"] if c["cell_type"] == "code"]


def source(cell) -> str:
    return "".join(cell["source"])


def printed(path: Path) -> str:
    streams = [o["text"] for c in cells(path) for o in c["outputs"] if o["output_type"] == "stream"]
    return "".join("".join(text) for text in streams)


def checked(path: Path) -> list[str]:
    return [number for cell in cells(path) for number in re.findall(r'\bcheck\("([\d.]+)"', source(cell))]


def of_notebook(name: str) -> list[str]:
    """The exercises whose number starts with the notebook's, "5.1" for 05_…"""
    return [number for number in exercises() if int(number.split(".")[0]) == int(name[:2])]


def test_there_are_notebooks_and_each_chapter_of_exercises_has_one():
    chapters = {int(number.split(".")[0]) for number in exercises()}
    assert chapters - {int(name[:2]) for name in NAMES} == set()
    assert {path.name for path in (NOTEBOOKS / "solutions").glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_asks_its_own_exercises_once_and_stores_them_untouched(name):
    path = NOTEBOOKS / name
    assert of_notebook(name), "every notebook has at least one exercise"
    assert sorted(checked(path)) == sorted(of_notebook(name))
    text = "".join("".join(c["source"]) for c in json.loads(path.read_text(encoding="utf8"))["cells"])
    for number in of_notebook(name):
        assert f"Exercise {number}: not attempted yet\n" in printed(path)
        assert f"Exercise {number}" in text
        assert re.search(rf'check\("{re.escape(number)}", (\.\.\.|\w+)\)', text), number


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_solves_every_exercise_of_its_notebook(name):
    path = NOTEBOOKS / "solutions" / name
    code = "\n".join(source(cell) for cell in cells(path))
    for number in of_notebook(name):
        assert f'is_correct("{number}"' in code
        assert f"Exercise {number}: correct\n" in printed(path)
    assert "not yet" not in printed(path)
    assert not re.search(r"= \.\.\.$", code, re.M), "a solution leaves nothing open"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("folder", [NOTEBOOKS, NOTEBOOKS / "solutions"], ids=["notebook", "solution"])
def test_a_notebook_has_a_parameters_cell_with_a_seed_and_stored_outputs(folder, name):
    tagged = [c for c in cells(folder / name) if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1
    for line in source(tagged[0]).splitlines():
        assert re.match(r"\w+: [\w| \[\],]+ = .+  # ", line), f"typed and commented for papermill: {line}"
    assert re.search(r"^seed: int = \d", source(tagged[0]), re.M)
    assert all(c["execution_count"] for c in cells(folder / name))
    assert not [o for c in cells(folder / name) for o in c["outputs"] if o["output_type"] == "error"]
