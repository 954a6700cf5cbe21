"""``make handout``: the notebooks for a class, without solutions and without what their exercises printed, as a zip.

Exercises stay open (``...``); the pictures and texts that the notebooks store stay in. The true answers are computed
by ``lorral_lite/course/check.py``: whoever reads the library finds them, as in every course that one may install.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
CHECK = re.compile(r'^check\("([\d.]+)"', re.M)


def without_answers(notebook):
    """The notebook with empty outputs at its exercises. SystemExit when one of them is solved in this copy."""
    for cell in notebook.cells:
        number = CHECK.search(cell.source) if cell.cell_type == "code" else None
        if number is None:
            continue
        said = "".join(output.get("text", "") for output in cell.outputs)
        if re.search(r"^Exercise .*: (correct|not yet)", said, re.M):
            raise SystemExit(f"exercise {number[1]} is answered in this copy: put `...` back, run it, and try again")
        cell.outputs, cell.execution_count = [], None
    return notebook


def handout(out: Path) -> Path:
    """Write the folder ``out`` and ``out``.zip beside it; both are replaced. Returns the zip file."""
    ready = [(path.name, without_answers(nbformat.read(path, as_version=4))) for path in sorted(FOLDER.glob("*.ipynb"))]
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name, notebook in ready:
        nbformat.write(notebook, out / name)
    return Path(shutil.make_archive(str(out), "zip", out.parent, out.name))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=FOLDER.parent / "handout")
    print(handout(parser.parse_args(arguments).out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
