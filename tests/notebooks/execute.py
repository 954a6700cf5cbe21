"""Execute notebooks from top to bottom and store their outputs in them, one line each; exit code 1 when one fails.

    python tests/notebooks/execute.py notebooks/*.ipynb             what they print becomes the stored outputs
    python tests/notebooks/execute.py --slides notebooks/*.ipynb    run nothing, only say again which cells are slides

With --times FILE the seconds of each notebook are kept in a JSON file and in the table of notebooks/README.md.
"""

import argparse
import json
import logging
import os
import re
import sys
import time
import warnings
from pathlib import Path

import nbformat

TEACHERS = Path(__file__).parents[2] / "notebooks" / "README.md"
SETTING_UP = r"^share_cores\(|^check_parameters\(|^check\("
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def in_place(notebook: Path) -> None:
    """Run a notebook and store its outputs in it, without times, paths, widget states or the machine's Python
    version."""
    from nbclient import NotebookClient

    from lorral_lite.reproduce.cell import strip_paths

    content = nbformat.read(notebook, as_version=4)
    NotebookClient(content, timeout=600, kernel_name="python3", record_timing=False, store_widget_state=False,
                   resources={"metadata": {"path": str(notebook.parent)}}).execute()
    content.metadata = {"kernelspec": content.metadata["kernelspec"], "language_info": {"name": "python"}}
    for cell in content.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            strip_paths(output)
    set_slides(content)
    write(content, notebook)


def write(content, notebook: Path) -> None:
    """The whole notebook or none of it."""
    partial = notebook.with_name(f".{notebook.name}.partial")
    nbformat.write(content, partial)
    os.replace(partial, notebook)


def set_slides(content) -> None:
    """Say for every cell what it is when the notebook is shown as slides (`jupyter nbconvert --to slides`).

    A heading starts a slide, a picture a page below it. The first imports and parameters are skipped, checks of
    exercises too; an import beside what needs it is shown with it.
    """
    for cell in content.cells:
        kind = "-"
        if cell.cell_type == "markdown":
            kind = "slide" if re.match("##? ", cell.source) else "subslide"
        elif "parameters" in cell.metadata.get("tags", []) or re.search(SETTING_UP, cell.source, re.M):
            kind = "skip"
        elif any("image/png" in output.get("data", {}) for output in cell.outputs):
            kind = "subslide"
        cell.metadata["slideshow"] = {"slide_type": kind}


def keep_times(file: Path, times: dict[str, float]) -> None:
    """CPU seconds of the kernels (start and imports too): on an idle core that is how long a reader waits.

    The seconds of notebooks that did not run now stay as they were.
    """
    kept = json.loads(file.read_text(encoding="utf8"))["cpu_seconds"] if file.exists() else {}
    record = {"command": "make outputs", "device": "cpu", "threads": int(os.environ["OMP_NUM_THREADS"]),
              "cpu_seconds": dict(sorted((kept | times).items()))}
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf8")
    text = TEACHERS.read_text(encoding="utf8")
    for name, seconds in times.items():
        text = re.sub(rf"^(\| {name[:2]} \|.*\|)[^|]*\|$", rf"\1 {seconds:.0f} s |", text, flags=re.M)
    TEACHERS.write_text(text, encoding="utf8")


def main(arguments: list[str] | None = None) -> int:
    """Execute the notebooks named on the command line; how many failed decides the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--slides", action="store_true", help="run nothing, set what of each notebook is a slide")
    parser.add_argument("--times", type=Path, metavar="FILE", help="keep the CPU seconds of each notebook")
    options = parser.parse_args(arguments)
    if options.slides:
        for path in options.notebooks:
            content = nbformat.read(path, as_version=4)
            set_slides(content)
            write(content, path)
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the stored outputs are those of one CPU thread
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    failed, times = 0, {}
    for k, notebook in enumerate(options.notebooks, start=1):
        started, before = time.perf_counter(), os.times()
        reason = ""
        try:
            in_place(notebook.resolve())
        except Exception as error:  # whatever stops a notebook is a failure to report, and the next one still runs
            failed += 1
            reason = COLOURS.sub("", str(error)).strip()
        after = os.times()
        times[notebook.stem] = round(after.children_user + after.children_system
                                     - before.children_user - before.children_system, 1)
        print(f"[{k}/{len(options.notebooks)}] {time.perf_counter() - started:6.1f} s  {notebook}  "
              f"{'FAILED' if reason else 'ok'}", flush=True)
        if reason:
            print("    " + reason.replace("\n", "\n    "), flush=True)
    print(f"{len(options.notebooks) - failed} of {len(options.notebooks)} notebooks ran to their end")
    if options.times and not failed:
        keep_times(options.times, times)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
