"""Training that survives: kills, a full disk, faces that disappear, a loss that is not finite, any number of workers.

Every test ends in the same bytes as a run in peace.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file, save
from tiny_run import tiny_config

from lorral_lite.files import DataError, load_tensors, save_tensors
from lorral_lite.model.losses import lorral_loss
from lorral_lite.training import steps as training
from lorral_lite.training.steps import train_step1, train_step2

needs_dev_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full")


@pytest.fixture(scope="module")
def peace(tiny_data, tmp_path_factory):
    """The run that nothing disturbs."""
    run = tmp_path_factory.mktemp("peace")
    train_step1(run, tiny_config(tiny_data), "cpu", progress=False)
    train_step2(run, "bilstm", "cpu", progress=False)
    return run


def assert_same(run, peace, names=("step1.safetensors", "bilstm/step2.safetensors")):
    """The same weights to the byte, the same log but for the seconds, and nothing left over."""
    for name in names:
        assert (run / name).read_bytes() == (peace / name).read_bytes(), name
    for name in ("step1_log.jsonl", "bilstm/log.jsonl")[: len(names)]:
        a, b = ([json.loads(line) for line in (folder / name).read_text().splitlines()] for folder in (run, peace))
        assert [{**x, "seconds": 0} for x in a] == [{**x, "seconds": 0} for x in b]
    left = [p for p in run.rglob("*") if "resume" in p.name or (p.name.startswith(".") and p.name != ".gitignore")]
    assert left == []


def train_again(run, config, peace, relation="bilstm"):
    train_step1(run, config, "cpu", progress=False)
    train_step2(run, relation, "cpu", progress=False)
    assert_same(run, peace)


KILLED = """
import sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from tiny_run import Schedule, tiny_config
from lorral_lite.training.steps import train_step1, train_step2
config = tiny_config({data!r}, step1=Schedule({epochs}, 0.01), step2=Schedule({epochs}, 0.01))
print("ready", flush=True)
train_step1({run!r}, config, "cpu", progress=False)
train_step2({run!r}, "bilstm", "cpu", progress=False)
"""


def epochs_done(run: Path) -> int:
    logs = [run / name for name in ("step1_log.jsonl", "bilstm/log.jsonl")]
    return sum(log.read_text().count("\n") for log in logs if log.exists())


def assert_same_after_kills(data, tmp_path, kills: int, seed: int, epochs: int = 40):
    """Train once in peace, once killed at random moments of both steps: between two epochs, within one, while files
    are written, before the first epoch after a start."""
    chance = random.Random(seed)

    def start(run):
        script = KILLED.format(tests=str(Path(__file__).parents[1]), data=str(data), run=str(run), epochs=epochs)
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        process.stdout.close()
        return process

    process = start(tmp_path / "peace")
    started = time.perf_counter()
    assert process.wait() == 0
    epoch = (time.perf_counter() - started) / (2 * epochs)
    reached = []
    for kill in range(kills):
        wanted = chance.uniform(kill, kill + 1) * (2 * epochs - 2) // kills
        process = start(tmp_path / "killed")
        while epochs_done(tmp_path / "killed") < wanted and process.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 1.5) * epoch)
        process.kill()
        assert process.wait() != 0, "the run ended before it could be killed"
        reached.append(epochs_done(tmp_path / "killed"))
    assert reached == sorted(reached), "a whole epoch was lost"
    assert reached[0] < epochs < reached[-1], "both steps were to be killed"
    assert start(tmp_path / "killed").wait() == 0
    assert_same(tmp_path / "killed", tmp_path / "peace")


def test_a_killed_run_resumes_to_the_same_weights(tiny_data, tmp_path):
    assert_same_after_kills(tiny_data, tmp_path, kills=2, seed=26, epochs=16)


@pytest.mark.slow
def test_twenty_kills(tiny_data, tmp_path):
    assert_same_after_kills(tiny_data, tmp_path, kills=20, seed=2)


@pytest.mark.parametrize("name", ["save_weights", "write_log"])
def test_a_run_stopped_between_two_files_goes_on(tiny_data, peace, tmp_path, monkeypatch, name):
    """After the last epoch's resume file but before its log line; after the weights but before the resume file goes."""
    original = getattr(training, name)

    def stop(*args):
        last = name == "save_weights" or len(args[2]) == 3
        if name == "save_weights":
            original(*args)
        elif not last:
            return original(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, name, stop)
    with pytest.raises(KeyboardInterrupt):
        train_step1(tmp_path, tiny_config(tiny_data), "cpu", progress=False)
    assert (tmp_path / "step1_resume.safetensors").exists()
    monkeypatch.undo()
    train_again(tmp_path, tiny_config(tiny_data), peace)


def test_the_number_of_workers_does_not_matter(tiny_data, peace, tmp_path):
    train_step1(tmp_path, tiny_config(tiny_data), "cpu", progress=False, workers=2)
    assert_same(tmp_path, peace, ["step1.safetensors"])


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_epoch(tiny_data, peace, tmp_path, monkeypatch):
    original, calls = lorral_loss, []

    def broken(*args, **kwargs):
        calls.append(1)
        losses = original(*args, **kwargs)
        return losses._replace(total=losses.total * float("nan")) if len(calls) > 12 else losses

    monkeypatch.setattr(training, "lorral_loss", broken)
    with pytest.raises(DataError, match=r"the loss is not finite in epoch 2; lower the learning rate \(now 0\.003\)"):
        train_step1(tmp_path, tiny_config(tiny_data), "cpu", progress=False)
    kept = load_file(tmp_path / "step1_resume.safetensors")
    assert all(t.isfinite().all() for t in kept.values())
    monkeypatch.undo()
    train_again(tmp_path, tiny_config(tiny_data), peace)


def test_faces_that_disappear_stop_training_with_one_line(tiny_data, tmp_path):
    """The memory-mapped arrays and the cached features would still be there, but a run whose data is gone cannot be
    evaluated."""
    data, away = tmp_path / "data", tmp_path / "away"
    data.symlink_to(tiny_data)
    config = tiny_config(data, views=2)
    for run in ("peace", "disturbed"):
        train_step1(tmp_path / run, config, "cpu", progress=False)
    train_step2(tmp_path / "peace", "bilstm", "cpu", progress=False)

    with pytest.raises(DataError) as error:
        train_step2(tmp_path / "disturbed", "bilstm", "cpu", progress=False, on_epoch=lambda log: data.rename(away))
    assert str(error.value) == (f"{data}: this prepared folder has disappeared since training began; put it back and "
                                "give the same command again: it goes on after the last whole epoch")
    with pytest.raises(DataError, match=r"the faces of .* are not there; "):
        train_step2(tmp_path / "disturbed", "bilstm", "cpu", progress=False)
    away.rename(data)
    epochs = []
    train_step2(tmp_path / "disturbed", "bilstm", "cpu", progress=False, on_epoch=lambda log: epochs.append(len(log)))
    assert epochs == [2, 3]
    assert_same(tmp_path / "disturbed", tmp_path / "peace")


def test_other_faces_in_the_same_place_are_noticed(tiny_data, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)

    def change(log):
        meta = json.loads((data / "meta.json").read_text())
        (data / "meta.json").write_text(json.dumps({**meta, "source": "elsewhere"}))

    with pytest.raises(DataError, match="this prepared folder is another one than since training began"):
        train_step1(tmp_path / "run", tiny_config(data), "cpu", progress=False, on_epoch=change)


@needs_dev_full
@pytest.mark.parametrize(("file", "at", "kept"), [
    ("step1_resume.safetensors", 1, 1), ("step1_log.jsonl", 1, 2), ("step1.safetensors", 3, 3),
])
def test_a_full_disk_stops_training_with_one_line_and_keeps_the_last_good_epoch(
        tiny_data, peace, tmp_path, monkeypatch, file, at, kept):
    monkeypatch.setattr("lorral_lite.files.secrets.token_hex", lambda count: "x")

    def fill_the_disk(log):  # what is written to this name from now on goes to a device without space
        if len(log) == at:
            (tmp_path / f".{file}.x.partial").symlink_to("/dev/full")

    with pytest.raises(DataError) as error:
        train_step1(tmp_path, tiny_config(tiny_data), "cpu", progress=False, on_epoch=fill_the_disk)
    assert str(error.value) == (f"{tmp_path / file}: cannot be written (No space left on device); free some space or "
                                "choose another folder")
    _, metadata = load_tensors(tmp_path / "step1_resume.safetensors")
    assert len(json.loads(metadata["log"])) == kept
    assert not (tmp_path / f".{file}.x.partial").is_symlink()
    train_again(tmp_path, tiny_config(tiny_data), peace)


def stop(log):
    raise KeyboardInterrupt


def edited(change, log=None):
    """Another resume file of the same names, without a checksum, as something else may have written it."""
    def edit(raw: bytes) -> bytes:
        tensors, log_of = load(raw), json.dumps([{"epoch": 0}] if log is None else log)
        change(tensors)
        return save(tensors, {"log": log_of})

    return edit


def first(tensors: dict, part: str) -> str:
    return next(name for name in tensors if name.startswith(part) and tensors[name].is_floating_point())


@pytest.mark.parametrize(("damage", "message"), [
    (lambda raw: raw[: len(raw) // 2], "not a whole safetensors file"),
    (lambda raw: raw[:-1] + bytes([raw[-1] ^ 64]), "its numbers are not those that were written"),
    (edited(lambda t: t.update({"model.other": torch.zeros(2)})), r"has model\.other, which this model does not"),
    (edited(lambda t: t.update({k: v * float("inf") for k, v in t.items() if "running_var" in k})),
     "holds a number that is not finite"),
    (edited(lambda t: t.update({(k := first(t, "model.")): t[k].double()})), r"has type torch\.float64, .* needs"),
    (edited(lambda t: t.update({(k := first(t, "momentum.")): t[k][None]})), r"momentum\..* has shape \(1, .* needs"),
    (edited(lambda t: t.pop(first(t, "momentum."))), r"lacks momentum\."),
    (edited(lambda t: None, []), "its log is not that of whole epochs"),
    (edited(lambda t: None, [{"epoch": 1}]), "its log is not that of whole epochs"),
    (edited(lambda t: None, [{"epoch": k} for k in range(4)]), "its log is not that of whole epochs"),
    (edited(lambda t: None, "deep"), "its log is not that of whole epochs"),
])
def test_a_resume_file_that_is_damaged_or_not_of_this_run_is_refused(tiny_data, tmp_path, damage, message):
    with pytest.raises(KeyboardInterrupt):
        train_step1(tmp_path, tiny_config(tiny_data), "cpu", progress=False, on_epoch=stop)
    path = tmp_path / "step1_resume.safetensors"
    path.write_bytes(damage(whole := path.read_bytes()))
    with pytest.raises(DataError, match=rf"step1_resume\.safetensors: .*{message}") as error:
        train_step1(tmp_path, tiny_config(tiny_data), "cpu", progress=False)
    assert "\n" not in str(error.value)
    path.write_bytes(whole)
    epochs = []
    train_step1(tmp_path, tiny_config(tiny_data), "cpu", progress=False, on_epoch=lambda log: epochs.append(len(log)))
    assert epochs == [2, 3]


@pytest.mark.parametrize(("change", "message"), [
    (lambda t, log: t.pop(first(t, "best.")), r"lacks best\."),
    (lambda t, log: [t.pop(name) for name in list(t) if name.startswith("best.")], r"lacks best\."),
    (lambda t, log: log[0].pop("val_mean_f1"), "its log is not that of whole epochs"),
    (lambda t, log: log[0].update(val_mean_f1="high"), "its log is not that of whole epochs"),
    (lambda t, log: log[0].update(seconds=None), "its log is not that of whole epochs"),
])
def test_a_resume_file_that_lost_the_best_epoch_is_refused(tiny_data, tmp_path, change, message):
    config = tiny_config(tiny_data, select="held_out")
    with pytest.raises(KeyboardInterrupt):
        train_step1(tmp_path, config, "cpu", progress=False, on_epoch=stop)
    path = tmp_path / "step1_resume.safetensors"
    tensors, metadata = load_tensors(path)
    log = json.loads(metadata["log"])
    change(tensors, log)
    save_tensors(path, tensors, {**metadata, "log": json.dumps(log)})
    with pytest.raises(DataError, match=rf"step1_resume\.safetensors: {message}"):
        train_step1(tmp_path, config, "cpu", progress=False)
