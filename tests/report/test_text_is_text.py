"""What files say stays text in a report: no markup, no link, no code, and every character of it is seen."""

import json
import re
import shutil

import pytest
from bs4 import BeautifulSoup
from test_reporting import make_run

from lorral_lite.files import DataError
from lorral_lite.report.page import as_markdown
from lorral_lite.report.results import load_grid
from lorral_lite.report.write import write_report

EVIL = "<script>alert(1)</script> **b** `c` [x](javascript:alert(1)) \u202egpj.exe\x1b[31m\n$\\frac{$"


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf8")), **values}), encoding="utf8")


@pytest.mark.usefixtures("quick")
def test_words_from_files_are_words(tmp_path):
    folder = make_run(tmp_path / "run", relations={"none": 0, "bilstm": 0.1}, source=EVIL)
    for path in folder.rglob("*metrics.json"):
        change(path, device=EVIL)
    change(folder / "photo" / "prediction.json", photo=EVIL, reason=EVIL, nme_percent=EVIL)
    (folder / "times.json").write_text(json.dumps({EVIL: 5}))
    shutil.copytree(folder / "bilstm", folder / "a$\\frac{$<b>")
    change(folder / "a$\\frac{$<b>" / "metrics.json", relation="a$\\frac{$<b>")
    text = write_report(folder, command=EVIL).read_text(encoding="utf8")
    page = BeautifulSoup(text, "html.parser")
    assert page.find("script") is None
    assert not re.search("[\u202e\x1b]", text)
    assert [link["href"] for link in page.find_all("a") if not link["href"].startswith("#")] == [
        "notebooks/09_evaluation.ipynb"]
    words = page.find(id="run").get_text()
    assert words.count("<script>alert(1)</script> **b** `c` [x](javascript:alert(1)) \\u202egpj.exe\\x1b[31m\\n$") == 4
    for heading in page.find_all("th"):
        assert heading.find("b") is None


@pytest.mark.usefixtures("quick")
def test_a_notebook_s_name_is_a_path_and_nothing_else(tmp_path):
    folder = make_run(tmp_path / "run", relations={})
    (folder / "notebooks" / "javascript:alert(1).ipynb").write_text("{}")
    text = write_report(folder, folder / "notebooks" / "r.html").read_text(encoding="utf8")
    page = BeautifulSoup(text, "html.parser")
    assert "javascript%3Aalert%281%29.ipynb" in [link["href"] for link in page.find_all("a")]


@pytest.mark.parametrize("run", ["../other", "..", ".", "", "/etc", "a/b", "a\nb", 3, None])
def test_a_grid_is_not_followed_out_of_its_folder(tmp_path, run):
    make_run(tmp_path / "other", relations={})
    folder = make_run(tmp_path / "grid" / "fold1_seed0", relations={}).parent
    (folder / "grid.json").write_text(json.dumps({"cells": [{"run": run}]}))
    with pytest.raises(DataError, match=r"grid.json: not the plan of a grid"):
        load_grid(folder)


def test_markdown_is_written_with_text_as_text():
    shown = as_markdown("[x](javascript:1) <b> `c` **d** $e$ a|b\n")
    assert not re.search(r"[<>`\[\]*$|\n]", shown)
    assert as_markdown(0.02) == 0.02
    assert as_markdown("self_attention/step2.safetensors") == "self_attention/step2.safetensors"
