"""What many tests share: small prepared folders, made once a session, and one CPU thread for equal bytes.

What is stored and compared was computed on a CPU, so a GPU is hidden; CUDA_VISIBLE_DEVICES=0 tests on one.
"""

import os

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import pytest
import torch
from tolerances import pytest_terminal_summary  # noqa: F401 - says what tolerances absorbed

torch.set_num_threads(1)


@pytest.fixture
def rng():
    """A fresh NumPy generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """A prepared folder of 60 tiny frames."""
    from tiny_run import make_data

    return make_data(tmp_path_factory.mktemp("tiny") / "prepared")


@pytest.fixture(scope="session")
def tiny_finished(tiny_data, tmp_path_factory):
    """A run folder on it: step 1, then step 2 with self-attention. Copy it before changing anything."""
    from tiny_run import tiny_config

    from lorral_lite.training.steps import train_step1, train_step2

    run = tmp_path_factory.mktemp("tiny_run")
    train_step1(run, tiny_config(tiny_data), "cpu", progress=False)
    train_step2(run, "self_attention", "cpu", progress=False)
    return run
