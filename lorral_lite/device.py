"""Where tensors live, how many CPU threads work, and how threads that wait share their cores.

It imports nothing heavy, so that :func:`share_cores` can be called before torch is imported.
"""

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
"""Environment variables → values. PyTorch's threads wait for each other many times in a training step. As they come,
they spin for long while another program holds the core of the last one; asleep at once, they wake up too slowly where
all cores are theirs. So they spin for less than a millisecond and then sleep (`python -m benchmarks threads`)."""


def share_cores() -> None:
    """Let threads that wait sleep soon (D105), unless the environment says how they wait. Before torch is imported."""
    if not WAITING.keys() & os.environ.keys():
        os.environ.update(WAITING)


def cores() -> int:
    """CPU cores that this process may use, which its affinity says, not the machine's number."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pick_device(name: "str | torch.device | None" = None) -> "torch.device":
    """The named device, or a GPU when there is one, else the CPU (None, "" and "auto").

    ValueError when PyTorch does not know the name or cannot put a tensor there.
    """
    import torch

    if name in (None, "", "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = " ".join(str(error).split()).split(". ")[0][:120]
        raise ValueError(f"device {str(name)!r} cannot be used here ({reason}); use auto, cpu or cuda") from None
    return device


@contextmanager
def threads(count: int | None):
    """Let PyTorch use ``count`` CPU threads inside a with block; None: as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
