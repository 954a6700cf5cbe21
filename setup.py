"""Packages are found; a wheel carries the folder data/ as lorral_lite/_data (see data_file in lorral_lite/files.py)."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["lorral_lite*"]), "lorral_lite._data"],
    package_dir={"lorral_lite._data": "data"},
)
