"""Training: the schedule, frozen tensors, equal bytes, selection without the test fold."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_run import AUS, tiny_config

from lorral_lite.datasets.folds import fold_rows
from lorral_lite.datasets.prepared import FaceDataset, open_prepared
from lorral_lite.device import cores, threads
from lorral_lite.model.lorral import LoRRaL
from lorral_lite.model.losses import lorral_loss
from lorral_lite.training import steps as training
from lorral_lite.training.config import RunConfig, Schedule, seed_of
from lorral_lite.training.evaluation import evaluate, predict_rows
from lorral_lite.training.run_folder import new_model, read_run_config
from lorral_lite.training.steps import train_step1, train_step2


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
    assert {Schedule(5, 0.02, gamma=1.0).at(e) for e in range(5)} == {0.02}
    for wrong in ({"epochs": 0}, {"every": 0}, {"lr": 0.0}, {"gamma": 0.0}, {"gamma": 1.5}):
        (name, value), = wrong.items()
        with pytest.raises(ValueError, match=f"lr > 0 and 0 < gamma ≤ 1, got Schedule.*{name}={value}"):
            Schedule(**wrong)
    paper = RunConfig.paper("x", AUS)
    assert paper.step1 == paper.step2 == schedule
    assert (paper.momentum, paper.weight_decay) == (0.9, 0.0005)


def test_both_steps_equal_a_loop_written_by_hand(tiny_data, tmp_path):
    """Section 3.5, D74: momentum without Nesterov and weight decay by their formula, all faces in one batch, nothing at
    random but the views."""
    config = tiny_config(tiny_data, batch_size=100, true_landmark_epochs=0, views=0, weight_decay=0.05,
                         step1=Schedule(3, 0.02, 0.5, 1), step2=Schedule(3, 0.04, 0.5, 1))
    config = replace(config, model=replace(config.model, dropout=0.0))
    folder = open_prepared(tiny_data)
    rows, _ = fold_rows(folder, 1)
    model = new_model(config)
    model.set_mean_shape(folder.landmarks[rows].mean(0) - 2)  # 16 of 20 pixels: the centre crop begins at 2

    def by_hand(schedule, seed):
        faces, speed = FaceDataset(folder, rows, 16, train=True, seed=seed), {}
        for epoch in range(3):
            faces.set_epoch(epoch)
            batch = faces[np.arange(len(rows))]
            model.train()
            model.zero_grad()
            lorral_loss(model(batch["image"]), batch["labels"], batch["landmarks"]).total.backward()
            with torch.no_grad():
                for name, p in model.named_parameters():
                    if p.requires_grad:
                        push = p.grad + 0.05 * p
                        speed[name] = push if epoch == 0 else 0.9 * speed[name] + push
                        p -= schedule.lr * 0.5**epoch * speed[name]
        return {name: value.clone() for name, value in model.state_dict().items()}

    step1 = by_hand(config.step1, seed=0)
    model.set_relation("mlp", seed=seed_of(0, 2, 0), dropout=0.0)
    model.freeze_step1(train_landmarks=True)
    step2 = by_hand(config.step2, seed=1)
    for expected, trained in ((step1, train_step1(tmp_path, config, "cpu", progress=False)),
                              (step2, train_step2(tmp_path, "mlp", "cpu", progress=False, dropout=0.0))):
        for name, value in trained.state_dict().items():
            torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=2e-5, msg=name)


def test_step_1_starts_at_the_mean_shape_and_leaves_out_the_last_incomplete_batch(tiny_data, tmp_path, monkeypatch):
    """D6; D74: 40 faces in batches of 16 are two batches, and one that is smaller than a batch is one."""
    sizes, original = [], lorral_loss
    monkeypatch.setattr(training, "lorral_loss", lambda *a: (sizes.append(len(a[1])), original(*a))[1])
    model = train_step1(tmp_path / "16", tiny_config(tiny_data, batch_size=16), "cpu", progress=False)
    assert sizes == [16, 16] * 3
    folder = open_prepared(tiny_data)
    rows, _ = fold_rows(folder, 1)
    mean = sum(folder.landmarks[row].astype(np.float64) for row in rows) / len(rows) - (20 - 16) / 2
    np.testing.assert_allclose(16 * model.mean_shape - 0.5, mean, atol=1e-4)


def test_loss_jaa_weighs_the_aus_by_the_rates_of_the_training_rows(tiny_data, tmp_path, monkeypatch):
    given, original = [], lorral_loss
    monkeypatch.setattr(training, "lorral_loss", lambda *a: (given.append(a[3:]), original(*a))[1])
    for loss in ("ce", "jaa"):
        train_step1(tmp_path / loss, tiny_config(tiny_data, loss=loss, step1=Schedule(1)), "cpu", progress=False)
    assert given[0] == ("ce", None)
    folder = open_prepared(tiny_data)
    rows, _ = fold_rows(folder, 1)
    inverse = []
    for a in range(3):
        known = [label for label in folder.labels[rows, a].tolist() if label >= 0]
        inverse.append(len(known) / sum(known))
    kind, weights = given[-1]
    assert kind == "jaa"
    assert weights.tolist() == pytest.approx([3 * x / sum(inverse) for x in inverse], rel=1e-5)


@pytest.fixture
def seen(monkeypatch):
    """The number of threads at every batch, of training and of testing."""
    counts, loss, answer = [], lorral_loss, LoRRaL.forward
    monkeypatch.setattr(training, "lorral_loss", lambda *a: (counts.append(torch.get_num_threads()), loss(*a))[1])
    monkeypatch.setattr(LoRRaL, "forward",
                        lambda *a, **k: (counts.append(torch.get_num_threads()), answer(*a, **k))[1])
    return counts


def test_a_run_keeps_its_number_of_threads(tiny_data, tmp_path, monkeypatch, seen):
    """D105: tried once, stored, and taken again by whoever goes on; step 2 on cached features takes one (D80)."""
    monkeypatch.setattr(training, "faster_threads", lambda *a: 2)
    for views, step2 in ((2, {1}), (0, {2})):
        run, config = tmp_path / str(views), tiny_config(tiny_data, views=views, step1=Schedule(1))
        train_step1(run, config, "cpu", progress=False)
        assert json.loads((run / "config.json").read_text())["threads"] == 2
        assert set(seen) == {2}
        monkeypatch.setattr(training, "faster_threads", lambda *a: pytest.fail("tried again"))
        seen.clear()
        (run / "step1.safetensors").unlink()
        train_step1(run, config, "cpu", progress=False)
        evaluate(run, None, "cpu", progress=False)
        assert set(seen) == {2}
        seen.clear()
        train_step2(run, "none", "cpu", progress=False)
        assert set(seen) == step2
        seen.clear()
        monkeypatch.setattr(training, "faster_threads", lambda *a: 2)
    assert torch.get_num_threads() == 1


def test_trying_threads_changes_nothing_in_the_result(tiny_data, tmp_path):
    """Also where another number is chosen than PyTorch had."""
    config = tiny_config(tiny_data, step1=Schedule(2))
    with threads(2):
        train_step1(tmp_path / "tried", config, "cpu", progress=False)
        chosen = read_run_config(tmp_path / "tried").threads
        assert torch.get_num_threads() == 2
    assert chosen in (1, 2) if cores() > 1 else chosen == 1
    train_step1(tmp_path / "asked", replace(config, threads=chosen), "cpu", progress=False)
    for name in ("config.json", "step1.safetensors"):
        assert (tmp_path / "tried" / name).read_bytes() == (tmp_path / "asked" / name).read_bytes()


@pytest.mark.parametrize("fast", [1, 2])
def test_the_faster_number_of_threads_is_chosen(tiny_data, monkeypatch, fast):
    """A slow warm-up, and one hiccup of the faster number, decide nothing."""
    count = dict.fromkeys((1, 2), 0)
    clock = [0.0]

    def learn(*args):
        now = torch.get_num_threads()
        count[now] += 1
        clock[0] += {1: 100.0, 3: 0.03}.get(count[now], 0.01) if now == fast else 0.02

    monkeypatch.setattr(training, "learn", learn)
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(training, "cores", lambda: 2)
    folder, config = open_prepared(tiny_data), tiny_config(tiny_data)
    with threads(2):
        assert training.faster_threads(config, folder, np.arange(20)) == fast
        assert count == {1: 6, 2: 6}
        monkeypatch.setattr(training, "cores", lambda: 1)
        assert training.faster_threads(config, folder, np.arange(20)) == 1
    assert training.faster_threads(config, folder, np.arange(20)) == 1
    assert count == {1: 6, 2: 6}


def test_no_threads_are_tried_on_a_gpu_or_where_a_number_is_asked_for(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "faster_threads", lambda *a: pytest.fail("tried"))
    for config, device in ((tiny_config(tiny_data), "cuda"), (tiny_config(tiny_data, threads=2), "cpu")):
        assert training.settle_threads(tmp_path, config, None, torch.device(device)) == config


def test_the_logged_losses_are_those_of_the_batches(tiny_data, tmp_path, monkeypatch):
    """An epoch's line is the mean over its batches, and total = au + local + landmark / 2 (D14)."""
    parts, log, original = [], [], lorral_loss

    def spy(*args):
        losses = original(*args)
        parts.append([x.item() for x in losses])
        return losses

    monkeypatch.setattr(training, "lorral_loss", spy)
    train_step1(tmp_path, tiny_config(tiny_data, step1=Schedule(1, 0.01)), "cpu", progress=False, on_epoch=log.extend)
    means = np.mean(parts, axis=0)
    assert [log[0][k] for k in ("train_loss", "au", "local_au", "landmark")] == pytest.approx(means, rel=1e-5)
    assert log[0]["train_loss"] == pytest.approx(means[1] + means[2] + means[3] / 2, rel=1e-5)
    assert len(parts) == 5  # 40 faces to train on in batches of 8


def test_faces_come_in_another_order_in_every_epoch(tiny_data, tmp_path, monkeypatch):
    seen, original = [], FaceDataset.__getitem__

    def spy(self, item):
        seen.extend(np.atleast_1d(item).tolist())
        return original(self, item)

    for name in ("__getitem__", "__getitems__"):  # a DataLoader calls the second
        monkeypatch.setattr(FaceDataset, name, spy)
    train_step1(tmp_path, tiny_config(tiny_data, views=0), "cpu", progress=False)
    train_step2(tmp_path, "none", "cpu", progress=False)
    epochs = [tuple(seen[first : first + 40]) for first in range(0, len(seen), 40)]
    assert len(epochs) == len(set(epochs)) == 6
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs)


def test_every_epoch_draws_its_views_of_the_faces_anew(tiny_data, tmp_path, monkeypatch):
    """Each face once an epoch, in one of the kept views, and not in the same ones in every epoch."""
    train_step1(tmp_path, tiny_config(tiny_data), "cpu", progress=False)
    given, original = [], LoRRaL.from_features

    def spy(self, features):
        given.append(features.local)
        return original(self, features)

    monkeypatch.setattr(LoRRaL, "from_features", spy)
    train_step2(tmp_path, "none", "cpu", progress=False)
    kept = torch.from_numpy(np.load(tmp_path / "features" / "feature.local.npy"))  # (2 views, 40 faces, …)
    epochs = []
    for epoch in torch.cat(given).unflatten(0, (3, 40)):
        same = (epoch[:, None, None] == kept).flatten(3).all(-1)  # (40 given, 2 views, 40 faces)
        assert (same.any(1).sum(0) == 1).all()
        epochs.append(tuple(same.any(0).int().argmax(0).tolist()))  # the view of each face
    assert len(set(epochs)) == 3
    assert all(0 < sum(views) < 40 for views in epochs)


def test_crops_follow_the_true_landmarks_in_the_first_epochs_only(tiny_data, tmp_path, monkeypatch):
    """D16: true_landmark_epochs of step 1 with a little jitter, then, and in step 2, the predicted ones."""
    given, crops_at, moved, original, loss = [], [], [], LoRRaL.forward, lorral_loss

    def spy(self, images, landmarks=None):
        given.append(landmarks is not None)
        crops_at.append(landmarks)
        return original(self, images, landmarks)

    def compare(output, labels, landmarks, *args):
        if crops_at[-1] is not None:
            moved.append((crops_at[-1] - landmarks) / 16)
        return loss(output, labels, landmarks, *args)

    monkeypatch.setattr(LoRRaL, "forward", spy)
    monkeypatch.setattr(training, "lorral_loss", compare)
    train_step1(tmp_path, tiny_config(tiny_data, true_landmark_epochs=2, views=0), "cpu", progress=False)
    assert given == [True] * 10 + [False] * 5
    jitter = torch.cat(moved)
    assert jitter.std().item() == pytest.approx(0.01, rel=0.1)
    assert jitter.mean().item() == pytest.approx(0, abs=0.001)
    given.clear()
    train_step2(tmp_path, "none", "cpu", progress=False)
    assert given
    assert not any(given)


@pytest.mark.parametrize("views", [0, 2])
def test_step_2_leaves_frozen_tensors_and_buffers_bit_identical(tiny_data, tmp_path, views):
    config = tiny_config(tiny_data, views=views, jitter=0.2)
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
    assert (tmp_path / "features").exists() == (views > 0)


def test_the_bright_au_is_learned_and_metrics_are_whole(tiny_data, tmp_path):
    train_step1(tmp_path, tiny_config(tiny_data, step1=Schedule(30, 0.05, 0.3, 10)), "cpu", progress=False)
    metrics = evaluate(tmp_path, None, "cpu", progress=False)
    assert metrics["outputs"]["au"]["auc"][2] > 95
    assert metrics["outputs"]["local"]["f1"][2] > metrics["always_positive"]["f1"][2] + 10
    folder = open_prepared(tiny_data)
    _, test = fold_rows(folder, 1)
    known = (np.array(folder.labels[test]) >= 0).sum(0)
    counts = metrics["outputs"]["au"]["counts"]
    assert [sum(counts[k][i] for k in ("tp", "fp", "fn", "tn")) for i in range(3)] == known.tolist()
    assert set(metrics["outputs"]["au"]["per_subject"]) == set(folder.subjects[test])
    assert json.loads((tmp_path / "step1_metrics.json").read_text()) == metrics
    found = load_file(tmp_path / "step1_predictions.safetensors")
    assert found["rows"].tolist() == test.tolist()


def test_another_seed_gives_other_bytes(tiny_data, tiny_finished, tmp_path):
    """The same seed gives the same bytes: the next but one shows it."""
    train_step1(tmp_path, tiny_config(tiny_data, seed=1), "cpu", progress=False)
    assert (tmp_path / "step1.safetensors").read_bytes() != (tiny_finished / "step1.safetensors").read_bytes()


def test_bf16_is_another_training_with_float32_weights_and_nearly_the_same_losses(tiny_data, tiny_finished, tmp_path):
    train_step1(tmp_path, tiny_config(tiny_data, precision="bf16"), "cpu", progress=False)
    train_step2(tmp_path, "self_attention", "cpu", progress=False)
    losses, weights = [], []
    for run in (tmp_path, tiny_finished):
        logs = [(run / log).read_text() for log in ("step1_log.jsonl", "self_attention/log.jsonl")]
        losses.append([json.loads(line)["train_loss"] for log in logs for line in log.splitlines()])
        weights.append(load_file(run / "step1.safetensors"))
    assert {w.dtype for w in weights[0].values() if w.is_floating_point()} == {torch.float32}
    assert any((weights[0][k] != weights[1][k]).any() for k in weights[1])
    # bfloat16 keeps 8 bits: numbers of about 1 are rounded by up to 0.004, and each loss is a mean over many
    np.testing.assert_allclose(*losses, atol=0.02)


def test_on_epoch_sees_every_row_and_changes_nothing(tiny_data, tiny_finished, tmp_path):
    seen = []

    def spoil(log):
        seen.append([row["epoch"] for row in log])
        log[-1]["train_loss"] = "spoiled"
        torch.rand(3)

    train_step1(tmp_path, tiny_config(tiny_data), "cpu", progress=False, on_epoch=spoil)
    train_step2(tmp_path, "self_attention", "cpu", progress=False, on_epoch=spoil)
    assert seen == [[0], [0, 1], [0, 1, 2]] * 2
    for file in ("step1.safetensors", "self_attention/step2.safetensors"):
        assert (tmp_path / file).read_bytes() == (tiny_finished / file).read_bytes()
    assert "spoiled" not in (tmp_path / "self_attention" / "log.jsonl").read_text()


def test_held_out_selection_keeps_the_best_epoch_and_never_sees_the_test_fold(tiny_data, tmp_path, monkeypatch):
    seen = []
    original = FaceDataset.__getitem__

    def spy(self, item):
        seen.append(self.rows[np.atleast_1d(item)])
        return original(self, item)

    for name in ("__getitem__", "__getitems__"):  # a DataLoader calls the second
        monkeypatch.setattr(FaceDataset, name, spy)
    config = tiny_config(tiny_data, select="held_out", step1=Schedule(4, 0.05))
    model = train_step1(tmp_path, config, "cpu", progress=False)
    folder = open_prepared(tiny_data)
    _, test = fold_rows(folder, 1)
    assert len(np.concatenate(seen)) > 4 * 32  # four epochs of training and of choosing
    assert not set(np.concatenate(seen)) & set(test)
    log = [json.loads(x) for x in (tmp_path / "step1_log.jsonl").read_text().splitlines()]
    from lorral_lite.datasets.folds import hold_out
    from lorral_lite.measure.metrics import summarise

    _, held = hold_out(folder, fold_rows(folder, 1)[0], seed=0)
    found = predict_rows(model, folder, held)
    best = summarise(found["au_logits"], found["labels"], folder.subjects[held])["mean_f1"]
    assert best == pytest.approx(max(line["val_mean_f1"] for line in log))


@pytest.mark.parametrize(("changes", "message"), [
    ({"select": "best"}, "select must be 'last' or 'held_out', got 'best'"),
    ({"precision": "fp16"}, "precision must be 'fp32' or 'bf16', got 'fp16'"),
    ({"loss": "mse"}, "loss must be 'ce' or 'jaa'"),
    ({"threads": 0}, "threads must be 1 to 1024, got 0"),
])
def test_settings_that_do_not_exist_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_config("x", **changes)
