"""Means and comparisons are over the same people and AUs for all that is compared, and what lacks some is named."""

import json
import math
import shutil

import numpy as np
import pytest
from bs4 import BeautifulSoup
from test_comparison import make_grid
from test_reporting import make_run, metrics

from lorral_lite.facs import AU_SETS
from lorral_lite.files import DataError
from lorral_lite.measure.metrics import always_positive_f1, mean_or_none, or_none, summarise
from lorral_lite.report.comparison import comparison, faults
from lorral_lite.report.results import gains, load_grid, load_runs, mean_estimates
from lorral_lite.report.tables import tables
from lorral_lite.report.write import write_report

HARD = {1: 0.9, 2: 0.9, 3: 0.5}
"""How often a model is right in each fold."""


def scored(run, fold, name, unknown=(), older=False):
    """Put metrics with real counts into a run; "yes" is a model that always says yes. ``unknown``: AUs by position."""
    rng = np.random.default_rng([fold, len(name)])
    labels = np.random.default_rng(fold).integers(0, 2, (60, len(AU_SETS["bp4d"])))
    logits = np.where(rng.random(labels.shape) < HARD[fold], 1, -1) * (2.0 * labels - 1)
    if name == "yes":
        logits[:] = 1
    labels[:, list(unknown)] = -1
    part = summarise(logits, labels, [f"F{fold}{k % 6}" for k in range(60)])
    floor = [or_none(f1) for f1 in always_positive_f1(labels)]
    if older:
        floor = [f1 or 0.0 for f1 in floor]
    found = {**metrics(name), "fold": fold, "outputs": {"au": part, "local": part},
             "always_positive": {"f1": floor, "mean_f1": mean_or_none(floor)}}
    path = run / ("step1_metrics.json" if name == "step1" else f"{name}/metrics.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))


@pytest.fixture
def folder(tmp_path):
    """Three folds of which the third is hard, with step 1, no relation, the MLP and a module; no grid.json."""
    for fold in HARD:
        for name in ("step1", "none", "mlp", "bilstm", "baselines/linear_svm"):
            scored(tmp_path / "grid" / f"fold{fold}_seed0", fold, name)
    return tmp_path / "grid"


def means(grid) -> dict:
    return {name: found["au"].value for name, found in mean_estimates(grid).items()}


@pytest.mark.usefixtures("quick")
def test_what_failed_in_the_hard_fold_does_not_look_best(folder):
    whole = means(load_grid(folder))
    for gone in ("mlp", "baselines/linear_svm"):
        shutil.rmtree(folder / "fold3_seed0" / gone)
    grid = load_grid(folder)
    found = means(grid)
    assert math.isnan(found.pop("mlp"))
    assert math.isnan(found.pop("baselines/linear_svm"))
    assert found == {name: whole[name] for name in found}
    assert {(g["relation"], g["control"]) for g in gains(grid)} == {("bilstm", "none")}
    said = "MLP control was not scored in fold 3, seed 0; linear SVM was not scored in fold 3, seed 0"
    assert said in grid.problems[0]
    path = write_report(folder)
    page = BeautifulSoup(path.read_text(encoding="utf8"), "html.parser")
    for table in ("summary", "folds-au", "f1-au"):
        text = page.find(id=table).get_text(" ")
        assert "MLP control †" in text
        assert "BiLSTM †" not in text
        assert said in page.find(id=table).find_next(class_="note").get_text()
    [row] = [r for r in page.find(id="summary").find_all("tr") if "MLP" in r.get_text()]
    assert {cell.get_text() for cell in row.find_all("td")} == {"–"}
    [row] = [r for r in page.find(id="folds-au").find_all("tr") if "fold 1" in r.get_text()]
    assert row.find_all("td")[2].get_text() != "–"  # what it has stays to be seen
    document = json.loads(path.with_suffix(".json").read_text(encoding="utf8"))
    assert document["results"]["mlp"]["au"]["mean_f1"]["value"] is None
    assert said in document["problems"][0]
    assert faults(document["comparison"], document["source"]) == []
    assert [r["ours"] for r in document["comparison"] if r["row"] == "MLP control †"] == ["–"]


@pytest.mark.usefixtures("quick")
def test_a_grid_that_is_half_done_has_its_means_over_what_is_done(folder):
    for name in ("none", "mlp", "bilstm", "baselines"):
        shutil.rmtree(folder / "fold2_seed0" / name)
    shutil.rmtree(folder / "fold3_seed0")
    grid = load_grid(folder)
    assert (grid.shared, grid.folds, grid.lacking) == ([(1, 0)], [1], {})
    one = means(load_grid(folder / "fold1_seed0"))
    assert means(grid) == one
    assert "In no mean and no comparison, as less was scored there: fold 2, seed 0." in grid.problems
    made = {table.id: table for table in tables(grid, [])}
    assert [row[0] for row in made["folds-au"].rows] == ["fold 1, seed 0", "fold 2, seed 0 ‡", "mean F1"]
    assert "‡ Not in the means" in made["folds-au"].note


def test_a_published_row_says_in_which_fold_ours_is_missing(tmp_path):
    folder = make_grid(tmp_path / "grid")
    gone = folder / "fold3_seed0" / "self_attention"
    gone.rename(tmp_path / "gone")
    by = {r["row"]: r for r in comparison(load_grid(folder)) if r["dataset"] == "bp4d"}
    for row in ("LoRRaL(SA)", "LoRRaL(SA), AU4", "LoRRaL(SA) over no relation"):
        assert (by[row]["ours"], by[row]["verdict"]) == ("–", "not attempted: not scored in fold 3, seed 0")
    assert by["LoRRaL(H)"]["verdict"] in ("reproduced", "partly", "not reproduced")  # over all three folds, as before
    (tmp_path / "gone").rename(gone)
    shutil.rmtree(folder / "fold3_seed0" / "none")
    by = {r["row"]: r for r in comparison(load_grid(folder)) if r["dataset"] == "bp4d"}
    assert by["LoRRaL(H) over no relation"]["verdict"] == (
        "not attempted: no control that was tested on the same people")


@pytest.mark.parametrize("older", [False, True])
def test_the_floor_and_a_model_that_says_yes_too_have_the_same_figures(tmp_path, older):
    """In one fold no label of AU 4 is known. Older files count a floor of 0 there."""
    for fold in HARD:
        for name in ("step1", "none", "yes"):
            scored(tmp_path / f"fold{fold}_seed0", fold, name, (2,) if fold == 3 else (), older)
    grid = load_grid(tmp_path)
    found = grid.table["yes"]["au"]
    assert found["mean_f1"].value == pytest.approx(grid.floor)
    assert [e.value for e in found["f1"].values()] == pytest.approx(grid.floors)
    assert not math.isnan(found["f1"]["AU4"].low)  # over the two folds that have labels of it
    assert "AU4: no label is known in fold 3, seed 0; there it is in no mean" in grid.problems[0]


@pytest.mark.usefixtures("quick")
def test_an_au_without_a_label_is_a_dash_everywhere(tmp_path):
    for name in ("step1", "none", "bilstm"):
        scored(tmp_path / "one", 1, name, unknown=(2,))
        scored(tmp_path / "all", 1, name, unknown=range(12))
    page = BeautifulSoup(write_report(tmp_path / "one").read_text(encoding="utf8"), "html.parser")
    [row] = [r for r in page.find(id="f1-au").find_all("tr") if r.get_text().strip().startswith("AU4 ")]
    assert [cell.get_text() for cell in row.find_all("td")] == ["–"] * 3
    text = write_report(tmp_path / "all").read_text(encoding="utf8")
    assert "no pair to compare" in text
    assert "nan" not in BeautifulSoup(text, "html.parser").get_text().split()
    assert gains(load_runs(tmp_path / "all")) == []


def test_scores_of_other_aus_are_never_in_one_table(tmp_path):
    folder = make_run(tmp_path / "run", relations={"none": 0, "bilstm": 0.1})
    path = folder / "bilstm" / "metrics.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "aus": [*found["aus"][:-1], 25]}))
    with pytest.raises(DataError, match="holds scores of different AUs"):
        load_grid(folder)


@pytest.mark.parametrize("change", [
    {"aus": ["<script>", *AU_SETS["bp4d"][1:]]}, {"fold": "2"}, {"data": "faces"}, {"landmarks": {"nme_percent": "x"}},
    {"always_positive": {"f1": ["50"] * 12}}, {"outputs": {}},
])
def test_metrics_that_are_no_numbers_are_named_and_left_out(tmp_path, change):
    folder = make_run(tmp_path / "run", relations={"none": 0, "bilstm": 0.1})
    path = folder / "bilstm" / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    run = load_runs(folder)
    assert list(run.relations) == ["none"]
    assert run.problems == [
        "metrics.json of bilstm lacks scores, or holds others than numbers, and is left out."]


def test_a_mean_is_that_of_the_figures_beside_it(tmp_path):
    folder = make_run(tmp_path / "run", relations={"none": 0})
    path = folder / "none" / "metrics.json"
    found = json.loads(path.read_text())
    true = found["outputs"]["au"]["mean_f1"]
    found["outputs"]["au"]["mean_f1"] = 99.0
    path.write_text(json.dumps(found))
    assert load_runs(folder).relations["none"]["outputs"]["au"]["mean_f1"] == pytest.approx(true)
