"""Licensed now, or once: weights are not published, folders are private, whatever else says otherwise. No file of a run
that goes to others names a path of its maker's machine."""

import json
import os
import shutil
import stat
from contextlib import nullcontext, suppress
from pathlib import Path

import nbformat
import pytest
from tiny_run import AUS, make_data, tiny_config

from lorral_lite.datasets.licensed_faces import licensed_by
from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.datasets.preparing import Skip
from lorral_lite.datasets.writing import PreparedWriter, keep_private
from lorral_lite.files import DataError
from lorral_lite.report.model_card import model_card
from lorral_lite.report.results import load_runs
from lorral_lite.report.write import write_report
from lorral_lite.reproduce import cell as grid
from lorral_lite.reproduce import plan as job
from lorral_lite.reproduce.cell import Cell, Plan, execute_notebook
from lorral_lite.training.config import Schedule
from lorral_lite.training.evaluation import evaluate
from lorral_lite.training.steps import train_step1, train_step2
from lorral_lite.zoo.baselines import run_baseline

POSIX = pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
ONE = Schedule(1, 0.01)
SECRET = "alice.secret"


def edit(path: Path, change) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def licensed(folder: Path, value=True) -> None:
    edit(folder / "meta.json", lambda meta: meta.update(licensed=value))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """data and run, of faces that may be shown."""
    home = tmp_path_factory.mktemp("open")
    config = tiny_config(make_data(home / "data"), step1=ONE, step2=ONE)
    edit(home / "data/meta.json", lambda meta: meta.update(source="faces", seed=0))
    train_step1(home / "run", config, "cpu", False)
    train_step2(home / "run", "mlp", "cpu", False)
    for relation in (None, "mlp"):
        evaluate(home / "run", relation, "cpu", False)
    run_baseline(home / "run", "always_positive", False)
    return home


@pytest.fixture
def home(made, tmp_path):
    """A copy of them."""
    shutil.copytree(made, tmp_path / "home", dirs_exist_ok=True)
    return tmp_path / "home"


# ---------------------------------------------------------------------------------------------------- who says licensed


def says(name, **change):
    return lambda home: edit(home / name, lambda values: values["data"].update(change))


@pytest.mark.parametrize(("change", "who"), [
    (says("run/step1_metrics.json", licensed=True), "step1_metrics.json"),
    (says("run/mlp/metrics.json", licensed=True), "mlp/metrics.json"),
    (says("run/mlp/metrics.json", licensed="no"), "mlp/metrics.json"),  # nothing but `false` says that they are not
    (says("run/baselines/always_positive/metrics.json", licensed=None), "baselines/always_positive/metrics.json"),
    (lambda home: edit(home / "run/step1_metrics.json", lambda m: m.pop("data")), "step1_metrics.json"),
    (lambda home: licensed(home / "data"), "data"),
    (lambda home: edit(home / "data/meta.json", lambda m: m.pop("licensed")), "data"),
    (lambda home: (home / "data/.gitignore").write_text("*\n"), "data"),
    (lambda home: (home / "run/.gitignore").write_text("*\n"), ".gitignore"),
    (lambda home: (home / "run/data.json").write_text('{"licensed": true}'), "data.json"),
])
def test_one_that_says_licensed_is_enough(home, tmp_path, change, who):
    assert licensed_by(home / "run") == ""
    assert not load_runs(home / "run").licensed
    job.publish(home / "run", tmp_path / "fine")
    model_card(tmp_path / "fine")
    change(home)
    assert Path(licensed_by(home / "run")).as_posix().endswith(who)
    with suppress(DataError):  # where what says so is no part of this run any more
        assert load_runs(home / "run").licensed
    with pytest.raises(DataError, match=f"trained on licensed faces .*{who} says so.; such weights are not published"):
        job.publish(home / "run", tmp_path / "never")
    assert not (tmp_path / "never").exists()
    if who.endswith("metrics.json") and "baselines" not in who:
        shutil.copyfile(home / "run" / who, tmp_path / "fine" / who)
        with pytest.raises(DataError, match="not published"):
            model_card(tmp_path / "fine")


def test_a_report_of_nothing_does_not_make_faces_licensed(home, tmp_path):
    """Nothing is evaluated yet, so nothing is known and no face is shown; what is known later counts."""
    shutil.copytree(home / "run", tmp_path / "kept")
    for path in (home / "run").rglob("*metrics.json"):
        path.unlink()
    page = write_report(home / "run")
    assert json.loads(page.with_suffix(".json").read_text())["licensed"] is True
    shutil.copytree(tmp_path / "kept", home / "run", dirs_exist_ok=True)
    assert licensed_by(home / "run") == ""


def test_faces_that_were_licensed_once_stay_so_in_what_was_made_of_them(home, tmp_path):
    """All is evaluated anew after the licence was given: the mark of the private run folder remembers."""
    licensed(home / "data")
    evaluate(home / "run", None, "cpu", False)
    licensed(home / "data", False)
    (home / "data/.gitignore").unlink()  # prepared again, with --may-share
    for relation in (None, "mlp"):
        assert evaluate(home / "run", relation, "cpu", False)["data"]["licensed"] is False
    with pytest.raises(DataError, match=r"\.gitignore says so"):
        job.publish(home / "run", tmp_path / "never")


# ------------------------------------------------------------------------------------------------------ private folders


@POSIX
def test_a_licensed_prepared_folder_is_private_from_its_first_byte(tmp_path):
    faces = open_prepared(make_data(tmp_path / "open"))
    index = list(zip(faces.subjects, faces.tasks, faces.frames, strict=True))
    for value, wanted in ((True, 0o700), ("yes", 0o700), (False, 0o777 & ~umask())):
        for stop in (True, False):  # the second goes on from the beginning that the first leaves, made open meanwhile
            writer = PreparedWriter(tmp_path / f"p{value}", 20, AUS, {"source": "test", "licensed": value}, "same")
            with pytest.raises(KeyboardInterrupt) if stop else nullcontext(), writer:
                assert mode(writer.partial) == wanted
                assert (writer.partial / ".gitignore").exists() == (value is not False)
                if stop:
                    writer.append(index, faces.images, faces.landmarks, faces.labels)
                    writer.checkpoint(1)
                    raise KeyboardInterrupt
            if stop and wanted == 0o700:
                writer.partial.chmod(0o755)
                (writer.partial / ".gitignore").unlink()
        assert mode(tmp_path / f"p{value}") == wanted


def umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize("there", [False, True], ids=["new", "there already"])
def test_whatever_is_made_of_licensed_faces_is_private(home, tmp_path, there):
    licensed(home / "data")
    run = tmp_path / "run"
    if there:
        run.mkdir(mode=0o755)
    seen = []
    train_step1(run, tiny_config(home / "data", step1=ONE), "cpu", False, on_epoch=lambda log: seen.append(mode(run)))
    assert seen == [0o700]
    for again in (lambda: train_step1(run, tiny_config(home / "data", step1=ONE, threads=1), "cpu", False),
                  lambda: train_step2(home / "run", "none", "cpu", False),
                  lambda: evaluate(home / "run", None, "cpu", False),
                  lambda: run_baseline(home / "run", "always_positive", False),
                  lambda: write_report(home / "run", home / "run" / "report.html")):
        assert mode(home / "data") == 0o700
        for folder in (run, home / "run"):
            folder.chmod(0o755)
            (folder / ".gitignore").unlink(missing_ok=True)
        again()
        made = [folder for folder in (run, home / "run") if mode(folder) == 0o700]
        assert len(made) == 1
        assert (made[0] / ".gitignore").read_text() == "*\n"
    page = write_report(home / "run", tmp_path / "elsewhere" / "open.html", show_licensed_faces=True)
    assert (mode(page), mode(page.with_suffix(".json"))) == (0o600, 0o600)


@POSIX
def test_the_folder_of_a_grid_is_private_when_its_root_is_licensed(home, tmp_path, monkeypatch):
    edit(home / "data/meta.json", lambda meta: meta.update(source="faces", licensed=True))
    monkeypatch.setattr(job, "make_plan", lambda *a: Plan(tmp_path / "out", "faces", "fast", tiny_config(home / "data"),
                                                          (Cell(1, 0),)))
    monkeypatch.setattr(job, "say_cost", lambda *a: None)
    began = []
    monkeypatch.setattr(job, "one_after_the_other", lambda *a: began.append(mode(tmp_path / "out")) or [])
    job.reproduce(tmp_path / "out", root=home / "data", notebooks=False, device="cpu", say=lambda line: None)
    assert began == [0o700]
    assert (tmp_path / "out" / ".gitignore").read_text() == "*\n"


def test_a_folder_of_the_reader_keeps_its_own_gitignore(tmp_path):
    (tmp_path / ".gitignore").write_text("*.log\n!kept.log")
    for _ in range(2):
        keep_private(tmp_path)
    assert (tmp_path / ".gitignore").read_text() == "*.log\n!kept.log\n*\n"
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/run: cannot be written and kept private"):
        keep_private(tmp_path / "file" / "run")


# ------------------------------------------------------------------------------------------- no path of this machine


@pytest.fixture
def secret(tmp_path, monkeypatch):
    """A folder of somebody whose name must not be told; two notebooks lie there, one fails."""
    place = tmp_path / SECRET
    (place / "notebooks").mkdir(parents=True)
    named = nbformat.v4.new_code_cell('run: str = ""\nlevel: int = 0', metadata={"tags": ["parameters"]})
    says_all = ("import sys, warnings\nfrom pathlib import Path\nprint(Path(run).resolve(), Path.cwd())\n"
                "print('at', Path(run).resolve() / 'x.json', file=sys.stderr)\n"
                "warnings.warn(str(Path.cwd()))\nassert (Path(run) / 'config.json').exists()\nPath(run).resolve()")
    for name, last in (("good", "1"), ("bad", "open(Path(run).resolve() / 'gone')")):
        book = nbformat.v4.new_notebook(cells=[named, *map(nbformat.v4.new_code_cell, (says_all, last))])
        book.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(book, place / "notebooks" / f"{name}.ipynb")
    monkeypatch.setattr(grid, "notebooks_folder", lambda: place / "notebooks")
    return place


@pytest.mark.filterwarnings("ignore")
def test_executed_notebooks_tell_no_path(made, secret):
    run = secret / "run"
    shutil.copytree(made / "run", run)
    done = execute_notebook("good", run / "notebooks", {"run": str(run.resolve())}, False)
    with pytest.raises(DataError, match=r"bad\.failed\.ipynb: cell 4 failed with FileNotFoundError"):
        execute_notebook("bad", run / "notebooks", {"run": str(run.resolve())}, False)
    assert {path.name for path in (run / "notebooks").iterdir()} == {"good.ipynb", "bad.failed.ipynb"}
    for path in (done, done.with_name("bad.failed.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert 'run = ".."' in [cell.source.splitlines()[-1] for cell in notebook.cells]  # right wherever it is moved
        assert SECRET not in path.read_text(encoding="utf8")
        assert "x.json" in path.read_text(encoding="utf8")
    assert notebook.metadata.papermill["output_path"] == "bad.failed.ipynb"
    far = execute_notebook("good", secret.parent / "far" / "out", {"run": str(run.resolve())}, False)
    assert SECRET not in far.read_text(encoding="utf8")
    assert 'run = "…/run"' in far.read_text(encoding="utf8").replace('\\"', '"')


def test_what_is_skipped_tells_no_path():
    skip = Skip(Path("/mnt/alice/x.png"), 3, "no such picture: /mnt/alice/y.png, nor /data/z.png")
    assert skip.line(Path("/data")) == ("…/x.png", 3, "no such picture: …/y.png, nor z.png")
    assert Skip(Path("/data/a (1)/x.png"), None, "gone").line(Path("/data")) == ("a (1)/x.png", "", "gone")


def test_a_failure_a_command_and_a_card_tell_no_path(made, secret, tmp_path):
    plan = job.make_plan(secret / "out", "bp4d", secret / "BP4D", "fast")
    assert plan.command.startswith("lorral reproduce …/BP4D --data bp4d --profile fast --out …/out")
    try:
        raise FileNotFoundError(f"{secret / 'out/data/meta.json'} of {secret / 'BP4D'}")
    except FileNotFoundError as error:
        text = grid.failure_notebook(plan, Cell(1, 0), error)
    assert SECRET not in text
    assert "data/meta.json of …/BP4D" in text
    shutil.copytree(made, secret / "made")
    edit(secret / "made/run/mlp/config.json", lambda c: c["run"].update(data=str(secret / "made/data")))
    page = write_report(secret / "made/run", tmp_path / "page.html", command=f"lorral reproduce {secret}/x --out o")
    job.publish(secret / "made/run", tmp_path / "ship")
    shared = [page, page.with_suffix(".json"), *(tmp_path / "ship").rglob("*.*")]
    assert len(shared) > 8
    assert not [path.name for path in shared if SECRET.encode() in path.read_bytes()]
    assert "lorral reproduce …/x --out o" in page.read_text(encoding="utf8")
