"""What the first version wrote stays readable: a prepared folder, runs, and a grid (tests/stored). Its runs do not know
their faces: they open with one line, and nothing is added to them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tolerances import same_json

from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.files import DataError, load_tensors, read_json
from lorral_lite.report.write import write_report
from lorral_lite.reproduce.cell import Cell, read_plan, run_cell
from lorral_lite.training.evaluation import evaluate
from lorral_lite.training.origin import NO_FINGERPRINT, say_no_fingerprint
from lorral_lite.training.run_folder import read_run_config
from lorral_lite.training.steps import train_step1, train_step2

STORED = Path(__file__).parent / "stored"
FIRST = ("none", "mlp", "bilstm", "self_attention", "hopfield", "series")
"""The relations of the first version."""


@pytest.fixture(autouse=True)
def stored(tmp_path, monkeypatch):
    """A copy to work in, since the folders name each other by relative paths."""
    shutil.copytree(STORED, tmp_path / "stored")
    monkeypatch.chdir(tmp_path / "stored")


def judge(run: str, relation: str | None = None) -> None:
    """Evaluating again gives the metrics and the predictions that stand in the folder."""
    place, step = (Path(run, relation), "") if relation else (Path(run), "step1_")
    metrics, kept = read_json(place / f"{step}metrics.json"), place / f"{step}predictions.safetensors"
    before = load_tensors(kept)[0] if kept.exists() else {}
    again = evaluate(run, relation, "cpu", progress=False)
    assert again["data"].pop("fingerprint") is again["weights"] is None
    assert same_json({name: again[name] for name in metrics}, metrics, 1e-4)
    for name, values in before.items():
        np.testing.assert_allclose(load_tensors(kept)[0][name], values, rtol=1e-4, atol=1e-4)


def test_the_prepared_folder():
    folder = open_prepared("prepared", check=True)
    assert (len(folder), folder.size, folder.aus, folder.meta["source"]) == (12, 20, (1, 4, 12), "test")
    assert sorted(set(folder.subjects)) == [f"S{k}" for k in range(6)]


@pytest.mark.parametrize("relation", [None, *FIRST])
def test_a_run_and_every_relation_of_it(relation, capfd):
    say_no_fingerprint.cache_clear()
    judge("run", relation)
    assert capfd.readouterr().err == f"run: {NO_FINGERPRINT}\n"


@pytest.mark.parametrize("relation", [None, "bilstm"])
def test_a_run_with_other_readings(relation):
    judge("run_with_readings", relation)


def files(folder: str) -> dict:
    return {file: file.read_bytes() for file in Path(folder).rglob("*") if file.is_file()}


def test_training_knows_what_is_done_and_adds_nothing():
    config, before = read_run_config("run_with_readings"), files("run_with_readings")
    train_step1("run_with_readings", config, "cpu", progress=False)
    train_step2("run_with_readings", "bilstm", "cpu", progress=False)
    with pytest.raises(DataError, match=r"run_with_readings: no fingerprint: .*; begin a new run folder"):
        train_step2("run_with_readings", "hopfield", "cpu", progress=False)
    assert files("run_with_readings") == before


def test_a_grid_is_reported_and_not_mixed_with_new_cells():
    plan = read_plan("grid")
    done, left = plan.cells
    assert (done, left) == (Cell(1, 0), Cell(2, 0))
    assert plan.missing(done) == ["report.html"]
    before = files("grid/fold1_seed0")
    with pytest.raises(DataError, match=r"grid: fold1_seed0 has no fingerprint: .*; choose another --out"):
        run_cell(plan, left, "cpu", progress=False, say=lambda line: None)
    assert not plan.run(left).exists()
    write_report("grid", "grid/report.html")
    text = Path("grid/report.html").read_text(encoding="utf8")
    assert "self-attention" in text
    assert NO_FINGERPRINT in text
    assert files("grid/fold1_seed0") == before
