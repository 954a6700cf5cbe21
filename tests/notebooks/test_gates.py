"""Each gate proves itself on a tiny notebook that must fail: nbval on stale text and on raising callbacks, papermill
on a failing assert, the rules on a missing parameters tag. Beside them stands one that must pass, or red would prove
nothing. The trained notebook is checked by `nbval --nbval-lax`: its text may differ, its asserts must hold."""

import subprocess
import sys
from pathlib import Path

import nbformat
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


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """{notebook: [passed or failed of each cell]} of one nbval run with the project's own options."""
    folder = tmp_path_factory.mktemp("gates")
    (folder / "pytest.ini").write_text("[pytest]\n")  # not the project's: its warnings are errors
    write(folder / "fresh.ipynb", ("print(2 + 2)", "4\n"), ("import time; print(f'{time.time()} s')", "9.5 s\n"))
    write(folder / "stale.ipynb", ("print(2 + 2)", "5\n"))
    write(folder / "silent.ipynb", ("x = 4", "4\n"))
    write(folder / "observed.ipynb", (DRAW.format(error="TypeError"), None),
          ("slider = w.IntSlider(1, 0, 5); slider.observe(lambda change: draw(change['new']), 'value')", None),
          ("slider.value = 3", None))
    write(folder / "interact.ipynb", (DRAW.format(error="TypeError"), None), ("interact(draw, x=(3, 9));", None))
    return cells_of(folder, "--nbval")


@pytest.fixture(scope="module")
def lax_verdicts(tmp_path_factory):
    """The same of an nbval run as the trained notebook has it."""
    folder = tmp_path_factory.mktemp("lax")
    (folder / "pytest.ini").write_text("[pytest]\n")
    write(folder / "trained.ipynb", ("print(2 + 2)", "5\n"), ("assert 2 + 2 == 5", None))
    marked = write(folder / "marked.ipynb", ("print(2 + 2)", "5\n"))
    notebook = nbformat.read(marked, as_version=4)
    notebook.cells[0].metadata["tags"] = ["nbval-check-output"]
    nbformat.write(notebook, marked)
    return cells_of(folder, "--nbval-lax")


def cells_of(folder, how):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", str(folder), how,
         "--nbval-current-env", "--nbval-sanitize-with", str(HERE / "sanitize.cfg"), "-W", "ignore", "-v"],
        capture_output=True, text=True, cwd=folder)
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():  # such as: stale::ipynb::Cell 0 FAILED   [100%]
        name, *rest = line.split("::")
        if len(rest) == 2 and rest[1].startswith("Cell"):
            found.setdefault(name, []).append(rest[1].split()[2])
    assert done.returncode == 1, done.stdout + done.stderr
    return found


def test_nbval_passes_a_fresh_notebook_whose_seconds_differ(verdicts):
    assert verdicts["fresh"] == ["PASSED", "PASSED"]


@pytest.mark.parametrize("name", ["stale", "silent"])
def test_nbval_fails_on_stale_text(verdicts, name):
    assert verdicts[name] == ["FAILED"]


def test_nbval_fails_on_a_callback_that_raises_when_a_slider_moves(verdicts):
    assert verdicts["observed"] == ["PASSED", "PASSED", "FAILED"]


def test_nbval_fails_on_a_callback_that_raises_inside_interact(verdicts):
    assert verdicts["interact"] == ["PASSED", "FAILED"]


def test_lax_passes_other_text_but_no_failing_assert(lax_verdicts):
    assert lax_verdicts["trained"] == ["PASSED", "FAILED"]


def test_lax_fails_on_stale_text_of_a_cell_tagged_to_be_compared(lax_verdicts):
    assert lax_verdicts["marked"] == ["FAILED"]


def test_the_rules_fail_on_a_missing_parameters_tag(tmp_path):
    path = write(tmp_path / "untagged.ipynb", ("seed: int = 0  # of everything", None))
    assert "0 cells tagged parameters, papermill needs one" in rules.broken(path)


def test_papermill_fails_on_a_failing_assert_and_goes_on(tmp_path):
    wrong = write(tmp_path / "wrong.ipynb", ("total = 2 + 2", None), ("assert total == 5, 'two and two'", None))
    right = write(tmp_path / "right.ipynb", ("assert 2 + 2 == 4", None))
    done = subprocess.run([sys.executable, str(HERE / "execute.py"), str(wrong), str(right)], capture_output=True,
                          text=True)
    assert done.returncode == 1
    assert "wrong.ipynb  FAILED" in done.stdout
    assert "AssertionError: two and two" in done.stdout
    assert "right.ipynb  ok" in done.stdout
    assert "1 of 2 notebooks ran to their end" in done.stdout


def test_in_place_stores_outputs_and_nothing_of_the_machine(tmp_path):
    path = write(tmp_path / "a.ipynb", ("print('new')", "old\n"))
    done = subprocess.run([sys.executable, str(HERE / "execute.py"), "--in-place", str(path)], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].outputs[0].text == "new\n"
    assert notebook.metadata.language_info == {"name": "python"}
    assert notebook.cells[0].metadata == {"slideshow": {"slide_type": "-"}}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ipynb"]
