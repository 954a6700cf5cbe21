"""Who is who: which names are one person's by all looks, and which faces two people share.

Folds keep people apart by their names, so one person under two names would be trained on and tested on. What makes a
prepared folder asks here, and so does what opens one.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from fractions import Fraction
from itertools import combinations, islice

import numpy as np

from ..files import DataError

_LATIN = str.maketrans("авекмнорстухіјѕαβεζηικμνορτυχıʼʻ", "abekmhopctyxijsabezhikmnoptyxi''")
"""Small letters of Cyrillic, Greek and Turkish that look like Latin ones, or whose capitals do; apostrophes."""

_NUMBER = re.compile(r"\d{1,40}(\.\d{0,40})?(e[+-]?\d{1,2})?")


def person_key(name: str) -> str:
    """What two names have in common that a reader would take for one.

    That is everything but Unicode forms, case, accents, invisible characters, the kind of spaces, hyphens and other
    signs, letters that look like Latin ones, and zeros before a number. A name that is a number stays its value, so
    that 1, 01 and 1.0 are one. UTF-8 that a spreadsheet took for cp1252 (JosÃ©) is read as it was meant.
    """
    with suppress(UnicodeError):
        name = name.encode("cp1252").decode("utf8")
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold()).translate(_LATIN)
    text = "".join(str(unicodedata.decimal(c, c)) for c in text
                   if unicodedata.category(c) != "Cf" and unicodedata.combining(c) < 200).strip()
    if _NUMBER.fullmatch(number := text.replace(",", ".")):
        return str(Fraction(number))
    words = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text).split()
    words = re.sub(r"(?<!\d)0+(?=\d)", "", " ".join(words))
    return re.sub(r"(?<!\d) | (?!\d)", "", words) or text


def check_people(file, people: Mapping[str, str], distinct, confirm: str) -> None:
    """DataError when two names of ``people`` (name → where it stands) are one person's by all looks, or one is empty.

    distinct: pairs of names that are two people in spite of that. confirm: how the reader can add such a pair.
    """
    good = isinstance(distinct, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], str)
        for pair in distinct)
    if not good:
        raise DataError(f"{file}: \"distinct\" in its meta.json must be pairs of names, such as [[\"Ann\", \"ann\"]]")
    alike: dict[str, list[str]] = {}
    for name in people:
        alike.setdefault(person_key(name), []).append(name)
    if nobody := alike.get(""):
        raise DataError(f"{file}: {people[nobody[0]]} names no person; write who it is")
    known = {frozenset(pair) for pair in distinct}
    pairs = (pair for names in alike.values() for pair in combinations(names, 2) if frozenset(pair) not in known)
    found = [" and ".join(f"{exactly(name)} ({people[name]})" for name in pair) for pair in islice(pairs, 4)]
    if found:
        more = "; and more" if len(found) > 3 else ""
        raise DataError(f"{file}: one person under two names? {'; '.join(found[:3])}{more}. Write the name in one way, "
                        f"or, if they are two people, {confirm}")


def exactly(name: str) -> str:
    """A name with every character that could be taken for another one written as a code."""
    return ascii(name).replace("  ", r"\x20\x20")[:60]


def shown(name: str) -> str:
    """A name as it can be printed in a line."""
    return (name if name.isprintable() else exactly(name))[:60]


def same_faces(images: np.ndarray, subjects: Iterable[str]) -> list[np.ndarray]:
    """Groups of rows of (N, S, S, 3) ``images`` that are equal in every byte and belong to several people.

    One line of pixels tells nearly all faces apart, so little more than that is read.
    """
    middle, subjects = images.shape[1] // 2, list(subjects)
    alike = _of_several(((row, hash(image[middle].tobytes())) for row, image in enumerate(images)), subjects)
    whole = ((row, hashlib.sha256(images[row].tobytes()).digest()) for rows in alike for row in rows)
    return [np.array(rows) for rows in _of_several(whole, subjects)]


def two_of(rows: Iterable[int], subjects: np.ndarray) -> str:
    """The first of ``rows`` of index.csv and the first of another person, with their names."""
    first, *others = rows
    other = next(row for row in others if subjects[row] != subjects[first])
    return " and ".join(f"row {row + 2} ({shown(subjects[row])})" for row in (first, other))


def _of_several(contents: Iterable[tuple[int, object]], subjects: list[str]) -> list[list[int]]:
    groups: dict[object, list[int]] = {}
    for row, content in contents:
        groups.setdefault(content, []).append(row)
    return [rows for rows in groups.values() if len(rows) > 1 and len({subjects[row] for row in rows}) > 1]
