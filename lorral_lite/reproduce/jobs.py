"""Where the cells of a grid are done: here one after the other, or by submitit, one process a device or a cluster job.

Each function yields ``(cell, failure)`` as cells end; failure is one line, "" after success. A process reads
OUT/grid.json and does one cell, whatever started it, so that all of them take the same path.
"""

from collections.abc import Iterator

from ..device import pick_device
from ..files import strip_logs
from ..output import forgive_characters
from ..training.jobs import side_by_side
from .cell import Cell, Plan, attempt, read_plan


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

    ``names`` are the devices, None for what the node has. Logs lie in OUT/jobs.
    """
    named = {cell.name: cell for cell in cells}
    calls = {name: (str(plan.out), tuple(cell)) for name, cell in named.items()}
    try:
        for name, failure in side_by_side(one_cell, calls, names, plan.out / "jobs", cluster, say,
                                          timeout_min=round(60 * hours), slurm_partition=partition,
                                          gpus_per_node=sum(name != "cpu" for name in names)):
            yield named[name], failure
    finally:
        strip_logs(plan.out / "jobs")


def one_cell(out: str, cell: tuple[int, int], device: str | None) -> str:
    """Do one cell of the plan in ``out``; returns the failure, as :func:`lorral_lite.reproduce.cell.attempt` does."""
    forgive_characters()
    return attempt(read_plan(out), Cell(*cell), device, progress=False)
