"""What every notebook of the course keeps to. A rule gives the sentences that say where it is broken."""

import base64
import re
from pathlib import Path

import nbformat

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SOLUTIONS = sorted((FOLDER / "solutions").glob("*.ipynb"))

TRAINED = "08_losses_and_two_step_training"
"""Another processor trains to other figures: only its cells tagged nbval-check-output are compared."""

WIDGET = "application/vnd.jupyter.widget-view+json"
PNG_LIMIT, FILE_LIMIT = 150_000, 1_500_000
PARAMETER = re.compile(r"^\w+: (int|float|str|bool) = .+  # .+$")
PATH = re.compile(r"(?<![\w.~])/(home|root|work|tmp|Users|usr|opt|mnt|var)/|\b[A-Z]:\\\\?\w")


def text_of(output) -> str:
    """All text of one output that nbval compares: streams, and text/plain beside no widget."""
    if output.output_type == "stream":
        return output.text
    data = output.get("data", {})
    return "" if WIDGET in data else data.get("text/plain", "")


def is_compared(cell, trained: bool = False) -> bool:
    """Whether a code cell has text that is compared with a fresh run; if ``trained``, only those tagged."""
    tags = cell.metadata.get("tags", [])
    wanted = "nbval-check-output" in tags if trained else "nbval-ignore-output" not in tags
    return wanted and cell.execution_count is not None and any(text_of(o) for o in cell.outputs)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook) -> str:
    return "".join(text_of(output) for cell in code_cells(notebook) for output in cell.outputs)


def exercises(notebook) -> list[str]:
    """Numbers of the exercises that a notebook checks."""
    return re.findall(r'(?<!\w)check\("(\d+\.\d+)"', "\n".join(cell.source for cell in code_cells(notebook)))


def executed(notebook) -> list[str]:
    counts = [cell.execution_count for cell in code_cells(notebook)]
    wrong = [] if counts == list(range(1, len(counts) + 1)) else [f"not run once from top to bottom: {counts}"]
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error":
                wrong.append(f"cell {cell.id} stores an error: {output.ename}")
            if output.output_type == "stream" and output.name == "stderr":
                wrong.append(f"cell {cell.id} stores a warning: {output.text[:80]}")
    return wrong


def parameters(notebook) -> list[str]:
    tagged = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        return [f"{len(tagged)} cells tagged parameters, papermill needs one"]
    lines = tagged[0].source.splitlines()
    wrong = [f"parameter without type or comment: {line}" for line in lines if not PARAMETER.match(line)]
    return wrong + ([] if any(line.startswith("seed: int = ") for line in lines) else ["no parameter seed"])


def pictures(notebook) -> list[str]:
    wrong = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            png = output.get("data", {}).get("image/png")
            if png is None:
                continue
            size = len(base64.b64decode(png))
            if size > PNG_LIMIT:
                wrong.append(f"cell {cell.id}: a picture of {size} bytes, {PNG_LIMIT} are allowed")
            if not re.fullmatch(r"<figure: .*\w.*>", output.data.get("text/plain", ""), re.S):
                wrong.append(f"cell {cell.id}: a picture without words for those who cannot see it")
    return wrong


def private(notebook) -> list[str]:
    """Paths of one machine, widget states and times do not belong into a notebook."""
    wrong = [f"metadata {key}" for key in notebook.metadata if key not in ("kernelspec", "language_info")]
    wrong += [f"language_info {key}" for key in notebook.metadata.get("language_info", {}) if key != "name"]
    for cell in notebook.cells:
        texts = [cell.source, *(text_of(o) for o in cell.get("outputs", []))]
        wrong += [f"cell {cell.id} names a path: {found.group()}" for found in map(PATH.search, texts) if found]
        wrong += [f"cell {cell.id} has metadata {key}" for key in cell.metadata if key not in ("tags", "slideshow")]
    return wrong


def asked(notebook) -> list[str]:
    """A notebook has exercises, and stores them untouched."""
    numbers, said = exercises(notebook), printed(notebook)
    return ([] if numbers else ["no exercise"]) + [
        f"exercise {number} is not reported as not attempted" for number in numbers
        if f"Exercise {number}: not attempted yet" not in said]


def solved(notebook, solution) -> list[str]:
    """Every exercise of the notebook is checked and asserted in its solution, and came out correct."""
    source = "\n".join(cell.source for cell in code_cells(solution))
    said = printed(solution)
    wrong = []
    for number in exercises(notebook):
        if not re.search(rf'assert is_correct\("{re.escape(number)}"', source):
            wrong.append(f"exercise {number} is not asserted in the solution")
        if f"Exercise {number}: correct" not in said:
            wrong.append(f"exercise {number} is not solved in the solution")
    return wrong


def broken(path: Path) -> list[str]:
    """All rules for a notebook and its file; solutions need no exercises of their own."""
    notebook = nbformat.read(path, as_version=4)
    rules = [executed, parameters, pictures, private] + [asked] * (path.parent.name != "solutions")
    wrong = [sentence for rule in rules for sentence in rule(notebook)]
    return wrong + ([f"{path.stat().st_size} bytes"] if path.stat().st_size > FILE_LIMIT else [])
