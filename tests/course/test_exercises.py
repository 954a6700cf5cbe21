"""Every exercise: untouched, wrong and right answers. That notebooks ask and solutions solve them: tests/notebooks."""

import math

import numpy as np
import pytest
import torch

from lorral_lite.course.check import Exercise, check, exercise, exercises, is_correct


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
def test_check_tells_untouched_right_and_wrong_answers_apart(number, capsys):
    item, true = exercises()[number], exercises()[number].answer()
    check(number, ...)
    check(number, true)
    assert capsys.readouterr().out == f"Exercise {number}: not attempted yet\nExercise {number}: correct\n"
    for wrong in (slightly_wrong(true, item.tolerance), None, "no answer", object(), [], 1e9):
        assert is_correct(number, wrong) is False, repr(wrong)
        check(number, wrong)
        assert capsys.readouterr().out == f"Exercise {number}: not yet. Hint: {item.hint}\n"
    if isinstance(true, (bool, str, set, frozenset, tuple)):
        assert item.tolerance == 0
    else:
        assert is_correct(number, np.asarray(true, dtype=float) - 0.99 * item.tolerance)


@pytest.mark.parametrize(("number", "by_hand"), [
    ("1.1", 23), ("1.2", {4, 7, 20}), ("2.1", 0.117), ("2.2", {4, 12}), ("2.3", [0.464, 0.773]), ("2.4", 12 - 2 - 1),
    ("3.1", 12 * 12), ("3.2", ((11 + 1) * 2 + 1 + 1) ** 2), ("3.3", 64 * (64 * 64 * 9 + 64)), ("4.1", (22, 11, 5)),
    ("4.2", sum(9 * c * (b + c) + 8 * c for b, c in ((128, 96), (96, 128), (128, 160)))), ("4.3", 24), ("4.4", 0.625),
    ("5.1", 8 * 80 * (160 + 80 + 2)), ("5.2", 3), ("5.3", 0.9389), ("5.4", False), ("5.5", 6),
    ("6.1", math.sin(6 / 10000 ** (2 / 24))),
    ("6.2", [math.exp(s) / (math.exp(2) + 1 + math.exp(-3)) for s in (2, 0, -3)]), ("6.3", -2.5),
    ("6.4", math.exp(6**0.5) / (math.exp(6**0.5) + 11 * math.exp(-(6**0.5)))),
    ("7.1", math.tanh(1)), ("7.2", 0.25), ("7.3", 1 / (1 + math.exp(-2))), ("7.4", 1.0),
    ("9.4", 90), ("10.4", 0.071 / 0.526), ("10.5", 0), ("11.2", (123, 122)),
    ("11.3", 4845 - 43 - 180 - 16 - 34 - 46 - 616 - 2104 - 13), ("11.5", 171.3),
])  # fmt: skip
def test_answers_worked_out_by_hand_pass(number, by_hand):
    assert is_correct(number, by_hand)


def test_answers_leave_the_readers_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    for item in exercises().values():
        item.answer.__wrapped__()  # anew, not what the cache kept of it
    assert torch.equal(torch.rand(3), expected)


def test_an_answer_is_computed_once_and_a_number_is_given_once():
    calls = []
    exercise("once", "hint")(lambda: calls.append(1) or 5)
    try:
        assert [is_correct("once", 5), is_correct("once", 6), len(calls)] == [True, False, 1]
        with pytest.raises(ValueError, match=r"exercise once exists already"):
            exercise("once", "hint")(lambda: 1)
    finally:
        exercises().pop("once")
    with pytest.raises(ValueError, match=r"there is no exercise 99\.9: choose from 1\.1, "):
        check("99.9", 1)


def test_a_shape_must_fit_and_a_set_may_be_a_list(monkeypatch):
    monkeypatch.setitem(exercises(), "array", Exercise(lambda: np.array([1.0, 2.0]), "h", 0.1))
    monkeypatch.setitem(exercises(), "set", Exercise(lambda: {4, 12}, "h"))
    assert is_correct("array", [1.05, 1.95])
    assert not is_correct("array", [1.05, 2.2])
    assert not is_correct("array", 1.0)  # would fit by broadcasting
    assert not is_correct("array", [1.0, float("nan")])
    assert is_correct("set", [12, 4])
    assert not is_correct("set", 12)
