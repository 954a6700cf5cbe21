"""Long work in processes of its own, through submitit: on this machine as many as there are places, or on a cluster."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from ..device import pick_device, threads
from ..files import DataError, strip_logs
from ..output import forgive_characters, progress_bar

CLUSTERS = {"slurm": 10.0, "local": 0.2}
"""Where submitit can run jobs, and every how many seconds to ask whether they have ended."""


def side_by_side(call: Callable[..., str], jobs: dict[str, tuple], places: list, logs, cluster: str = "local",
                 say: Callable[[str], None] = print, **options) -> Iterator[tuple[str, str]]:
    """``call(*jobs[name], place)`` for each name, each in a process; yields (name, what it returned) as they end.

    ``call`` returns its failure as one line, "" after success; a process that dies is such a line too. On ``local``,
    this machine, each of the ``places`` has one job at a time; on ``slurm`` all jobs start at once, as a job array, at
    the first place. ``logs`` is submitit's folder, ``options`` are those of its executor. Waits for the jobs, and
    cancels them when it is stopped. ValueError without submitit or Slurm.
    """
    submitit = need_submitit(cluster)
    executor = submitit.AutoExecutor(logs, cluster=cluster)
    executor.update_parameters(name="lorral", cpus_per_task=2, **options)
    left, running = list(jobs), {}
    free = places[:1] * len(left) if cluster == "slurm" else list(places)
    try:
        while left or running:
            if begun := [(left.pop(0), free.pop(0)) for _ in range(min(len(left), len(free)))]:
                calls = [(*jobs[name], place) for name, place in begun]
                started = executor.map_array(call, *zip(*calls, strict=True))
                running |= {job.job_id: (job, *which) for job, which in zip(started, begun, strict=True)}
                say(f"{len(started)} job{'s' if len(started) > 1 else ''} on {cluster} "
                    f"({', '.join(name for name, _ in begun)}); logs in {logs}")
            waiting = [job for job, *_ in running.values()]
            done = next(iter(submitit.helpers.as_completed(waiting, poll_frequency=CLUSTERS[cluster])))
            _, name, place = running.pop(done.job_id)
            free.append(place)
            try:
                yield name, done.result()
            except submitit.core.utils.UncompletedJobError:  # killed, out of memory, out of time
                yield name, f"{name}: job {done.job_id} ended without a result; see {done.paths.stderr}"
    finally:
        for job, *_ in running.values():
            if not job.done():
                job.cancel()


def run_cells(call: Callable[..., None], cells: dict[str, tuple], jobs: int, out: Path, what: str,
              progress: bool = True, say: Callable[[str], None] = print, device="cpu") -> None:
    """``call(*cells[name])`` for each name, ``jobs`` at a time in processes with logs in ``out``/jobs, or one after the
    other in this one. Each gets a GPU where ``device`` is one, None being a GPU where there is one. One that fails is a
    line while the others go on, and a DataError at the end."""
    if jobs > 1 and os.name != "nt":  # submitit does not run on Windows
        calls = {name: (call, name, cell) for name, cell in cells.items()}
        ends = side_by_side(attempt, calls, list(range(jobs)), out / "jobs", say=lambda line: None,
                            timeout_min=60 * 24 * 365, gpus_per_node=int(pick_device(device).type == "cuda"))
    else:
        ends = ((name, attempt(call, name, cell)) for name, cell in cells.items())
    failed = 0
    with progress_bar(total=len(cells), desc=what, unit="cell", disable=not progress) as bar:
        for _, failure in ends:
            if failure:
                failed += 1
                say(failure)
            bar.update()
    strip_logs(out / "jobs")
    if failed:
        raise DataError(f"{out}: {failed} of {len(cells)} cells failed; the same command tries them again")


def attempt(call: Callable[..., None], name: str, cell: tuple, place: int = 0) -> str:
    """``call(*cell)`` on one thread, the same at every ``place``; returns its failure as one line, "" after success."""
    forgive_characters()
    try:
        with threads(1):
            call(*cell)
    except Exception as error:
        return f"{name}: failed ({' '.join(str(error).split())})"
    return ""


def need_submitit(cluster: str):
    """The package submitit; ValueError when it, or the cluster, is not here."""
    try:
        import submitit
        import submitit.helpers
    except ImportError:
        raise ValueError("several devices and --cluster need submitit: pip install submitit") from None
    if cluster == "slurm" and not (shutil.which("srun") and shutil.which("sbatch")):
        raise ValueError("--cluster slurm: no Slurm here (sbatch is not found); call it on a login node")
    return submitit
