"""Benchmarks in their smallest setting: every table is there and its numbers parse. No time is asserted."""

import json
import math
import platform
import time
from pathlib import Path

import pytest
import torch

from benchmarks import BENCHMARKS, MARK, Goal, Spread, Table, tables_page, text, timing, write_page
from benchmarks.__main__ import main
from lorral_lite.photo import BOX_CENTRE, BOX_SIDE, LIMITS

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
    assert [row[0].split(") ")[1] for row in patch["rows"]] == [
        "contiguous, forward", "contiguous, forward and backward", "channels-last, forward",
        "channels-last, forward and backward"]
    for table in (patch, crops, hopfield):
        assert max(row[-1] for row in table["rows"]) <= 1e-5, table["title"]
    for table, ours, loop in ((counts, 1, 3), (counts, 1, 4), (crops, 4, 5), (hopfield, 4, 5)):
        assert all(0 < row[ours] < row[loop] for row in table["rows"]), table["title"]


@pytest.mark.slow
def test_the_stack_beside_the_model_does_the_same_work(results, capsys):
    _, speed, stack, memory = results("model", capsys)[1]["tables"]
    assert {(row[2], row[3]) for row in speed["rows"]} == {
        (precision, layout) for precision in ("fp32", "bf16") for layout in ("contiguous", "channels-last")}
    for row in speed["rows"]:
        assert row[5] == pytest.approx(1e3 / row[4]["median"])
    assert all(row[2] == pytest.approx(1, abs=0.03) for row in stack["rows"])
    for row in memory["rows"]:
        assert row[3] is None or 0 < row[3] <= row[4]  # a training step keeps more than inference


def test_photos_are_measured_with_and_without_a_face(results, capsys):
    box, measures = results("photo", capsys)[1]["tables"]
    (*square, found), = box["rows"]
    assert square == pytest.approx([*BOX_CENTRE, BOX_SIDE], abs=0.1)
    assert found == 100
    views = {row[0]: row for row in measures["rows"] if row[1] == "view"}
    assert views["faces"][3] < LIMITS["view"] < views["no faces"][3]  # medians
    assert views["no faces"][-1] == 0  # none accepted


def test_stages_are_shares_of_the_whole(results, capsys):
    rows = results("faces", capsys)[1]["tables"][2]["rows"]
    outer = {name: share for name, share in rows if " / " not in name}
    assert 0.8 < sum(outer.values()) < 1.001
    for name, share in rows:
        assert share <= outer[name.split(" / ")[0]] + 1e-9


def test_spread_ratio_and_turns():
    assert timing.spread([3.0, 1.0, 2.0, 4.0, 5.0]) == Spread(3.0, 2.0, 4.0)
    assert timing.spread([2.0]) == Spread(2.0, 2.0, 2.0)
    assert timing.ratio([2.0, 9.0, 4.0], [1.0, 3.0, 1.0]).median == 3.0
    assert timing.per([0.5], count=10) == Spread(50.0, 50.0, 50.0)
    order = []
    times = timing.in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert "".join(order) == "aabb" + "ab" * 3
    assert [len(values) for values in times.values()] == [3, 3]


def test_flops_launches_and_bytes_of_known_work():
    a, b = torch.randn(10, 20), torch.randn(20, 30)
    assert timing.flops(lambda: a @ b) == 2 * 10 * 20 * 30
    assert timing.launches(lambda: (a + 1).relu().t().reshape(2, 100), CPU) == 3  # add, relu, the copy of reshape
    assert timing.bytes_moved(lambda: a + a) == 4 * 3 * 200
    assert timing.bytes_moved(lambda: a.t().view(20, 10)[3:]) == 0
    assert timing.bytes_moved(lambda: a[:1].expand(10, 20).relu()) == 4 * 2 * 200  # held by 200 numbers
    assert timing.bytes_moved(lambda: torch.ones(1).expand(100)) == 4


def test_peak_memory_of_a_fresh_process():
    little = timing.peak_memory("torch:ones", size=[1])
    if little is None:
        pytest.skip("this system does not tell")
    assert little < 8
    assert timing.peak_memory("torch:ones", size=[32 * 2**20]) == pytest.approx(128, abs=8)
    with pytest.raises(RuntimeError, match=r"torch:nothing.*no attribute 'nothing'"):
        timing.peak_memory("torch:nothing")


def test_a_table_reads_well_and_says_whether_its_goals_are_met():
    table = Table("Speed", ["what", "ms"], [["one", Spread(1.234, 1.2, 1.3)], ["two", None], ["three", 12345]],
                  "A note.", [Goal("fast", 1.0, 2.0), Goal("rate", 1.0, 2.0, at_least=True)])
    assert str(table) == "\n".join([
        "### Speed", "",
        "| what  | ms             |",
        "|-------|----------------|",
        "| one   | 1.23 (1.2–1.3) |",
        "| two   | –              |",
        "| three | 12,345         |",
        "", "A note.", "", "- goal fast ≤ 2: 1, met", "- goal rate ≥ 2: 1, missed"])
    assert text(1234.5) == "1,234"


def test_an_unknown_name_and_options_that_do_not_go_together_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as done:
        main(["gossip"])
    assert done.value.code == 2
    assert f"choose from {', '.join(map(repr, BENCHMARKS))}" in capsys.readouterr().err
    for option, value, why in (("--out", str(tmp_path), f"{tmp_path}: is a folder; --out names a file"),
                               ("--keep", "x", "--keep goes with deviations only"),
                               ("--compare", "x", "--compare goes with step2 only")):
        assert main(["layers", "--tiny", option, value]) == 2
        assert capsys.readouterr().err == f"error: {why}\n"


def test_one_thread_counts_cpu_time_and_several_the_clock_on_the_wall():
    assert torch.get_num_threads() == 1
    assert timing.seconds(lambda: time.sleep(0.05)) < 0.03
    assert timing.seconds(lambda: time.sleep(0.05), wall=True) >= 0.05


def test_the_page_repeats_what_was_printed(results, capsys, tmp_path):
    printed, written = results("layers", capsys)
    (tmp_path / "layers.json").write_text(json.dumps(written), encoding="utf8")
    (tmp_path / "README.md").write_text("# Kept\n\n" + MARK + "old", encoding="utf8")
    write_page(tmp_path)
    page = (tmp_path / "README.md").read_text(encoding="utf8")
    assert page.startswith("# Kept\n\n" + MARK)
    assert "old" not in page
    assert "## `python -m benchmarks layers --tiny`" in page
    for table in printed.split("\n### ")[1:]:
        assert f"### {table.rstrip()}\n" in page


def test_the_page_that_ships_says_what_its_json_files_say():
    head, tables = (BENCHES / "README.md").read_text(encoding="utf8").split(MARK)
    assert tables == tables_page(BENCHES)
    for file in BENCHES.glob("*.json"):
        assert f"python -m benchmarks {file.stem.split('_')[0]}" in head
