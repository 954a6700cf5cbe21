"""How pytest compares these notebooks with their stored outputs: see tests/notebooks/papermill_nbval.py."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "notebooks")]

from papermill_nbval import *  # noqa: E402, F403
