"""AUs of which no label is known, from training to the notebooks: a dash and a line that says so."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import make_data, tiny_config

from lorral_lite.cli import main
from lorral_lite.course.parameters import ParameterError
from lorral_lite.course.portraits import sample_faces
from lorral_lite.datasets.folds import fold_rows
from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.files import DataError, save_tensors
from lorral_lite.measure.metrics import summarise
from lorral_lite.training.config import Schedule
from lorral_lite.training.evaluation import evaluate
from lorral_lite.training.run_folder import load_model
from lorral_lite.training.steps import train_step1, train_step2

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SHORT = {"threads": 1, "step1": Schedule(1, 0.01), "step2": Schedule(1, 0.01)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with two relations on faces of which no label of AU 1 is known."""
    home = tmp_path_factory.mktemp("unknown")
    train_step1(home / "run", tiny_config(make_data(home / "data", unknown=[0]), **SHORT), "cpu", progress=False)
    evaluate(home / "run", None, "cpu", progress=False)
    for relation in ("none", "mlp"):
        train_step2(home / "run", relation, "cpu", progress=False)
        evaluate(home / "run", relation, "cpu", progress=False)
    return home / "run"


@pytest.fixture
def nothing(tmp_path):
    """A run after step 1 on faces of which nothing is known."""
    data = make_data(tmp_path / "data", unknown=[0, 1, 2])
    train_step1(tmp_path / "run", tiny_config(data, **SHORT), "cpu", progress=False)
    return tmp_path / "run"


def test_what_is_printed_has_a_dash_and_says_why(run, capsys):
    assert main(["evaluate", str(run), "--relation", "mlp", "--quiet", "--device", "cpu"]) == 0
    first, *each = capsys.readouterr().out.splitlines()
    assert first.endswith("; no known label of AU 1 in them")
    folder = open_prepared(run.parent / "data")
    labels = folder.labels[fold_rows(folder, 1)[1]]
    floor = summarise(np.ones(labels.shape), labels)["mean_f1"]
    assert f"always positive {floor:.1f})" in first  # over AU 4 and 12, as F1 before it
    assert [line.split()[1:3] for line in each] == [["AU1", "–"]] * 2


def test_nothing_known_at_all_is_said_and_step_2_has_nothing_to_learn(nothing, capsys):
    assert main(["evaluate", str(nothing), "--quiet", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "F1 – (local –, always positive –), AUC –, accuracy –" in said
    assert "no known label of AU 1 4 12" in said
    with pytest.raises(DataError, match="no label of the training people is known"):
        train_step2(nothing, "none", "cpu", progress=False)


def test_what_cannot_be_trained_is_said_before_anything_is_written(tmp_path):
    never, unknown = make_data(tmp_path / "never", never=[0, 2]), make_data(tmp_path / "unknown", unknown=[0, 1, 2])
    with pytest.raises(DataError, match=r"never: .* no training face of fold 1 shows AU 1 12; use --loss ce"):
        train_step1(tmp_path / "run", tiny_config(never, loss="jaa"), "cpu", progress=False)
    with pytest.raises(DataError, match="no label of the held-out people is known; use --select last"):
        train_step1(tmp_path / "run", tiny_config(unknown, select="held_out"), "cpu", progress=False)
    assert not (tmp_path / "run").exists()


def cells_of(name: str, **parameters) -> dict:
    """Run a notebook's cells here, with parameters; returns what they define."""
    space = {"__name__": "notebook"}
    for cell in json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{name}, {cell['id']}", "exec"), space)
            if "parameters" in cell["metadata"].get("tags", ()):
                space.update(parameters)
    return space


@pytest.mark.slow
def test_notebook_09_says_that_no_label_is_known_and_runs(run, capsys):
    found = cells_of("09_evaluation", run=str(run), relation="mlp")
    assert "AU1: no label is known, so it has no F1 and no floor, and is in no mean" in capsys.readouterr().out
    assert np.isnan(found["f1"]).tolist() == [True, False, False]
    assert found["over_people"].value == pytest.approx(found["metrics"]["outputs"]["au"]["mean_f1"])


@pytest.mark.slow
def test_notebook_10_leaves_out_what_is_not_known(run, capsys):
    found = cells_of("10_ablation_do_relations_help", run=str(run), people=20)
    assert np.isnan(found["helped"]).tolist() == [True, False, False]
    assert "nan" not in capsys.readouterr().out


@pytest.mark.slow
def test_notebooks_05_to_07_say_in_a_line_that_a_run_has_other_aus(run):
    with pytest.raises(ParameterError, match=r"run: its model knows AU 1 4 12, but the faces drawn here show those of"):
        sample_faces(load_model(run, None, "cpu"))


@pytest.mark.slow
def test_notebooks_09_and_10_say_in_a_line_that_nothing_is_known(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "step1.safetensors").unlink()  # with what the figures would be compared
    for path in (tmp_path / "run").rglob("*metrics.json"):
        found = json.loads(path.read_text())
        for part in found["outputs"].values():
            part["f1"] = [None] * 3
        path.write_text(json.dumps(found))
    save_tensors(tmp_path / "run" / "none" / "predictions.safetensors", {
        name: torch.full((4, 3), -1.0) for name in ("au_logits", "local_au_logits", "labels")})
    for name in ("09_evaluation", "10_ablation_do_relations_help"):
        with pytest.raises(ParameterError, match=r"run: .* known"):
            cells_of(name, run=str(tmp_path / "run"), relation="none", people=20)
