"""A run knows its faces, people, settings and weights: whatever opens it compares before it reads or writes."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_run import copy_run, make_data, tiny_config

from lorral_lite.datasets.folds import fold_rows
from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.files import DataError, load_tensors, only_one, read_json, read_metadata, save_tensors, write_json
from lorral_lite.report.results import load_grid, load_runs
from lorral_lite.training.config import Schedule
from lorral_lite.training.evaluation import evaluate
from lorral_lite.training.origin import RECORD, data_record, found_path, results_of, stored_path
from lorral_lite.training.run_folder import load_model, read_run_config, step1_of
from lorral_lite.training.steps import train_step1, train_step2
from lorral_lite.zoo.baselines import BASELINES, always_positive, run_baseline

ONE = Schedule(1, 0.01)


def small(data, **changes):
    return tiny_config(data, **{"step1": ONE, "step2": ONE, **changes})


def train(run: Path, config) -> Path:
    """A run with everything in it: step 1, two relations, the floor; evaluated."""
    train_step1(run, config, "cpu", progress=False)
    evaluate(run, None, "cpu", progress=False)
    for relation in ("none", "mlp"):
        train_step2(run, relation, "cpu", progress=False)
        evaluate(run, relation, "cpu", progress=False)
    run_baseline(run, "yes", progress=False)
    return run


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Two folds, and the run of another seed beside them, on faces of their own."""
    home = tmp_path_factory.mktemp("origin")
    data = make_data(home / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BASELINES, "yes", always_positive)  # the reports leave out the one called always_positive
        for fold in (1, 2):
            train(home / "grid" / f"fold{fold}_seed0", small(data, fold=fold))
        train(home / "other", small(data, seed=5))
    return home


@pytest.fixture
def home(grid, tmp_path):
    """A copy to break."""
    shutil.copytree(grid, tmp_path / "home")
    return tmp_path / "home"


def contents(folder: Path) -> dict:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and "features" not in p.parts}


def again(run: Path, data: Path):
    """Each way of going on with a run."""
    config = small(data)
    yield lambda: train_step1(run, config, "cpu", progress=False)
    yield lambda: train_step2(run, "mlp", "cpu", progress=False)
    yield lambda: train_step2(run, "bilstm", "cpu", progress=False)
    yield lambda: evaluate(run, "mlp", "cpu", progress=False)
    yield lambda: run_baseline(run, "linear_svm", progress=False)


# ------------------------------------------------------------------------------------------------------------ the faces


def test_a_run_keeps_its_faces_and_people(grid):
    run, folder = grid / "grid" / "fold1_seed0", open_prepared(grid / "data")
    record, (rows, test) = data_record(run), fold_rows(folder, 1)
    assert record["fingerprint"] == folder.fingerprint == read_metadata(run / "step1.safetensors")["data"]
    assert record["train"] == sorted(set(folder.subjects[rows]))
    assert record["test"] == sorted(set(folder.subjects[test]))
    assert record["fold"] == [1, 3]
    for name in ("metrics.json", "predictions.safetensors"):
        file = run / "mlp" / name
        found = read_json(file) if name.endswith("json") else read_metadata(file)
        assert found["weights"] != read_json(run / "none" / "metrics.json")["weights"]
        assert (found["data"] if name != "metrics.json" else found["data"]["fingerprint"]) == folder.fingerprint


def one_person_more(data):
    shutil.rmtree(data)
    make_data(data, 70, 7)


def permuted_labels(data):
    np.save(data / "labels.npy", np.load(data / "labels.npy")[::-1].copy())


def permuted_and_said_so(data):
    folder = open_prepared(data)
    permuted_labels(data)
    meta = dict(folder.meta, sha256={**folder.meta["sha256"], "labels.npy": "0" * 64})
    (data / "meta.json").write_text(json.dumps(meta))


def other_people(data):
    text = (data / "index.csv").read_text().replace("S1,", "S9,")
    (data / "index.csv").write_text(text)


@pytest.mark.parametrize(("change", "message"), [
    (one_person_more, r"data: not the faces of .*: frames.npy, landmarks.npy, labels.npy, index.csv differ "
                      r"\(fingerprint \w{16}, the run's is \w{16}\); put those back, or choose another run folder"),
    (permuted_labels, r"labels\.npy: its content changed since it was prepared"),
    (permuted_and_said_so, r"data: not the faces of .*: labels\.npy differ"),
    (other_people, r"index\.csv: its content changed since it was prepared"),
])
def test_other_faces_at_the_same_place_are_refused_and_nothing_is_written(home, change, message):
    change(home / "data")
    run = home / "grid" / "fold1_seed0"
    before = contents(run)
    for call in again(run, home / "data"):
        with pytest.raises(DataError, match=message) as error:
            call()
        assert "\n" not in str(error.value)
    assert contents(run) == before


@pytest.mark.parametrize("change", [{"sha256": None}, {"sha256": ["x"]}, {"fingerprint": 5}, {"source": 5}])
def test_a_record_of_other_types_is_named(home, change):
    path = home / "other" / RECORD
    write_json(path, {**read_json(path), "fingerprint": "0" * 16, **change})
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: {next(iter(change))} is .*restore it"):
        evaluate(home / "other", None, "cpu", progress=False)


def test_a_step_that_was_stopped_does_not_go_on_with_other_faces_or_settings(home):
    def stop(log):
        raise KeyboardInterrupt

    run, config = home / "run", tiny_config(home / "data")
    with pytest.raises(KeyboardInterrupt):
        train_step1(run, config, "cpu", progress=False, on_epoch=stop)
    values = read_json(run / "config.json")
    write_json(run / "config.json", {**values, "momentum": 0.5})
    with pytest.raises(DataError, match=r"step1_resume\.safetensors: made with other settings than "):
        train_step1(run, replace(config, momentum=0.5, threads=values["threads"]), "cpu", progress=False)
    write_json(run / "config.json", values)
    one_person_more(home / "data")
    with pytest.raises(DataError, match="not the faces of"):
        train_step1(run, config, "cpu", progress=False)


def test_a_run_finds_its_faces_from_anywhere_and_holds_no_path_of_this_machine(home, tmp_path, monkeypatch):
    run = home / "grid" / "fold1_seed0"
    assert not [file for file, raw in contents(run).items() if str(tmp_path).encode() in raw]
    (tmp_path / "elsewhere" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    first = evaluate(run, "mlp", "cpu", progress=False)
    moved = tmp_path / "moved"
    home.rename(moved)  # the faces with the run
    run = moved / "grid" / "fold1_seed0"
    assert evaluate(run, "mlp", "cpu", progress=False)["outputs"] == first["outputs"]
    (moved / "data").rename(tmp_path / "faces")  # the faces alone
    with pytest.raises(DataError, match=r"data: the faces of .* are not there; say once where .*: lorral train FOLDER"):
        evaluate(run, "mlp", "cpu", progress=False)
    train_step1(run, small(tmp_path / "faces"), "cpu", progress=False)
    assert evaluate(run, "mlp", "cpu", progress=False)["outputs"] == first["outputs"]


def test_paths_are_kept_as_seen_from_the_run(tmp_path, monkeypatch):
    home = tmp_path / "home" / "anna"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(tmp_path)
    assert stored_path("runs/faces/data", "runs/faces/fold1_seed0") == "../data"
    assert stored_path(home / "prepared", home / "runs" / "a") == "../../prepared"
    assert stored_path(home / "prepared", tmp_path / "scratch") == "~/prepared"
    assert os.path.abspath(found_path("~/prepared", tmp_path / "scratch")) == str(home / "prepared")
    assert found_path("../data", "runs/a") == os.path.join("runs", "data")


# ---------------------------------------------------------------------------------------------- weights, and after them


def step1_of_another_seed(home):
    shutil.copy(home / "other" / "step1.safetensors", home / "grid" / "fold1_seed0" / "step1.safetensors")


def step1_trained_again(home):
    """As on another machine, where the same command ends in other numbers."""
    path = home / "grid" / "fold1_seed0" / "step1.safetensors"
    weights, made = load_tensors(path)
    save_tensors(path, {name: w * 1.001 if w.is_floating_point() else w for name, w in weights.items()}, made)


def weights_of_another_relation(home):
    run = home / "grid" / "fold1_seed0"
    for name in ("step2.safetensors", "config.json"):
        shutil.copy(run / "none" / name, run / "mlp" / name)


def overwritten_in_part(home):
    path = home / "grid" / "fold1_seed0" / "mlp" / "step2.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-40:] = bytes(40)
    path.write_bytes(raw)


def metrics_exchanged(home):
    run = home / "grid" / "fold1_seed0"
    (run / "none" / "metrics.json").replace(run / "metrics.json")
    (run / "mlp" / "metrics.json").replace(run / "none" / "metrics.json")
    (run / "metrics.json").replace(run / "mlp" / "metrics.json")


def file_of(source: str, name: str, target: str = ""):
    """A damage: the file ``name`` of another run or relation in place of the own one."""
    return lambda home: shutil.copy(home / source / name, home / "grid" / "fold1_seed0" / (target or name))


def another_schedule(home):
    path = home / "grid" / "fold1_seed0" / "config.json"
    write_json(path, {**read_json(path), "weight_decay": 0.0})


def older_metrics(home):
    path = home / "grid" / "fold1_seed0" / "mlp" / "metrics.json"
    values = read_json(path)
    del values["weights"], values["data"]["fingerprint"]
    write_json(path, values)


def photo_of_other_weights(home):
    path = home / "grid" / "fold1_seed0" / "photo" / "prediction.json"
    path.parent.mkdir()
    write_json(path, {"photo": "me.png", **results_of(home / "grid" / "fold2_seed0", "mlp")})


def no_record(home):
    (home / "grid" / "fold1_seed0" / RECORD).unlink()


@pytest.mark.parametrize(("damage", "message", "loads"), [
    (step1_of_another_seed, r"step1\.safetensors: made with other settings than ", False),
    (step1_trained_again,
     r"(step2\.safetensors: made on another step 1|metrics\.json: made by other weights) than", False),
    (weights_of_another_relation, r"of relation mlp, but|metrics\.json: made by other weights than ", True),
    (overwritten_in_part, r"mlp/step2\.safetensors: its numbers are not those that were written", False),
    (metrics_exchanged, r"none/metrics\.json: of relation mlp, but this is relation none; evaluate it again", True),
    (file_of("grid/fold2_seed0", "mlp/predictions.safetensors"), r"mlp/predictions\.safetensors: made by other", True),
    (file_of("grid/fold1_seed0", "none/predictions.safetensors", "mlp/predictions.safetensors"),
     r"mlp/predictions\.safetensors: made by other weights than ", True),
    (file_of("grid/fold2_seed0", "step1_metrics.json"), r"step1_metrics\.json: of fold 2, but this is fold 1", True),
    (file_of("grid/fold2_seed0", "baselines/yes/metrics.json"), r"metrics\.json: of fold 2, but", True),
    (another_schedule, r"step1\.safetensors: made with other settings than ", False),
    (older_metrics, r"mlp/metrics\.json: no fingerprint: .*, nor mixed with newer files; begin a new run folder", True),
    (photo_of_other_weights, r"photo: predicted by other weights than those that are here; remove it", True),
    (file_of("grid/fold2_seed0", RECORD), r"data\.json: of fold \[2, 3\], but its config\.json is", False),
    (no_record, r"fold1_seed0: no fingerprint: .*, nor mixed with newer files", False),
])
def test_what_is_not_of_this_run_is_refused_by_the_report_and_by_training(home, damage, message, loads):
    run = home / "grid" / "fold1_seed0"
    load_runs(run)
    damage(home)
    for call in (lambda: load_runs(run), lambda: load_grid(home / "grid")):
        with pytest.raises(DataError, match=message) as error:
            call()
        assert "\n" not in str(error.value)
    if not loads:
        before = contents(run)
        for call in (lambda: load_model(run, "mlp"), lambda: evaluate(run, "mlp", "cpu", progress=False)):
            with pytest.raises(DataError):
                call()
        assert contents(run) == before


def copied_under_another_name(home):
    shutil.rmtree(home / "grid" / "fold2_seed0")
    shutil.copytree(home / "grid" / "fold1_seed0", home / "grid" / "fold2_seed0")


def of_another(**changes):
    def change(home):
        run = home / "grid" / "fold2_seed0"
        shutil.rmtree(run)
        data = home / "data"
        if changes.get("faces"):
            data = make_data(home / "faces", 40, 4)
        settings = {key: value for key, value in changes.items() if key != "faces"}
        train_step1(run, small(data, fold=2, **settings), "cpu", progress=False)

    return change


def of_other_options(home):
    run = home / "grid" / "fold2_seed0"
    shutil.rmtree(run / "mlp")
    train_step2(run, "mlp", "cpu", progress=False, parameters=900)


@pytest.mark.parametrize(("damage", "message"), [
    (copied_under_another_name, "fold2_seed0: holds fold1_seed0; give it that name, or remove it"),
    (of_other_options, "fold2_seed0: other options of mlp than the cells before it"),
    (of_another(loss="jaa"), "fold2_seed0: other loss than the cells before it"),
    (of_another(step1=Schedule(2, 0.01)), "fold2_seed0: other step1 than"),
    (of_another(folds=2), "fold2_seed0: other folds than"),
    (of_another(faces=True), "fold2_seed0: other faces than"),
])
def test_cells_of_a_grid_are_of_one_kind(home, damage, message):
    assert load_grid(home / "grid").folds == [1, 2]
    damage(home)
    with pytest.raises(DataError, match=message):
        load_grid(home / "grid")


# ----------------------------------------------------------------------------------------------- one step 1 for several


def test_a_run_may_begin_with_the_step_1_of_another_if_the_people_are_the_same(home):
    first, data = home / "grid" / "fold1_seed0", open_prepared(home / "data")
    first_step1 = first / "step1.safetensors"
    new = small(make_data(home / "more", 66, 6), loss="jaa")
    step1_of(first, home / "run", new)
    train_step2(home / "run", "none", "cpu", progress=False)
    assert load_tensors(home / "run" / "step1.safetensors")[0].keys() == load_tensors(first_step1)[0].keys()
    assert data_record(home / "run")["train"] == data_record(first)["train"]
    assert data_record(home / "run")["fingerprint"] != data.fingerprint
    with pytest.raises(DataError, match="its step 1 was not trained on the people that"):
        step1_of(first, home / "never", small(make_data(home / "others", 70, 7)))
    with pytest.raises(DataError, match="its step 1 was not trained on the people that"):
        step1_of(home / "grid" / "fold2_seed0", home / "never2", new)


def test_checksums_are_compared_once_as_long_as_a_file_stays_as_it_is(home, monkeypatch):
    from lorral_lite.datasets import prepared

    asked, real = [], prepared.checksum
    monkeypatch.setattr(prepared, "checksum", lambda file: asked.append(file.name) or real(file))
    run = copy_run(home / "other", home / "run")
    for relation in (None, "mlp"):
        evaluate(run, relation, "cpu", progress=False)
    assert sorted(asked) == ["frames.npy", "index.csv", "labels.npy", "landmarks.npy"]
    os.utime(home / "data" / "labels.npy", ns=(1, 1))
    evaluate(run, None, "cpu", progress=False)
    assert asked[4:] == ["labels.npy"]
    assert read_run_config(run).data == found_path("../data", run)


@pytest.mark.parametrize("edit", [{"sha256": "x", "fingerprint": "x"}, {"train": 3}, {"fold": None},
                                  {"fingerprint": [1]}])
def test_a_record_of_other_types_is_one_line(home, edit):
    run = home / "grid" / "fold1_seed0"
    write_json(run / RECORD, {**read_json(run / RECORD), **edit})
    for call in (lambda: evaluate(run, None, "cpu", progress=False), lambda: load_runs(run)):
        with pytest.raises(DataError, match=r"data\.json: \w+ is .*; restore it, or begin a new"):
            call()


def test_a_step_1_that_is_exchanged_while_step_2_trains_is_noticed(home):
    run = home / "grid" / "fold1_seed0"
    shutil.rmtree(run / "mlp")
    train_step2(run, "mlp", "cpu", progress=False, on_epoch=lambda log: step1_trained_again(home))
    with pytest.raises(DataError, match=r"step2\.safetensors: made on another step 1 than"):
        load_model(run, "mlp")


def test_labels_exchanged_with_their_size_and_time_are_noticed_by_the_same_process(home):
    run, labels = home / "grid" / "fold1_seed0", home / "data" / "labels.npy"
    evaluate(run, None, "cpu", progress=False)
    time = labels.stat().st_mtime_ns
    permuted_labels(home / "data")
    os.utime(labels, ns=(time, time))
    with pytest.raises(DataError, match=r"labels\.npy: its content changed"):
        evaluate(run, None, "cpu", progress=False)


def test_metrics_of_other_faces_are_refused_where_no_weights_are_left(home):
    run, path = home / "grid" / "fold1_seed0", home / "grid" / "fold1_seed0" / "none" / "metrics.json"
    (run / "step1.safetensors").unlink()
    load_runs(run)
    metrics = read_json(path)
    write_json(path, {**metrics, "data": {**metrics["data"], "fingerprint": "0" * 16}})
    with pytest.raises(DataError, match=r"none/metrics\.json: scored on other faces than the rest"):
        load_runs(run)
    (run / RECORD).unlink()
    with pytest.raises(DataError, match=r"none/metrics\.json: scored on other faces than the rest"):
        load_runs(run)


def test_a_cell_that_has_nothing_but_metrics_is_of_the_same_faces_and_folds_too(home):
    cell = home / "grid" / "fold2_seed0"
    for name in ("config.json", RECORD, "step1.safetensors"):
        (cell / name).unlink()
    assert load_grid(home / "grid").folds == [1, 2]
    for key, value in (("data", {"source": "test", "fingerprint": "0" * 16}), ("folds", 2)):
        before = {path: path.read_bytes() for path in cell.rglob("*metrics.json")}
        for path in before:
            write_json(path, {**read_json(path), key: value})
        with pytest.raises(DataError, match=f"fold2_seed0: other {'faces' if key == 'data' else key} than"):
            load_grid(home / "grid")
        for path, raw in before.items():
            path.write_bytes(raw)


def test_drawn_people_of_another_seed_are_others_though_their_names_are_the_same(home):
    first = home / "grid" / "fold1_seed0"
    write_json(first / RECORD, {**read_json(first / RECORD), "seed": 1})
    with pytest.raises(DataError, match="its step 1 was not trained on the people that"):
        step1_of(first, home / "run", small(home / "data", loss="jaa"))
    with only_one(home / "run", "training"), pytest.raises(DataError, match="another process is training it"):
        step1_of(first, home / "run", small(home / "data", loss="jaa"))
