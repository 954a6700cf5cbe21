"""Execute notebooks from top to bottom, one line each; the exit code is 1 when one fails.

    python tests/notebooks/execute.py notebooks/*.ipynb               with papermill, into a folder that is thrown away
    python tests/notebooks/execute.py --in-place notebooks/*.ipynb    and keep the outputs: they become the stored ones
"""

import argparse
import logging
import os
import re
import sys
import tempfile
import time
import warnings
from pathlib import Path

import nbformat

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def with_papermill(notebook: Path, out: Path) -> None:
    """Run a notebook as a reader's papermill would, in its own folder, with the values of its parameters cell."""
    import papermill

    papermill.execute_notebook(str(notebook), str(out / notebook.name), progress_bar=False, log_output=False,
                               cwd=str(notebook.parent), kernel_name="python3")


def in_place(notebook: Path) -> None:
    """Run a notebook and store its outputs in it, without times, widget states or the machine's Python version."""
    from nbclient import NotebookClient

    content = nbformat.read(notebook, as_version=4)
    NotebookClient(content, timeout=600, kernel_name="python3", record_timing=False, store_widget_state=False,
                   resources={"metadata": {"path": str(notebook.parent)}}).execute()
    content.metadata = {"kernelspec": content.metadata["kernelspec"], "language_info": {"name": "python"}}
    for cell in content.cells:
        cell.metadata.pop("execution", None)
    partial = notebook.with_name(f".{notebook.name}.partial")
    nbformat.write(content, partial)
    os.replace(partial, notebook)


def main(arguments: list[str] | None = None) -> int:
    """Execute the notebooks named on the command line; how many failed decides the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--in-place", action="store_true", help="store the outputs in the notebooks")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the stored outputs are those of one thread
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    failed = 0
    for k, notebook in enumerate(options.notebooks, start=1):
        started = time.perf_counter()
        reason = ""
        try:
            if options.in_place:
                in_place(notebook.resolve())
            else:
                with tempfile.TemporaryDirectory() as out:
                    with_papermill(notebook.resolve(), Path(out))
        except Exception as error:  # whatever stops a notebook is a failure to report, and the next one still runs
            failed += 1
            reason = COLOURS.sub("", str(error)).strip()
        print(f"[{k}/{len(options.notebooks)}] {time.perf_counter() - started:6.1f} s  {notebook}  "
              f"{'FAILED' if reason else 'ok'}", flush=True)
        if reason:
            print("    " + reason.replace("\n", "\n    "), flush=True)
    print(f"{len(options.notebooks) - failed} of {len(options.notebooks)} notebooks ran to their end")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
