"""Benchmarks in their smallest setting: every table is there and its numbers parse. No time is asserted."""

import json
import math
import platform
from pathlib import Path

import pytest
import torch

from benchmarks import MARK, Spread, tables_page, timing
from benchmarks.__main__ import main

CPU = torch.device("cpu")
BENCHES = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{name: (what was printed, what was written)} of a benchmark, run once."""
    done = {}

    def result(name, capsys):
        if name not in done:
            file = tmp_path_factory.mktemp("bench") / "sub" / f"{name}.json"
            assert main([name, "--tiny", "--device", "cpu", "--out", str(file)]) == 0
            done[name] = capsys.readouterr().out, json.loads(file.read_text(encoding="utf8"))
        return done[name]

    return result


def is_a_number(x) -> bool:
    return isinstance(x, int | float) and math.isfinite(x) and x >= 0


@pytest.mark.parametrize(("name", "tables"), [
    ("layers", 4), ("faces", 3), ("photo", 2),
    *[pytest.param(*slow, marks=pytest.mark.slow) for slow in (("model", 4), ("threads", 1))],
])  # fmt: skip
def test_every_table_is_printed_and_its_numbers_parse(name, tables, results, capsys):
    printed, written = results(name, capsys)
    assert len(written["tables"]) == tables
    assert written["command"] == f"python -m benchmarks {name} --tiny"
    assert set(written["environment"]) == {"cpu", "cores", "threads", "torch", "python", "system"}
    assert platform.node() not in printed + json.dumps(written)
    for table in written["tables"]:
        assert f"### {table['title']}\n" in printed
        assert table["rows"]
        for row in table["rows"]:
            assert len(row) == len(table["columns"])
            for cell in row:
                if isinstance(cell, dict):
                    assert 0 < cell["low"] <= cell["median"] <= cell["high"] < math.inf
                else:
                    assert cell is None or isinstance(cell, str) or is_a_number(cell), cell
        for goal in table["goals"]:
            assert is_a_number(goal["value"])
            assert goal["met"] == (goal["value"] >= goal["limit"] if goal["at_least"]
                                   else goal["value"] <= goal["limit"])
            assert f"goal {goal['what']} " in printed


def test_layers_compare_equal_numbers_and_count_launches(results, capsys):
    patch, counts, crops, hopfield = results("layers", capsys)[1]["tables"]
    for table in (patch, crops, hopfield):
        assert max(row[-1] for row in table["rows"]) <= 1e-5, table["title"]
    for table, ours, loop in ((counts, 1, 3), (counts, 1, 4), (crops, 4, 5), (hopfield, 4, 5)):
        assert all(0 < row[ours] < row[loop] for row in table["rows"]), table["title"]


@pytest.mark.slow
def test_the_stack_beside_the_model_does_the_same_work(results, capsys):
    stack = results("model", capsys)[1]["tables"][2]
    assert all(row[2] == pytest.approx(1, abs=0.03) for row in stack["rows"])


def test_spread_and_ratio():
    assert timing.spread([3.0, 1.0, 2.0, 4.0, 5.0]) == Spread(3.0, 2.0, 4.0)
    assert timing.spread([2.0]) == Spread(2.0, 2.0, 2.0)
    assert timing.ratio([2.0, 9.0, 4.0], [1.0, 3.0, 1.0]).median == 3.0
    assert timing.per([0.5], count=10) == Spread(50.0, 50.0, 50.0)


def test_flops_launches_and_bytes_of_known_work():
    a, b = torch.randn(10, 20), torch.randn(20, 30)
    assert timing.flops(lambda: a @ b) == 2 * 10 * 20 * 30
    assert timing.launches(lambda: (a + 1).relu().t().reshape(2, 100), CPU) == 3  # add, relu, the copy of reshape
    assert timing.bytes_moved(lambda: a + a) == 4 * 3 * 200
    assert timing.bytes_moved(lambda: a.t().view(20, 10)[3:]) == 0
    assert timing.bytes_moved(lambda: a[:1].expand(10, 20).relu()) == 4 * 2 * 200  # held by 200 numbers


def test_peak_memory_of_a_fresh_process():
    little = timing.peak_memory("torch:ones", size=[1])
    if little is None:
        pytest.skip("this system does not tell")
    assert little < 8
    assert timing.peak_memory("torch:ones", size=[32 * 2**20]) == pytest.approx(128, abs=8)


def test_the_page_that_ships_says_what_its_json_files_say():
    _, tables = (BENCHES / "README.md").read_text(encoding="utf8").split(MARK)
    assert tables == tables_page(BENCHES)
