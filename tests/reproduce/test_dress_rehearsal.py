"""A holder of BP4D or DISFA meets no surprise: the grids, from folders in the distributed layout to their reports.

The folders are stand-ins: drawn faces, labels and landmarks in exactly the files that the owners send. Nothing is
shortened but the number of frames and the minute in which the speed of this machine is measured.
"""

import json
from functools import partial

import pytest

from lorral_lite.cli import main
from lorral_lite.datasets.folds import fold_rows
from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.datasets.stand_in import write_bp4d, write_disfa
from lorral_lite.model.relations import RELATIONS
from lorral_lite.report.comparison import faults
from lorral_lite.reproduce import cost
from lorral_lite.reproduce import plan as reproduce

PEOPLE = {  # two of each training part, three to test in fold 1
    "bp4d": ("F001", "M001", "F003", "M002", "F004", "M003", "F006"),
    "disfa": ("SN001", "SN002", "SN006", "SN011", "SN003", "SN004", "SN005"),
}


def write(name: str, root):
    """The stand-in: BP4D as pictures, with frames that nobody coded and empty landmarks; DISFA as videos."""
    if name == "bp4d":
        return write_bp4d(root, PEOPLE[name], ("T1", "T8"), 4, width=160)
    pytest.importorskip("av")
    return write_disfa(root, PEOPLE[name], 24, width=160)


def words(path) -> str:
    return path.read_text(encoding="utf8")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PEOPLE)
def test_the_grid_from_the_distributed_folder_to_its_report(tmp_path, monkeypatch, capsys, name):
    monkeypatch.setattr(reproduce, "measure", partial(cost.measure, seconds=2.0))
    made, out = write(name, tmp_path / name.upper()), tmp_path / "runs"
    run, data = out / "fold1_seed0", out / "data"
    command = ["reproduce", "--data", name, str(made.root), "--profile", "smoke", "--out", str(out), "--device", "cpu",
               "--quiet"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"{name.upper()} in {made.root} (a procedural stand-in)" in said
    assert said.index("GB of disk") < said.index("found label files: ") < said.index("· step 1")  # the price first

    folder = open_prepared(data, check=True)
    assert len(folder) == len(made.index)
    assert (folder.meta["source"], folder.meta["licensed"], folder.meta["stand_in"]) == (name, True, True)
    tested = fold_rows(folder, 1)[1]
    assert set(folder.subjects[tested]) == set(PEOPLE[name][4:])
    kept = [run / "step1_metrics.json", *(run / relation / "metrics.json" for relation in RELATIONS),
            *sorted(run.glob("baselines/*/metrics.json"))]
    assert len(kept) > 1 + len(RELATIONS)
    for file in kept:
        metrics = json.loads(words(file))
        assert metrics["frames"] == len(tested)
        assert metrics["data"]["licensed"] is True
        assert metrics["data"]["source"] == f"{name} stand-in (procedural faces)"
    assert not list(out.rglob("*failed*"))
    assert list((run / "notebooks").glob("*.ipynb"))

    page = run / "report.html"
    report = json.loads(words(page.with_suffix(".json")))
    assert report["data"] == "procedural faces"
    assert faults(report["comparison"], report["source"]) == []
    published = [row for row in report["comparison"] if row["dataset"]]
    assert {row["ours"] for row in published} == {"–"}  # no figure of drawn faces beside one of the paper
    own = [row for row in report["comparison"] if not row["dataset"]]
    assert len(own) > len(RELATIONS)
    assert {row["data"] for row in own} == {"procedural faces"}
    assert "procedural faces" in words(page)
    for place in (out, data, run):
        assert words(place / ".gitignore") == "*\n"  # git takes no frame and no weights of it

    before = {file: file.stat().st_mtime_ns for file in [*kept, run / "step1.safetensors", data / "frames.npy"]}
    assert main(command) == 0  # again: nothing is made anew but the report
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert "· step" not in capsys.readouterr().out
