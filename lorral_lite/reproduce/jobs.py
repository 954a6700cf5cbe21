"""Where the cells of a grid are done: here one after the other, or by submitit, one process a device or a cluster job.

Each function yields ``(cell, failure)`` as cells end; failure is one line, "" after success. A process reads
OUT/grid.json and does one cell, whatever started it, so that all of them take the same path.
"""

import shutil
from collections.abc import Iterator

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


def through_submitit(plan: Plan, cells, cluster: str, names: list[str | None], partition: str | None, hours: float,
                     say) -> Iterator[tuple[Cell, str]]:
    """In processes of their own: on ``slurm`` all at once, as a job array; on ``local``, this machine, one a device.

    ``names`` are the devices, None for what the node has. Logs lie in OUT/jobs. Waits for the jobs, and cancels them
    when it is stopped. ValueError without submitit or Slurm.
    """
    submitit = need_submitit(cluster)
    executor = submitit.AutoExecutor(plan.out / "jobs", cluster=cluster)
    executor.update_parameters(name="lorral", timeout_min=round(60 * hours), cpus_per_task=2, slurm_partition=partition,
                               gpus_per_node=sum(name != "cpu" for name in names))
    left, running = list(cells), {}
    free = [names[0]] * len(left) if cluster == "slurm" else list(names)
    try:
        while left or running:
            if begun := [(left.pop(0), free.pop(0)) for _ in range(min(len(left), len(free)))]:
                calls = [(str(plan.out), tuple(cell), device) for cell, device in begun]
                jobs = executor.map_array(one_cell, *zip(*calls, strict=True))
                running |= {job.job_id: (job, *which) for job, which in zip(jobs, begun, strict=True)}
                say(f"{len(jobs)} job{'s' if len(jobs) > 1 else ''} on {cluster} "
                    f"({', '.join(cell.name for cell, _ in begun)}); logs in {plan.out / 'jobs'}")
            waiting = [job for job, *_ in running.values()]
            done = next(iter(submitit.helpers.as_completed(waiting, poll_frequency=CLUSTERS[cluster])))
            _, cell, device = running.pop(done.job_id)
            free.append(device)
            try:
                yield cell, done.result()
            except submitit.core.utils.UncompletedJobError:  # killed, out of memory, out of time
                yield cell, f"{cell.name}: job {done.job_id} ended without a result; see {done.paths.stderr}"
    finally:
        for job, *_ in running.values():
            if not job.done():
                job.cancel()


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


def one_cell(out: str, cell: tuple[int, int], device: str | None) -> str:
    """Do one cell of the plan in ``out``; returns the failure, as :func:`lorral_lite.reproduce.cell.attempt` does."""
    forgive_characters()
    return attempt(read_plan(out), Cell(*cell), device, progress=False)

