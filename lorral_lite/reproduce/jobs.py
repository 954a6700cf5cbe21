"""Where the cells of a grid are done: here one after the other, one process a device, or on a cluster.

Each function yields ``(cell, failure)`` as cells end; failure is one line, "" after success. A process reads
OUT/grid.json and does one cell, whatever started it, so that all of them take the same path.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import SimpleQueue

from ..device import pick_device
from ..output import forgive_characters
from .cell import Cell, Plan, attempt, read_plan

CLUSTERS = {"slurm": 10.0, "local": 0.2}
"""Where submitit can run cells, and every how many seconds to ask whether they have ended."""


def devices(names: str | None) -> list[str]:
    """The devices that a reader names, "cuda:0,cuda:1", or every GPU there is, or the CPU. ValueError for others."""
    import torch

    if names in (None, "", "auto"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return [f"cuda:{k}" for k in range(count)] if count > 1 else [str(pick_device())]
    return [str(pick_device(name.strip())) for name in names.split(",")]


def one_after_the_other(plan: Plan, cells, device: str, progress: bool, say) -> Iterator[tuple[Cell, str]]:
    """In this process."""
    for cell in cells:
        say(f"{cell.name}")
        yield cell, attempt(plan, cell, device, progress, say)


def side_by_side(plan: Plan, cells, names: list[str], say) -> Iterator[tuple[Cell, str]]:
    """In one process for each device; what a cell says goes to OUT/<cell>.log."""
    free, running = SimpleQueue(), set()
    for name in names:
        free.put(name)

    def work(cell: Cell) -> tuple[Cell, str]:
        device, log = free.get(), plan.out / f"{cell.name}.log"
        try:
            say(f"{cell.name} begins on {device}, see {log}")
            call = f"from lorral_lite.reproduce.jobs import main; main({str(plan.out)!r}, {tuple(cell)!r}, {device!r})"
            with open(log, "w", encoding="utf8") as file:
                process = subprocess.Popen([sys.executable, "-c", call], stdout=file, stderr=subprocess.STDOUT)
                running.add(process)
                code = process.wait()
            if code == 0:
                return cell, ""
            last = log.read_text(encoding="utf8", errors="replace").strip().splitlines()[-1:]
            if code == 1 and last and last[0].startswith(f"{cell.name}: "):
                return cell, last[0]
            return cell, f"{cell.name}: its process ended with {code}; see {log}"
        finally:
            free.put(device)

    pool = ThreadPoolExecutor(len(names))
    try:
        for done in as_completed([pool.submit(work, cell) for cell in cells]):
            yield done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            process.terminate()  # nothing happens to those that ended


def on_cluster(plan: Plan, cells, cluster: str, names: list[str | None], partition: str | None, hours: float,
               say) -> Iterator[tuple[Cell, str]]:
    """As a job array through submitit: on ``slurm`` all at once, on ``local`` as many at a time as there are devices.

    ``names`` are the devices, None for what the node has. Logs lie in OUT/jobs. Waits for the jobs, and cancels them
    when it is stopped. ValueError without submitit or Slurm.
    """
    submitit = need_submitit(cluster)
    executor = submitit.AutoExecutor(plan.out / "jobs", cluster=cluster)
    executor.update_parameters(name="lorral", timeout_min=round(60 * hours), cpus_per_task=2, slurm_partition=partition,
                               gpus_per_node=sum(name != "cpu" for name in names))
    size = len(cells) if cluster == "slurm" else len(names)
    for first in range(0, len(cells), size):
        chosen = cells[first : first + size]
        where = [names[k % len(names)] for k in range(len(chosen))]
        jobs = executor.map_array(one_cell, [str(plan.out)] * len(chosen), [tuple(cell) for cell in chosen], where)
        cell_of = {job.job_id: cell for job, cell in zip(jobs, chosen, strict=True)}
        say(f"{len(jobs)} job{'s' if len(jobs) > 1 else ''} on {cluster} ({', '.join(c.name for c in chosen)}); logs "
            f"in {plan.out / 'jobs'}")
        try:
            for job in submitit.helpers.as_completed(jobs, poll_frequency=CLUSTERS[cluster]):
                cell = cell_of[job.job_id]
                try:
                    yield cell, job.result()
                except submitit.core.utils.UncompletedJobError:  # killed, out of memory, out of time
                    yield cell, f"{cell.name}: job {job.job_id} ended without a result; see {job.paths.stderr}"
        finally:
            for job in jobs:
                if not job.done():
                    job.cancel()


def need_submitit(cluster: str):
    """The package submitit; ValueError when it, or the cluster, is not here."""
    try:
        import submitit
        import submitit.helpers
    except ImportError:
        raise ValueError("--cluster needs submitit: pip install 'lorral-lite[cluster]'") from None
    if cluster == "slurm" and not (shutil.which("srun") and shutil.which("sbatch")):
        raise ValueError("--cluster slurm: no Slurm here (sbatch is not found); call it on a login node")
    return submitit


def one_cell(out: str, cell: tuple[int, int], device: str | None) -> str:
    """Do one cell of the plan in ``out``; returns the failure, as :func:`lorral_lite.reproduce.cell.attempt` does."""
    forgive_characters()
    return attempt(read_plan(out), Cell(*cell), device, progress=False)


def main(out: str, cell: tuple[int, int], device: str | None) -> None:
    """:func:`one_cell` as a process: the failure is its last line, exit code 1."""
    if failure := one_cell(out, cell, device):
        print(failure)
        sys.exit(1)
