"""The grid: what a profile plans, cells one after the other, side by side and on a cluster, failures, what it costs."""

import ast
import json
import os
import re
import shutil
import signal
import stat
import sys
from dataclasses import replace

import nbformat
import numpy as np
import pytest
from tiny_run import make_data, tiny_config

from lorral_lite.cli import main
from lorral_lite.datasets.stand_in import write_bp4d
from lorral_lite.files import DataError
from lorral_lite.model.relations import RELATIONS
from lorral_lite.reproduce import cell as grid
from lorral_lite.reproduce import cost, jobs
from lorral_lite.reproduce import plan as job
from lorral_lite.reproduce.cell import NOTEBOOKS, Cell, Plan, failure_notebook, read_plan, same_kind
from lorral_lite.training.config import RunConfig, Schedule
from lorral_lite.training.jobs import CLUSTERS
from lorral_lite.training.steps import train_step1

ONE = Schedule(1, 0.01)


def quick(cls, data, aus, **changes):
    """In the place of RunConfig.lite: the tiny model, one epoch a step."""
    return tiny_config(data, **{"step1": ONE, "step2": ONE, **changes})


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A prepared folder of six tiny people that says it is of procedural faces."""
    folder = make_data(tmp_path_factory.mktemp("grid") / "prepared")
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "source": "faces"}))
    return folder


@pytest.fixture
def small(monkeypatch):
    """Cells of seconds, and one thread in every process."""
    monkeypatch.setattr(RunConfig, "lite", classmethod(quick))
    monkeypatch.setattr(job, "measure", lambda *a: cost.Speed(1, dict.fromkeys(RELATIONS, 1), 1, 1, 1, 1, 1))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def no_pages(monkeypatch):
    """Reports are one word; returns the folders that were reported."""
    reported = []

    def page(folder, out, command=None):
        reported.append(folder.name)
        out.write_text(command)
        return out

    monkeypatch.setattr(grid, "write_report", page)
    monkeypatch.setattr(job, "write_report", page)
    return reported


def spoil(out) -> None:
    """Let a cell fail: its run folder holds a run with other settings."""
    (out / "fold2_seed0").mkdir(parents=True)
    (out / "fold2_seed0" / "config.json").write_text("{}")


def reproduce(faces, out, *more) -> int:
    return main(["reproduce", str(faces), "--out", str(out), "--profile", "fast", "--relation", "none", "--device",
                 "cpu", "--no-notebooks", "--quiet", *more])


# ------------------------------------------------------------------------------------------------------------- plans


@pytest.mark.parametrize(("profile", "cells", "recipe"), [
    ("smoke", 1, RunConfig.lite), ("fast", 3, RunConfig.lite), ("paper", 3, RunConfig.paper),
    ("full", 15, RunConfig.paper),
])
def test_a_profile_is_a_list_of_cells(tmp_path, profile, cells, recipe):
    plan = job.make_plan(tmp_path / "o", "disfa", tmp_path, profile)
    assert len(set(plan.cells)) == cells
    assert {fold for fold, _ in plan.cells} == ({1} if cells == 1 else {1, 2, 3})
    assert {seed for _, seed in plan.cells} == set(range(cells // 3 or 1) if cells > 3 else [0])
    assert list(plan.cells) == sorted(plan.cells)  # a fold is whole before the next begins
    cell = plan.cells[-1]
    assert plan.config_of(cell) == recipe(tmp_path / "o" / "data", (1, 2, 4, 6, 9, 12, 25, 26), fold=cell.fold,
                                          seed=cell.seed)
    assert plan.relations == ("none", "mlp", "bilstm", "self_attention", "hopfield", "series")
    assert plan.baselines == ("always_positive", "linear_svm")
    assert (plan.notebooks, plan.photograph) == (NOTEBOOKS[1:], False)


def test_the_default_is_the_smoke_profile_on_faces(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    plan = job.make_plan(None, "faces", None, "smoke")
    assert plan.config_of(Cell(1, 0)) == RunConfig.lite("runs/faces/data", (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24),
                                                        fold=1, seed=0)
    assert (plan.cells, plan.notebooks, plan.photograph) == ((Cell(1, 0),), NOTEBOOKS, True)
    assert job.find_data(plan, None) is None  # faces are to be drawn


def test_a_plan_is_read_as_it_was_written(tmp_path):
    plan = job.make_plan(tmp_path, "bp4d", "ROOT", "full", [2, 3], [4], ["none"], notebooks=False)
    assert plan.cells == (Cell(2, 4), Cell(3, 4))
    assert re.fullmatch(r"lorral reproduce ROOT --data bp4d --profile full --out …\S+ --fold 2 3 --seed 4 "
                        r"--relation none", plan.command)
    plan.write()
    found = read_plan(tmp_path)
    assert os.path.abspath(found.config.data) == str(tmp_path / "data")
    assert replace(found, config=plan.config) == plan
    assert replace(found.config, data=plan.config.data) == plan.config
    good = json.loads((tmp_path / "grid.json").read_text())
    for change in ({"config": []}, {"relations": "none"}, {"baselines": [1]}, {"photograph": "no"}, {"cells": None}):
        (tmp_path / "grid.json").write_text(json.dumps({**good, **change}))
        with pytest.raises(DataError, match=r"grid\.json: not the plan of a grid"):
            read_plan(tmp_path)


@pytest.mark.parametrize(("args", "words"), [
    (["--data", "bp4d"], "name the folder of your copy: lorral reproduce --data bp4d ROOT"),
    (["--data", "disfa", "nowhere"], "nowhere: no such folder"),
    (["--data", "bp4d", "."], "no label file F001_T1.csv is below it"),
    (["nowhere"], "nowhere: no prepared folder; leave ROOT out to draw faces"),
    (["FACES", "--subjects", "3"], "--subjects and --frames go with faces that are drawn here"),
    (["FACES", "--data", "bp4d"], "prepared from faces, not from bp4d"),
    (["FACES", "--profile", "paper"], "faces of 20 px, but the profile paper reads 200 px"),
    (["--fold", "4"], "a fold is 1, 2 or 3"),
    (["--partition", "gpu"], "--partition and --hours go with --cluster"),
    (["--cluster", "slurm"], "no Slurm here (sbatch is not found)"),
    (["--cluster", "slurm", "--out", "a\ntouch b"], r"a\ntouch b holds a character that is not seen"),
    (["--cluster", "slurm", "--partition", "p\ntouch b"], r"p\ntouch b holds a character that is not seen"),
    (["--device", "cpu,foo"], "device 'foo' cannot be used here"),
])
def test_what_does_not_go_together_is_one_line(faces, tmp_path, monkeypatch, capsys, args, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert main(["reproduce", "--quiet", *(str(faces) if arg == "FACES" else arg for arg in args)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lorral: ")
    assert error.count("\n") == 1
    assert words in error
    assert list(tmp_path.iterdir()) == []  # nothing half written


def test_without_submitit_one_line_says_how_to_get_it(faces, tmp_path, monkeypatch, capsys, small):
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert reproduce(faces, tmp_path / "out", "--cluster", "local") == 2
    assert capsys.readouterr().err == "lorral: several devices and --cluster need submitit: pip install submitit\n"


def test_real_faces_are_not_mixed_with_a_stand_in(tmp_path):
    made = write_bp4d(tmp_path / "stand_in", ("F001",), ("T1",), 2, width=64)
    (tmp_path / "real").mkdir()
    folder = make_data(tmp_path / "out" / "data")
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "source": "bp4d", "size": 20, "stand_in": True}))
    plan = replace(job.make_plan(tmp_path / "out", "bp4d", made.root, "smoke"), config=tiny_config(folder))
    assert job.find_data(plan, made.root).meta["stand_in"]
    with pytest.raises(DataError, match=r"prepared from a stand-in, which .*real is not; choose another --out"):
        job.find_data(plan, tmp_path / "real")


def test_drawn_faces_of_another_population_are_not_what_was_asked_for(tmp_path):
    folder = make_data(tmp_path / "out" / "data")
    meta = json.loads((folder / "meta.json").read_text())
    meta |= {"source": "faces", "seed": 0, "population": {"difficulty": "default", "relation_strength": 0.0}}
    (folder / "meta.json").write_text(json.dumps(meta))
    plan = replace(job.make_plan(tmp_path / "out", "faces", None, "smoke"), config=tiny_config(folder))
    with pytest.raises(DataError, match=r"of seed 0, relation_strength 0\.0, not what was asked for"):
        job.find_data(plan, None, 6, 10)


@pytest.mark.parametrize(("change", "words"), [
    ("faces", "not the faces of .*fold1_seed0"), ("recipe", "fold1_seed0 has other settings than its grid"),
])
def test_a_cell_begins_only_beside_cells_of_its_kind(tmp_path, change, words):
    data = make_data(tmp_path / "data", 30)
    config = quick(None, data, None, threads=1)
    plan = Plan(tmp_path / "out", "faces", "fast", config, (Cell(1, 0), Cell(2, 0)), ("none",), (), (), False)
    train_step1(plan.run(plan.cells[0]), plan.config_of(plan.cells[0]), "cpu", progress=False)
    same_kind(plan, plan.cells[1])
    if change == "faces":
        shutil.rmtree(data)
        make_data(data, 36)
    else:
        plan = replace(plan, config=replace(config, momentum=0.5))
    with pytest.raises(DataError, match=words):
        same_kind(plan, plan.cells[1])


# ------------------------------------------------------------------------------------------- cells, in this process


def test_what_repeats_a_failed_cell_holds_names_as_text(tmp_path):
    command = "lorral `<script>` [x](javascript:alert(1))"
    plan = replace(job.make_plan(tmp_path / "o'\n\"; x = 1 #", "faces", None, "smoke"), command=command)
    notebook = nbformat.reads(failure_notebook(plan, Cell(1, 0), ValueError("$")), as_version=4)
    assert not re.search(r"[<`\[]", notebook.cells[0].source)
    assert [type(part).__name__ for part in ast.parse(notebook.cells[1].source).body] == ["ImportFrom", "Expr"]


def test_a_cell_fails_and_the_others_go_on(faces, tmp_path, small, no_pages, capsys, monkeypatch):
    out = tmp_path / "out"
    spoil(out)
    assert reproduce(faces, out) == 2
    (failed,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED")]
    assert failed.startswith("FAILED fold2_seed0: ")
    assert "this folder holds a run with other settings" in failed
    for cell in ("fold1_seed0", "fold3_seed0"):
        for name in ("step1_metrics.json", "none/metrics.json", "baselines/always_positive/metrics.json",
                     "baselines/linear_svm/metrics.json", "report.html", "times.json"):
            assert (out / cell / name).exists(), name
        assert not (out / cell / "failed.ipynb").exists()
    assert no_pages == ["fold1_seed0", "out", "out", "fold3_seed0", "out"]  # the grid's after each fold

    notebook = nbformat.read(out / "fold2_seed0" / "failed.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[1].outputs[0].ename == "DataError"
    (out / "fold2_seed0" / "config.json").unlink()
    monkeypatch.chdir(out / "fold2_seed0")
    exec(notebook.cells[1].source, {})  # what it holds repeats the cell
    assert (out / "fold2_seed0" / "none" / "metrics.json").exists()

    spoiled = {path: path.stat().st_mtime_ns for path in out.rglob("metrics.json")}
    for name in ("train_step1", "train_step2", "evaluate", "run_baseline"):
        monkeypatch.setattr(grid, name, lambda *a, name=name, **k: pytest.fail(f"{name} ran again"))
    monkeypatch.setattr(job, "measure", lambda *a: pytest.fail("nothing is to be measured"))
    assert reproduce(faces, out) == 0
    assert not (out / "fold2_seed0" / "failed.ipynb").exists()
    assert spoiled == {path: path.stat().st_mtime_ns for path in out.rglob("metrics.json")}


def test_only_what_a_cell_lacks_is_done_again(faces, tmp_path, small, no_pages):
    out = tmp_path / "out"
    assert reproduce(faces, out, "--fold", "3") == 0
    run = out / "fold3_seed0"
    before = (run / "step1.safetensors").stat().st_mtime_ns
    shutil.rmtree(run / "baselines" / "always_positive")
    spoiled = (run / "none" / "metrics.json").read_bytes()
    assert reproduce(faces, out, "--fold", "3", "--relation", "none", "mlp") == 0
    assert (run / "baselines" / "always_positive" / "metrics.json").exists()
    assert (run / "mlp" / "metrics.json").exists()
    assert (run / "step1.safetensors").stat().st_mtime_ns == before
    assert (run / "none" / "metrics.json").read_bytes() == spoiled
    metrics = json.loads((run / "mlp" / "metrics.json").read_text())
    assert (metrics["fold"], metrics["seed"], metrics["relation"]) == (3, 0, "mlp")


def test_a_notebook_that_fails_is_kept_and_named(faces, tmp_path, small, no_pages, monkeypatch):
    named = nbformat.v4.new_code_cell('run: str = ""\nseed: int = 0', metadata={"tags": ["parameters"]})
    book = nbformat.v4.new_notebook(cells=[named, nbformat.v4.new_code_cell("assert run == 'gone'")])
    book.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (tmp_path / "notebooks").mkdir()
    nbformat.write(book, tmp_path / "notebooks" / "09_test.ipynb")
    monkeypatch.setattr(grid, "notebooks_folder", lambda: tmp_path / "notebooks")
    plan = Plan(tmp_path / "out", "faces", "fast", tiny_config(faces, step1=ONE, step2=ONE), (Cell(1, 0),), ("none",),
                ("always_positive",), ("09_test",), False, "lorral reproduce")
    plan.write()
    line = grid.attempt(plan, Cell(1, 0), "cpu", False, lambda said: None)
    assert line.startswith("fold1_seed0: ")
    assert "09_test.failed.ipynb: cell 3 failed with AssertionError" in line
    assert (plan.run(Cell(1, 0)) / "notebooks" / "09_test.failed.ipynb").exists()
    assert plan.missing(Cell(1, 0)) == ["notebooks/09_test.ipynb", "report.html"]


# --------------------------------------------------------------------------------------------------- in other processes


def scores(run) -> dict:
    return {name: json.loads((run / name / "metrics.json").read_text())["outputs"]
            for name in ("none", "baselines/linear_svm")}


@pytest.mark.filterwarnings("ignore")
def test_other_processes_do_the_same(faces, tmp_path, small, no_pages, capsys):
    here, there = tmp_path / "here", tmp_path / "there"
    assert reproduce(faces, here, "--fold", "1") == 0
    spoil(there)
    assert reproduce(faces, there, "--fold", "1", "2", "--device", "cpu,cpu") == 2
    said = capsys.readouterr().out
    assert [line.split(":")[0] for line in said.splitlines() if line.startswith("FAILED")] == ["FAILED fold2_seed0"]
    assert (there / "fold2_seed0" / "failed.ipynb").exists()
    assert scores(here / "fold1_seed0") == scores(there / "fold1_seed0")
    weights = [(out / "fold1_seed0" / "none" / "step2.safetensors").read_bytes() for out in (here, there)]
    assert weights[0] == weights[1]
    assert (there / "report.html").exists()
    assert (there / "jobs").exists()


def kill_oneself(out: str, cell: tuple[int, int], device: str) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


@pytest.mark.filterwarnings("ignore")
def test_a_process_that_dies_is_one_line(faces, tmp_path, monkeypatch):
    plan = Plan(tmp_path, "faces", "fast", tiny_config(faces), (Cell(1, 0), Cell(2, 0), Cell(3, 0)))
    monkeypatch.setattr(jobs, "one_cell", kill_oneself)
    ends = dict(jobs.through_submitit(plan, plan.cells, "local", ["cpu", "cpu"], None, 1, lambda line: None))
    assert ends.keys() == set(plan.cells)
    for cell, line in ends.items():
        assert re.fullmatch(rf"{cell.name}: job \d+ ended without a result; see \S+\.err", line)


SLURM = {
    "sbatch": """
cp "$1" {asked}
export SLURM_ARRAY_JOB_ID=7 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_NTASKS=1
for k in 0 1; do
  SLURM_ARRAY_TASK_ID=$k SLURM_JOB_ID=$((8 + k)) bash "$1" > /dev/null 2>&1 &
done
echo "Submitted batch job 7"
""",
    "srun": 'while [ "$1" != --error ]; do shift; done; shift 2; exec "$@"\n',
    "sacct": r"printf 'JobID|State|NodeList\n7_0|RUNNING|here\n7_1|RUNNING|here\n'",
    "scancel": "",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(os.name == "nt", reason="the stand-ins of Slurm's commands are scripts")
def test_slurm_gets_one_job_array(faces, tmp_path, small, no_pages, capsys, monkeypatch):
    """Slurm's own commands are stand-ins that start the tasks of the array at once; the rest is the real path."""
    place = tmp_path / "bin"
    place.mkdir()
    for name, text in SLURM.items():
        (place / name).write_text("#!/bin/bash\n" + text.replace("{asked}", str(tmp_path / "asked.sh")))
        (place / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setitem(CLUSTERS, "slurm", 0.5)
    out = tmp_path / "out"
    spoil(out)
    assert reproduce(faces, out, "--fold", "1", "2", "--cluster", "slurm", "--partition", "gpu", "--hours", "2") == 2
    asked = (tmp_path / "asked.sh").read_text()
    for line in ("--array=0-1%2", "--partition=gpu", "--time=120", "--gpus-per-node=0"):
        assert f"#SBATCH {line}\n" in asked
    assert "2 jobs on slurm (fold1_seed0, fold2_seed0)" in capsys.readouterr().out
    assert (out / "fold1_seed0" / "none" / "metrics.json").exists()
    assert (out / "fold2_seed0" / "failed.ipynb").exists()


# ------------------------------------------------------------------------------------------------------------- its cost


def test_the_cost_counts_what_is_missing(tmp_path):
    config = tiny_config("d", step1=Schedule(4, 0.01), step2=Schedule(3, 0.01))  # batches of 8, two views
    plan = Plan(tmp_path, "faces", "fast", config, (Cell(1, 0),), ("none", "mlp"), notebooks=(), photograph=False)
    speed = cost.Speed(10.0, {"none": 1.0, "mlp": 2.0}, 0.5, 0.25, 0.125, 1000, 100)
    whole = cost.cost_of_cell(plan, Cell(1, 0), speed, 84, 20)
    steps = 4 * 10 * 10.0 + 3 * 11 * 1.0 + 3 * 11 * 2.0
    assert whole.seconds == steps + 2 * 84 * 0.5 + 3 * 20 * 0.25 + (84 + 20) * 0.125
    assert whole.bytes == 3 * (1000 + 20 * (9 * 3 + 16 * 49 + 8)) + 2 * 84 * 100
    for name in ("step1_metrics.json", "none/metrics.json", "baselines/linear_svm/metrics.json"):
        (tmp_path / "fold1_seed0" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fold1_seed0" / name).touch()
    assert cost.cost_of_cell(plan, Cell(1, 0), speed, 84, 20).seconds == 3 * 11 * 2.0 + 2 * 84 * 0.5 + 20 * 0.25


@pytest.mark.parametrize("views", [0, 2])
def test_the_measurement_is_short_and_of_every_part(views):
    speed = cost.measure(tiny_config("nowhere", views=views), ("none", "series"), "cpu", seconds=0.5)
    assert list(speed.step2) == ["none", "series"]
    assert all(0 < seconds < 5 for seconds in (speed.step1, *speed.step2.values(), speed.feature, speed.describe))


def test_a_full_disk_is_said_before_anything_is_written(faces, tmp_path, small, monkeypatch, capsys):
    monkeypatch.setattr(job.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    assert reproduce(faces, tmp_path / "out") == 2
    assert "free some space or choose another folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_disk_that_is_named_is_the_disk_that_is_used(faces, tmp_path, small, no_pages):
    config = tiny_config(faces, step1=ONE, step2=ONE)
    plan = Plan(tmp_path, "faces", "fast", config, (Cell(1, 0),), ("none",), ("always_positive",), (), False, "")
    said = cost.cost_of_cell(plan, Cell(1, 0), cost.measure(config, ("none",), "cpu", 0.1), 40, 20).bytes
    plan.write()
    assert grid.attempt(plan, Cell(1, 0), "cpu", False, lambda line: None) == ""
    used = sum(path.stat().st_size for path in plan.run(Cell(1, 0)).rglob("*.safetensors"))
    used += sum(path.stat().st_size for path in plan.run(Cell(1, 0)).rglob("*.npy"))
    assert np.isclose(used, said, rtol=0.25)
