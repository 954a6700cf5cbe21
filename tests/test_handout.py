"""The copy for a class holds no solution, no answer and nothing that an exercise printed."""

import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import handout  # noqa: E402


def test_the_handout_has_every_notebook_and_no_answer(tmp_path):
    made = handout.handout(tmp_path / "class")
    names = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(path.name for path in (tmp_path / "class").iterdir()) == names
    assert sorted(Path(n).name for n in zipfile.ZipFile(made).namelist() if not n.endswith("/")) == names
    for name in names:
        before = nbformat.read(ROOT / "notebooks" / name, as_version=4)
        after = nbformat.read(tmp_path / "class" / name, as_version=4)
        asked = 0
        for old, new in zip(before.cells, after.cells, strict=True):
            assert new.source == old.source
            if new.cell_type == "code" and handout.CHECK.search(new.source):
                asked += 1
                assert new.outputs == []
            else:
                assert new == old
        assert asked >= 1
        assert "is_correct(" not in (tmp_path / "class" / name).read_text(encoding="utf8")


def test_an_answered_exercise_stops_it_and_leaves_the_old_handout(tmp_path, monkeypatch):
    source = nbformat.read(ROOT / "notebooks" / "03_patchconv.ipynb", as_version=4)
    cell = next(c for c in source.cells if c.cell_type == "code" and handout.CHECK.search(c.source))
    cell.outputs = [nbformat.v4.new_output("stream", text="Exercise 3.1: correct\n")]
    monkeypatch.setattr(handout, "FOLDER", tmp_path)
    nbformat.write(source, tmp_path / "03_patchconv.ipynb")
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "old").touch()
    with pytest.raises(SystemExit, match=r"exercise 3\.\d is answered in this copy"):
        handout.handout(tmp_path / "class")
    assert (tmp_path / "class" / "old").exists()
