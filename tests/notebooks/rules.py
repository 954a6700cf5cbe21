"""What every notebook of the course keeps to. A rule gives the sentences that say where it is broken."""

import base64
import re
from pathlib import Path
from statistics import median

import nbformat

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SOLUTIONS = sorted((FOLDER / "solutions").glob("*.ipynb"))

TRAINED = "08_losses_and_two_step_training"
"""Another processor trains to other figures: only its cells tagged nbval-check-output are compared."""

PNG_LIMIT, FILE_LIMIT = 150_000, 1_500_000
FEWEST_PICTURES = 8
CELLS, WORDS = (40, 90), (1000, 2500)
LONGEST_MEDIAN = 6
HEADER = {
    "its goals": r"after this notebook you can",
    "the minutes": r"minutes",
    "the device": r"\bcpu\b",
    "what comes before": r"\bbefore\b",
    "the paper's section": r"§|section",
}
PARAMETER = re.compile(r"^\w+: (int|float|str|bool) = .+  # .+$")
PATH = re.compile(r"(?<![\w.~])/(home|root|work|tmp|Users|usr|opt|mnt|var)/|\b[A-Z]:\\\\?\w")


def text_of(output) -> str:
    """All text of one output that nbval compares: streams, and text/plain beside no widget."""
    if output.output_type == "stream":
        return output.text
    data = output.get("data", {})
    return "" if "application/vnd.jupyter.widget-view+json" in data else data.get("text/plain", "")


def compared(notebook, trained: bool = False) -> int:
    """How many code cells have text that is compared with a fresh run; if ``trained``, only those tagged."""
    return sum(is_compared(cell, trained) for cell in code_cells(notebook))


def is_compared(cell, trained: bool = False) -> bool:
    """Whether a code cell has text that is compared with a fresh run."""
    tags = cell.metadata.get("tags", [])
    asked = "nbval-check-output" in tags if trained else "nbval-ignore-output" not in tags
    return asked and cell.execution_count is not None and any(text_of(o) for o in cell.outputs)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def exercises(notebook) -> list[str]:
    """Numbers of the exercises that a notebook checks."""
    return re.findall(r'(?<!\w)check\("(\d+\.\d+)"', "\n".join(cell.source for cell in code_cells(notebook)))


def unmarked(notebook) -> list[str]:
    """Exercises whose task does not begin as **Exercise 5.1 ★★.**"""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return [f"exercise {number} does not say how hard it is" for number in exercises(notebook)
            if not re.search(rf"\*\*Exercise {re.escape(number)} ★{{1,3}}\.\*\*", text)]


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


def header(notebook) -> list[str]:
    first = notebook.cells[0]
    if first.cell_type != "markdown" or not re.match(r"# \d\d · \w", first.source):
        return ["the first cell is not a title such as # 03 · PatchConv"]
    return [f"the header does not say {what}" for what, words in HEADER.items()
            if not re.search(words, first.source, re.I)]


def teaching(notebook) -> list[str]:
    wrong = []
    count = sum("image/png" in o.get("data", {}) for cell in code_cells(notebook) for o in cell.outputs)
    if count < FEWEST_PICTURES:
        wrong.append(f"{count} pictures, at least {FEWEST_PICTURES} are wanted")
    words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
    for what, number, (fewest, most) in (("cells", len(notebook.cells), CELLS), ("words of text", words, WORDS)):
        if not fewest <= number <= most:
            wrong.append(f"{number} {what}, {fewest} to {most} are wanted")
    lines = median(sum(bool(line.strip()) for line in cell.source.splitlines()) for cell in code_cells(notebook))
    if lines > LONGEST_MEDIAN:
        wrong.append(f"half of its code cells have more than {lines} lines")
    if not exercises(notebook):
        wrong.append("no exercise")
    said = "".join(text_of(o) for cell in code_cells(notebook) for o in cell.outputs)
    return wrong + [f"exercise {number} is not reported as not attempted" for number in exercises(notebook)
                    if f"Exercise {number}: not attempted yet" not in said]


def solved(notebook, solution) -> list[str]:
    """Every exercise of the notebook is checked and asserted in its solution, and came out correct."""
    source = "\n".join(cell.source for cell in code_cells(solution))
    said = "".join(text_of(o) for cell in code_cells(solution) for o in cell.outputs)
    wrong = []
    for number in exercises(notebook):
        if not re.search(rf'assert is_correct\("{re.escape(number)}"', source):
            wrong.append(f"exercise {number} is not asserted in the solution")
        if f"Exercise {number}: correct" not in said:
            wrong.append(f"exercise {number} is not solved in the solution")
    return wrong


def broken(path: Path) -> list[str]:
    """All rules for a notebook and its file; solutions need no pictures and no exercises of their own."""
    notebook = nbformat.read(path, as_version=4)
    rules = [executed, parameters, pictures, private]
    if path.parent.name != "solutions":
        rules += [header, teaching]
    wrong = [sentence for rule in rules for sentence in rule(notebook)]
    return wrong + ([f"{path.stat().st_size} bytes"] if path.stat().st_size > FILE_LIMIT else [])
