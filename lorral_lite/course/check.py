"""Exercises of the notebooks: ``check("5.2", value)`` compares an answer with the true value, which is computed here.

An exercise that was not touched holds ``...`` and is reported as not attempted, so every notebook runs to its end.
Each chapter (``ch01_faces.py`` …) registers its own with :func:`exercise`.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module

import numpy as np
import torch


@dataclass(frozen=True)
class Exercise:
    """``answer()`` computes the true value; numbers may differ by ``tolerance``, anything else must be equal."""

    answer: Callable
    hint: str
    tolerance: float = 0.0


_registered: dict[str, Exercise] = {}


def exercises() -> dict[str, Exercise]:
    """Number → exercise, of all chapters."""
    package = __name__.rpartition(".")[0]
    for chapter in pkgutil.iter_modules(import_module(package).__path__):
        if chapter.name[2:4].isdigit():
            import_module(f"{package}.{chapter.name}")
    return _registered


def exercise(number: str, hint: str, tolerance: float = 0.0):
    """Register the decorated function as the true answer of an exercise.

    It is computed once, however often it is asked, and leaves the reader's random numbers alone.
    """

    def add(answer: Callable) -> Callable:
        if number in _registered:
            raise ValueError(f"exercise {number} exists already")
        _registered[number] = Exercise(cache(torch.random.fork_rng(devices=[])(answer)), hint, tolerance)
        return answer

    return add


def is_correct(number: str, value) -> bool:
    """Whether ``value`` is the exercise's answer within its tolerance; ValueError when there is no such exercise."""
    if number not in _registered and number not in exercises():  # a notebook has its own chapter: load no other
        raise ValueError(f"there is no exercise {number}: choose from {', '.join(sorted(_registered))}")
    item = _registered[number]
    true = item.answer()
    if isinstance(true, (bool, str)):
        return value == true
    try:
        if isinstance(true, (set, frozenset, tuple)):
            return type(true)(value) == true
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
        print(f"Exercise {number}: not yet. Hint: {_registered[number].hint}")
