"""The golden counts agree with each other and with the public rates: a misprint in one of them would be seen."""

import json

import numpy as np
import pytest

from lorral_lite.datasets.folds import protocol_parts
from lorral_lite.files import data_file

GOLDEN = json.loads(data_file("protocol", "golden_counts.json").read_text(encoding="utf8"))


@pytest.mark.parametrize(("name", "every", "kept"), [("bp4d", 146_847, 146_576), ("disfa", 130_814, 126_144)])
def test_counts_and_rates(name, every, kept):
    golden = GOLDEN[name]
    assert (sum(golden["frames"]["all"]), sum(golden["frames"]["jaa"])) == (every, kept)
    statistics = json.loads(data_file("protocol", "au_statistics.json").read_text(encoding="utf8"))[name]
    assert golden["aus"] == statistics["aus"]
    np.testing.assert_allclose(np.sum(golden["positives"], 0) / every, statistics["rate"], atol=5.1e-5)
    weights = np.array(statistics["class_weights_by_fold"])  # of the training parts: inverse rates with mean 1
    for fold, test in ((0, 2), (1, 1), (2, 0)):
        inverse = 1 / (np.sum(golden["positives"], 0) - golden["positives"][test])
        np.testing.assert_allclose(inverse / inverse.mean(), weights[fold], atol=6e-4)


def test_what_jaa_leaves_out_is_what_the_lists_say():
    for name, lost in (
        ("bp4d", {key.split()[0]: entry["frames"] for key, entry in GOLDEN["bp4d"]["no_landmarks"].items()}),
        ("disfa", {who: sum(high - low + 1 for low, high in ranges)
                   for who, ranges in GOLDEN["disfa"]["landmark_problem"].items()}),
    ):
        if name == "bp4d":
            lost["M003"] = sum(GOLDEN["bp4d"]["no_landmarks"][f"M003 {task}"]["frames"] for task in ("T5", "T7"))
        for part, subjects in enumerate(protocol_parts(name)):
            gone = GOLDEN[name]["frames"]["all"][part] - GOLDEN[name]["frames"]["jaa"][part]
            assert gone == sum(lost.get(subject, 0) for subject in subjects)
    for entry in GOLDEN["bp4d"]["no_landmarks"].values():
        low, high = entry["between"]
        assert entry["frames"] <= high - low + 1
