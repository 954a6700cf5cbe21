"""The files that travel with the package, and that a wheel is told to carry them."""

import json
import runpy
import tomllib
from pathlib import Path

import numpy as np
import pytest
import setuptools

from lorral_lite.facs import AU_SETS
from lorral_lite.files import data_file

ROOT = Path(__file__).parent.parent


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"^data/protocol/nothing\.json is missing: .*install"):
        data_file("protocol", "nothing.json")


# frames with the AU in the three folds, counted in public label lists
POSITIVES = {
    "bp4d": [31042, 25110, 29755, 67676, 80616, 87270, 82530, 68375, 24869, 50406, 24288, 22229],
    "disfa": [6506, 5644, 19933, 10327, 5473, 16851, 36247, 11533],
}


def test_statistics_are_those_of_the_public_label_counts():
    statistics = json.loads(data_file("protocol", "au_statistics.json").read_text(encoding="utf-8"))
    for profile, positives in POSITIVES.items():
        one = statistics[profile]
        assert tuple(one["aus"]) == AU_SETS[profile]
        rate = np.array(one["rate"])
        np.testing.assert_allclose(rate, np.array(positives) / one["frames"], atol=6e-5)
        np.testing.assert_allclose(one["always_positive_f1"], 200 * rate / (1 + rate), atol=0.06)
        for name in ("phi", "latent_correlation"):
            matrix = np.array(one[name])
            np.testing.assert_array_equal(matrix, matrix.T)
            np.testing.assert_array_equal(np.diag(matrix), 1)


def test_folds_hold_every_subject_once():
    folds = json.loads(data_file("protocol", "folds.json").read_text(encoding="utf-8"))
    for profile, sizes in (("bp4d", [14, 14, 13]), ("disfa", [9, 9, 9])):
        parts = [folds[profile][fold] for fold in ("1", "2", "3")]
        assert [len(part) for part in parts] == sizes
        assert len(set().union(*parts)) == sum(sizes)


def test_the_wheel_is_told_of_every_package_and_of_the_data(monkeypatch):
    told = {}
    monkeypatch.setattr(setuptools, "setup", told.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    there = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "lorral_lite").rglob("*.py")}
    assert set(told["packages"]) == there | {"lorral_lite._data"}
    assert told["package_dir"] == {"lorral_lite._data": "data"}
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    assert data["lorral_lite._data"] == ["**/*"]
    others = {(f"lorral_lite.{file.parent.name}", f"*{file.suffix}") for file in (ROOT / "lorral_lite").rglob("*.*")
              if file.suffix not in (".py", ".pyc", ".md")}
    assert {(package, pattern) for package, patterns in data.items() for pattern in patterns} == {
        *others, ("lorral_lite._data", "**/*")}
