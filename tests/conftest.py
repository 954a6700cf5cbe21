"""What many tests share: small prepared folders, made once a session, and one CPU thread for equal bytes."""

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def rng():
    """A fresh NumPy generator with a fixed seed."""
    return np.random.default_rng(0)
