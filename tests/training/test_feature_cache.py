"""Cached features: the model's own, computed once for all relations, whole or not there, and changing nothing."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError

import numpy as np
import pytest
import torch
from tiny_run import copy_run

from lorral_lite.datasets.folds import fold_rows
from lorral_lite.datasets.prepared import FaceDataset, open_prepared
from lorral_lite.training import feature_cache
from lorral_lite.training.feature_cache import cached_features
from lorral_lite.training.origin import origin
from lorral_lite.training.run_folder import load_model, save_weights
from lorral_lite.training.steps import train_step2


@pytest.fixture
def run(tiny_finished, tmp_path):
    """A run folder with step 1 only."""
    return copy_run(tiny_finished, tmp_path / "run", "self_attention", "features")


def material(data, seed=9, views=3):
    folder = open_prepared(data)
    rows, _ = fold_rows(folder, 1)
    return {"dataset": FaceDataset(folder, rows, 16, train=True, seed=seed), "views": views, "device": "cpu",
            "progress": False}


def test_they_are_the_models_own(tiny_data, run):
    model, given = load_model(run, device="cpu"), material(tiny_data)
    cache = cached_features(run, model.train(), **given)  # BatchNorm and dropout as at test time all the same
    model.eval()
    dataset = given["dataset"]
    for view in range(3):
        dataset.set_epoch(view)
        item = dataset[np.arange(len(dataset))]
        with torch.no_grad():
            direct = model.features(item["image"])
        for name, value in direct._asdict().items():
            torch.testing.assert_close(cache[f"feature.{name}"][view], value, rtol=1e-5, atol=1e-6)
        for name in ("labels", "landmarks"):
            assert torch.equal(cache[name][view], item[name])
    assert not torch.equal(cache["feature.local"][0], cache["feature.local"][1])
    assert set(cache) == {"labels", "landmarks", "feature.local", "feature.global_", "feature.landmark",
                          "feature.landmarks"}


def test_they_are_computed_once_for_all_relations_of_a_run_and_change_nothing(run, tiny_finished, monkeypatch):
    fills, original = [], feature_cache._fill
    monkeypatch.setattr(feature_cache, "_fill", lambda *args: (fills.append(1), original(*args)))
    for relation in ("none", "mlp", "self_attention"):
        train_step2(run, relation, "cpu", progress=False)
    assert len(fills) == 1
    assert (run / "features" / ".gitignore").read_text() == "*\n"
    assert not list(run.rglob("*partial*"))
    last = "self_attention/step2.safetensors"
    assert (run / last).read_bytes() == (tiny_finished / last).read_bytes(), "where it was the first relation"


def test_memory_mapped_features_give_the_same_bytes(run, tiny_finished, monkeypatch):
    asked, original = [], np.load

    def load(file, mmap_mode=None, **options):
        asked.extend([mmap_mode] if file.parent.name == "features" else [])
        return original(file, mmap_mode=mmap_mode, **options)

    monkeypatch.setattr(feature_cache.np, "load", load)
    monkeypatch.setattr(feature_cache, "MEMORY_LIMIT", 100)
    train_step2(run, "self_attention", "cpu", progress=False)
    assert set(asked) == {"c"}
    name = "self_attention/step2.safetensors"
    assert (run / name).read_bytes() == (tiny_finished / name).read_bytes()


def test_they_are_filled_anew_when_what_they_depend_on_changes(tiny_data, run):
    model = load_model(run, device="cpu")

    def stamp(**changes):
        cached_features(run, model, **material(tiny_data, **changes))
        return (run / "features" / "key.json").stat().st_mtime_ns

    first = stamp()
    assert stamp() == first
    assert (second := stamp(seed=8)) > first
    assert (third := stamp(seed=8, views=2)) > second
    with torch.no_grad():
        model.patch[0].conv.weight.mul_(1.01)
    save_weights(run / "step1.safetensors", model.state_dict(), model.config.aus, origin(run))
    assert stamp(seed=8, views=2) > third


@pytest.mark.parametrize("damage", ["truncated", "one bit", "another shape", "no key", "broken key", "deep key"])
def test_a_broken_folder_is_filled_anew(tiny_data, run, damage):
    model = load_model(run, device="cpu")
    before = cached_features(run, model, **material(tiny_data))
    file = run / "features" / "feature.local.npy"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-5])
    elif damage == "one bit":
        file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 64]))
    elif damage == "another shape":
        np.save(file, np.load(file).transpose(1, 0, 2, 3))
    elif damage == "no key":
        (run / "features" / "key.json").unlink()
    else:
        (run / "features" / "key.json").write_text("{" if damage == "broken key" else "[" * 100_000)
    after = cached_features(run, model, **material(tiny_data))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert json.loads((run / "features" / "key.json").read_text())["views"] == 3


def test_a_fill_that_is_stopped_leaves_nothing_and_what_a_kill_left_is_cleared(tiny_data, run, monkeypatch):
    model, calls = load_model(run, device="cpu"), []
    original = model.features

    def stop(images):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(images)

    model.features = stop
    with pytest.raises(KeyboardInterrupt):
        cached_features(run, model, **material(tiny_data))
    assert not list(run.rglob("*features*"))
    (run / ".features.partial").mkdir()
    (run / ".features.partial" / "feature.local.npy").write_bytes(b"half")
    cached_features(run, model, **material(tiny_data))
    assert sorted(p.name for p in run.glob("*features*")) == ["features"]
    assert not (run / ".features.partial").exists()


def test_two_relations_that_fill_at_once_do_not_disturb_each_other(tiny_data, run, monkeypatch):
    meeting, real = Barrier(2), feature_cache.shutil.rmtree

    def rmtree(path, **options):
        real(path, **options)
        if path == run / "features":
            with suppress(BrokenBarrierError):
                meeting.wait(0.3)

    def fill(name):
        return cached_features(run, load_model(run, device="cpu"), scratch=run / name, **material(tiny_data))

    monkeypatch.setattr(feature_cache.shutil, "rmtree", rmtree)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(fill, (".a.partial", ".b.partial"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert not list(run.glob(".*"))
