"""The files that travel with the package, and that a wheel is told to carry them."""

import runpy
import tomllib
from pathlib import Path

import pytest
import setuptools

from lorral_lite.files import data_file

ROOT = Path(__file__).parent.parent


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"^data/protocol/nothing\.json is missing: .*install"):
        data_file("protocol", "nothing.json")


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
