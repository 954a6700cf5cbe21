"""``lorral prepare bp4d`` and ``lorral prepare disfa`` from the command line: choices, output, exit codes."""


import pytest

from lorral_lite.cli import main
from lorral_lite.datasets.prepared import open_prepared
from lorral_lite.datasets.stand_in import write_bp4d, write_disfa


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    place = tmp_path_factory.mktemp("commands")
    write_bp4d(place / "bp4d", ("F001", "F003"), ("T1",), 3)
    write_disfa(place / "disfa", ("SN001",), 3, images="0.png", cameras=("left", "right"))
    return place


def run(capsys, *args) -> tuple[int, str, str]:
    code = main([str(arg) for arg in ("prepare", *args)])
    out, err = capsys.readouterr()
    return code, out, err


def test_prepare_with_the_defaults_of_the_paper(roots, tmp_path, capsys):
    code, out, _ = run(capsys, "bp4d", roots / "bp4d", tmp_path / "p", "--quiet", "--workers", 1)
    assert code == 0
    for line in ("choice --frames all", "6 frames to go at 200 px: 0.00 GB of disk",
                 "2 frames have no landmarks of their own", "p: 6 frames of 2 subjects, 200 px; 0 rows skipped"):
        assert line in out
    folder = open_prepared(tmp_path / "p", check=True)
    assert folder.meta["choices"] == {"frames": "all", "subjects": ["F001", "F003"]}
    assert (folder.meta["licensed"], folder.meta["stand_in"], folder.meta["source"]) == (True, True, "bp4d")


def test_every_choice_arrives(roots, tmp_path, capsys):
    code, out, _ = run(capsys, "disfa", roots / "disfa", tmp_path / "q", "--frames", "jaa", "--subjects", "sn001",
                       "--threshold", 3, "--camera", "right", "--size", 64, "--fast-decode", "--quiet", "--workers", 1)
    assert code == 0
    assert "q: 3 frames of 1 subjects, 64 px; 0 rows skipped" in out
    folder = open_prepared(tmp_path / "q")
    assert folder.meta["choices"] == {"frames": "jaa", "threshold": 3, "camera": "right", "subjects": ["SN001"]}
    assert folder.meta["fast_decode"] is True


def test_check_writes_nothing_and_its_exit_code_tells(roots, tmp_path, capsys):
    before = sorted(roots.rglob("*"))
    code, out, _ = run(capsys, "bp4d", roots / "bp4d", "--check")
    assert code == 1
    assert "MISMATCH, published: labelled 46,034" in out
    code, out, _ = run(capsys, "bp4d", roots / "bp4d", "--check", "--subjects", "F001")
    assert code == 0
    assert out.count("not comparable") == 3
    assert "usable without looking at pixels: 3 of 3 rows, 0 left out by choice, 1 with filled-in landmarks" in out
    assert sorted(roots.rglob("*")) == before


def test_one_line_and_exit_code_2(roots, tmp_path, capsys):
    for args, words in (
        (["bp4d", roots / "bp4d"], "name the folder to make"),
        (["bp4d", tmp_path / "nowhere", tmp_path / "p"], "nowhere: no such folder"),
        (["disfa", roots / "bp4d", tmp_path / "p"], "no label file SN001_au1.txt"),
        (["disfa", roots / "disfa", roots / "bp4d"], "exists already"),
        (["disfa", roots / "disfa", tmp_path / "p", "--subjects", "SN002"], "--subjects SN002: no labels"),
    ):
        code, _, err = run(capsys, *args, "--quiet")
        assert code == 2
        assert words in err
        assert err.count("\n") == 1
