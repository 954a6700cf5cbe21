"""The command: help everywhere, bad input is one line and exit code 2, the main job does only what is missing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import copy_run

from lorral_lite import cli, photo
from lorral_lite.cli import main
from lorral_lite.files import DataError
from lorral_lite.reproduce import cell as grid
from lorral_lite.reproduce import plan as job
from lorral_lite.training import run_folder
from lorral_lite.training.config import RunConfig, Schedule
from lorral_lite.training.origin import results_of
from lorral_lite.training.run_folder import load_model


def fails(capsys, *args) -> str:
    """Run the command, which must end with exit code 2 and one line on stderr; returns the line."""
    assert main([str(a) for a in args]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lorral: ")
    assert error.count("\n") == 1
    return error


@pytest.fixture(scope="module")
def few_epochs():
    """lite() learns for two epochs, then one."""
    few = {"step1": Schedule(2, 0.01), "step2": Schedule(1, 0.01)}
    lite = RunConfig.lite.__func__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunConfig, "lite", classmethod(lambda cls, *a, **k: lite(cls, *a, **{**few, **k})))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory, few_epochs):
    """The main job in small."""
    out = tmp_path_factory.mktemp("job") / "out"
    small_job(out, lambda line: None)
    return out


def small_job(out, say) -> None:
    job.reproduce(out, subjects=6, frames=6, relations=("none", "self_attention"), notebooks=False, device="cpu",
                  progress=False, say=say)


def test_the_main_job_leaves_weights_metrics_photograph_and_report(finished):
    run = finished / "fold1_seed0"
    for name in ("step1.safetensors", "step1_metrics.json", "none/metrics.json", "self_attention/step2.safetensors",
                 "self_attention/metrics.json", "photo/overlay.png", "photo/prediction.json", "report.html"):
        assert (run / name).stat().st_size > 0, name
    answer = json.loads((run / "photo" / "prediction.json").read_text(encoding="utf8"))
    assert {name: answer[name] for name in ("data", "weights")} == results_of(run, "self_attention")
    text = (run / "report.html").read_text(encoding="utf8")
    assert "trained on procedural faces, not validated on photographs" in text
    assert set(json.loads((finished / "times.json").read_text())) >= {"prepare faces", "step 1", "report"}


def test_run_again_only_what_is_missing(finished, monkeypatch):
    run = finished / "fold1_seed0"
    shutil.rmtree(run / "photo")
    said = []
    for where, name in ((job, "prepare_faces"), (job, "measure"), (grid, "train_step1"), (grid, "train_step2"),
                        (grid, "evaluate"), (grid, "run_baseline")):
        monkeypatch.setattr(where, name, lambda *a, name=name, **k: pytest.fail(f"{name} ran again"))
    small_job(finished, said.append)
    assert [line for line in said if line.startswith("·")] == ["· photograph", "· report"]


def test_what_ships_answers_like_the_run_and_has_no_faces(finished, tmp_path):
    run, ship = finished / "fold1_seed0", tmp_path / "ship"
    job.publish(run, ship)
    a, b = (load_model(folder, "self_attention", "cpu").state_dict() for folder in (run, ship))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert set(load_file(ship / "none" / "predictions.safetensors")) == {"au_logits", "local_au_logits", "labels",
                                                                         "rows"}
    assert {p.suffix for p in ship.rglob("*") if p.is_file()} == {".safetensors", ".json", ".jsonl", ".md"}
    assert not (ship / "photo").exists()
    assert not (ship / "features").exists()
    metrics = json.loads((run / "step1_metrics.json").read_text())
    metrics["data"]["licensed"] = True
    licensed = tmp_path / "licensed"
    licensed.mkdir()
    (licensed / "step1_metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(DataError, match="trained on licensed faces"):
        job.publish(licensed, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_train_asks_for_what_its_options_say(finished, tmp_path, capsys):
    run = copy_run(finished / "fold1_seed0", tmp_path / "run")
    command = ["train", str(finished / "data"), str(run), "--relation", "none", "--quiet", "--device", "cpu"]
    assert main(command) == 0  # all is there already
    assert capsys.readouterr().out.startswith("none: F1 ")
    for option, value in (("--fold", 2), ("--seed", 1), ("--loss", "jaa"), ("--precision", "bf16"),
                          ("--select", "held_out"), ("--threads", 3)):
        assert "other settings" in fails(capsys, *command, option, value)
    assert "prepare again with --size 200" in fails(capsys, *command, "--profile", "paper")


def test_evaluate_prints_both_outputs_and_the_floor(finished, capsys):
    assert main(["evaluate", str(finished / "fold1_seed0"), "--relation", "none", "--quiet", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "always positive" in out
    assert "AU24" in out
    assert "data: faces" in out


def test_prepare_says_what_it_made(tmp_path, capsys):
    assert main(["prepare", "faces", str(tmp_path / "p"), "--subjects", "3", "--frames", "2", "--size", "64",
                 "--quiet"]) == 0
    assert "6 frames of 3 subjects, 64 px" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["", "prepare", "prepare faces", "prepare table", "prepare bp4d", "prepare disfa",
                                     "train", "evaluate", "predict", "reproduce", "report", "experiment"])
def test_every_command_has_help(command):
    with pytest.raises(SystemExit, match="0"):  # a single % in a help text would be another error
        main([*command.split(), "--help"])


def test_help_does_not_wait_for_torch():
    script = "import sys; from lorral_lite.cli import parser; parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.fixture
def two_done(finished, tmp_path):
    """A run of its own, whose mlp has never been trained."""
    return copy_run(finished / "fold1_seed0", tmp_path / "run")


def test_a_relation_that_cannot_be_evaluated_is_one_line_and_the_others_are(two_done, capsys):
    (two_done / "none" / "step2.safetensors").write_bytes(b"broken")
    words = ["--relation", "none", "mlp", "self_attention", "--quiet", "--device", "cpu"]
    assert main(["evaluate", str(two_done), *words]) == 2
    said = capsys.readouterr()
    assert [line.split(":")[0] for line in said.out.splitlines() if " F1 " in line] == ["self_attention"]
    assert [Path(line.removeprefix("lorral: ").split(": ")[0]).relative_to(two_done).as_posix()
            for line in said.err.splitlines()] == ["none/step2.safetensors", "mlp/config.json"]


def test_a_relation_that_cannot_be_trained_is_one_line_and_the_others_are(finished, two_done, capsys):
    (two_done / "none" / "config.json").write_text("[")
    words = [str(finished / "data"), str(two_done), "--relation", "none", "mlp", "--quiet", "--device", "cpu"]
    assert main(["train", *words]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("mlp: F1 ")
    assert said.err.startswith(f"lorral: {two_done / 'none' / 'config.json'}: not readable as JSON")
    assert said.err.count("\n") == 1


@pytest.fixture
def answers(monkeypatch):
    """Photographs are looked at elsewhere: those called bad cannot be read, of the others there is an answer."""
    def predict_photo(model, photo, place, made_by):
        if "large" in Path(photo).name:
            raise MemoryError("Unable to allocate 98.0 GiB")
        if "bad" in Path(photo).name:
            raise DataError(f"{photo}: not readable as an image; save it again")
        place.mkdir(parents=True)
        (place / "prediction.json").write_text("{}")
        return SimpleNamespace(line="no action unit reaches 0.5")

    monkeypatch.setattr(photo, "predict_photo", predict_photo)
    monkeypatch.setattr(run_folder, "load_model", lambda *a: None)


def test_a_bad_photograph_is_one_line_and_the_others_are_looked_at(answers, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "a.png", "bad.png", "large.png", "c.png"]) == 2
    said = capsys.readouterr()
    assert [line.split(":")[0] for line in said.out.splitlines()] == ["a.png", "c.png"]
    assert said.err == ("lorral: bad.png: not readable as an image; save it again\n"
                        "lorral: large.png: the memory is full (Unable to allocate 98.0 GiB)\n")
    assert sorted(path.parent.name for path in Path("prediction").glob("*/*.json")) == ["a", "c"]


def test_a_second_answer_overwrites_none(answers, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "a.png"]) == 0
    capsys.readouterr()
    there = Path("prediction", "prediction.json")
    for words in (["b.png"], ["a.png"]):
        assert f"{words[0]}: {there} is there already; name another --out" in fails(capsys, "predict", *words)
    assert main(["predict", "b.png", "--out", "other"]) == 0
    Path("mine").mkdir()
    Path("mine", "aus.csv").write_text("my own")
    capsys.readouterr()
    assert "aus.csv is there already" in fails(capsys, "predict", "a.png", "--out", "mine")
    assert main(["predict", "a.png", "b.png", "--out", "other"]) == 0  # each has a folder of its own


@pytest.mark.parametrize(("names", "folders"), [
    (["...jpg", "b.jpg"], ["b", "photo"]), ([".jpg", "b. .jpg"], ["b", "jpg"]), (["..a.b.jpg", "b.jpg"], ["a.b", "b"]),
])  # fmt: skip
def test_no_name_of_a_photograph_leads_out_of_the_folder(answers, tmp_path, names, folders):
    assert main(["predict", *names, "--out", str(tmp_path / "a" / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "a" / "out").iterdir()) == folders
    assert [path.name for path in tmp_path.rglob("*.json") if path.parent.parent.name != "out"] == []


def test_names_that_a_disk_may_take_for_one_are_refused(answers, capsys):
    for pair in (("Me.jpg", "me.png"), ("Jos\u00e9.jpg", "Jose\u0301.jpg"), ("a/me.jpg", "a/me.jpg")):
        assert "their files would overwrite each other" in fails(capsys, "predict", *pair)


def test_what_a_name_holds_is_shown_and_not_obeyed(answers, tmp_path, capsys):
    names = ["a\x1b[2J\nlorral: all is well.jpg", "bad\u202ejpg.png"]
    assert main(["predict", *names, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("a\\x1b[2J\\nlorral: all is well.jpg: no action unit")
    assert said.out.count("\n") == said.err.count("\n") == 1
    assert "bad\\u202ejpg.png" in said.err


@pytest.mark.parametrize(("words", "said"), [
    (["prepare", "faces", "OUT"], "stopped; nothing was kept"), (["prepare", "table", "t.csv", "OUT"], "goes on"),
    (["train", "data", "run"], "stopped; the same command goes on"), (["predict", "a.jpg"], "stopped"),
    (["evaluate", "run"], "stopped"), (["reproduce"], "stopped; the same command goes on"),
])  # fmt: skip
def test_a_command_that_is_stopped_says_what_is_true_of_it(monkeypatch, capsys, words, said):
    def stop(**options):
        raise KeyboardInterrupt

    for name in ("_prepare_faces", "_prepare_table", "_train", "_predict", "_evaluate", "_reproduce"):
        monkeypatch.setattr(cli, name, stop)
    assert main(words) == 130
    assert capsys.readouterr().err.endswith(f"{said}\n")


def test_a_full_memory_is_one_line(monkeypatch, capsys):
    def fill(**options):
        raise MemoryError("Unable to allocate 98.0 GiB")

    monkeypatch.setattr(cli, "_report", fill)
    assert fails(capsys, "report", "run") == "lorral: the memory is full (Unable to allocate 98.0 GiB)\n"

    def fill_the_gpu(item):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB.")

    assert cli.each(["none", "mlp"], fill_the_gpu) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"lorral: {name}: the memory is full (CUDA out of memory. Tried to allocate 2.00 GiB.)"
        for name in ("none", "mlp")]
    with pytest.raises(RuntimeError, match="ours"):
        cli.each(["none"], lambda item: (_ for _ in ()).throw(RuntimeError("ours")))


@pytest.mark.parametrize("count", [1, 2, 64])
def test_an_experiment_takes_no_more_processes_than_cores(monkeypatch, count):
    monkeypatch.setattr(cli, "cores", lambda: count)
    assert cli.parser().parse_args(["experiment"]).jobs == min(2, count)


@pytest.mark.parametrize("words", [
    "prepare faces OUT --seed -1", "prepare faces OUT --seed 2147483648", "prepare faces OUT --frames 0",
    "prepare faces OUT --seed 1e9", "prepare faces OUT --relation-strength nan", "train DATA RUN --workers -1",
    "train DATA RUN --seed 18446744073709551616", "train DATA RUN --threads 1000000000", "train DATA RUN --device meta",
    "train DATA RUN --jitter 2",
    "prepare table T OUT --threshold nan", "prepare table T OUT --confidence inf", "prepare table T OUT --workers 0",
    "reproduce --seed -1", "reproduce --hours nan", "reproduce --hours -1", "experiment --seeds 1000000000",
    "experiment --jobs 1000000000",
])  # fmt: skip
def test_an_odd_number_is_refused_before_anything_is_done(words, capsys):
    with pytest.raises(SystemExit) as done:
        main(words.split())
    assert done.value.code == 2
    option, value = words.split()[-2:]
    said = capsys.readouterr().err
    assert said.startswith(f"lorral: argument {option}")
    assert value.split("-")[-1] in said
    assert said.count("\n") == 1


def test_sizes_that_no_machine_has_are_refused_at_once(tmp_path, capsys):
    out = tmp_path / "o"
    points = ",".join(f"{axis}_{k}" for axis in "xy" for k in range(49))
    (tmp_path / "t.csv").write_text(f"image,subject,frame,{points},AU1\n")
    for words, said in (
        (["faces", out, "--subjects", 10**9], "from 1 to 1,000,000 faces can be drawn"),
        (["table", tmp_path / "t.csv", out, "--size", 10**9], "size must be 16 to 1024 pixels, got 1000000000"),
        (["table", tmp_path / "t.csv", out, "--aus", 99], "unknown action unit 99"),
    ):
        assert said in fails(capsys, "prepare", *words)
    assert not out.exists()


def test_a_run_is_made_beside_the_faces_and_not_among_them(finished, capsys):
    before = sorted(finished.joinpath("data").iterdir())
    words = ["train", finished / "data", finished / "data", "--quiet", "--device", "cpu", "--threads", 1]
    assert "a prepared folder; name another folder for the run" in fails(capsys, *words)
    assert sorted(finished.joinpath("data").iterdir()) == before


def test_what_is_wrong_is_one_line_and_leaves_nothing(finished, tmp_path, capsys):
    run, none = finished / "fold1_seed0", tmp_path / "none"
    (tmp_path / "text.jpg").write_text("no picture")
    for words, message in (
        (["train", none, tmp_path / "run"], "no such folder; make one with"),
        (["evaluate", none, "--device", "cpu"], "missing"),
        (["evaluate", run, "--device", "foo"], "device 'foo' cannot be used here"),
        (["prepare", "faces", none, "--hidden", 3, "--quiet"], "hidden must be different AUs of bp4d"),
        (["reproduce", "--out", finished, "--subjects", 7, "--frames", 6, "--no-notebooks"],
         "not what was asked for; choose another --out"),
        (["predict", tmp_path / "text.jpg", "--run", run, "--out", none, "--device", "cpu"],
         "text.jpg: not readable as an image"),
        (["predict", "a/me.jpg", "b/me.png"], "two photos are called me"),
    ):
        assert message in fails(capsys, *words)
    assert not none.exists()
    with pytest.raises(SystemExit) as done:
        main(["train", str(tmp_path), str(tmp_path), "--relation", "gossip"])
    assert done.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
