"""CPU cores, shared with other programs: how many this process may use, and threads that wait without holding one.

It imports nothing heavy, so that it can be called before torch is imported.
"""

import os

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
"""Environment variables → values. PyTorch's threads wait for each other many times in a training step. As they come,
they spin for long while another program holds the core of the last one; asleep at once, they wake up too slowly where
all cores are theirs. So they spin for less than a millisecond and then sleep (`lorral bench threads`)."""


def share_cores() -> None:
    """Let threads that wait sleep soon (D105), unless the environment says how they wait. Before torch is imported."""
    if not WAITING.keys() & os.environ.keys():
        os.environ.update(WAITING)


def cores() -> int:
    """CPU cores that this process may use, which its affinity says, not the machine's number."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
