"""How pytest compares these notebooks with their stored outputs: see tests/notebooks/papermill_nbval.py.

A copy of this folder without the tests is judged by nbval alone.
"""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"

if (TESTS / "notebooks" / "papermill_nbval.py").exists():
    sys.path[:0] = [str(TESTS), str(TESTS / "notebooks")]
    from papermill_nbval import *  # noqa: F403
