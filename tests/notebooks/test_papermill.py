"""papermill on a sample: other values reach the notebook, and a value that it does not know is refused."""

import nbformat
import pytest

from lorral_lite.files import DataError
from lorral_lite.reproduce.cell import NOTEBOOKS, execute_notebook, notebooks_folder

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning",
                                        "ignore::ResourceWarning", "ignore::FutureWarning")


@pytest.mark.slow
def test_another_seed_reaches_the_notebook(tmp_path):
    done = execute_notebook("09_evaluation", tmp_path, {"seed": 1}, progress=False)
    assert done == tmp_path / "09_evaluation.ipynb"
    assert [p.name for p in tmp_path.iterdir()] == ["09_evaluation.ipynb"]
    cells = nbformat.read(done, as_version=4).cells
    places = {tag: k for k, cell in enumerate(cells) for tag in cell.metadata.get("tags", [])}
    assert places["injected-parameters"] == places["parameters"] + 1
    assert "seed = 1" in cells[places["injected-parameters"]].source
    assert all(cell.execution_count for cell in cells if cell.cell_type == "code")


@pytest.mark.parametrize(("name", "message"), [
    ("03_patchconv", r"03_patchconv\.ipynb: has no parameter sead"), ("99_nothing", "no such notebook")])
def test_an_unknown_parameter_or_notebook_is_refused(tmp_path, name, message):
    with pytest.raises(DataError, match=message):
        execute_notebook(name, tmp_path, {"sead": 1}, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_the_main_job_injects_is_a_parameter(name):
    notebook = nbformat.read(notebooks_folder() / f"{name}.ipynb", as_version=4)
    cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    assert 'run: str = ""' in cell.source
