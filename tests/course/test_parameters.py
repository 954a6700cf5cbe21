"""Parameters of the notebooks: each is explained and checked, and what does not fit is refused in one line."""

import ast
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from lorral_lite.course.parameters import ParameterError, check_parameters, injected
from lorral_lite.model.relations import RELATIONS

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = [*sorted(FOLDER.glob("*.ipynb")), *sorted((FOLDER / "solutions").glob("*.ipynb"))]
SEEN, NOWHERE = f"(its path is seen from {Path.cwd()})", str(FOLDER / "no")
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def space(source, cells=()):
    """What ``globals()`` is behind a parameters cell, in a kernel that has run ``cells``."""
    namespace = {"In": ["", *cells]}
    exec(source, namespace)
    return namespace


@pytest.mark.parametrize(("source", "limits", "said"), [
    ("x: int = 3", (4, None), "x = 3: give a whole number from 4 on"),
    ("x: int = 9", (4, 8), "x = 9: give a whole number from 4 to 8"),
    ("x: int = True", (0, 8), "x = True: give a whole number from 0 to 8"),
    ("x: float = '1e-4'", (0, 1), "x = '1e-4': give a number from 0 to 1"),
    ("x: float = float('nan')", (0, 1), "x = nan: give a number from 0 to 1"),
    ("x: bool = 'true'", None, "x = 'true': give True or False"),
    ("x: str = 3", None, "x = 3: give text"),
    ("x: str = 'gpu'", ("auto", "cpu"), "x = 'gpu': give one of auto, cpu"),
    ("x: str = 'no/such'", "folder", f"x = 'no/such': give a folder that exists, or nothing {SEEN}"),
    (f"x: str = {NOWHERE!r}", "folder", f"x = {NOWHERE!r}: give a folder that exists, or nothing"),
    ("x: str = '.'", "file", f"x = '.': give a file that exists, or nothing {SEEN}"),
])  # fmt: skip
def test_a_value_out_of_range_is_refused_in_one_line(source, limits, said):
    with pytest.raises(ParameterError) as caught:
        check_parameters(space(source), x=limits)
    assert str(caught.value) == said
    assert caught.value._render_traceback_() == [f"ParameterError: {said}"]


@pytest.mark.parametrize(("source", "limits"), [
    ("x: int = 4", (4, None)), ("x: int = 8", (4, 8)), ("x: float = 1", (0, 1)), ("x: str = 'cpu'", ("auto", "cpu")),
    ("x: str = '.'", "folder"), (f"x: str = {__file__!r}", "file"),
])  # fmt: skip
def test_a_value_in_range_passes(source, limits):
    check_parameters(space(source), x=limits)


def test_an_unknown_name_is_refused():
    check_parameters(space("x: int = 4", ["x: int = 3", "# Parameters\nx = 4\n"]), x=(0, 9))
    with pytest.raises(ParameterError, match="sead: no such parameter; this notebook has x, y"):
        check_parameters(space("x: int = 4\ny: int = 4", ["# Parameters\nx = 4\nsead = 1\n"]), x=(0, 9), y=(0, 9))


def test_only_papermills_own_cell_counts_as_injected():
    assert injected(["", "a = 1", "# Parameters\nb = 2\nc = [1]\n", "# Parameters of the model\nd = 3"]) == ["b", "c"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_papermill_stops_at_one_clear_line(tmp_path):
    notebook = new_notebook(metadata=KERNEL, cells=[
        new_code_cell("x: int = 4  # a number", metadata={"tags": ["parameters"]}),
        new_code_cell("from lorral_lite.course.parameters import check_parameters\n\n"
                      "check_parameters(globals(), x=(0, 9))")])
    nbformat.write(notebook, tmp_path / "in.ipynb")
    started = {name: subprocess.Popen(
        [sys.executable, "-m", "papermill", "in.ipynb", f"{name}.ipynb", "--no-progress-bar", "-p", name, "10"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True) for name in ("x", "y")}
    said = {name: process.communicate()[1] for name, process in started.items()}
    assert {process.returncode for process in started.values()} == {1}
    assert said["x"].rstrip().endswith("ParameterError: x = 10: give a whole number from 0 to 9")
    assert said["y"].rstrip().endswith("ParameterError: y: no such parameter; this notebook has x")
    assert "check_parameters(" not in said["x"].split("Exception encountered")[1], "no traceback of our own code"


# ------------------------------------------------------------------------------------------------ every notebook


def parameters_and_check(path):
    """Source of the parameters cell, and the call that the cell right behind it begins with."""
    cells = nbformat.read(path, as_version=4).cells
    place = next(k for k, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    assert cells[place + 1].cell_type == "code"
    lines = [line for line in ast.parse(cells[place + 1].source).body if not isinstance(line, ast.ImportFrom)]
    assert ast.unparse(lines[0]).startswith("check_parameters(globals(), "), "the first thing behind the parameters"
    return cells[place].source, lines[0].value


def limits_of(call, source) -> dict:
    names = {**space(source), "RELATIONS": RELATIONS}
    return {word.arg: eval(ast.unparse(word.value), names) for word in call.keywords}


def wrong_values(kind, limits):
    yield {int: "one", float: "1e-4", bool: "true", str: 1}[kind]
    if isinstance(limits, tuple) and kind is not str:
        yield limits[0] - 1
        if limits[1] is not None:
            yield limits[1] + 1
    elif limits is not None:
        yield "no such thing"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: "/".join(p.parts[-2:]))
def test_a_notebook_checks_its_parameters_first(path):
    source, call = parameters_and_check(path)
    limits = limits_of(call, source)
    check_parameters(space(source), **limits)  # its own values pass
    kinds = space(source)["__annotations__"]
    assert list(limits) == list(kinds)
    for name, kind in kinds.items():
        for value in wrong_values(kind, limits[name]):
            with pytest.raises(ParameterError, match=f"^{name} = "):
                check_parameters({**space(source), name: value}, **limits)
