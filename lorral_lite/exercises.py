"""Exercises of the notebooks: ``check("5.2", value)`` compares an answer with the true value, which is computed here.

An exercise that was not touched holds ``...`` and is reported as not attempted, so every notebook runs to its end.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Exercise:
    """``answer()`` computes the true value; numbers may differ by ``tolerance``, anything else must be equal."""

    answer: Callable
    hint: str
    tolerance: float = 0.0


EXERCISES: dict[str, Exercise] = {}
"""Number → exercise; each notebook's are added by a function of its own below."""


def exercise(number: str, hint: str, tolerance: float = 0.0):
    """Register the decorated function as the true answer of an exercise."""

    def add(answer: Callable) -> Callable:
        if number in EXERCISES:
            raise ValueError(f"exercise {number} exists already")
        EXERCISES[number] = Exercise(answer, hint, tolerance)
        return answer

    return add


def is_correct(number: str, value) -> bool:
    """Whether ``value`` is the exercise's answer within its tolerance; ValueError when there is no such exercise."""
    if number not in EXERCISES:
        raise ValueError(f"there is no exercise {number}: choose from {', '.join(EXERCISES)}")
    item = EXERCISES[number]
    true = item.answer()
    if isinstance(true, (bool, str, set, frozenset, tuple)):
        return type(true)(value) == true if isinstance(true, (set, frozenset, tuple)) else value == true
    try:
        given = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return False
    true = np.asarray(true, dtype=float)
    return given.shape == true.shape and bool(np.all(np.abs(given - true) <= item.tolerance))


def check(number: str, value) -> None:
    """Say whether an answer is right; a wrong one gets the hint, ``...`` is not attempted yet."""
    if value is ...:
        print(f"Exercise {number}: not attempted yet")
    elif is_correct(number, value):
        print(f"Exercise {number}: correct")
    else:
        print(f"Exercise {number}: not yet. Hint: {EXERCISES[number].hint}")


# ------------------------------------------------------------------------------------------------ 01 to 10, in order
