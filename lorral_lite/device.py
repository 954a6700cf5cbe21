"""Where tensors live: a GPU when there is one, else the CPU, unless the reader says otherwise; how many threads."""

from contextlib import contextmanager

import torch


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """The named device, or a GPU when there is one, else the CPU (None, "" and "auto").

    ValueError when PyTorch does not know the name or cannot put a tensor there.
    """
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
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
