"""Figures in README and notebooks: as committed they hold, and in doctored copies every changed digit is found."""

import json
import re
import shutil

import pytest

from lorral_lite.cli import main
from lorral_lite.files import DataError
from lorral_lite.report import blocks as result_blocks
from lorral_lite.report.blocks import BLOCKS, MARKED, block, check_figures, clone, write_blocks

ROOT = clone()


@pytest.fixture
def copy(tmp_path):
    """A clone with what the check reads, to be doctored."""
    root = tmp_path / "clone"
    shutil.copytree(ROOT / "data" / "results", root / "data" / "results")
    for path in (ROOT / "data" / "weights" / "faces_lite").glob("*/metrics.json"):
        (to := root / "data" / "weights" / "faces_lite" / path.parent.name).mkdir(parents=True)
        shutil.copyfile(path, to / path.name)
    (root / "benchmarks").mkdir()
    shutil.copyfile(ROOT / "benchmarks" / "difficulty.json", root / "benchmarks" / "difficulty.json")
    shutil.copytree(ROOT / "notebooks", root / "notebooks", ignore=lambda folder, names: [
        name for name in names if not name.endswith(".ipynb")])
    shutil.copyfile(ROOT / "README.md", root / "README.md")
    return root


def change(path, old: str, new: str):
    text = path.read_text(encoding="utf8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf8")


# ---------------------------------------------------------------------------------------- as committed


def test_every_figure_of_this_repository_is_what_its_json_says(capsys):
    assert main(["report", "--check"]) == 0, capsys.readouterr().out
    assert capsys.readouterr().out == "every figure is what its JSON says\n"


# ---------------------------------------------------------------------------------------- doctored copies


def test_each_changed_digit_of_a_block_is_found(copy):
    text = (copy / "README.md").read_text(encoding="utf8")
    stored = next(m for m in MARKED.finditer(text) if m[2] == "faces_lite")
    places = [m.start() for m in re.finditer(r"\d", stored[3])]
    for place in places[::7]:  # every seventh digit
        k = stored.start(3) + place
        (copy / "README.md").write_text(text[:k] + str((int(text[k]) + 1) % 10) + text[k + 1:], encoding="utf8")
        assert len(wrong := check_figures(copy, run=False)) == 1, text[k - 20:k + 20]
        assert wrong[0].startswith("README.md: block faces_lite says")


@pytest.mark.parametrize(("words", "found"), [
    ("Self-attention reaches 71.3 here.", "71.3"), ("The error is 3.2 % of the distance.", "3.2"),
    ("It gains +4.4, or 4.4 points.", "4.4"), ("It is near the paper's 63.6.", "63.6"),
    ("Python 3.11, §3.1, `66.1`, the paper's 63.5 and 61.4, $0.5$, +0.9 and 2.1 points.", None),
])
def test_a_result_outside_a_block_is_found_and_a_version_or_number_of_the_paper_is_none(copy, words, found):
    change(copy / "README.md", "## What came out\n", f"## What came out\n\n{words}\n")
    wrong = check_figures(copy, run=False)
    assert f"{found} stands outside a block of results" in wrong[0] if found else wrong == []


def test_a_changed_json_makes_the_readme_wrong_until_it_is_written_anew(copy):
    path = copy / "data" / "results" / "faces_lite.json"
    document = json.loads(path.read_text(encoding="utf8"))
    document["results"]["bilstm"]["au"]["mean_f1"]["value"] += 1
    path.write_text(json.dumps(document), encoding="utf8")
    wrong = check_figures(copy, run=False)
    assert any(line.startswith("README.md: block faces_lite") for line in wrong)
    assert any(re.search("faces_lite.json: bilstm, AU output, mean .* bilstm/metrics.json has", line.replace(
        "data/weights/faces_lite/", "")) for line in wrong)
    assert write_blocks(copy) == ["README.md"]
    assert not any(line.startswith("README.md") for line in check_figures(copy, run=False))
    assert write_blocks(copy) == []


def test_a_report_that_breaks_its_rules_is_found(copy):
    (copy / "data" / "results" / "other.json").write_text(json.dumps({"source": "faces", "comparison": [{"row": "x"}]}))
    assert any("other.json: x: column 'paper' is missing" in line for line in check_figures(copy, run=False))


@pytest.mark.parametrize("printed", [r"self-attention: \d\d\.\d %", "recomputed 57.41"])
def test_a_changed_output_of_a_results_cell_is_found(copy, printed):
    for path in (copy / "notebooks").glob("*.ipynb"):
        if not path.name.startswith("09"):
            path.unlink()
    notebook = copy / "notebooks" / "09_evaluation.ipynb"
    old = re.search(printed, notebook.read_text(encoding="utf8"))[0]
    new = re.sub(r"\d(?=\D*$)", lambda m: str((int(m[0]) + 3) % 10), old)
    change(notebook, old, new)
    wrong = check_figures(copy)
    assert len(wrong) == 1
    assert new in wrong[0]
    assert old in wrong[0]


def test_a_results_cell_that_fails_is_found():
    cells = [{"cell_type": "code", "id": "c1", "metadata": {"tags": ["results"]}, "source": ["1 / 0"], "outputs": []}]
    assert result_blocks._rerun_faults("n.ipynb", cells) == ["n.ipynb, cell c1: ZeroDivisionError: division by zero"]


# ---------------------------------------------------------------------------------------- blocks


def test_blocks_in_a_notebook_are_written_and_checked(copy):
    path = copy / "notebooks" / "09_evaluation.ipynb"
    notebook = json.loads(path.read_text(encoding="utf8"))
    notebook["cells"][4]["source"] = ["<!-- results: faces_lite -->\n", "<!-- end -->"]
    path.write_text(json.dumps(notebook), encoding="utf8")
    assert any("block faces_lite says ''" in line for line in check_figures(copy, run=False))
    assert write_blocks(copy) == ["notebooks/09_evaluation.ipynb"]
    assert check_figures(copy, run=False) == []


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_without_its_json_says_how_to_make_it(tmp_path, name):
    assert re.fullmatch(r"Not (run|measured) yet: `.+`\.\n", block(name, tmp_path))


def test_unknown_and_unclosed_blocks_are_named(copy):
    change(copy / "README.md", "## What came out\n", "## What came out\n\n<!-- results: nothing -->\n<!-- end -->\n")
    assert "nothing: no such block; there are faces_lite" in check_figures(copy, run=False)[0]
    change(copy / "README.md", "<!-- results: nothing -->\n<!-- end -->\n", "<!-- results: relations -->\n")
    assert any("not closed by <!-- end -->" in line for line in check_figures(copy, run=False))
    with pytest.raises(DataError, match="no such block"):
        block("nothing", ROOT)


def test_exit_code_1_and_one_line_for_each_mismatch(copy, monkeypatch, capsys):
    written = re.search(r"\| BiLSTM \| (\d\d\.\d) \(", (copy / "README.md").read_text(encoding="utf8"))
    change(copy / "README.md", written[0], "| BiLSTM | 12.3 (")
    change(copy / "notebooks" / "10_ablation_do_relations_help.ipynb", "means of 62.6 and", "means of 62.8 and")
    monkeypatch.setattr(result_blocks, "clone", lambda: copy)
    monkeypatch.setattr(result_blocks, "_rerun_faults", lambda name, cells: [])
    assert main(["report", "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "12.3 (" in lines[0]
    assert written[1] in lines[0]
    assert lines[1].startswith("notebooks/10_ablation_do_relations_help.ipynb, cell ")
    assert "62.8" in lines[1]
