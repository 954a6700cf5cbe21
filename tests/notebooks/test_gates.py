"""Each gate proves itself on a tiny notebook that must fail: papermill with nbval's comparison and nbval alone, on
stale text and figures, on raising callbacks and failing asserts. Beside them stands one that must pass, or red would
prove nothing."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import nbformat
import portable
import pytest
import rules
from nbformat.v4 import new_code_cell, new_notebook, new_output

HERE = Path(__file__).parent
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}

DRAW = """
import ipywidgets as w
from ipywidgets import interact

def draw(x):
    if x > 2:
        raise {error}("this callback is broken")
"""


def write(path: Path, *cells: tuple[str, str | None]) -> Path:
    """A notebook of (source, stored text) cells, as if it had been run."""
    made = [new_code_cell(source, execution_count=count,
                          outputs=[new_output("stream", text=text)] if text else [])
            for count, (source, text) in enumerate(cells, start=1)]
    nbformat.write(new_notebook(cells=made, metadata=KERNEL), path)
    return path


ALT = """
class Picture:
    def _repr_mimebundle_(self, **kwargs):
        return {{"text/plain": "<figure: gain {}>"}}
Picture()
"""
COMPARED = {
    "equal": ("print(2 + 2)", "4\n", "PASSED"),
    "seconds": ("import time; print(f'{time.time()} s')", "9.5 s\n", "PASSED"),
    "stale": ("print(2 + 2)", "5\n", "FAILED"),
    "silent": ("x = 4", "4\n", "FAILED"),
    "two units": ("print('F1 0.52, AU12 of', 7)", "F1 0.50, AU12 of 7\n", "PASSED"),
    "an integer, which is not near": ("print('F1 0.50, AU12 of', 8)", "F1 0.50, AU12 of 7\n", "FAILED"),
    "a picture's words": (ALT.format("+0.41"), "<figure: gain +0.40>", "PASSED"),
    "a picture's other words": (ALT.format("+0.47"), "<figure: gain +0.40>", "FAILED"),
}
"""What a cell is about → its code, its stored text, the verdict."""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """{notebook: [passed or failed of each cell]} of one run of all, and what it printed."""
    folder = tmp_path_factory.mktemp("gates")
    path = write(folder / "compared.ipynb", *[(source, stored) for source, stored, _ in COMPARED.values()])
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "Picture" in cell.source:
            words = {"text/plain": cell.outputs[0].text}
            cell.outputs = [new_output("execute_result", words, execution_count=cell.execution_count)]
    nbformat.write(notebook, path)
    write(folder / "observed.ipynb", (DRAW.format(error="TypeError"), None),
          ("slider = w.IntSlider(1, 0, 5); slider.observe(lambda change: draw(change['new']), 'value')", None),
          ("slider.value = 3", None), ("y = 4", None))
    write(folder / "interact.ipynb", (DRAW.format(error="TypeError"), None), ("interact(draw, x=(3, 9));", None))
    return run(folder, "--papermill")


@pytest.fixture(scope="module", params=["--papermill", "--nbval-lax"])
def lax_verdicts(tmp_path_factory, request):
    """The same of the notebook that trains, whose text may differ, and which the plugin knows by its name."""
    folder = tmp_path_factory.mktemp("lax")
    path = write(folder / f"{rules.TRAINED}.ipynb", ("print(2 + 2)", "5\n"), ("print(2 + 2)", "5\n"),
                 ("print(0.51)", "0.50\n"), ("assert 2 + 2 == 5", None))
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells[1:3]:
        cell.metadata["tags"] = ["nbval-check-output"]
    nbformat.write(notebook, path)
    return run(folder, request.param)[0][rules.TRAINED]


def run(folder: Path, how: str) -> tuple[dict[str, list[str]], str]:
    """The verdicts of pytest on the notebooks of a folder, and all that it printed."""
    (folder / "pytest.ini").write_text("[pytest]\n")  # not the project's: its warnings are errors
    call = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "papermill_nbval", how,
            "--nbval-current-env", "-W", "ignore", "-v", str(folder)]
    for last in (False, True):  # nbclient lost a reply beside an Output widget, once in thousands of cells: again then
        with suppress(*([] if last else [subprocess.TimeoutExpired])):
            done = subprocess.run(call, capture_output=True, text=True, cwd=folder, timeout=240,
                                  env=os.environ | {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}"})
            break
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():  # such as: compared::ipynb::Cell 0 FAILED   [100%]
        name, *rest = line.split("::")
        if rest and (verdict := re.match(r"Cell \d+ (PASSED|FAILED)", rest[-1])):
            found.setdefault(name.removesuffix(".ipynb"), []).append(verdict[1])
    assert done.returncode == 1, done.stdout + done.stderr
    return found, done.stdout


def test_a_cell_passes_when_its_words_and_integers_are_equal_and_its_figures_near(verdicts):
    found, _ = verdicts
    assert dict(zip(COMPARED, found["compared"], strict=True)) == {k: verdict for k, (*_, verdict) in COMPARED.items()}


def test_what_was_near_but_not_equal_is_said(verdicts):
    _, said = verdicts
    listed = said.split("figures that differ within their tolerance")[1].splitlines()
    assert any("Cell 4: 1 figures, most 0.50 → 0.52, 100 % of what is allowed" in line for line in listed)


def test_a_callback_that_raises_when_a_slider_moves_or_inside_interact_fails(verdicts):
    found, _ = verdicts
    assert found["observed"] == ["PASSED", "PASSED", "FAILED", "FAILED"]  # the last one is not run any more
    assert found["interact"] == ["PASSED", "FAILED"]


def test_the_notebook_that_trains_may_print_other_text_where_no_tag_asks_but_no_assert_may_fail(lax_verdicts):
    assert lax_verdicts == ["PASSED", "FAILED", "PASSED", "FAILED"]


def test_a_copy_of_the_notebooks_without_the_tests_runs_under_nbval(tmp_path):
    shutil.copy(rules.FOLDER / "conftest.py", tmp_path)
    write(tmp_path / "copy.ipynb", ("print(2 + 2)", "5\n"), ("assert 2 + 2 == 5", None))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore", "--nbval-lax",
                           str(tmp_path)], capture_output=True, text=True, cwd=tmp_path)
    assert "1 failed, 1 passed" in done.stdout


def test_portable_says_what_does_not_hold_and_that_its_settings_do_something(capsys, monkeypatch):
    monkeypatch.setattr(portable, "PYTEST", [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--noconftest"])
    assert portable.repeat({}, ["tests/test_no_such_file.py"]) is False
    assert "no tests ran" in capsys.readouterr().out
    assert "PyTorch DEFAULT" in portable.seen(portable.SSE)


def test_execute_says_which_notebook_fails_and_stores_the_outputs_of_the_others(tmp_path):
    """Without anything of the machine."""
    wrong = write(tmp_path / "wrong.ipynb", ("total = 2 + 2", None), ("assert total == 5, 'two and two'", None))
    right = write(tmp_path / "right.ipynb", ("print('new')", "old\n"))
    before = wrong.read_bytes()
    done = subprocess.run([sys.executable, str(HERE / "execute.py"), str(wrong), str(right)], capture_output=True,
                          text=True)
    assert done.returncode == 1
    assert "wrong.ipynb  FAILED" in done.stdout
    assert "AssertionError: two and two" in done.stdout
    assert "right.ipynb  ok" in done.stdout
    assert "1 of 2 notebooks ran to their end" in done.stdout
    assert wrong.read_bytes() == before
    notebook = nbformat.read(right, as_version=4)
    assert notebook.cells[0].outputs[0].text == "new\n"
    assert notebook.metadata.language_info == {"name": "python"}
    assert notebook.cells[0].metadata == {"slideshow": {"slide_type": "-"}}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["right.ipynb", "wrong.ipynb"]
