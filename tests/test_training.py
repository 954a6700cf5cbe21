"""Training: the schedule, frozen tensors, what a kill leaves, selection without the test fold, what is refused."""

import json
import pickle
import random
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lorral_lite.datasets import DataError
from lorral_lite.datasets.folds import fold_rows
from lorral_lite.datasets.prepared import FaceDataset, open_prepared
from lorral_lite.datasets.writing import PreparedWriter
from lorral_lite.feature_cache import cached_features
from lorral_lite.model import LoRRaLConfig
from lorral_lite.training import (
    RunConfig,
    Schedule,
    evaluate,
    load_model,
    pick_device,
    predict_rows,
    train_step1,
    train_step2,
)

AUS = (1, 4, 12)


def tiny_config(data, **changes):
    model = LoRRaLConfig(aus=AUS, name="tiny", image_size=16, frame_size=20, patch_channels=(4, 4), patch_grids=(2, 2),
                         feat_channels=(4,), local_channels=(4,), crop_size=2, landmark_hidden=8, head_hidden=8)
    return RunConfig(**{"model": model, "data": str(data), "step1": Schedule(3, 0.01), "step2": Schedule(3, 0.01),
                        "batch_size": 8, "views": 2, **changes})


def make_data(path, rows=60, subjects=6):
    """Noise whose brightness tells AU 12, with a few unknown labels."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, (rows, 3)).astype(np.int8)
    frames = (rng.integers(0, 90, (rows, 20, 20, 3)) + 120 * labels[:, 2, None, None, None]).astype(np.uint8)
    shape = rng.uniform(5, 15, (49, 2))
    shape[19:25, 0], shape[25:31, 0] = 5, 14  # eyes apart: their distance is the unit of the landmark loss
    landmarks = shape + rng.normal(0, 0.5, (rows, 1, 2))
    labels[::17, 0] = -1
    index = [(f"S{i % subjects}", "T1", i) for i in range(rows)]
    with PreparedWriter(path, 20, AUS, {"source": "test"}) as writer:
        writer.append(index, frames, landmarks, labels)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data") / "p")


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    train_step1(run, tiny_config(data), "cpu", progress=False)
    train_step2(run, "self_attention", "cpu", progress=False)
    return run


def test_schedule_is_the_papers():
    schedule = Schedule()
    for epoch in range(30):
        expected = 0.01
        for _ in range(epoch // 2):
            expected *= 0.3
        assert schedule.at(epoch) == pytest.approx(expected, rel=1e-12)
    total = sum(schedule.at(e) for e in range(30))
    assert sum(schedule.at(e) for e in range(12)) / total == pytest.approx(0.9993, abs=5e-5)
    assert schedule.epochs == 30
    assert RunConfig.paper("x", AUS).step1 == RunConfig.paper("x", AUS).step2 == schedule


def test_the_papers_letter_trains_the_landmark_module_in_step_2():
    assert RunConfig.paper("x", AUS).views == 0
    assert RunConfig.lite("x", AUS).views == 4


def test_config_survives_json():
    config = RunConfig.lite("x", AUS, loss="jaa", seed=3)
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("views", [0, 2])
def test_step_2_leaves_frozen_tensors_and_buffers_bit_identical(data, tmp_path, views):
    config = tiny_config(data, views=views, jitter=0.2)
    train_step1(tmp_path, config, "cpu", progress=False)
    before = load_file(tmp_path / "step1.safetensors")
    model = train_step2(tmp_path, "mlp", "cpu", progress=False)
    after = model.state_dict()
    frozen = ("patch.", "global_.", "local.") + (("landmark.", "landmark_head.") if views else ())
    names = [n for n in before if n.startswith(frozen)]
    assert sum("running_mean" in n for n in names) >= 3
    for name in names:
        assert torch.equal(before[name], after[name]), name
    moved = {n.split(".")[0] for n in after if n not in before or not torch.equal(before[n], after[n])}
    assert moved == {"relation", "local_head", "au_head"} | (set() if views else {"landmark", "landmark_head"})


def test_cached_features_are_the_models_own(data, finished):
    model, folder = load_model(finished, device="cpu"), open_prepared(data)
    rows, _ = fold_rows(folder, 1)
    dataset = FaceDataset(folder, rows, 16, train=True, seed=9)
    cache = cached_features(finished, model, dataset, 3, "cpu", progress=False)
    dataset.set_epoch(2)
    item = dataset[[5]]
    with torch.no_grad():
        direct = model.features(item["image"])
    torch.testing.assert_close(cache["feature.local"][2, 5], direct.local[0])
    torch.testing.assert_close(cache["landmarks"][2, 5], item["landmarks"][0])
    assert not torch.equal(cache["feature.local"][0], cache["feature.local"][1])


def test_a_loaded_model_answers_as_the_trained_one(data, finished):
    trained = train_step2(finished, "self_attention", "cpu", progress=False)  # done: it is loaded
    again = load_model(finished, "self_attention", "cpu")
    folder = open_prepared(data)
    a, b = (predict_rows(m, folder, np.arange(20)) for m in (trained, again))
    assert all(torch.equal(a[k], b[k]) for k in a)
    plain = predict_rows(load_model(finished, device="cpu"), folder, np.arange(20))
    assert not torch.equal(plain["au_logits"], a["au_logits"])
    assert torch.equal(plain["landmarks"], a["landmarks"])


def test_the_bright_au_is_learned_and_metrics_are_whole(data, tmp_path):
    train_step1(tmp_path, tiny_config(data, step1=Schedule(30, 0.05, 0.3, 10)), "cpu", progress=False)
    metrics = evaluate(tmp_path, None, "cpu", progress=False)
    assert metrics["outputs"]["au"]["auc"][2] > 95
    assert metrics["outputs"]["local"]["f1"][2] > metrics["always_positive"]["f1"][2] + 10
    folder = open_prepared(data)
    _, test = fold_rows(folder, 1)
    known = (np.array(folder.labels[test]) >= 0).sum(0)
    counts = metrics["outputs"]["au"]["counts"]
    assert [sum(counts[k][i] for k in ("tp", "fp", "fn", "tn")) for i in range(3)] == known.tolist()
    assert set(metrics["outputs"]["au"]["per_subject"]) == set(folder.subjects[test])
    assert json.loads((tmp_path / "step1_metrics.json").read_text()) == metrics
    found = load_file(tmp_path / "step1_predictions.safetensors")
    assert found["rows"].tolist() == test.tolist()


def test_same_seed_same_bytes_other_seed_other_bytes(data, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_step1(tmp_path / name, tiny_config(data, seed=seed), "cpu", progress=False)
    a, b, c = ((tmp_path / n / "step1.safetensors").read_bytes() for n in "abc")
    assert a == b
    assert a != c


def test_on_epoch_sees_every_row_and_changes_nothing(data, tmp_path):
    seen = []

    def spoil(log):
        seen.append([row["epoch"] for row in log])
        log[-1]["train_loss"] = "spoiled"
        torch.rand(3)

    for name, call in (("plain", None), ("seen", spoil)):
        train_step1(tmp_path / name, tiny_config(data), "cpu", progress=False, on_epoch=call)
        train_step2(tmp_path / name, "bilstm", "cpu", progress=False, on_epoch=call)
    assert seen == [[0], [0, 1], [0, 1, 2]] * 2
    for file in ("step1.safetensors", "bilstm/step2.safetensors"):
        assert (tmp_path / "plain" / file).read_bytes() == (tmp_path / "seen" / file).read_bytes()
    rows = [json.loads(x) for x in (tmp_path / "seen" / "bilstm" / "log.jsonl").read_text().splitlines()]
    assert all(isinstance(row["train_loss"], float) for row in rows)


def test_stopping_in_on_epoch_loses_nothing(data, tmp_path):
    def stop(log):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_step1(tmp_path / "stopped", tiny_config(data), "cpu", progress=False, on_epoch=stop)
    later = []
    train_step1(tmp_path / "stopped", tiny_config(data), "cpu", progress=False,
                on_epoch=lambda log: later.append(len(log)))
    train_step1(tmp_path / "whole", tiny_config(data), "cpu", progress=False)
    assert later == [2, 3]
    names = tmp_path / "stopped" / "step1.safetensors", tmp_path / "whole" / "step1.safetensors"
    assert names[0].read_bytes() == names[1].read_bytes()


def test_held_out_selection_keeps_the_best_epoch_and_never_sees_the_test_fold(data, tmp_path, monkeypatch):
    seen = []
    original = FaceDataset.__getitem__

    def spy(self, item):
        seen.append(self.rows[np.atleast_1d(item)])
        return original(self, item)

    monkeypatch.setattr(FaceDataset, "__getitem__", spy)
    config = tiny_config(data, select="held_out", step1=Schedule(4, 0.05))
    model = train_step1(tmp_path, config, "cpu", progress=False)
    folder = open_prepared(data)
    _, test = fold_rows(folder, 1)
    assert not set(np.concatenate(seen)) & set(test)
    log = [json.loads(x) for x in (tmp_path / "step1_log.jsonl").read_text().splitlines()]
    from lorral_lite.datasets.folds import hold_out
    from lorral_lite.metrics import summarise

    _, held = hold_out(folder, fold_rows(folder, 1)[0], seed=0)
    found = predict_rows(model, folder, held)
    best = summarise(found["au_logits"], found["labels"], folder.subjects[held])["mean_f1"]
    assert best == pytest.approx(max(line["val_mean_f1"] for line in log))


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from test_training import tiny_config, Schedule
from lorral_lite.training import train_step1, train_step2
config = tiny_config({data!r}, step1=Schedule(40, 0.01), step2=Schedule(40, 0.01))
print("ready", flush=True)
train_step1({run!r}, config, "cpu", progress=False)
train_step2({run!r}, "bilstm", "cpu", progress=False)
"""


def assert_same_after_kills(data, tmp_path, kills: int, seed: int):
    """Train once in peace, once killed at random moments; the final files must be equal to the byte."""
    from pathlib import Path

    chance = random.Random(seed)

    def start(run):
        script = KILLED.format(tests=str(Path(__file__).parent), data=str(data), run=str(run))
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        process.stdout.close()
        return process

    started = time.perf_counter()
    assert start(tmp_path / "peace").wait() == 0
    whole = time.perf_counter() - started
    killed = 0
    while killed < kills:
        process = start(tmp_path / "killed")
        try:
            process.wait(timeout=chance.uniform(0.05, 0.5) * whole / kills)
            break  # it was faster than the kills
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
    assert killed == kills, "the run ended before it could be killed often enough"
    assert start(tmp_path / "killed").wait() == 0
    for name in ("step1.safetensors", "bilstm/step2.safetensors"):
        assert (tmp_path / "peace" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name
    assert not list((tmp_path / "killed").rglob("*resume*"))


def test_a_killed_run_resumes_to_the_same_weights(data, tmp_path):
    assert_same_after_kills(data, tmp_path, kills=3, seed=1)


@pytest.mark.slow
def test_twenty_kills(data, tmp_path):
    assert_same_after_kills(data, tmp_path, kills=20, seed=2)


def damage_pickle(run):
    (run / "step1.safetensors").write_bytes(pickle.dumps({"a": 1}))


def damage_truncated(run):
    raw = (run / "step1.safetensors").read_bytes()
    (run / "step1.safetensors").write_bytes(raw[: len(raw) // 2])


def damage_missing_tensor(run):
    tensors = load_file(run / "step1.safetensors")
    del tensors["mean_shape"]
    save_file(tensors, run / "step1.safetensors")


def damage_extra_tensor(run):
    save_file({**load_file(run / "step1.safetensors"), "extra": torch.zeros(2)}, run / "step1.safetensors")


def damage_au_list(run):
    config = json.loads((run / "config.json").read_text())
    config["model"]["aus"] = [1, 4]
    (run / "config.json").write_text(json.dumps(config))


def damage_config(run):
    (run / "config.json").write_text("{")


def damage_no_weights(run):
    (run / "step1.safetensors").unlink()


@pytest.mark.parametrize(("damage", "message"), [
    (damage_pickle, r"step1\.safetensors: not a whole safetensors file"),
    (damage_truncated, r"step1\.safetensors: not a whole safetensors file"),
    (damage_missing_tensor, r"lacks mean_shape"),
    (damage_extra_tensor, r"has extra, which this model does not"),
    (damage_au_list, r"has shape .*, this model needs"),
    (damage_config, r"config\.json: not readable as JSON"),
    (damage_no_weights, r"step1\.safetensors: missing; train it"),
])
def test_broken_runs_are_refused_with_the_reason(finished, tmp_path, damage, message):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished, run)
    damage(run)
    with pytest.raises(DataError, match=message):
        load_model(run, "self_attention", "cpu")


def test_other_settings_in_the_same_folder(data, finished):
    with pytest.raises(DataError, match="holds a run with other settings"):
        train_step1(finished, tiny_config(data, seed=5), "cpu", progress=False)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_epoch(data, tmp_path, monkeypatch):
    from lorral_lite import training

    original, calls = training.lorral_loss, []

    def broken(*args, **kwargs):
        calls.append(1)
        losses = original(*args, **kwargs)
        return losses._replace(total=losses.total * float("nan")) if len(calls) > 12 else losses

    monkeypatch.setattr(training, "lorral_loss", broken)
    with pytest.raises(DataError, match="the loss is not finite in epoch"):
        train_step1(tmp_path, tiny_config(data), "cpu", progress=False)
    kept = load_file(tmp_path / "step1_resume.safetensors")
    assert all(t.isfinite().all() for t in kept.values())
    monkeypatch.setattr(training, "lorral_loss", original)
    train_step1(tmp_path, tiny_config(data), "cpu", progress=False)
    train_step1(tmp_path / "other", tiny_config(data), "cpu", progress=False)
    names = tmp_path / "step1.safetensors", tmp_path / "other" / "step1.safetensors"
    assert names[0].read_bytes() == names[1].read_bytes()


def test_unknown_names():
    with pytest.raises(ValueError, match="select must be 'last' or 'held_out', got 'best'"):
        tiny_config("x", select="best")
    with pytest.raises(ValueError, match="loss must be 'ce' or 'jaa'"):
        tiny_config("x", loss="mse")
    with pytest.raises(ValueError, match="device 'foo' cannot be used here"):
        pick_device("foo")
    with pytest.raises(ValueError, match="device 'cuda:99' cannot be used here"):
        pick_device("cuda:99")
    assert pick_device("auto") == pick_device(None)


def test_a_mistake_leaves_the_run_folder_free_for_the_right_command(data, tmp_path):
    with pytest.raises(ValueError, match="fold must be 1 to 3"):
        train_step1(tmp_path, tiny_config(data, fold=9), "cpu", progress=False)
    with pytest.raises(DataError, match=r"faces of 20 px .* this model reads 100 px .* prepare again with --size 100"):
        train_step1(tmp_path, RunConfig.lite(data, AUS), "cpu", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_relation_subfolder_is_no_run_folder(finished):
    with pytest.raises(DataError, match="not the config of a run folder"):
        evaluate(finished / "self_attention", None, "cpu", progress=False)


def test_step_2_weights_without_the_relation_are_refused(finished, tmp_path):
    import shutil

    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / "self_attention" / "step2.safetensors"
    save_file({k: v for k, v in load_file(path).items() if not k.startswith("relation.")}, path)
    with pytest.raises(DataError, match=r"step2\.safetensors: lacks relation"):
        load_model(tmp_path / "run", "self_attention", "cpu")
