"""Stand-ins of both data sets, written once a session; a test that breaks something takes a copy."""

import shutil
from pathlib import Path

import pytest

from lorral_lite.datasets.stand_in import write_bp4d, write_disfa


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory):
    """What was written, by the name of the data set."""
    place = tmp_path_factory.mktemp("stand_ins")
    return {"bp4d": write_bp4d(place / "BP4D"),
            "disfa": write_disfa(place / "DISFA", images="LeftVideoSN001_comp_0001.png")}


@pytest.fixture
def copied(stand_ins, tmp_path):
    """A function: name of the data set → the root of a copy that the test may break."""
    return lambda name: Path(shutil.copytree(stand_ins[name].root, tmp_path / stand_ins[name].root.name))
