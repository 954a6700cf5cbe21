"""``python -m benchmarks deviations`` in its smallest setting: every row is another training, kept."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks import bench, deviations
from benchmarks.deviations import DEFAULT, Variant, in_words, trained, variants
from lorral_lite.files import DataError, read_json
from lorral_lite.measure.statistics import paired_gain
from lorral_lite.training.run_folder import read_run_config

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
ALL = [row for rows in variants(tiny=True).values() for row in rows]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Everything trained once: (folder, what was written)."""
    place = tmp_path_factory.mktemp("deviations") / "runs"
    return place, bench("deviations", device="cpu", tiny=True, say=lambda line: None, keep=str(place))


def metrics(place: Path, row: Variant) -> dict:
    run = place / row.name
    return read_json(run / row.relation / "metrics.json" if row.step2 else run / "step1_metrics.json")


def test_every_row_says_what_its_run_reached(kept):
    place, written = kept
    rows = [cells for table in written["tables"] for cells in table["rows"]]
    assert len(rows) == len(ALL) == len({row.name for row in ALL})
    by_name = {row.name: row for row in ALL}
    for cells, row in zip(rows, ALL, strict=True):
        mine, other = metrics(place, row), metrics(place, by_name[row.against])
        for f1, difference, output in ((cells[2], cells[3], "au"), (cells[4], cells[5], "local")):
            assert f1 == mine["outputs"][output]["mean_f1"]
            if row.name != DEFAULT:
                gain = paired_gain(*(m["outputs"][output]["per_subject"] for m in (mine, other)))
                assert difference == in_words(gain)
                assert gain.value == pytest.approx(f1 - other["outputs"][output]["mean_f1"])
        assert cells[6] == mine["landmarks"]["nme_percent"]
        assert row.against == DEFAULT or f"(against {row.against})" in cells[1]


def test_every_run_differs_from_the_one_it_is_compared_with_in_one_thing(kept):
    place, _ = kept
    by_name = {row.name: row for row in ALL}
    for row in ALL:
        if row.name == DEFAULT:
            continue
        other = by_name[row.against]
        mine, theirs = (read_run_config(place / r.name).to_dict() for r in (row, other))
        changed = {k for k in {*mine, *theirs} - {"model"} if mine.get(k) != theirs.get(k)}
        models = mine["model"], theirs["model"]
        changed |= {k for k in {*models[0], *models[1]} if models[0].get(k) != models[1].get(k)}
        if row.options != other.options:
            changed.add("options")
        if row.relation != other.relation:
            changed.add("relation")
        allowed = {"crops_8": {"crop_size", "local_channels"}, "epochs_30": {"step1", "step2"},
                   "epochs_12": {"step1", "step2"}}.get(row.name)
        assert len(changed) == 1 or changed <= (allowed or set()), row.name
        assert changed or row.name == "epochs_30", row.name  # in the smallest setting its epochs are the default's


def test_step_1_is_trained_anew_only_where_the_choice_is_of_step_1(kept):
    place, _ = kept
    first = load_file(place / DEFAULT / "step1.safetensors")
    for row in ALL:
        assert row.step1 == (place / row.name / "step1_log.jsonl").exists()
        if not row.step1:
            taken = load_file(place / row.name / "step1.safetensors")
            assert taken.keys() == first.keys()
            assert all(torch.equal(value, first[name]) for name, value in taken.items())


def test_what_is_done_is_not_done_again_and_what_is_missing_is(kept, monkeypatch, tmp_path):
    place, written = kept
    again = tmp_path / "runs"
    shutil.copytree(place, again)
    for config in again.rglob("config.json"):  # it is another folder now
        config.write_text(config.read_text().replace(str(place), str(again)))
    shutil.rmtree(again / "letter")
    trainings, original = [], deviations.train_step2
    monkeypatch.setattr(deviations, "train_step1", lambda *a, **k: None)
    monkeypatch.setattr(deviations, "train_step2", lambda run, *a, **k: (
        trainings.append(run.name) if not (run / a[0] / "step2.safetensors").exists() else None,
        original(run, *a, **k)))
    result = bench("deviations", device="cpu", tiny=True, say=lambda line: None, keep=str(again))
    assert trainings == ["letter"]
    assert result["tables"] == written["tables"]


def test_a_kept_folder_with_other_settings_or_faces_is_refused(kept):
    place, _ = kept
    with pytest.raises(DataError, match="holds a run with other settings"):
        trained(Variant("mean", "D13", "", {"seed": 7}), read_run_config(place / DEFAULT), place, torch.device("cpu"),
                False)
    with pytest.raises(DataError, match=r"holds 6 people and 24 frames, not 60 and 1800; choose another --keep"):
        deviations.faces(place / "data", False, torch.device("cpu"))


def test_the_numbers_are_those_of_deviations_md():
    page = (ROOT / "DEVIATIONS.md").read_text(encoding="utf8")
    for row in ALL:
        assert row.number == "–" or f">{row.number} |" in page, row.number
