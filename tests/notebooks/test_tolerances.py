"""The comparison of stored outputs: what it lets pass, and that no wrong figure and no wrong word is among it."""

import re

import nbformat
import pytest
import rules
from tolerances import WIDER, same_json, wider_of

from lorral_lite.report.tolerance import Absorbed, Figure, figures, settle


@pytest.mark.parametrize(("stored", "fresh", "agree"), [
    ("loss 0.50", "loss 0.52", True), ("loss 0.50", "loss 0.53", False), ("loss 0.5", "loss 0.7", True),
    ("-0.01", "0.01", True), ("-0.01", "0.02", False), ("−0.01", "+0.00", True), ("7.3e-06", "7.1e-06", True),
    ("7.3e-06", "7.3e-05", False), ("2,098.7", "2,098.9", True), ("2,098,786", "2,098,787", False),
    ("100 frames", "101 frames", False), ("9.98 %", "10.00 %", True), ("| 9.98 |", "|10.00 |", True),
    ("Exercise 5.1: ok", "Exercise 5.2: ok", False), ("eq. 3.1, 3.2, x", "eq. 3.1, 3.3, x", False),
    ("torch 2.13.0", "torch 2.12.0", False), ("0.25s", "0.26s", False), ("AU4.5x", "AU4.6x", False),
    ("1.0 (0.5 to 1.5)", "1.1 (0.4 to 1.6)", True), ("1.0 (0.5 to 1.5)", "1.1 (0.4 to 1.6) *", False),
    ("a  b 0.50 c", "a b 0.51 c", False), ("x  9.98  y 0.5  z", "x 10.00  y 0.5 z", False),
    ("section 8.7", "section 8.6", False), ("0.50         0.60", "       0.51  0.60", False),
    ("0.5 0.5", "0.5", False), ("0.5", "1", False), ("a  b 0.5", "a b 0.5", False), ("nan", "0.00", False),
])  # fmt: skip
def test_floats_are_compared_as_numbers_and_all_else_strictly(stored, fresh, agree):
    assert (settle(stored, fresh)[0] == stored) is agree
    assert settle(stored, stored) == (stored, [])


def test_what_was_absorbed_is_returned_and_what_was_not_stays_to_be_seen():
    assert settle("F1 0.50, AUC 0.90, n 7", "F1 0.51, AUC 0.80, n 7") == (
        "F1 0.50, AUC 0.80, n 7", [Absorbed("0.50", "0.51", pytest.approx(0.5))])


def texts():
    """(Notebook, id of the cell, text) of every output that is compared."""
    for path in rules.NOTEBOOKS:
        for cell in rules.code_cells(nbformat.read(path, as_version=4)):
            if rules.is_compared(cell, path.stem == rules.TRAINED):
                yield from ((path.stem, cell.id, text) for text in map(rules.text_of, cell.outputs) if text)


def test_nothing_that_is_compared_is_sanitised_away():
    """Seconds and addresses are taken out of both texts before they are compared; here there are none."""
    patterns = re.findall(r"^regex: (.*)$", (rules.FOLDER.parent / "tests/notebooks/sanitize.cfg").read_text(), re.M)
    assert len(patterns) == 3
    for notebook, cell, text in TEXTS:
        assert not any(re.search(pattern, text) for pattern in patterns), (notebook, cell)


TEXTS = list(texts())


def moved(text: str, figure: Figure, by: float) -> str:
    """The text with one figure moved, printed with as many digits as before."""
    mantissa, _, exponent = figure.text.partition("e")
    digits = len(mantissa.partition(".")[2])
    new = figure.value + by
    return text[: figure.start] + (f"{new:.{digits}e}" if exponent else f"{new:.{digits}f}") + text[figure.end :]


def test_a_stored_figure_moved_by_twice_its_tolerance_is_red_in_every_numeric_cell():
    numeric = 0
    for notebook, cell, text in TEXTS:
        wider = wider_of(notebook, cell)
        for figure in figures(text, wider):
            for by in (-2, 2):
                mutant = moved(text, figure, by * figure.tolerance)
                assert settle(mutant, text, wider)[0] != mutant, (notebook, cell, figure)
                assert settle(text, mutant, wider)[0] != text, (notebook, cell, figure)
            near = moved(text, figure, figure.tolerance)
            assert settle(near, text, wider)[0] == near, (notebook, cell, figure)
        numeric += bool(figures(text, wider))
    assert numeric >= 90, "the stored outputs hold no figures any more"


def test_a_changed_word_or_integer_is_red_in_every_cell():
    for notebook, cell, text in TEXTS:
        wider = wider_of(notebook, cell)
        spans = [(figure.start, figure.end) for figure in figures(text, wider)]
        for word in re.finditer(r"[^\W\d_]+|\d+", text):
            if not any(start < word.end() and word.start() < end for start, end in spans):
                new = str(int(word[0]) + 1) if word[0].isdigit() else word[0].swapcase()
                if new != word[0]:
                    mutant = text[: word.start()] + new + text[word.end() :]
                    assert settle(mutant, text, wider)[0] != mutant, (notebook, cell, word[0])


def test_the_table_of_wider_tolerances_names_what_is_there():
    for row in WIDER:
        assert any(figure.tolerance == row.width for notebook, cell, text in TEXTS
                   if (notebook, cell) == (row.notebook, row.cell) for figure in figures(text, [row])), row


@pytest.mark.parametrize(("found", "stored", "agree"), [
    (0.1 + 0.2, 0.3, True), (0.3001, 0.3, False), ([1, {"a": 0.3}], [1, {"a": 0.1 + 0.2}], True), (1, 1.0, False),
    ([1, 2], [1], False), ({"a": 1}, {"b": 1}, False), (True, 1, False), ("a", "b", False), (None, None, True),
    ((1.0,), [1.0 + 1e-12], True), ([1], [2], False),
])  # fmt: skip
def test_json_is_compared_as_numbers_and_all_else_strictly(found, stored, agree):
    assert same_json(found, stored) is agree
