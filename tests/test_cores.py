"""Cores are counted as this process has them, and threads that wait leave them to others before torch is imported."""

import os
import subprocess
import sys

import pytest

from lorral_lite.device import WAITING, cores

FIRST_LINES = ["from lorral_lite import cli", "from lorral_lite.device import share_cores; share_cores()"]


@pytest.mark.parametrize("line", FIRST_LINES)
@pytest.mark.parametrize("given", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}])
def test_the_command_and_the_notebooks_say_how_threads_wait_before_torch_is_imported(line, given):
    code = f"import os, sys; {line}; assert 'torch' not in sys.modules; print(*map(os.environ.get, {list(WAITING)}))"
    environment = {key: value for key, value in os.environ.items() if key not in WAITING} | given
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == [str((given or WAITING).get(name)) for name in WAITING], done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_only_the_cores_of_this_process_count():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert cores() == len(before)


def test_where_there_is_no_affinity_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1
