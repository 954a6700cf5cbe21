"""Mutated label and landmark files: there is never anything but a prepared folder that adds up, or one DataError.

2,400 mutations in ``make test-all``, 120 in ``make test``. Tables of other tools are mutated in test_table.py.
"""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from preparations import SOURCES, prepare, skipped

from lorral_lite.datasets.stand_in import write_bp4d, write_disfa
from lorral_lite.files import DataError

NASTY = [b"", b"nan", b"-inf", b"1e999", b"-1", b"0", b"3", b"9" * 400, b"\x00", b'"', b",", b"\n", b"\r", b"\xff\xfe",
         "٣".encode(), b"1_0", b"0x1", b" 1 ", b"1.0", b"1.5", b"MATLAB 5.0", b"\x89HDF\r\n\x1a\n", b"," * 300]
TARGETS = {
    "labels of BP4D": ("bp4d", "AUCoding/AU_OCC/F001_T1.csv"),
    "landmarks of BP4D": ("bp4d", "2DFeatures/F001_T1.mat"),
    "labels of DISFA": ("disfa", "ActionUnit_Labels/SN001/SN001_au4.txt"),
    "landmarks of DISFA": ("disfa", "Landmark_Points/SN001/tmp_frame_lm/SN001_0001_lm.mat"),
}


@st.composite
def mutations(draw):
    """A few changes of a file: (kind, place as a share of it, a second share, bytes)."""
    change = st.tuples(st.sampled_from(["flip", "delete", "insert", "repeat", "cut", "replace"]), st.floats(0, 1),
                       st.floats(0, 0.2), st.sampled_from(NASTY) | st.binary(max_size=8))
    return draw(st.lists(change, min_size=1, max_size=4))


def mutate(content: bytes, changes) -> bytes:
    for kind, place, share, new in changes:
        at = int(place * max(len(content) - 1, 0))
        length = max(1, int(share * len(content)))
        if kind == "flip" and content:
            content = content[:at] + bytes([content[at] ^ (1 + len(new) % 255)]) + content[at + 1 :]
        elif kind == "delete":
            content = content[:at] + content[at + length :]
        elif kind == "insert":
            content = content[:at] + new + content[at:]
        elif kind == "repeat":
            content = content[: at + length] + content[at:]
        elif kind == "cut":
            content = content[:at]
        elif kind == "replace":
            content = content[:at] + new + content[at + len(new) :]
    return content


def outcome(name: str, root: Path) -> str:
    """Prepare ``root``, check that the result adds up, and say what came out; any other error is the test's failure."""
    out = root.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(out.with_name(".out.partial"), ignore_errors=True)
    try:
        folder = prepare(name, root, out, size=32)
    except DataError as error:
        return "DataError" if "\n" not in str(error) else f"more than one line: {error}"
    lines = skipped(folder)
    assert len(folder) + folder.meta["skipped"] == sum(s.rows for s in SOURCES[name](root).sequences)
    assert all(file and reason for file, _, reason in lines)
    return "skipped" if lines else "whole"


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A small stand-in of each data set; a second subject stays whole in DISFA, a second sequence in BP4D."""
    place = tmp_path_factory.mktemp("fuzz")
    write_bp4d(place / "b" / "bp4d", ("F001",), ("T1", "T2"), 3, first=(5,), empty=0, around=0, width=64)
    write_disfa(place / "d" / "disfa", ("SN001", "SN002"), 3, images="0.png", width=80)
    return {"bp4d": place / "b" / "bp4d", "disfa": place / "d" / "disfa"}


def fuzz(trees, monkeypatch, target: str, examples: int) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)  # what this test makes need not survive a power cut
    name, path = TARGETS[target]
    root = trees[name]
    whole = (root / path).read_bytes()
    seen = {"DataError": 0, "skipped": 0, "whole": 0}

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(mutations())
    def one(changes):
        (root / path).write_bytes(mutate(whole, changes))
        seen[outcome(name, root)] += 1

    try:
        one()
    finally:
        (root / path).write_bytes(whole)
    assert outcome(name, root) == "whole"
    assert seen["skipped"] > examples // 3  # the mutations hit something


@pytest.mark.parametrize("target", TARGETS)
def test_a_sample_of_mutated_files(trees, monkeypatch, target):
    fuzz(trees, monkeypatch, target, 30)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_many_mutated_files(trees, monkeypatch, target):
    fuzz(trees, monkeypatch, target, 600)
