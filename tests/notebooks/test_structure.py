"""Every notebook keeps to the rules of rules.py, and every rule can be broken."""

import base64
import json
import re

import nbformat
import pytest
import rules
from bs4 import BeautifulSoup
from execute import set_slides
from nbconvert import SlidesExporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

FEWEST_COMPARED = 296
"""So many cells over all notebooks have stored text that is compared: stripped outputs would compare nothing."""


@pytest.mark.parametrize("path", [*rules.NOTEBOOKS, *rules.SOLUTIONS], ids=lambda p: "/".join(p.parts[-2:]))
def test_a_notebook_keeps_to_the_rules(path):
    assert rules.broken(path) == []


@pytest.mark.parametrize("path", rules.NOTEBOOKS, ids=lambda p: p.stem)
def test_every_exercise_is_solved(path):
    solution = path.parent / "solutions" / path.name
    assert solution.is_file(), f"{path.name} has no solution"
    assert rules.solved(nbformat.read(path, as_version=4), nbformat.read(solution, as_version=4)) == []


@pytest.mark.parametrize("path", rules.NOTEBOOKS, ids=lambda p: p.stem)
def test_every_exercise_says_how_hard_it_is(path):
    notebook = nbformat.read(path, as_version=4)
    assert rules.unmarked(notebook) == []
    assert len(rules.exercises(notebook)) >= 3


@pytest.mark.parametrize("path", [*rules.NOTEBOOKS, *rules.SOLUTIONS], ids=lambda p: "/".join(p.parts[-2:]))
def test_a_notebook_is_set_as_slides(path):
    notebook = nbformat.read(path, as_version=4)
    stored = [cell.metadata.get("slideshow") for cell in notebook.cells]
    set_slides(notebook)
    assert stored == [cell.metadata["slideshow"] for cell in notebook.cells], "run `make slides`"


@pytest.mark.parametrize("path", [*rules.NOTEBOOKS, *rules.SOLUTIONS], ids=lambda p: "/".join(p.parts[-2:]))
def test_the_first_cell_shares_the_cores_before_torch_is_imported(path):
    first = rules.code_cells(nbformat.read(path, as_version=4))[0].source
    assert first.startswith("from lorral_lite.device import share_cores\n\nshare_cores()")


def test_nbconvert_makes_a_slide_of_every_heading():
    path = rules.FOLDER / "03_patchconv.ipynb"
    notebook = nbformat.read(path, as_version=4)
    page = SlidesExporter().from_notebook_node(notebook)[0]
    kinds = [cell.metadata.slideshow.slide_type for cell in notebook.cells]
    headings = [re.match("##? (.*)", cell.source)[1] for cell in notebook.cells
                if cell.cell_type == "markdown" and re.match("##? ", cell.source)]
    soup = BeautifulSoup(page, "html.parser")
    slides = soup.select(".reveal > .slides > section")
    assert [slide.find(["h1", "h2"]).get_text().rstrip("¶") for slide in slides] == headings
    assert kinds.count("slide") == len(slides) >= 5
    assert len(soup.select(".slides > section > section")) == kinds.count("slide") + kinds.count("subslide")
    assert "check_parameters" not in page


def test_the_notebooks_are_numbered_without_gaps():
    numbers = [int(path.name[:2]) for path in rules.NOTEBOOKS]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) == 12
    assert {p.name for p in rules.SOLUTIONS} == {p.name for p in rules.NOTEBOOKS}


def test_exercises_have_one_notebook_each_and_all_are_asked():
    from lorral_lite.course.check import exercises

    asked = {path.name[:2]: rules.exercises(nbformat.read(path, as_version=4)) for path in rules.NOTEBOOKS}
    assert all(number.split(".")[0].zfill(2) == chapter for chapter, numbers in asked.items() for number in numbers)
    assert sorted(number for numbers in asked.values() for number in numbers) == sorted(exercises())


def test_enough_text_is_compared():
    counts = {path.stem: rules.compared(nbformat.read(path, as_version=4), path.stem == rules.TRAINED)
              for path in rules.NOTEBOOKS}
    assert sum(counts.values()) >= FEWEST_COMPARED, counts
    assert min(counts.values()) >= 10, counts


@pytest.mark.parametrize("path", rules.NOTEBOOKS, ids=lambda p: p.stem)
def test_both_tables_give_the_minutes_of_the_header_and_the_measured_seconds(path):
    header = nbformat.read(path, as_version=4).cells[0].source
    minutes = re.search(r"\*\*Minutes\*\* \| (\d+) to read", header)[1]
    front = (rules.FOLDER.parent / "README.md").read_text(encoding="utf8")
    teachers = (rules.FOLDER / "README.md").read_text(encoding="utf8")
    assert re.search(rf"^\| {path.name[:2]} \| \[.+\]\(notebooks/{path.name}\) \| {minutes} \|", front, re.M)
    kept = rules.FOLDER.parent / "data" / "results" / "notebook_seconds.json"
    seconds = (json.loads(kept.read_text())["cpu_seconds"] if kept.exists() else {}).get(path.stem)
    shown = "–" if seconds is None else f"{seconds:.0f} s"
    row = rf"^\| {path.name[:2]} \| .+ \| {minutes} \| .+ \| {shown} \|$"
    assert re.search(row, teachers, re.M), f"{row}: run `make outputs`"
    assert seconds is None or seconds <= 60


def good():
    """A notebook that keeps all rules."""
    picture = {"image/png": base64.b64encode(b"png").decode(), "text/plain": "<figure: a face>"}
    head = ("# 03 · PatchConv\n\n**After this notebook you can**\n\n- look\n\n30 minutes, a CPU; before: 02; paper "
            "section 3")
    cells = [
        new_code_cell("seed: int = 0  # of everything", metadata={"tags": ["parameters"]}),
        new_code_cell("picture", outputs=[new_output("execute_result", picture, execution_count=2)] * 8),
        new_code_cell('x = ...\ncheck("3.1", x)',
                      outputs=[new_output("stream", text="Exercise 3.1: not attempted yet\n")]),
    ]
    for count, cell in enumerate(cells, start=1):
        cell.execution_count = count
    text = [new_markdown_cell("word " * 30) for _ in range(40)]
    return new_notebook(cells=[new_markdown_cell(head), *cells, *text], metadata={"language_info": {"name": "python"}})


def breakage(change):
    notebook = good()
    change(notebook)
    return notebook


BREAKAGES = {
    "not run": (rules.executed, lambda n: n.cells[1].update(execution_count=None), "not run once"),
    "run out of order": (rules.executed, lambda n: n.cells[1].update(execution_count=7), "not run once"),
    "error": (rules.executed, lambda n: n.cells[1].outputs.append(new_output("error", ename="ValueError")), "an error"),
    "warning": (rules.executed, lambda n: n.cells[1].outputs.append(new_output("stream", name="stderr", text="w")),
                "a warning"),
    "no tag": (rules.parameters, lambda n: n.cells[1].metadata.update(tags=[]), "0 cells tagged parameters"),
    "no type": (rules.parameters, lambda n: n.cells[1].update(source="seed = 0  # x"), "without type"),
    "no comment": (rules.parameters, lambda n: n.cells[1].update(source="seed: int = 0"), "or comment"),
    "no seed": (rules.parameters, lambda n: n.cells[1].update(source="size: int = 0  # x"), "no parameter seed"),
    "no words": (rules.pictures, lambda n: n.cells[2].outputs[0].data.update({"text/plain": "<Figure size 640x480>"}),
                 "without words"),
    "big picture": (rules.pictures, lambda n: n.cells[2].outputs[0].data.update(
        {"image/png": base64.b64encode(bytes(rules.PNG_LIMIT + 1)).decode()}), "150001 bytes"),
    "path in text": (rules.private, lambda n: n.cells[3].outputs[0].update(text="/home/ann/faces"), "names a path"),
    "path in code": (rules.private, lambda n: n.cells[3].update(source="open('/tmp/x')"), "names a path"),
    "windows path": (rules.private, lambda n: n.cells[3].update(source=r"open('C:\\Users')"), "names a path"),
    "widget state": (rules.private, lambda n: n.metadata.update(widgets={}), "metadata widgets"),
    "times": (rules.private, lambda n: n.cells[1].metadata.update(execution={}), "has metadata execution"),
    "no title": (rules.header, lambda n: n.cells[0].update(source="# PatchConv"), "not a title"),
    "no goals": (rules.header, lambda n: n.cells[0].update(source=n.cells[0].source.replace("After", "In")),
                 "its goals"),
    "no minutes": (rules.header, lambda n: n.cells[0].update(source=n.cells[0].source.replace("minutes", "h")),
                   "the minutes"),
    "no device": (rules.header, lambda n: n.cells[0].update(source=n.cells[0].source.replace("CPU", "box")),
                  "the device"),
    "few pictures": (rules.teaching, lambda n: n.cells[2].outputs.pop(), "7 pictures"),
    "few cells": (rules.teaching, lambda n: n.cells.__delitem__(slice(10, None)), "10 cells"),
    "few words": (rules.teaching, lambda n: [c.update(source="word") for c in n.cells[4:]], "words of text"),
    "many words": (rules.teaching, lambda n: n.cells[4].update(source="word " * 2000), "words of text"),
    "long cells": (rules.teaching, lambda n: [c.update(source=c.source + "\nx" * 9) for c in n.cells[1:]],
                   "more than"),
    "no exercise": (rules.teaching, lambda n: n.cells[3].update(source="x"), "no exercise"),
    "attempted": (rules.teaching, lambda n: n.cells[3].outputs[0].update(text="Exercise 3.1: correct"),
                  "not reported as not attempted"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_every_rule_can_be_broken(name):
    rule, change, sentence = BREAKAGES[name]
    assert rule(good()) == []
    assert any(sentence in said for said in rule(breakage(change)))


def test_a_solution_must_assert_and_be_correct():
    solution = new_notebook(cells=[new_code_cell(
        'check("3.1", 5)\nassert is_correct("3.1", 5)',
        outputs=[new_output("stream", text="Exercise 3.1: correct\n")])])
    assert rules.solved(good(), solution) == []
    solution.cells[0].source = 'check("3.1", 5)'
    assert rules.solved(good(), solution) == ["exercise 3.1 is not asserted in the solution"]
    solution.cells[0].outputs = []
    assert "exercise 3.1 is not solved in the solution" in rules.solved(good(), solution)


def test_an_exercise_without_difficulty_is_found():
    notebook = good()
    assert rules.unmarked(notebook) == ["exercise 3.1 does not say how hard it is"]
    notebook.cells.append(new_markdown_cell("**Exercise 3.1 ★★.** How many?"))
    assert rules.unmarked(notebook) == []


def test_what_counts_as_compared():
    assert rules.compared(good()) == 2
    assert rules.compared(breakage(lambda n: n.cells[3].metadata.update(tags=["nbval-ignore-output"]))) == 1
    assert rules.compared(breakage(lambda n: n.cells[3].update(execution_count=None))) == 1
    assert rules.compared(good(), trained=True) == 0
    assert rules.compared(breakage(lambda n: n.cells[3].metadata.update(tags=["nbval-check-output"])), True) == 1
    view = new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "VBox()"})
    assert rules.compared(breakage(lambda n: n.cells[2].update(outputs=[view]))) == 1
