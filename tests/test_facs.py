"""Action units: numbers, sets, notation, and what is said of an unknown one."""

import pytest

from lorral_lite.facs import ACTION_UNITS, AU_SETS, EXPRESSIONS, INTENSITY, check_aus, facs_notation


def test_the_sets_of_the_paper_are_covered():
    assert AU_SETS["bp4d"] == (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
    assert AU_SETS["disfa"] == (1, 2, 4, 6, 9, 12, 25, 26)
    assert set(ACTION_UNITS) == set(AU_SETS["bp4d"]) | set(AU_SETS["disfa"]) | {5, 20, 43}
    assert {au for aus in EXPRESSIONS.values() for au in aus} <= set(ACTION_UNITS)
    assert list(ACTION_UNITS) == sorted(ACTION_UNITS)


def test_presets_and_letters_are_those_of_facs():
    assert {name: "+".join(map(str, aus)) for name, aus in EXPRESSIONS.items()} == {
        "neutral": "", "surprise": "1+2+5+25+26", "happiness": "6+12", "anger": "4+5+7+23", "disgust": "9+15",
        "sadness": "1+4+15", "fear": "1+2+4+5+7+20+25+26"}
    assert INTENSITY == {"A": 0.2, "B": 0.4, "C": 0.6, "D": 0.8, "E": 1.0}


def test_notation_letters_and_sides():
    assert facs_notation({}) == "0"
    assert facs_notation({12: 0.6, 6: 0.2}) == "6A+12C"
    assert facs_notation({14: (0.8, 0.0), 1: (0.4, 0.4)}) == "1B+L14D"
    assert facs_notation({12: (0.2, 1.0)}) == "L12A+R12E"
    assert facs_notation({4: 0.0}) == "0"


@pytest.mark.parametrize(("aus", "message"), [
    ((1, 3), "unknown action unit 3: choose from 1, 2, 4"),
    ((1, 1), "action unit 1 is listed twice"),
])
def test_bad_lists(aus, message):
    with pytest.raises(ValueError, match=message):
        check_aus(aus)
