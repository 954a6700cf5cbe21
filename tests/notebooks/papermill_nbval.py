"""Notebooks judged twice by one run: papermill executes each as a reader's would, and nbval's cells compare what it
printed with the stored outputs, floats as numbers (lorral_lite/report/tolerance.py).

    pytest notebooks --papermill       papermill runs them; notebook 08, which trains, is compared as by --nbval-lax
    pytest notebooks --nbval-lax       nbval runs and judges them, and compares floats as numbers too

Stored outputs are those of one CPU thread, so both run there, unless OMP_NUM_THREADS or CUDA_VISIBLE_DEVICES are set.
"""

import logging
import os
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile, coalesce_streams
from rules import TRAINED, WIDGET
from tolerances import pytest_terminal_summary, wider_of  # noqa: F401 - the summary is a hook

from lorral_lite.report.tolerance import settle

SANITIZE = Path(__file__).with_name("sanitize.cfg")


def pytest_addoption(parser):
    parser.getgroup("nbval").addoption("--papermill", action="store_true",
                                       help="papermill runs the notebooks, nbval's cells compare what they printed")


def pytest_configure(config):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    found = yield
    if file_path.suffix == ".ipynb" and (found or parent.config.option.papermill):
        kind = Executed if parent.config.option.papermill else Notebook
        return [kind.from_parent(parent, path=file_path)]
    return found


class Cell(IPyNbCell):
    """A cell whose floats are compared as numbers; what its tolerance absorbed becomes a property of the test."""

    def compare_outputs(self, test, ref, skip_compare=None):
        wider, absorbed = wider_of(self.path.stem, self.cell.get("id", "")), []
        test = [nbformat.from_dict(output) for output in test]  # a copy
        for fresh, stored in zip(test, ref, strict=False):  # nbval reports what has no partner
            bundles = fresh.get("data", {}), stored.get("data", {})
            for new, old, key in ((fresh, stored, "text"), (*bundles, "text/plain")):
                if key in new and key in old:
                    new[key], some = settle(self.sanitize(old[key]), self.sanitize(new[key]), wider)
                    absorbed += some
        if absorbed:
            self.user_properties.append(("absorbed", [tuple(one) for one in absorbed]))
        return super().compare_outputs(test, ref, skip_compare)


class Notebook(IPyNbFile):
    """A notebook that nbval runs."""

    cell_type = Cell

    def get_sanitize_files(self):
        return super().get_sanitize_files() or [SANITIZE]

    def collect(self):
        for cell in super().collect():
            yield self.cell_type.from_parent(self, name=cell.name, cell_num=cell.cell_num, cell=cell.cell,
                                             options=cell.options)


class ExecutedCell(Cell):
    """A cell of a notebook that papermill has run."""

    def runtest(self):
        if self.options["skip"]:
            pytest.skip()
        ran = self.parent.cells[self.cell.id]
        errors = [o for o in ran.outputs if o.output_type == "error"] + self.parent.errors_of_widgets(ran)
        if errors and not self.options["check_exception"]:
            self.raise_cell_error("Cell execution caused an exception", "\n".join(errors[0]["traceback"]))
        if ran.execution_count is None:
            self.raise_cell_error("Not run, for an earlier cell failed")
        unrun = self.cell.execution_count is None
        if unrun and self.cell.outputs:
            self.raise_cell_error("Unrun reference cell has outputs")
        if self.options["check"] and not unrun:
            same = self.compare_outputs(coalesce_streams(ran.outputs), coalesce_streams(self.cell.outputs))
            if not same:
                self.raise_cell_error("Cell outputs differ", "\n".join(self.comparison_traceback))


class Executed(Notebook):
    """A notebook that papermill runs when its first cell is tested."""

    cell_type = ExecutedCell

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.compare_outputs = self.path.stem != TRAINED

    def setup(self):
        import papermill

        self.setup_sanitize_files()
        logging.disable(logging.WARNING)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = Path(folder) / self.path.name
            with suppress(papermill.PapermillExecutionError):  # the cell that raised it says so
                papermill.execute_notebook(str(self.path), str(out), progress_bar=False, log_output=False,
                                           cwd=str(self.path.parent), kernel_name="python3",
                                           execution_timeout=self.config.option.nbval_cell_timeout)
            ran = nbformat.read(out, as_version=4)
        self.cells = {cell.id: cell for cell in ran.cells if cell.cell_type == "code"}
        self.widgets = {}
        for state in ran.metadata.get("widgets", {}).values():
            self.widgets |= state["state"]

    def errors_of_widgets(self, cell) -> list:
        """Errors of callbacks, which ipywidgets shows in an Output widget below one that ``cell`` shows."""
        shown = [output.data[WIDGET]["model_id"] for output in cell.outputs if WIDGET in output.get("data", {})]
        errors = []
        while shown:
            state = self.widgets.pop(shown.pop(), {}).get("state", {})
            errors += [o for o in state.get("outputs", ()) if o["output_type"] == "error"]
            shown += [child.removeprefix("IPY_MODEL_") for child in state.get("children", ())]
        return errors
