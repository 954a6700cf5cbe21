"""The command: help everywhere, bad input is one line and exit code 2, the main job does only what is missing."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import copy_run

from lorral_lite.cli import main
from lorral_lite.files import DataError
from lorral_lite.reproduce import cell as grid
from lorral_lite.reproduce import plan as job
from lorral_lite.training.config import RunConfig, Schedule
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
