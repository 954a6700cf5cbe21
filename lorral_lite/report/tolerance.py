"""What floating-point hardware may change is compared as numbers, never as text.

A printed float may differ by two units of its last digit. Integers and words must be equal, and spaces, unless a number
beside them grew or shrank.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

UNITS = 2
"""So many units of its last printed digit a float may differ by."""

NAMES = r"(?:[Ee]xercise|[Ss]ection|Table|Figure|eq\.|§|picture of) ?\d+\.\d+(?:, \d+\.\d+)*"
"""Numbers that name something: compared like words."""

FLOAT = r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+(?:[eE][-+]?\d+)?|[eE][-+]?\d+)"


class Wider(NamedTuple):
    """A tolerance of more than two units, for what the pattern ``figures`` finds in the text of one notebook cell."""

    notebook: str
    cell: str
    figures: str
    width: float
    reason: str


class Absorbed(NamedTuple):
    """A figure that came out otherwise, within its tolerance; ``share`` is how much of it was used."""

    stored: str
    fresh: str
    share: float


class Figure(NamedTuple):
    """A number in a text, from ``start`` to ``end``, and its tolerance."""

    start: int
    end: int
    text: str
    tolerance: float

    @property
    def value(self) -> float:
        return float(self.text.replace("−", "-").replace(",", ""))


def figures(text: str, wider: Sequence[Wider] = ()) -> list[Figure]:
    """The numbers of a text that are compared as numbers: its floats, and what the rows of ``wider`` name."""
    kinds = [*(f"(?P<wider{k}>{row.figures})" for k, row in enumerate(wider)), f"(?P<name>{NAMES})",
             rf"(?<![\w.])(?P<float>{FLOAT})(?!\w|\.\d)"]
    found = []
    for match in re.finditer("|".join(kinds), text):
        if match.lastgroup != "name":
            width = unit(match[0]) * UNITS if match.lastgroup == "float" else wider[int(match.lastgroup[5:])].width
            found.append(Figure(*match.span(), match[0], width))
    return found


def unit(text: str) -> float:
    """One unit of the last digit of a printed float: 0.01 for 1.25, 1e-7 for 7.3e-06."""
    mantissa, _, exponent = text.lower().partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def settle(stored: str, fresh: str, wider: Sequence[Wider] = ()) -> tuple[str, list[Absorbed]]:
    """``fresh`` with every figure within its tolerance written as in ``stored``, and those that were rewritten.

    The two texts agree if the returned one equals ``stored``; else the two differ where they really differ. How many
    digits a figure is printed with is not compared.
    """
    old, new = figures(stored, wider), figures(fresh, wider)
    if len(old) != len(new):
        return fresh, []
    absorbed, pieces, resized = [], [], [False]
    for a, b in zip(old, new, strict=True):
        near = abs(a.value - b.value) <= a.tolerance * (1 + 1e-9)
        pieces.append(a.text if near else b.text)
        resized.append(near and len(a.text) != len(b.text))
        if near and a.text != b.text:
            absorbed.append(Absorbed(a.text, b.text, abs(a.value - b.value) / a.tolerance))
    words = []
    for k, (ours, theirs) in enumerate(zip(between(fresh, new), between(stored, old), strict=True)):
        beside = resized[k] or (k + 1 < len(resized) and resized[k + 1])  # a figure that grew or shrank
        words.append(theirs if beside and packed(ours) == packed(theirs) else ours)
    return "".join(part for pair in zip(words, [*pieces, ""], strict=True) for part in pair), absorbed


def between(text: str, found: list[Figure]) -> list[str]:
    """The words before, between and behind the figures of a text."""
    starts, ends = [0, *(figure.end for figure in found)], [*(figure.start for figure in found), len(text)]
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]


def packed(words: str) -> str:
    """Words without the spaces that align columns."""
    return re.sub(" +", " ", words).strip(" ")
