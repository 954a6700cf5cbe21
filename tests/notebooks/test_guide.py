"""The page "Add your own relation module": every block of it runs, in order, in an empty folder."""

import doctest
import re
from pathlib import Path

from lorral_lite.draw.results import f1_bars
from lorral_lite.model.relations import RELATIONS
from lorral_lite.report.blocks import check_figures
from lorral_lite.report.results import load_runs
from lorral_lite.report.write import write_report

PAGE = Path(__file__).parents[2] / "notebooks" / "add_a_relation.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf8"), re.M | re.S)


def test_every_block_of_the_guide_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before, space = dict(RELATIONS), {"__name__": "guide"}
    try:
        assert len(BLOCKS) == 3
        for block in BLOCKS:
            exec(compile(block, PAGE.name, "exec"), space)
        assert check_figures(PAGE.parents[1], run=False) == []  # stored results of older relations stay as they are
        page = write_report(tmp_path / "guide" / "run").read_text(encoding="utf8")
        assert page.count("mean of the others") > 3
        (bars,) = f1_bars(load_runs(tmp_path / "guide" / "run").relations).axes
        drawn = dict(zip(*reversed(bars.get_legend_handles_labels()), strict=True))
        assert list(drawn)[:3] == ["no relation", "MLP control", "mean of the others"]
        assert drawn["mean of the others"].get_color() == space["MeanRelation"].colour
    finally:
        RELATIONS.clear()
        RELATIONS.update(before)
    assert re.search(r"over the control: [+-]\d+\.\d points", capsys.readouterr().out)
    assert (tmp_path / "guide" / "run" / "mean" / "metrics.json").is_file()
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(space["MeanRelation"], "MeanRelation", globs=space):
        runner.run(test)
    assert (runner.tries, runner.failures) == (1, 0)
