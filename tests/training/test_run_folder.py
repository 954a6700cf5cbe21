"""Run folders: configs go through JSON, files are whole or not there, broken or foreign ones are refused by name."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_run import AUS, copy_run, tiny_config

from lorral_lite.files import DataError, only_one, save_tensors, write_json
from lorral_lite.training.config import RunConfig
from lorral_lite.training.evaluation import evaluate
from lorral_lite.training.run_folder import load_model
from lorral_lite.training.steps import train_step1, train_step2


def test_config_survives_json():
    config = RunConfig.lite("x", AUS, loss="jaa", seed=3)
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def edit(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


STEP1, CONFIG = "step1.safetensors", "config.json"
STEP2, RELATION = "self_attention/step2.safetensors", "self_attention/config.json"


def content(name, change):
    """A damage: other bytes in the file of that name."""
    return lambda run: (run / name).write_bytes(change((run / name).read_bytes()))


def tensors(name, change):
    """A damage: other tensors, and nothing said about their AUs, as weights from elsewhere may be."""
    return lambda run: save_file(change(load_file(run / name)), run / name)


def settings(name, change):
    """A damage: other settings."""
    return lambda run: edit(run / name, change)


@pytest.mark.parametrize(("damage", "message"), [
    (content(STEP1, lambda raw: pickle.dumps({"a": 1})),
     r"step1\.safetensors: not a whole safetensors file .*; train again or restore it"),
    (content(STEP2, lambda raw: raw[:-1]), r"step2\.safetensors: not a whole safetensors file"),
    (tensors(STEP1, lambda found: {k: v for k, v in found.items() if k != "mean_shape"}),
     r"step1\.safetensors: lacks mean_shape and 0 more"),
    (tensors(STEP1, lambda found: {**found, "extra": torch.zeros(2)}),
     r"step1\.safetensors: has extra, which this model does not"),
    (tensors(STEP2, lambda found: {k: v for k, v in found.items() if not k.startswith("relation.")}),
     r"step2\.safetensors: lacks relation"),
    (tensors(STEP1, lambda found: {k: v * float("nan") if k == "mean_shape" else v for k, v in found.items()}),
     r"step1\.safetensors: mean_shape holds a number that is not finite, or absurdly large; train again or restore it"),
    (tensors(STEP1, lambda found: {k: v.half() if k == "mean_shape" else v for k, v in found.items()}),
     r"step1\.safetensors: mean_shape has type torch\.float16, this model needs torch\.float32"),
    (content(STEP1, lambda raw: raw[:-1] + bytes([raw[-1] ^ 64])),
     r"step1\.safetensors: its numbers are not those that were written; train again or restore it"),
    (settings(CONFIG, lambda c: c["model"].update(aus=[1, 4, 25])),
     r"step1\.safetensors: these weights are for AUs 1 4 12, the config says 1 4 25; its config is another"),
    (settings(CONFIG, lambda c: c["model"].update(feat_channels=[8])),
     r"step1\.safetensors: .* has shape \(8, 44\), this model needs \(8, 76\); its config is another"),
    (settings(RELATION, lambda c: c.update(relation="gnn")),
     r"self_attention/config\.json: .*unknown relation 'gnn'.*; train it again"),
    (settings(RELATION, lambda c: c.update(options={"depth": 3})),
     r"self_attention/config\.json: .*unexpected keyword argument 'depth'"),
    (content(CONFIG, lambda raw: b"{"), r"config\.json: not readable as JSON"),
    (content(CONFIG, lambda raw: b"[" * 100_000), r"config\.json: not readable as JSON"),
    (lambda run: (run / CONFIG).unlink(), r"config\.json: missing; is .* a run folder\?"),
    (lambda run: (run / STEP1).unlink(), r"step1\.safetensors: missing; train it with `lorral train`"),
])
def test_broken_and_foreign_runs_are_refused_with_the_reason(tiny_finished, tmp_path, damage, message):
    run = tmp_path / "run"
    copy_run(tiny_finished, run)
    load_model(run, "self_attention", "cpu")
    damage(run)
    with pytest.raises(DataError, match=message) as error:
        load_model(run, "self_attention", "cpu")
    assert "\n" not in str(error.value)


def test_other_settings_in_the_same_folder(tiny_data, tiny_finished):
    with pytest.raises(DataError, match=r"holds a run with other settings \(seed\); choose another run folder"):
        train_step1(tiny_finished, tiny_config(tiny_data, seed=5), "cpu", progress=False)
    with pytest.raises(DataError, match="holds a run with other settings"):
        train_step2(tiny_finished, "self_attention", "cpu", progress=False, heads=2)


def test_one_process_trains_a_run_and_the_next_is_told(tiny_data, tmp_path):
    def again(log):
        with pytest.raises(DataError, match="run: another process is training it; let that end, or choose another"):
            train_step1(tmp_path / "run", tiny_config(tiny_data), "cpu", progress=False)

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.json.1.partial").write_text("half")  # of a process that was killed
    train_step1(tmp_path / "run", tiny_config(tiny_data), "cpu", progress=False, on_epoch=again)
    assert not [path.name for path in tmp_path.rglob(".*") if path.is_file()]


def test_what_is_done_is_read_while_another_process_trains_there(tiny_data, tiny_finished):
    """Two relations of a run may train at the same time, and each asks for step 1 first."""
    with only_one(tiny_finished, "training"):
        found = train_step1(tiny_finished, tiny_config(tiny_data), "cpu", progress=False).state_dict()
    stored = load_model(tiny_finished, device="cpu").state_dict()
    assert all(torch.equal(found[name], value) for name, value in stored.items())


def test_a_mistake_leaves_the_run_folder_free_for_the_right_command(tiny_data, tmp_path):
    with pytest.raises(ValueError, match="fold must be 1 to 3"):
        train_step1(tmp_path, tiny_config(tiny_data, fold=9), "cpu", progress=False)
    with pytest.raises(DataError, match=r"faces of 20 px .* this model reads 100 px .* prepare again with --size 100"):
        train_step1(tmp_path, RunConfig.lite(tiny_data, AUS), "cpu", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_faces_that_do_not_fit_the_model_are_not_evaluated(tiny_data, tiny_finished, tmp_path):
    """The data was prepared again with other AUs since the run was trained."""
    copy_run(tiny_finished, tmp_path / "run")
    shutil.copytree(tiny_data, tmp_path / "data")
    edit(tmp_path / "data" / "meta.json", lambda m: m.update(aus=[1, 4, 25]))
    edit(tmp_path / "run" / "config.json", lambda c: c.update(data=str(tmp_path / "data")))
    with pytest.raises(DataError, match=r"with AUs \(1, 4, 25\), but this model reads 20 px with AUs \(1, 4, 12\)"):
        evaluate(tmp_path / "run", None, "cpu", progress=False)


def test_a_relation_subfolder_is_no_run_folder(tiny_finished):
    with pytest.raises(DataError, match="not the config of a run folder"):
        evaluate(tiny_finished / "self_attention", None, "cpu", progress=False)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr("lorral_lite.files.secrets.token_hex", lambda count: "x")
    path = tmp_path / "metrics.json"
    write_json(path, {"f1": 1})
    with pytest.raises(TypeError):
        write_json(path, {"f1": object()})
    (tmp_path / ".weights.safetensors.x.partial").mkdir()
    with pytest.raises(DataError, match=r"weights\.safetensors: cannot be written \(Is a directory\); free some space"):
        save_tensors(tmp_path / "weights.safetensors", {"a": torch.zeros(2)})
    assert json.loads(path.read_text()) == {"f1": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == [".weights.safetensors.x.partial", "metrics.json"]


def test_files_of_a_run_can_be_read_by_whom_the_umask_lets(tiny_finished):
    """A run folder is shared in a laboratory: no file is more private than the others."""
    modes = {p.stat().st_mode & 0o777 for p in tiny_finished.rglob("*") if p.is_file()}
    assert len(modes) == 1
