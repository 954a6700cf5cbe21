"""``python -m benchmarks step2`` in its smallest setting: the real training; RUN is left alone."""


import torch
from tiny_run import copy_run

from benchmarks import bench
from benchmarks.step2 import measure
from lorral_lite.model.relations import RELATIONS


def test_every_relation_is_measured_against_an_epoch_of_step_1():
    (table,) = measure(torch.device("cpu"), tiny=True)
    assert [row[0] for row in table.rows] == list(RELATIONS)
    for row in table.rows:
        assert row[3] == row[1].median / row[2].median > 1


def test_both_ways_of_step_2_are_compared_on_a_copy_of_the_run(tiny_finished, tmp_path):
    run = copy_run(tiny_finished, tmp_path / "run")
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    result = bench("step2", device="cpu", tiny=True, say=lambda line: None, compare=str(run))
    (table,) = result["tables"]
    assert [row[:2] for row in table["rows"]] == [[r, w] for r in ("none", "self_attention")
                                                  for w in ("2 cached views", "the paper's letter")]
    assert all(0 <= value <= 100 for row in table["rows"] for value in row[2:4])
    errors = [row[4] for row in table["rows"]]
    assert errors[0] == errors[2]  # the landmark module is frozen
    assert errors[1] != errors[0]  # here it has trained
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
