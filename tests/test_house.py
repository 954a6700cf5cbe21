"""The house: cited choices have their rows, examples run, public names are there (imports: `make lint`)."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

import lorral_lite

HOUSE = Path(lorral_lite.__file__).parent
ROOT = HOUSE.parent
FILES = sorted(HOUSE.rglob("*.py"))
PAPER = sorted(file for room in ("model", "model/relations") for file in (HOUSE / room).glob("*.py")
               if ">>>" in file.read_text(encoding="utf-8"))


def test_every_choice_that_the_code_cites_has_a_row_in_deviations_with_that_name():
    """``# D80 cached features`` and "(D80)": the number has one row, in order, and the comment says the row's name."""
    page = (ROOT / "DEVIATIONS.md").read_text(encoding="utf-8")
    rows = re.findall(r'^\| <a id="d(\d+)"></a>D(\d+) \| (.+?) \|', page, re.MULTILINE)
    numbers = [int(number) for _, number, _ in rows]
    assert numbers == sorted(set(numbers))
    assert all(anchor == number for anchor, number, _ in rows)
    names = {number: name for _, number, name in rows}
    assert len(names) > 80
    wrong = []
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        cited = re.findall(r"\bD([1-9]\d{0,2})\b", text)
        wrong += [f"{file.name}: D{number}" for number in cited if number not in names]
        wrong += [f"{file.name}: # D{number} {rest}" for number, rest in re.findall(r"# D(\d+)\b ?(.*)", text)
                  if rest and not rest.startswith(names.get(number, "?"))]
    assert wrong == []


@pytest.mark.parametrize("file", PAPER, ids=lambda file: file.stem)
def test_the_examples_of_the_model_run(file):
    module = import_module(".".join(["lorral_lite", *file.relative_to(HOUSE).with_suffix("").parts]))
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("name", lorral_lite.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(lorral_lite, name) is not None
    assert name in dir(lorral_lite)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'lorral_lite' has no attribute 'LoRRaLL'"):
        _ = lorral_lite.LoRRaLL
