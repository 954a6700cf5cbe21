"""The gate and the choice of a schedule, on figures that are made up; and one arm in every world, tiny."""

import pytest

from lorral_lite.files import read_json, write_json
from lorral_lite.study import teaching
from lorral_lite.study.arms import ARMS
from lorral_lite.study.readings import LETTER
from lorral_lite.study.teaching import SCHEDULES, SEEDS, WORLDS, cell_file, choose, listening, passes, table


def make(results, heard=None, loss=None):
    """Cells in which a module hears ``heard(schedule, seed)`` points more than its twin and has ``loss(schedule)``."""
    for world in WORLDS:
        for name, arm in ARMS.items():
            for seed in SEEDS:
                taught = [{"rate": s[0], "epochs": s[1], "local": {
                    "auc": [60, 60 + (0 if arm.deaf or heard is None else heard(s, seed))],
                    "log_loss": loss(s) if loss else 0.5}} for s in SCHEDULES]
                write_json(cell_file(results, world, name, seed), {"aus": [1, 7], "taught": taught})
    return results


def test_a_module_that_hears_too_little_in_one_seed_does_not_pass(tmp_path):
    make(tmp_path, lambda s, seed: 9 if seed == SEEDS[0] else 4.9)
    assert listening(tmp_path, "bilstm", SCHEDULES[0]) == pytest.approx([9, 4.9])
    assert not passes(tmp_path, "bilstm", SCHEDULES[0])
    assert choose(tmp_path) is None
    assert "yes" not in table(tmp_path)


def test_of_the_schedules_with_which_all_pass_the_one_of_lowest_loss_is_taken(tmp_path):
    make(tmp_path, lambda s, seed: 9 if s[0] > 0.01 else 1, lambda s: s[0] + s[1] / 1000)
    assert choose(tmp_path) == (0.03, 16)
    assert table(tmp_path).count("yes") == 1
    cell = cell_file(tmp_path, "copy", "series", SEEDS[0])
    values = read_json(cell)
    values["taught"][SCHEDULES.index((0.03, 16))]["local"]["auc"] = [60, 60]
    write_json(cell, values)
    assert choose(tmp_path) == (0.03, 48)


@pytest.mark.slow
def test_an_arm_is_taught_in_every_world(tmp_path, monkeypatch):
    from dataclasses import replace

    from lorral_lite.training.config import RunConfig, Schedule

    lite = RunConfig.lite
    monkeypatch.setattr(RunConfig, "lite", lambda *a, **k: replace(lite(*a, **k), step1=Schedule(1, 0.02)))
    for name, value in (("SUBJECTS", 6), ("STEP1_FRAMES", 6), ("FRAMES", 6), ("SEEDS", (900,)),
                        ("SCHEDULES", ((0.1, 4),)), ("ARMS", {k: v for k, v in ARMS.items() if "bilstm" in k})):
        monkeypatch.setattr(teaching, name, value)
    reading = {"model": {**LETTER, "patch_grids": (2, 2)}, "changes": {"jitter": 0.0}}
    teaching.run(tmp_path / "runs", tmp_path / "cells", reading, 1, "cpu", progress=False)
    cells = [read_json(path) for path in (tmp_path / "cells").glob("*.json")]
    assert len(cells) == 3 * len(WORLDS) - 1
    assert all(cell["taught"][0]["moved"] > 0 for cell in cells)
    assert {cell["arm"] for cell in cells} == {"bilstm", "deaf_bilstm", "mlp_bilstm"}
