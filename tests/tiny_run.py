"""The smallest model that has every part, and data that it learns in seconds, for tests of whole runs."""

import json
import os
import shutil
from pathlib import Path

import numpy as np

from lorral_lite.datasets.writing import PreparedWriter
from lorral_lite.model.lorral import LoRRaLConfig
from lorral_lite.training.config import RunConfig, Schedule

AUS = (1, 4, 12)


def tiny_config(data, **changes) -> RunConfig:
    model = LoRRaLConfig(aus=AUS, name="tiny", image_size=16, frame_size=20, patch_channels=(4, 4), patch_grids=(2, 2),
                         feat_channels=(4,), local_channels=(4,), crop_size=2, landmark_hidden=8, head_hidden=8)
    return RunConfig(**{"model": model, "data": str(data), "step1": Schedule(3, 0.01), "step2": Schedule(3, 0.01),
                        "batch_size": 8, "views": 2, **changes})


def make_data(path, rows=60, subjects=6, unknown=(), never=()):
    """Noise whose brightness tells AU 12, with a few unknown labels; of the AUs at the places ``unknown`` no label is
    known, and those at ``never`` are not shown."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, (rows, 3)).astype(np.int8)
    frames = (rng.integers(0, 90, (rows, 20, 20, 3)) + 120 * labels[:, 2, None, None, None]).astype(np.uint8)
    shape = rng.uniform(5, 15, (49, 2))
    shape[19:25, 0], shape[25:31, 0] = 5, 14  # eyes apart: their distance is the unit of the landmark loss
    landmarks = shape + rng.normal(0, 0.5, (rows, 1, 2))
    labels[::17, 0] = -1
    labels[:, list(never)], labels[:, list(unknown)] = 0, -1
    index = [(f"S{i % subjects}", "T1", i) for i in range(rows)]
    with PreparedWriter(path, 20, AUS, {"source": "test"}) as writer:
        writer.append(index, frames, landmarks.astype(np.float32), labels)
    return path


def copy_run(run, to, *ignored: str) -> Path:
    """A copy of a run folder, which finds its faces where they are."""
    shutil.copytree(run, to, ignore=shutil.ignore_patterns(*ignored))
    values = json.loads((to / "config.json").read_text())
    values["data"] = os.path.relpath(run / values["data"], to)
    (to / "config.json").write_text(json.dumps(values, indent=1) + "\n")
    return to
