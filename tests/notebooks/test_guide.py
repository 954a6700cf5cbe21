"""The page "Add your own relation module": every block of it runs, in order, in an empty folder."""

import doctest
import re
from pathlib import Path

import pytest

from lorral_lite.model.relations import RELATIONS

PAGE = Path(__file__).parents[2] / "notebooks" / "add_a_relation.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf8"), re.M | re.S)


def test_every_block_of_the_guide_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before, space = dict(RELATIONS), {"__name__": "guide"}
    try:
        assert len(BLOCKS) == 3
        for block in BLOCKS:
            exec(compile(block, PAGE.name, "exec"), space)
    finally:
        RELATIONS.clear()
        RELATIONS.update(before)
    assert re.search(r"over the control: [+-]\d+\.\d points", capsys.readouterr().out)
    assert (tmp_path / "guide" / "run" / "mean" / "metrics.json").is_file()
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(space["MeanRelation"], "MeanRelation", globs=space):
        runner.run(test)
    assert (runner.tries, runner.failures) == (1, 0)


@pytest.mark.parametrize(("right", "wrong"), [
    ("/ (self.num_aus - 1)", "/ self.num_aus"), ("return tokens + self.hear(others)", "return self.hear(others)"),
    ("self.check(tokens).sum(1, keepdim=True) - tokens", "tokens"),
])  # fmt: skip
def test_its_tests_notice_a_wrong_line(right, wrong):
    assert right in BLOCKS[0]
    space = {"__name__": "guide"}
    try:
        exec(BLOCKS[0].replace(right, wrong), space)
        with pytest.raises(AssertionError):
            exec(BLOCKS[1], space)
    finally:
        RELATIONS.pop("mean", None)
