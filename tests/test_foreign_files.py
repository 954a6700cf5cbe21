"""What a reader's file may hold is bounded where it is read: JSON, logs, tables, weights; one line names the file."""

import csv
import io
import json
import os

import pytest
import torch
from safetensors.torch import save_file

from lorral_lite import files
from lorral_lite.files import DataError, check_file, load_tensors, made_of, read_json, read_log, short_lines
from lorral_lite.model.lorral import LoRRaLConfig
from lorral_lite.training.config import RunConfig, Schedule


def refused(read, path) -> str:
    """What the DataError says, without the path that it begins with."""
    with pytest.raises(DataError) as error:
        read(path)
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize(("content", "why"), [
    (b"[" * 100_000, "nested too deeply"), (b'{"a": ' * 5000, "nested too deeply"), (b"[1]", "no JSON object"),
    (b"null", "no JSON object"), (b'{"f1": NaN}', "NaN is no finite number"),
    (b'{"f1": [-Infinity]}', "-Infinity is no finite number"), (b'{"lr": 1e400}', "1e400 is no finite number"),
    (b'{"n": ' + b"9" * 5000 + b"}", "Exceeds the limit"), (b'{"n": 1' + b"0" * 400 + b"}", "00 is no finite number"),
    (b"\xff\xfe{}", "codec can't decode"), (b"", "Expecting"),
])  # fmt: skip
def test_json_that_is_no_object_of_finite_numbers_is_refused(tmp_path, content, why):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    assert why in refused(read_json, path)
    assert refused(lambda path: read_json(path, "make it again"), path).endswith("; make it again")


def test_a_file_is_a_file_and_no_larger_than_it_may_be(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    path.write_text("{}")
    assert read_json(path) == {}
    monkeypatch.setattr(files, "LARGEST_JSON", 1)
    assert "2 bytes, and at most 1 are read" in refused(read_json, path)
    assert "missing; is" in refused(read_json, tmp_path / "no.json")
    for nothing in (tmp_path, "/dev/zero"):
        if os.path.exists(nothing):
            with pytest.raises(ValueError, match="it is no file"):
                check_file(nothing)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "it is no file" in refused(read_json, tmp_path / "pipe")
        assert "it is no file" in refused(load_tensors, tmp_path / "pipe")


@pytest.mark.parametrize("line", [
    '{"epoch": 0}', '{"epoch": 0, "seconds": "1"}', '{"epoch": null, "seconds": 1}', "[0, 1]", "7", '{"epoch": 0, "sec',
    '{"epoch": 0, "seconds": 1, "lr": NaN}', '{"epoch": 0, "seconds": 1, "au": [1]}',
])  # fmt: skip
def test_a_log_is_numbers_by_their_names(tmp_path, line):
    path, good = tmp_path / "log.jsonl", {"epoch": 0, "seconds": 1.5, "val_mean_f1": None}
    assert read_log(path) == []
    path.write_text(json.dumps(good) + "\n\n")
    assert read_log(path) == [good]
    path.write_text(json.dumps(good) + "\n" + line)
    said = refused(read_log, path)
    assert said.startswith("not readable as a training log")
    assert said.endswith("; remove it")


def test_an_absurdly_long_line_of_a_table_is_refused_before_it_is_in_memory(monkeypatch):
    monkeypatch.setattr(files, "LONGEST_LINE", 10)
    read, text = [], "123456789\n1,2\n" + 5 * "0123456789"

    class Counted(io.StringIO):
        def readline(self, size):
            read.append(size)
            return super().readline(size)

    rows = csv.reader(short_lines(Counted(text)))
    assert [next(rows), next(rows)] == [["123456789"], ["1", "2"]]
    with pytest.raises(csv.Error, match="a line has more than 10 characters"):
        next(rows)
    assert read == [11, 11, 11]


def test_numbers_beyond_all_weights_are_refused_also_where_no_checksum_is(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.tensor([1e8]), "n": torch.tensor([2**60])}, path)
    assert load_tensors(path)[0]["a"] == 1e8
    for number in (1e10, float("inf"), float("nan")):
        save_file({"a": torch.tensor([1.0, -number], dtype=torch.bfloat16)}, path)
        assert "a holds a number that is not finite, or absurdly large" in refused(load_tensors, path)
    save_file({"a": torch.ones(2)}, path, {"about": "[" * 100_000})
    assert "nested too deeply" in refused(load_tensors, path)
    monkeypatch.setattr(files, "LARGEST_TENSORS", 10)
    assert "at most 10 are read" in refused(load_tensors, path)


@pytest.mark.parametrize(("kind", "change", "said"), [
    (Schedule, {"lr": "0.1"}, "lr is '0.1'"), (Schedule, {"epochs": 2.0}, "epochs is 2.0"),
    (Schedule, {"epochs": True}, "epochs is True"), (Schedule, {"epochs": 10**300}, "epochs is 1000"),
    (Schedule, {"lr": float("nan")}, "lr is nan"), (RunConfig, {"fold": "1"}, "fold is '1'"),
    (RunConfig, {"data": {}}, "data is {}"), (RunConfig, {"threads": 1.5}, "threads is 1.5"),
])  # fmt: skip
def test_a_value_of_another_type_is_named(kind, change, said):
    good = {} if kind is Schedule else {"model": LoRRaLConfig(), "data": "x", "threads": None}
    made_of(kind, good)
    with pytest.raises(TypeError, match=f"^{said}"):
        made_of(kind, {**good, **change})


@pytest.mark.parametrize("change", [{"aus": [1, "4"]}, {"head_hidden": 10**9}, {"patch_grids": [8.0, 8]}])
def test_a_model_of_other_types_or_absurd_sizes_is_refused(change):
    values = LoRRaLConfig.paper().to_dict()
    assert LoRRaLConfig.from_dict(json.loads(json.dumps(values))) == LoRRaLConfig.paper()
    with pytest.raises(TypeError, match=f"^{next(iter(change))} is "):
        LoRRaLConfig.from_dict({**values, **change})


@pytest.mark.parametrize("seed", [-1, 2**31, 2**63, 2**70])
def test_a_seed_is_one_that_every_generator_takes(seed):
    RunConfig.lite("x", (1, 4), seed=2**31 - 1)
    with pytest.raises(ValueError, match=f"seed must be 0 to 2147483647, got {seed}"):
        RunConfig.lite("x", (1, 4), seed=seed)
