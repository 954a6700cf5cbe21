"""``make portable``: notebooks and tests once more under other arithmetic, and what their tolerances absorbed.

    python tests/portable.py           all, under every arithmetic (about half an hour on 2 quiet cores)
    python tests/portable.py --quick   what CI does: notebooks 08 and 12 and the shipped weights, as on an old processor

The settings are those of the libraries: on a processor of another kind some of them do nothing.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SSE = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
OLD_BLAS = {"MKL_CBWR": "COMPATIBLE", "OPENBLAS_CORETYPE": "Nehalem"}

PYTEST = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
NOTEBOOKS = ["notebooks", "--ignore", "notebooks/solutions", "--papermill"]
ALL_FACES = "tests/test_shipped_weights.py::test_all_of_the_shipped_metrics_and_landmark_errors_follow_from_the_weights"
NO_NUMBERS = ("notebooks", "benchmarks", "test_cli*", "test_data_files*", "test_device*", "test_handout*",
              "test_house*", "test_mutants*", "test_output*", "training/test_resilience*", "test_site*")
"""Tests of files, processes and pages, where no number is compared with a stored one."""
TESTS = ["tests", "-m", "not slow", *(f"--ignore-glob=tests/{name}" for name in NO_NUMBERS)]
QUICK = [["notebooks/12_your_own_faces.ipynb", "notebooks/08_losses_and_two_step_training.ipynb",
          "tests/test_shipped_weights.py", "--papermill", "-m", "not slow"]]


def numpy_features() -> str:
    """The instruction sets beyond its baseline that NumPy would use on this processor."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return " ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name))


def arithmetics() -> dict[str, tuple[dict[str, str], list]]:
    """What to repeat under, and what: name → (environment, arguments of pytest). Unit tests always take one thread."""
    both = [NOTEBOOKS, TESTS]
    return {
        "SSE4.1 convolutions, scalar PyTorch": (SSE, [*both, [ALL_FACES]]),
        "matrix products of old processors": (OLD_BLAS, both),
        "NumPy without AVX": ({"NPY_DISABLE_CPU_FEATURES": numpy_features()}, both),
        "1 thread": ({"OMP_NUM_THREADS": "1"}, both[:1]), "2 threads": ({"OMP_NUM_THREADS": "2"}, both[:1]),
    }


def seen(environment: dict[str, str]) -> str:
    """What PyTorch and NumPy say of themselves under an environment: whether the settings do anything here."""
    code = ("import torch; from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__ as has; "
            "print('PyTorch', torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), 'threads, NumPy', "
            "' '.join(name for name in __cpu_dispatch__ if has[name]) or 'as its baseline')")
    done = subprocess.run([sys.executable, "-c", code], env={"OMP_NUM_THREADS": "1"} | os.environ | environment,
                          capture_output=True, text=True, check=True)
    return done.stdout.strip()


def repeat(environment: dict[str, str], arguments: list[str]) -> bool:
    """Run pytest under an environment; print what its tolerances absorbed and its last line; all, when it fails."""
    started = time.perf_counter()
    done = subprocess.run([*PYTEST, *arguments], env=os.environ | environment, cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        print(done.stdout)
    else:
        absorbed = [f"  {line}" for line in done.stdout.splitlines() if " of what is allowed" in line]
        print("\n".join(absorbed or ["  no printed figure differed"]))
    last = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.strip().splitlines()[-1]).strip("= ")
    print(f"  {arguments[0].split('/')[0]}: {last}; {time.perf_counter() - started:.0f} s", flush=True)
    return done.returncode == 0


def main(arguments: list[str] | None = None) -> int:
    """Repeat all, or what CI repeats; exit code 1 when something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--quick", action="store_true", help="only what CI repeats")
    part.add_argument("--only", choices=list(arithmetics()), help="one arithmetic of all")
    options = parser.parse_args(arguments)
    chosen = {"SSE4.1 convolutions, scalar PyTorch": (SSE, QUICK)} if options.quick else arithmetics()
    if options.only:
        chosen = {options.only: chosen[options.only]}
    failed = []
    for name, (environment, parts) in chosen.items():
        print(f"{name}: {' '.join(f'{key}={value}' for key, value in environment.items())}\n  {seen(environment)}",
              flush=True)
        for what in parts:
            if not repeat(environment, what):
                failed.append(f"{name}: {what[0]}")
    print("does not hold under " + "; ".join(failed) if failed else
          f"all of it holds under {len(chosen)} other arithmetic{'s' if len(chosen) > 1 else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
