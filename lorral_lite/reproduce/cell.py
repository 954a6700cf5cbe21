"""The grid of a reproduction: which cells a profile has, and how one cell, a (fold, seed), is done.

    OUT/grid.json        the plan: the config of all cells, and each cell's fold and seed
    OUT/data/            the prepared folder, unless the reader brought one
    OUT/fold1_seed0/     a run folder: step 1, one folder a relation, and
        baselines/<name>/metrics.json   photo/   notebooks/   report.html   times.json
        failed.ipynb     only after a failure: what went wrong, and the call that repeats the cell

A cell does only what is missing, so that a plan can be given again at any time.
"""

import os
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ..datasets.prepared import open_prepared
from ..files import DataError, Scratch, is_of, read_json, without_paths, write_json, write_text
from ..model.relations import RELATIONS
from ..output import is_broken_pipe, nobody_reads, on_terminal
from ..photo import portrait_file, predict_photo
from ..report.page import as_markdown
from ..report.write import write_report
from ..training.config import RunConfig
from ..training.evaluation import evaluate
from ..training.origin import (
    NO_FINGERPRINT,
    check_faces,
    data_record,
    found_path,
    open_fold,
    results_of,
    settings,
    stored_path,
)
from ..training.run_folder import claim, load_model, read_run_config
from ..training.steps import train_step1, train_step2
from ..zoo.baselines import BASELINES, run_baseline

PROFILES = {
    "smoke": ("lite", (1,), (0,)),
    "fast": ("lite", (1, 2, 3), (0,)),
    "paper": ("paper", (1, 2, 3), (0,)),
    "full": ("paper", (1, 2, 3), (0, 1, 2, 3, 4)),
}
"""Of each profile the recipe of :class:`lorral_lite.training.run_folder.RunConfig`, the folds and the seeds."""

NOTEBOOKS = ("08_losses_and_two_step_training", "09_evaluation", "10_ablation_do_relations_help")
"""Executed with papermill on the finished run, which each takes as its parameter ``run``."""

ONCE = NOTEBOOKS[:1]
"""Trains a small model of its own, the same in every cell: only in the smoke profile on drawn faces."""

PHOTO_RELATION = "self_attention"


class Cell(NamedTuple):
    """One fold and one seed."""

    fold: int
    seed: int

    @property
    def name(self) -> str:
        """Of the run folder."""
        return f"fold{self.fold}_seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """What grid.json holds. ``config`` is that of every cell but for its fold and seed."""

    out: Path
    data: str
    profile: str
    config: RunConfig
    cells: tuple[Cell, ...]
    relations: tuple[str, ...] = tuple(RELATIONS)
    baselines: tuple[str, ...] = tuple(BASELINES)
    notebooks: tuple[str, ...] = NOTEBOOKS
    photograph: bool = True
    command: str | None = None

    def run(self, cell: Cell) -> Path:
        """The run folder of a cell."""
        return self.out / cell.name

    def config_of(self, cell: Cell) -> RunConfig:
        """The config of a cell."""
        return replace(self.config, fold=cell.fold, seed=cell.seed)

    def missing(self, cell: Cell) -> list[str]:
        """The files, as seen from the run folder, that a cell still lacks."""
        names = ["step1_metrics.json", *(f"{name}/metrics.json" for name in self.relations),
                 *(f"baselines/{name}/metrics.json" for name in self.baselines),
                 *(["photo/prediction.json"] if self.photograph else []),
                 *(f"notebooks/{name}.ipynb" for name in self.notebooks), "report.html"]
        return [name for name in names if not (self.run(cell) / name).exists()]

    def times_file(self, cell: Cell) -> Path:
        """Where seconds are kept: beside the data when there is one cell, which then shows those of the data too."""
        return (self.out if len(self.cells) == 1 else self.run(cell)) / "times.json"

    def write(self) -> None:
        """Write OUT/grid.json."""
        write_json(self.out / "grid.json", {
            "format": 2, "data": self.data, "profile": self.profile, "command": self.command,
            "relations": list(self.relations),
            "baselines": list(self.baselines), "notebooks": list(self.notebooks), "photograph": self.photograph,
            "cells": [{"run": cell.name, "fold": cell.fold, "seed": cell.seed} for cell in self.cells],
            "config": {**self.config.to_dict(), "data": stored_path(self.config.data, self.out)},
        })


def read_plan(out) -> Plan:
    """The plan of a grid folder; DataError when there is none or it is not readable."""
    path = Path(out) / "grid.json"
    values = read_json(path)
    try:
        cells = tuple(Cell(int(cell["fold"]), int(cell["seed"])) for cell in values["cells"])
        names = {key: tuple(values[key]) for key in ("relations", "baselines", "notebooks")}
        for key, kind in (("relations", tuple[str, ...]), ("baselines", tuple[str, ...]),
                          ("notebooks", tuple[str, ...]), ("photograph", bool), ("command", str | None)):
            if not is_of(values[key], kind):
                raise TypeError(f"{key} is {values[key]!r:.40}")
        config = RunConfig.from_dict(values["config"])
        if "format" in values:  # else its path is as it was typed
            config = replace(config, data=found_path(config.data, out))
        return Plan(Path(out), values["data"], values["profile"], config, cells, **names,
                    photograph=values["photograph"], command=values["command"])
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the plan of a grid ({error}); give `lorral reproduce` once more") from None


def run_cell(plan: Plan, cell: Cell, device=None, progress: bool = True, say: Callable[[str], None] = print) -> None:
    """Do what is missing of a cell: step 1, step 2 for each relation, baselines, photograph, notebooks; its report."""
    run, config = plan.run(cell), plan.config_of(cell)
    same_kind(plan, cell)
    part = stopwatch(plan.times_file(cell), say)
    if not (run / "step1_metrics.json").exists():
        with part("step 1"):
            train_step1(run, config, device, progress)
            evaluate(run, None, device, progress)
    for relation in plan.relations:
        if not (run / relation / "metrics.json").exists():
            with part(f"step 2, {relation}"):
                train_step2(run, relation, device, progress)
                evaluate(run, relation, device, progress)
    for name in plan.baselines:
        if not (run / "baselines" / name / "metrics.json").exists():
            with part(f"baseline, {name.replace('_', ' ')}"):
                run_baseline(run, name, progress)
    photo = run / "photo"
    if plan.photograph and not (photo / "prediction.json").exists():
        with part("photograph"):
            relation = PHOTO_RELATION if PHOTO_RELATION in plan.relations else plan.relations[0]
            prediction = predict_photo(load_model(run, relation, device), portrait_file(), photo,
                                       results_of(run, relation))
            say(f"  {prediction.line}")
    for name in plan.notebooks:
        if not (run / "notebooks" / f"{name}.ipynb").exists():
            with part(f"notebook {name}"):
                execute_notebook(name, run / "notebooks", {"run": str(run.resolve())}, progress)
    with part("report"):
        write_report(run, run / "report.html", command=plan.command)


def same_kind(plan: Plan, cell: Cell) -> None:
    """DataError when a cell that has begun is another one; where it is not there yet, when some of the grid are of
    other faces or settings, or were made before runs knew their faces."""
    run, config = plan.run(cell), plan.config_of(cell)
    if (run / "step1.safetensors").exists():
        claim(run, replace(config, threads=config.threads or read_run_config(run).threads))
        open_fold(run, config)
        return
    for other in plan.cells:
        if not (plan.run(other) / "step1.safetensors").exists():
            continue
        if data_record(plan.run(other)) is None:
            raise DataError(f"{plan.out}: {other.name} has {NO_FINGERPRINT}, nor mixed with newer cells; choose "
                            "another --out")
        check_faces(plan.run(other), open_prepared(config.data))
        if settings(read_run_config(plan.run(other)).to_dict()) != settings(plan.config_of(other).to_dict()):
            raise DataError(f"{plan.out}: {other.name} has other settings than its grid.json; choose another --out")


def attempt(plan: Plan, cell: Cell, device=None, progress: bool = True, say: Callable[[str], None] = print) -> str:
    """:func:`run_cell`; whatever stops it is returned as one line ("" after success) and kept as ``failed.ipynb``."""
    notebook = plan.run(cell) / "failed.ipynb"
    try:
        run_cell(plan, cell, device, progress, say)
    except Exception as error:  # one cell that fails must not stop the others
        if is_broken_pipe(error) and nobody_reads():
            raise  # no failure of the cell: what it says has no reader any more
        line = " ".join(str(error).split())
        if not isinstance(error, ValueError | OSError) or not line:  # a DataError is a ValueError
            line = f"{type(error).__name__}: {line}"
        text = failure_notebook(plan, cell, error)
        with suppress(DataError):  # a full disk
            write_text(notebook, text)
        return f"{cell.name}: {line}; see {notebook}"
    notebook.unlink(missing_ok=True)
    return ""


def failure_notebook(plan: Plan, cell: Cell, error: BaseException) -> str:
    """A notebook whose one code cell repeats a cell of the grid and shows the error that it ended with."""
    from nbformat import v4, writes

    call = (f"from lorral_lite.reproduce.cell import Cell, read_plan, run_cell\n\n"
            f"run_cell(read_plan('..'), Cell({cell.fold}, {cell.seed}))  # this notebook lies in {cell.name}")
    lines = [line for text in traceback.format_exception(error) for line in text.splitlines()]
    shown = v4.new_output("error", ename=type(error).__name__, evalue=str(error), traceback=lines)
    strip_paths(shown, plan.out)
    notebook = v4.new_notebook(cells=[
        v4.new_markdown_cell(f"# {cell.name} failed\n\n{time.strftime('%Y-%m-%d %H:%M')}, {as_markdown(plan.command)}. "
                             "The cell below does what is missing; so does the command, which also removes this file."),
        v4.new_code_cell(call, outputs=[shown], execution_count=1),
    ], metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    return writes(notebook)


def stopwatch(path: Path, say: Callable[[str], None]):
    """A context manager for each part of the work: says its name and keeps its seconds in the JSON file ``path``."""

    @contextmanager
    def part(name: str):
        say(f"· {name}")
        started = time.perf_counter()
        yield
        times = read_json(path) if path.exists() else {}
        times[name] = round(time.perf_counter() - started, 1)
        write_json(path, times)
        say(f"  {times[name]:.0f} s")

    return part


# ------------------------------------------------------------------------------------------------------- its notebooks


def notebooks_folder() -> Path:
    """The folder of the numbered notebooks: beside the package in a clone, else in the current folder."""
    for folder in (Path(__file__).parents[2] / "notebooks", Path("notebooks")):
        if folder.is_dir():
            return folder
    raise DataError("notebooks: no such folder here; run this in a clone of the repository")


def execute_notebook(name: str, out: Path, parameters: dict, progress: bool = True) -> Path:
    """Execute a notebook with papermill into ``out``. A failure leaves ``<name>.failed.ipynb`` and is a DataError.

    It runs in ``out`` and is told of folders and files (``parameters``) as they are seen from there; what is kept of it
    holds no path of this machine.
    """
    import nbformat
    import papermill

    source = notebooks_folder() / f"{name}.ipynb"
    if not source.exists():
        raise DataError(f"{source}: no such notebook")
    out.mkdir(parents=True, exist_ok=True)
    target, failed = out / f"{name}.ipynb", out / f"{name}.failed.ipynb"
    unknown = set(parameters) - set(papermill.inspect_notebook(str(source)))
    if unknown:
        raise DataError(f"{source}: has no parameter {min(unknown)}")
    paths = {key: Path(value) for key, value in parameters.items() if isinstance(value, str) and os.path.isabs(value)}
    parameters = parameters | {key: os.path.relpath(path, out.resolve()) for key, path in paths.items()}
    with Scratch() as work:
        made = Path(work, source.name)
        try:
            papermill.execute_notebook(str(source), str(made), parameters, progress_bar=progress and on_terminal(),
                                       log_output=False, cwd=str(out), kernel_name="python3")
            failed.unlink(missing_ok=True)
            failed, line = target, ""
        except papermill.PapermillExecutionError as error:
            line = f"{failed}: cell {error.exec_count} failed with {error.ename}: {error.evalue}"
        notebook = nbformat.read(made, as_version=4)
    notebook.metadata.get("papermill", {}).update(input_path=source.name, output_path=failed.name)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            strip_paths(output, out, out.parent)
    for key, path in paths.items():
        if set(Path(parameters[key]).parts) != {".."}:  # such a way would tell of this machine
            notebook.metadata["papermill"]["parameters"][key] = f"…/{path.name}"
            for cell in notebook.cells:
                if "injected-parameters" in cell.metadata.get("tags", ()):
                    cell.source = cell.source.replace(parameters[key], f"…/{path.name}")
    write_text(failed, nbformat.writes(notebook) + "\n")
    if line:
        raise DataError(line)
    return target


def strip_paths(output: dict, *folders) -> None:
    """Let no text of a notebook's output name a path of this machine, see :func:`lorral_lite.files.without_paths`."""
    for where, keys in ((output, ("text", "evalue", "traceback")),
                        (output.get("data", {}), ("text/plain", "text/html", "text/markdown"))):
        for key in set(keys) & set(where):
            value = where[key]
            where[key] = ([without_paths(line, *folders) for line in value] if isinstance(value, list) else
                          without_paths(value, *folders))
