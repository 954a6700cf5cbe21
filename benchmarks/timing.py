"""How benchmarks measure: time, ratios of things run in turns, peak memory in a fresh process, FLOPs, launches.

On one CPU thread the clock is the CPU time of this process, which other programs disturb little. On several threads,
and on a GPU (synchronised before and after), it is the time on the wall: run those on a quiet machine.
"""

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from lorral_lite.device import cores

from . import Spread


def environment(device: torch.device) -> dict[str, str]:
    """What a number depends on, without naming the machine: processor, cores, PyTorch, Python, system."""
    here = {"cpu": cpu_model(), "cores": str(cores()), "threads": str(torch.get_num_threads()),
            "torch": torch.__version__, "python": platform.python_version(), "system": platform.system()}
    return here | ({"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {})


def cpu_model() -> str:
    """The processor's own name and family numbers, as far as the system tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").split("\n\n")[0].splitlines()
        facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        return f"{facts['model name']} (family {facts['cpu family']}, model {facts['model']})"
    except (OSError, KeyError):
        return platform.processor() or platform.machine()


def seconds(function: Callable[[], object], device: torch.device | None = None, calls: int = 1, wall=False) -> float:
    """Seconds that one call takes, the mean of ``calls`` in a row, by the clock of this file, or ``wall`` time."""
    on_gpu = device is not None and device.type == "cuda"
    clock = time.process_time if not on_gpu and not wall and torch.get_num_threads() == 1 else time.perf_counter
    if on_gpu:
        torch.cuda.synchronize(device)
    start = clock()
    for _ in range(calls):
        function()
    if on_gpu:
        torch.cuda.synchronize(device)
    return (clock() - start) / calls


def in_turns(functions: dict[str, Callable], rounds: int, device: torch.device | None = None, least: float = 0.0,
             wall: bool = False) -> dict[str, list[float]]:
    """Seconds a call of each function, ``rounds`` times, one after the other in every round, after one call unmeasured.

    What slows the machine for a while slows all of them. Each measurement calls as often as ``least`` seconds need.
    """
    calls = {}
    for name, function in functions.items():
        seconds(function, device)
        calls[name] = max(1, round(least / max(seconds(function, device, 1, wall), 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(seconds(function, device, calls[name], wall))
    return times


def spread(values: list[float]) -> Spread:
    """Median and quartiles."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def ratio(above: list[float], below: list[float]) -> Spread:
    """Median and quartiles of the ratio in each round of :func:`in_turns`."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def per(times: list[float], count: float = 1, unit: float = 1e3) -> Spread:
    """Times in seconds as milliseconds for each of ``count`` images (``unit`` 1e3)."""
    return spread([unit * t / count for t in times])


def flops(function: Callable[[], object]) -> int:
    """Floating-point operations of matrix products and convolutions in one call (a multiply-add counts two)."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def bytes_moved(function: Callable[[], object]) -> int:
    """Bytes of one call, if every operator reads its inputs from memory and writes its results there, once.

    An estimate from above: what stays in a cache is counted too. Views cost nothing; of an expanded tensor only what
    it holds is counted.
    """
    with _Operators() as counter:
        function()
    return counter.bytes


def launches(function: Callable[[], object], device: torch.device) -> int:
    """Kernels one call starts: on a GPU those that torch.profiler saw, on a CPU the operators that touch numbers."""
    function()
    if device.type != "cuda":
        with _Operators() as counter:
            function()
        return counter.calls
    torch.cuda.synchronize(device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as record:
        function()
        torch.cuda.synchronize(device)
    return sum(e.device_type == torch.autograd.DeviceType.CUDA for e in record.events())


class _Operators(TorchDispatchMode):
    """Counts the operators that read or write numbers, backward passes included, and the bytes of their tensors."""

    bytes = calls = 0
    idle = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "detach", "_unsafe_view"})

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if not function.is_view and function.overloadpacket.__name__ not in self.idle:
            tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor)]
            self.bytes += sum(min(t.nbytes, t.untyped_storage().nbytes()) for t in tensors)
            self.calls += 1
        return result


def peak_memory(function: str, **arguments) -> float | None:
    """MiB that ``function`` ("module:name", called with JSON ``arguments``) adds at its peak in a fresh process.

    Importing its module is not counted. None where the system does not tell (it is read from /proc).
    """
    if not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.timing", function, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{function}{arguments}: {done.stderr.strip().splitlines()[-1:]}")
    return float(done.stdout.splitlines()[-1])


def _status(name: str) -> float:
    """A line of /proc/self/status in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf8").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":"))


def _added(work: Callable[[], object]) -> float:
    """MiB that ``work`` adds to this process at its peak."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf8")  # forget the peak of the imports
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(":")
    called = getattr(import_module(module), name)
    print(_added(lambda: called(**json.loads(sys.argv[2]))))
