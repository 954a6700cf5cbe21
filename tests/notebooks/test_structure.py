"""Every notebook keeps to the rules of rules.py, and every rule can be broken."""

import base64

import nbformat
import pytest
import rules
from execute import set_slides
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lorral_lite.course.check import exercises

ALL = pytest.mark.parametrize("path", [*rules.NOTEBOOKS, *rules.SOLUTIONS], ids=lambda p: "/".join(p.parts[-2:]))


def read(path):
    return nbformat.read(path, as_version=4)


@ALL
def test_a_notebook_keeps_to_the_rules(path):
    assert rules.broken(path) == []


@ALL
def test_a_notebook_is_set_as_slides(path):
    notebook = read(path)
    stored = [cell.metadata.get("slideshow") for cell in notebook.cells]
    set_slides(notebook)
    assert stored == [cell.metadata["slideshow"] for cell in notebook.cells], "run `make slides`"


@ALL
def test_the_first_cell_shares_the_cores_before_torch_is_imported(path):
    first = rules.code_cells(read(path))[0].source
    assert first.startswith("from lorral_lite.device import share_cores\n\nshare_cores()")


@pytest.mark.parametrize("path", rules.NOTEBOOKS, ids=lambda p: p.stem)
def test_every_exercise_is_solved(path):
    assert rules.solved(read(path), read(path.parent / "solutions" / path.name)) == []


def test_notebooks_are_numbered_without_gaps_and_ask_every_exercise_of_their_chapter_once():
    assert [path.name[:2] for path in rules.NOTEBOOKS] == [f"{k:02d}" for k in range(1, 13)]
    assert {path.name for path in rules.SOLUTIONS} == {path.name for path in rules.NOTEBOOKS}
    asked = {path.name[:2]: rules.exercises(read(path)) for path in rules.NOTEBOOKS}
    assert all(number.split(".")[0].zfill(2) == chapter for chapter, numbers in asked.items() for number in numbers)
    assert sorted(number for numbers in asked.values() for number in numbers) == sorted(exercises())


@pytest.mark.parametrize("path", rules.NOTEBOOKS, ids=lambda p: p.stem)
def test_enough_text_is_compared(path):
    """A notebook whose outputs were stripped would compare nothing."""
    cells = rules.code_cells(read(path))
    assert sum(rules.is_compared(cell, path.stem == rules.TRAINED) for cell in cells) >= 10


def good():
    """A notebook that keeps all rules."""
    picture = {"image/png": base64.b64encode(b"png").decode(), "text/plain": "<figure: a face>"}
    cells = [
        new_code_cell("seed: int = 0  # of everything", metadata={"tags": ["parameters"]}),
        new_code_cell("picture", outputs=[new_output("execute_result", picture, execution_count=2)]),
        new_code_cell('x = ...\ncheck("3.1", x)',
                      outputs=[new_output("stream", text="Exercise 3.1: not attempted yet\n")]),
    ]
    for count, cell in enumerate(cells, start=1):
        cell.execution_count = count
    return new_notebook(cells=[new_markdown_cell("# 03 · PatchConv"), *cells],
                        metadata={"language_info": {"name": "python"}})


BREAKAGES = {
    "run out of order": (rules.executed, lambda n: n.cells[1].update(execution_count=7), "not run once"),
    "error": (rules.executed, lambda n: n.cells[1].outputs.append(new_output("error", ename="ValueError")), "an error"),
    "warning": (rules.executed, lambda n: n.cells[1].outputs.append(new_output("stream", name="stderr", text="w")),
                "a warning"),
    "no tag": (rules.parameters, lambda n: n.cells[1].metadata.update(tags=[]), "0 cells tagged parameters"),
    "no type": (rules.parameters, lambda n: n.cells[1].update(source="seed = 0  # x"), "without type"),
    "no words": (rules.pictures, lambda n: n.cells[2].outputs[0].data.update({"text/plain": "<Figure size 640x480>"}),
                 "without words"),
    "path in text": (rules.private, lambda n: n.cells[3].outputs[0].update(text="/home/ann/faces"), "names a path"),
    "windows path": (rules.private, lambda n: n.cells[3].update(source=r"open('C:\\Users')"), "names a path"),
    "widget state": (rules.private, lambda n: n.metadata.update(widgets={}), "metadata widgets"),
    "attempted": (rules.asked, lambda n: n.cells[3].outputs[0].update(text="Exercise 3.1: correct"),
                  "not reported as not attempted"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_every_rule_can_be_broken(name):
    rule, change, sentence = BREAKAGES[name]
    notebook = good()
    assert rule(notebook) == []
    change(notebook)
    assert any(sentence in said for said in rule(notebook))


def test_a_solution_must_assert_and_be_correct():
    solution = new_notebook(cells=[new_code_cell(
        'check("3.1", 5)\nassert is_correct("3.1", 5)',
        outputs=[new_output("stream", text="Exercise 3.1: correct\n")])])
    assert rules.solved(good(), solution) == []
    solution.cells[0].source = 'check("3.1", 5)'
    assert rules.solved(good(), solution) == ["exercise 3.1 is not asserted in the solution"]
    solution.cells[0].outputs = []
    assert "exercise 3.1 is not solved in the solution" in rules.solved(good(), solution)


@pytest.mark.parametrize(("change", "plain", "trained"), [
    ({}, True, False), ({"execution_count": None}, False, False),
    ({"metadata": {"tags": ["nbval-ignore-output"]}}, False, False),
    ({"metadata": {"tags": ["nbval-check-output"]}}, True, True),
    ({"outputs": [new_output("display_data", {rules.WIDGET: {}, "text/plain": "VBox()"})]}, False, False),
])  # fmt: skip
def test_what_counts_as_compared(change, plain, trained):
    cell = good().cells[2]
    cell.update(nbformat.from_dict(change))
    assert (rules.is_compared(cell), rules.is_compared(cell, trained=True)) == (plain, trained)


def test_a_heading_starts_a_slide_a_picture_stands_below_it_and_setting_up_is_skipped():
    notebook = new_notebook(cells=[new_markdown_cell("## 3.1"), new_markdown_cell("text"), *good().cells[1:],
                                   new_code_cell("import math\n\nshare_cores()"), new_code_cell("import math\n\n3")])
    notebook.cells[3].source = "from lorral_lite.draw.faces import show_faces\n\nshow_faces(faces)"
    set_slides(notebook)
    kinds = [cell.metadata.slideshow.slide_type for cell in notebook.cells]
    assert kinds == ["slide", "subslide", "skip", "subslide", "skip", "skip", "-"]
