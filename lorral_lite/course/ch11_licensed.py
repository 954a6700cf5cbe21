"""Chapter 11, BP4D and DISFA: exercises."""

import numpy as np

from ..files import data_file, read_json
from ..landmarks import alignment
from .check import exercise


@exercise("11.1", "one source pixel becomes 199 / (2 × 290) aligned pixels; right and down together are √2 of them",
          tolerance=0.01)
def _aligned_error_of_counting_from_one():
    face = np.zeros((49, 2))
    face[25:31, 0] = 200  # eye centres 200 apart: half the aligned square is 1.45 times that
    return float(np.linalg.norm(alignment(face, 200)[:, :2] @ [1.0, 1.0]))


@exercise("11.2", "a file counted from 0 is one behind the label lines; a file counted from 1 is not")
def _label_lines_of_two_namings():
    return tuple(122 - first + 1 for first in (0, 1))


@exercise("11.3", "sum(last - first + 1) over the stretches of each person; SN021 has eight of them")
def _frames_left_of_the_worst():
    golden = read_json(data_file("protocol", "golden_counts.json"))["disfa"]
    return 4845 - max(sum(high - low + 1 for low, high in ranges) for ranges in golden["landmark_problem"].values())


@exercise("11.4", "rates = np.array(golden['positives']) / np.array(golden['frames']['all'])[:, None]; then np.ptp")
def _most_uneven_au():
    golden = read_json(data_file("protocol", "golden_counts.json"))["bp4d"]
    rates = np.array(golden["positives"]) / np.array(golden["frames"]["all"])[:, None]
    return golden["aus"][int(np.ptp(rates, axis=0).argmax())]


@exercise("11.5", "every frame is trained on in two of the three folds: 2 × 146,847 frames × 30 epochs × 7 trainings",
          tolerance=0.1)
def _hours_of_one_seed():
    golden = read_json(data_file("protocol", "golden_counts.json"))["bp4d"]
    total = sum(golden["frames"]["all"])
    return sum(total - tested for tested in golden["frames"]["all"]) * 30 * (1 + 6) / 100 / 3600
