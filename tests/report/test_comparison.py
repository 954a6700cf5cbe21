"""The paper's rows with ours beside them: complete, never mixed with procedural figures, and judged by one rule."""

import copy
import json
import math
import shutil

import numpy as np
import pytest
from bs4 import BeautifulSoup
from test_reporting import make_run, metrics

from lorral_lite.files import DataError
from lorral_lite.measure.statistics import nested_f1, nested_gain
from lorral_lite.report import comparison as compared
from lorral_lite.report import write as reporting
from lorral_lite.report.comparison import COLUMNS, comparison, faults
from lorral_lite.report.published import published
from lorral_lite.report.results import estimate, load_grid, over_the_svm
from lorral_lite.report.tables import tables
from lorral_lite.report.write import write_report
from lorral_lite.training.config import RunConfig

MODEL = RunConfig.paper("prepared", (1, 2, 4)).to_dict()


def make_grid(folder, folds=3, seeds=1, source="bp4d", licensed=True, model="paper", shift=0.1):
    """A finished grid as `lorral reproduce` leaves it: people named by fold, relations, a linear SVM."""
    for fold in range(1, folds + 1):
        for seed in range(seeds):
            run = make_run(folder / f"fold{fold}_seed{seed}", relations={}, source=source, licensed=licensed)
            (run / "config.json").write_text(json.dumps({
                **MODEL, "fold": fold, "seed": seed, "model": {**MODEL["model"], "name": model}}))
            for name, part in (("", 0.0), ("none", 0.0), ("self_attention", shift), ("hopfield", -shift),
                               ("baselines/linear_svm", -0.15), ("baselines/always_positive", -0.2)):
                found = metrics(name.split("/")[-1] or None, part, 10 * fold + seed, licensed, source)
                found.update(fold=fold, seed=seed)
                for output in found["outputs"].values():
                    output["per_subject"] = {f"F{fold}{k}": v for k, v in output["per_subject"].items()}
                (run / name).mkdir(parents=True, exist_ok=True)
                (run / name / ("metrics.json" if name else "step1_metrics.json")).write_text(json.dumps(found))
    (folder / "grid.json").write_text(json.dumps({
        "data": source, "profile": "paper", "command": f"lorral reproduce --data {source} ROOT --profile paper",
        "cells": [{"run": f"fold{f}_seed{s}", "fold": f, "seed": s} for f in range(1, folds + 1)
                  for s in range(seeds)]}))
    return folder


def rows_of(folder) -> list[dict]:
    return comparison(load_grid(folder))


@pytest.fixture(scope="module")
def procedural(tmp_path_factory):
    return rows_of(make_run(tmp_path_factory.mktemp("faces") / "run"))


@pytest.fixture(scope="module")
def licensed(tmp_path_factory):
    return rows_of(make_grid(tmp_path_factory.mktemp("bp4d") / "grid"))


# ---------------------------------------------------------------------------------------- every number has a row


def test_every_published_number_has_a_row_with_every_column(procedural, licensed):
    for rows, source in ((procedural, "faces"), (licensed, "bp4d")):
        assert faults(rows, source) == []
        for dataset, main, ablation in (("bp4d", 1, 3), ("disfa", 2, 4)):
            count = sum(r["dataset"] == dataset for r in published())
            methods = len({r["method"] for r in published() if r["dataset"] == dataset})
            assert sum(r["table"] == main for r in rows) == count + methods + 1  # each AU, the means, the claim
            assert sum(r["table"] == ablation for r in rows) == 5  # base, its lost AUs, three gains
    by = {(r["table"], r["row"]): r for r in procedural}
    assert by[1, "LoRRaL(H)"]["paper"] == "63.5 (Table 1, v1)"
    assert by[1, "LoRRaL(H), AU12"]["paper"] == "90.6 (Table 1, v1)"
    assert by[3, "no relation (average)"]["paper"] == "62.6 (inferred from §4.3, v1)"
    assert by[4, "LoRRaL(SA) over no relation"]["paper"] == "+2.1 (§4.3, v1)"
    assert by[4, "LoRRaL(B) over no relation"]["paper"] == "+1.2 (inferred from §4.3, v1)"
    assert by[3, "no relation, each AU"]["verdict"] == "cannot: the paper's values cannot be recovered"


def test_without_the_licensed_data_every_row_says_what_it_needs(procedural):
    for row in (r for r in procedural if r["dataset"]):
        assert row["ours"] == "–"
        assert row["verdict"].startswith(("not attempted: needs " + row["dataset"].upper(), "cannot",
                                          "not attempted: another paper's method"))
        if row["verdict"].startswith("not attempted: needs"):
            assert row["command"] == f"lorral reproduce --data {row['dataset']} ROOT --profile paper"


def test_procedural_figures_have_rows_of_their_own(procedural):
    own = [r for r in procedural if r["dataset"] is None]
    assert [r["row"] for r in own][:3] == ["no relation, before step 2", "no relation", "MLP control"]
    assert {(r["paper"], r["data"], r["verdict"]) for r in own} == {
        ("none: other data", "procedural faces", "no published value")}
    assert all(r["ours"].count("local output") == 1 for r in own)


# ---------------------------------------------------------------------------------------- broken reports are found


def doctored(rows, **change):
    rows = copy.deepcopy(rows)
    row = next(r for r in rows if r["row"] == "LoRRaL(SA)" and r["dataset"] == "bp4d")
    row.update(change)
    return rows


@pytest.mark.parametrize(("change", "found"), [
    *[({column: ""}, f"column {column!r} is missing or empty") for column in COLUMNS],
    ({"ours": ..., "measured": ..., "verdict": "reproduced"}, "measured on 'faces' stands in a column of BP4D"),
    ({"ours": ...}, "was not measured"),
    ({"data": "procedural faces"}, "its data must be BP4D"),
    ({"paper": "63.9 (Table 1, v1)"}, "LoRRaL(SA) on BP4D: the published 63.4 has no row"),
    ({"verdict": "excellent"}, "is none of"),
])
def test_a_doctored_row_is_found(procedural, change, found):
    """An ellipsis stands for what the row of procedural faces says."""
    ours = next(r for r in procedural if r["row"] == "self-attention")
    change = {key: ours[key] if value is ... else value for key, value in change.items()}
    assert any(found in line for line in faults(doctored(procedural, **change), "faces"))


def test_other_lies_are_found(procedural, licensed):
    gone = [r for r in procedural if r["row"] != "DSIN, AU12" or r["dataset"] != "disfa"]
    assert faults(gone, "faces") == ["DSIN, AU12 on DISFA: the published 70.8 has no row"]
    row = next(r for r in licensed if r["row"] == "LoRRaL(SA)" and r["dataset"] == "bp4d")
    digit = doctored(licensed, ours=row["ours"].replace("(", "(9"))
    assert "measured was" in faults(digit, "bp4d")[0]
    beside = copy.deepcopy(procedural)
    next(r for r in beside if r["dataset"] is None)["paper"] = "63.5 (Table 1, v1)"
    assert "the paper has no value on 'procedural faces'" in faults(beside, "faces")[0]


@pytest.mark.usefixtures("quick")
def test_no_report_is_written_against_the_rules(tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", relations={"none": 0})
    monkeypatch.setattr(reporting, "comparison", lambda *a: doctored(comparison(*a), deviations=""))
    with pytest.raises(RuntimeError, match="column 'deviations' is missing or empty"):
        write_report(folder)
    assert not (folder / "report.html").exists()


@pytest.mark.usefixtures("quick")
def test_the_page_has_every_cell_of_the_papers_tables(tmp_path):
    path = write_report(make_run(tmp_path / "run", relations={"none": 0, "bilstm": 0.1}))
    page = BeautifulSoup(path.read_text(encoding="utf8"), "html.parser")
    for name, rows in (("paper-1", 14), ("paper-2", 12), ("paper-3", 5), ("paper-4", 5)):
        body = page.find(id=name).tbody
        assert len(body.find_all("tr")) == rows
        cells = body.find_all(["td", "th"])
        assert sum(int(cell.get("rowspan", 1)) for cell in cells) == rows * len(COLUMNS)  # merged: once for each row
        assert all(cell.get_text(strip=True) for cell in cells)


# ---------------------------------------------------------------------------------------- licensed grids


def test_a_grid_is_estimated_over_its_folds_with_seeds_inside(tmp_path):
    grid = load_grid(make_grid(tmp_path / "grid", seeds=2))
    assert (grid.folds, grid.seeds, grid.relations) == ([1, 2, 3], [0, 1], ["none", "self_attention", "hopfield"])
    assert grid.names[-1] == "baselines/linear_svm"
    cells = {key: m["outputs"]["au"]["per_subject"] for key, m in grid.of("self_attention").items()}
    control = {key: m["outputs"]["au"]["per_subject"] for key, m in grid.of("none").items()}
    ours, by_hand = estimate(grid, "self_attention", "au"), nested_f1(cells)
    assert (ours.value, ours.se, ours.seed_sd, ours.n) == (by_hand.value, by_hand.se, by_hand.seed_sd, 27)
    row = next(g for g in grid.gain_rows if (g["relation"], g["output"]) == ("self_attention", "au"))
    paired = nested_gain(cells, control)
    assert (row["gain"], row["se"], row["n"]) == (paired.value, paired.se, 27)
    made = {t.id: t for t in tables(grid, [])}
    ours = [r for r in made["published-bp4d"].rows if r[0].startswith("ours: ")]
    assert [r[0] for r in ours] == ["ours: self-attention", "ours: Hopfield"]
    assert made["published-bp4d"].comparable
    assert not made["published-disfa"].comparable


def test_licensed_rows_hold_ours_and_a_verdict(licensed):
    by = {(r["dataset"], r["row"]): r for r in licensed}
    for name in ("LoRRaL(SA)", "LoRRaL(SA), AU4", "LSVM", "no relation (average)", "LoRRaL(H) over no relation"):
        row = by["bp4d", name]
        assert row["measured"]["source"] == "bp4d"
        assert row["verdict"] in ("reproduced", "partly", "not reproduced")
        assert (row["seeds × folds"], row["data"]) == ("1 × 3", "BP4D (licensed)")
    assert by["bp4d", "LoRRaL(H) over no relation"]["verdict"] == "not reproduced"
    assert by["bp4d", "LoRRaL(B)"]["verdict"] == "not attempted: needs BP4D"  # not trained in this grid
    assert by["disfa", "LoRRaL(SA)"]["verdict"] == "not attempted: needs DISFA"
    assert by["bp4d", "JAA"]["verdict"] == "not attempted: another paper's method"
    assert not any(r["dataset"] is None for r in licensed)


def level(value, half):
    return {"au": {"value": value, "low": value - half, "high": value + half}}


@pytest.mark.parametrize(("measured", "kind", "verdict"), [
    (level(63.0, 2), "level", "reproduced"), (level(62.0, 2), "level", "partly"),  # inside, but not within a point
    (level(63.3, 0.1), "level", "partly"), (level(60.0, 2), "level", "not reproduced"),
    ({"au": {"gain": 1, "low": 0.5, "high": 1.5, "corrected_low": 0.1}}, "gain", "reproduced"),
    ({"au": {"gain": 1, "low": 0.5, "high": 1.5, "corrected_low": -0.1}}, "gain", "partly"),
    ({"au": {"gain": 1, "low": -0.5, "high": 2.5, "corrected_low": -1}}, "gain", "not reproduced"),
    (level(63.5, float("nan")), "level", "not attempted: too few people for an interval"),
])
def test_the_verdict_is_one_rule(tmp_path, measured, kind, verdict):
    grid = load_grid(make_grid(tmp_path / "grid"))
    assert compared._verdict(grid, kind, 63.5, measured) == verdict


def test_a_lite_model_one_fold_and_a_stand_in_are_no_attempt(tmp_path):
    lite = {r["row"]: r for r in rows_of(make_grid(tmp_path / "lite", model="lite")) if r["dataset"] == "bp4d"}
    assert lite["LoRRaL(SA)"]["verdict"] == "not attempted: lite model, not the paper's size"
    one = {r["row"]: r for r in rows_of(make_grid(tmp_path / "one", folds=1)) if r["dataset"] == "bp4d"}
    assert one["LoRRaL(SA)"]["verdict"] == "not attempted: 1 of 3 folds, which the paper averages"
    drawn = rows_of(make_grid(tmp_path / "drawn", source="bp4d stand-in (procedural faces)", licensed=False))
    assert faults(drawn, "bp4d stand-in (procedural faces)") == []
    assert all(r["ours"] == "–" for r in drawn if r["dataset"])
    assert {r["data"] for r in drawn if r["dataset"] is None} == {"procedural faces"}


def test_runs_of_different_data_are_not_one_grid(tmp_path):
    folder = make_grid(tmp_path / "grid", folds=1)
    make_run(folder / "fold2_seed0", relations={})
    (folder / "grid.json").unlink()
    with pytest.raises(DataError, match=r"different data \(bp4d, faces\)"):
        load_grid(folder)


def test_cells_that_failed_or_are_missing_are_named(tmp_path):
    folder = make_grid(tmp_path / "grid", folds=2)
    (folder / "fold1_seed0" / "failed.ipynb").write_text("{}")
    (folder / "fold2_seed0" / "step1_metrics.json").unlink()
    said = load_grid(folder).problems
    assert "fold1_seed0 failed: its failed.ipynb says why." in said
    assert "1 of 2 cells of the grid are not there yet: fold2_seed0." in said


@pytest.mark.usefixtures("quick")
def test_a_grid_report_holds_together(tmp_path):
    path = write_report(make_grid(tmp_path / "grid", seeds=2))
    document = json.loads(path.with_suffix(".json").read_text(encoding="utf8"))
    assert (document["folds"], document["seeds"]) == ([1, 2, 3], [0, 1])
    assert document["results"]["self_attention"]["au"]["mean_f1"]["seeds"] == 2
    assert faults(document["comparison"], document["source"]) == []
    assert "the spread of 2 seeds stands beside them" in path.read_text(encoding="utf8")


def test_how_far_all_that_was_trained_lies_above_the_svm(tmp_path):
    grid = load_grid(make_grid(tmp_path / "grid", folds=2, seeds=3, source="faces", licensed=False, model="lite"))
    rows = over_the_svm(grid)
    assert [(r["name"], r["output"]) for r in rows] == [
        (name, output) for name in ("step 1", "none", "self_attention", "hopfield") for output in ("local", "au")]
    cells = {name: {cell: m["outputs"]["au"]["per_subject"] for cell, m in grid.of(name).items()}
             for name in ("self_attention", "baselines/linear_svm")}
    row = next(r for r in rows if (r["name"], r["output"]) == ("self_attention", "au"))
    assert row["gain"] == nested_gain(*cells.values()).value
    seeds = [nested_gain(*({c: v for c, v in side.items() if c[1] == seed} for side in cells.values())).value
             for seed in range(3)]
    assert list(row["by_seed"].values()) == seeds
    half = 4.302653 * np.std(seeds, ddof=1) / 3**0.5  # the t quantile with 2 degrees of freedom
    assert (row["seeds_high"] - row["seeds_low"]) / 2 == pytest.approx(half, rel=1e-6)
    table = next(t for t in tables(grid, comparison(grid)) if t.id == "svm")
    assert len(table.rows) == 8
    shutil.rmtree(tmp_path / "grid" / "fold1_seed0" / "baselines" / "linear_svm")
    assert over_the_svm(load_grid(tmp_path / "grid")) == []
    alone = over_the_svm(load_grid(make_grid(tmp_path / "one", folds=1, source="faces", licensed=False)))
    assert math.isnan(alone[0]["seeds_low"])
    assert "svm" in (write_report(tmp_path / "one").read_text(encoding="utf8"))
