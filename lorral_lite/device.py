"""Where tensors live: a GPU when there is one, else the CPU, unless the reader says otherwise."""

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
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split()).split(". ")[0][:120]
        raise ValueError(f"device {str(name)!r} cannot be used here ({reason}); use auto, cpu or cuda") from None
    return device
