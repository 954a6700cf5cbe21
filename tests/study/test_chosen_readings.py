"""The rule that chooses readings, on figures that are made up; and that its cells can be trained."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from lorral_lite.cli import main
from lorral_lite.course.ch03_04_layers import parts_against_faces
from lorral_lite.files import read_json, write_json
from lorral_lite.report.blocks import BLOCKS
from lorral_lite.study import parts, question, readings
from lorral_lite.study.readings import READINGS, SEEDS, adopted, cell_file, chosen, table, taken, together
from lorral_lite.training.config import RunConfig, Schedule


@pytest.fixture
def results(tmp_path):
    """Of every reading and seed a cell: nothing gains anything until :func:`gain` says so."""
    for name in READINGS:
        gain(tmp_path, name, 0, 0, 0)
    return tmp_path


def gain(results, name, *points):
    for seed, more in zip(SEEDS, points, strict=True):
        write_json(cell_file(results, name, seed), {"au_mean_auc": 70 + seed - 900 + more, "au_mean_f1": 60.0})


def test_at_most_eight_candidates_and_one_part_is_none():
    assert sum(reading.candidate for reading in READINGS.values()) == 8
    assert not READINGS["one_part"].candidate


@pytest.mark.parametrize(("points", "passes"), [
    ((1, 1, 1), True), ((3, 0.1, 0.1), True), ((0.9, 1, 1), False), ((5, 5, 0), False), ((9, 9, -0.1), False),
])  # fmt: skip
def test_a_point_in_the_mean_and_something_in_every_seed(results, points, passes):
    gain(results, "identity", *points)
    assert taken(results) == (["identity"] if passes else [])
    assert adopted(results)["model"]["patch_identity"] is passes


def test_a_reading_of_a_relation_is_judged_on_that_relation(results):
    gain(results, "bilstm", -9, -9, -9)
    gain(results, "residual", 2, 2, 2)
    assert taken(results) == ["residual"]
    assert adopted(results)["model"] == {**readings.LETTER, "bilstm_residual": True}


def test_a_control_is_never_taken_and_of_two_that_change_one_field_the_better_one_is(results):
    gain(results, "one_part", 9, 9, 9)
    gain(results, "parts_4_2", 2, 2, 2)
    gain(results, "parts_2_2", 3, 3, 3)
    assert taken(results) == ["parts_2_2"]


@pytest.mark.parametrize(("sums", "expected"), [((6, 6, 6), ["parts_2_2", "light_as_is"]), ((2, 2, 2), ["parts_2_2"])])
def test_a_sum_that_is_worse_than_the_best_alone_is_not_taken(results, sums, expected):
    gain(results, "parts_2_2", 4, 4, 4)
    gain(results, "light_as_is", 2, 2, 2)
    gain(results, "together", *sums)
    assert chosen(readings.gains(results)) == ["parts_2_2", "light_as_is"]
    assert together(["parts_2_2", "light_as_is"]).model == {"patch_grids": (2, 2)}
    assert taken(results) == expected
    assert adopted(results)["changes"]["jitter"] == (0.0 if len(expected) == 2 else 1.0)
    assert "together" in table(results)


@pytest.fixture
def cells(tmp_path):
    """Of the curve: parts catch up with faces, each seed a little otherwise; 2×2 parts overtake in one seed only."""
    for place, kind in enumerate(parts.KINDS):
        for size, faces in enumerate(parts.FACES):
            for seed in parts.SEEDS:
                auc = 80 + 2 * place + size * (4 - place) + (seed - 900) / 8
                if (kind, faces, seed) == ("parts_2_2", 16_000, 901):
                    auc = 10
                write_json(parts.cell_file(tmp_path, kind, faces, seed), {"au_mean_auc": auc, "au_mean_f1": auc - 20})
    return tmp_path


def test_parts_pay_where_they_are_better_in_every_seed(cells):
    found = parts.curve(cells)
    assert found["parts_8_4"]["auc"].shape == (3, 2)
    assert found["parts_8_4"]["auc"][2].tolist() == [88, 88.125]
    assert parts.pays(found, "parts_8_4") == []  # 88 is not better than 88
    assert parts.pays(found, "parts_2_2") == []
    assert parts.pays(found, "parts_2_2", than="parts_4_2") == [1_000, 4_000]
    said = " ".join(BLOCKS["parts"][0](cells).split())
    assert "with 1,000 training faces AUC (F1) in % is 80.1 (60.1) with 8×8 and 4×4 parts, 82.1 (62.1)" in said
    assert said.endswith("4×4 and 2×2 parts with none of them, 2×2 and 2×2 parts with none of them.")
    assert "with 16,000 it is 88.1 (68.1) with 8×8" in said
    assert parts.table(cells).count("AUC") == 15
    picture = parts_against_faces(found, parts.FACES)
    assert "no parts: 86.1, 87.1, 88.1" in picture.alt


@pytest.mark.parametrize("part", ["readings", "parts", "teaching", "trial"])
def test_the_command_runs_the_study_that_it_names(part, tmp_path, monkeypatch, capsys):
    study, called = question if part == "trial" else importlib.import_module(f"lorral_lite.study.{part}"), []
    monkeypatch.setattr(study, "run", lambda *given, **options: called.append((given, options)))
    monkeypatch.setattr(study, "table", lambda results: f"table of {Path(results).name}")
    assert main(["experiment", part, "--out", str(tmp_path / "runs"), "--jobs", "1", "--quiet"]) == 0
    (place, results, *taken), options = called[0]
    assert (place, results) == (tmp_path / "runs", tmp_path / "runs" / "cells")
    assert [set(reading) for reading in taken] == ([] if part == "readings" else [{"model", "changes"}])
    assert options == {"jobs": 1, "device": None, "progress": False}
    assert capsys.readouterr().out.startswith("table of cells")


@pytest.mark.slow
def test_cells_are_trained_once_and_hold_their_figures(tmp_path, monkeypatch):
    lite = RunConfig.lite
    short = {"step1": Schedule(1, 0.02), "step2": Schedule(1, 0.01)}
    monkeypatch.setattr(RunConfig, "lite", lambda *a, **k: replace(lite(*a, **k), **short))
    for name, value in (("SUBJECTS", 6), ("FRAMES", 4), ("SEEDS", (900,))):
        monkeypatch.setattr(readings, name, value)
    some = {name: READINGS[name] for name in ("letter", "parts_2_2", "bilstm", "residual")}
    monkeypatch.setattr(readings, "READINGS", some)
    readings.run(tmp_path / "runs", tmp_path / "cells", 1, "cpu", progress=False)
    cells = {path.stem: read_json(path) for path in (tmp_path / "cells").glob("*.json")}
    assert {f"{name}_seed900" for name in some} <= cells.keys()
    assert all(0 <= cell["au_mean_auc"] <= 100 and len(cell["au_f1"]) == 12 for cell in cells.values())
    monkeypatch.setattr(readings, "train_step1", None)  # what is there is not trained again
    readings.run(tmp_path / "runs", tmp_path / "cells", 1, "cpu", progress=False)
    for name, value in (("FACES", (500, 1_000)), ("PASSES", 1), ("TEST_PEOPLE", 2), ("SEEDS", (900,)),
                        ("KINDS", {"parts_2_2": (2, 2), "linear_svm": None})):
        monkeypatch.setattr(parts, name, value)
    parts.run(tmp_path / "runs2", tmp_path / "curve", adopted(tmp_path / "cells"), 1, "cpu", progress=False)
    assert len(list((tmp_path / "curve").glob("*.json"))) == 4
    assert "linear_svm" in parts.table(tmp_path / "curve")
