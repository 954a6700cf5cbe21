"""``python -m benchmarks prepare`` in its smallest setting: it prepares what it built."""

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.prepare import FRAMES, every_epoch, measure
from lorral_lite.datasets.folds import protocol_parts


def test_the_size_is_that_of_bp4d():
    assert sum(map(len, protocol_parts("bp4d"))) * 8 == 328
    assert FRAMES == 50_631 + 50_182 + 46_034


def test_an_epoch_from_the_prepared_folder_against_one_from_pictures(tmp_path):
    loading, changed = every_epoch(tmp_path, tiny=True)
    times = {row[0]: row[1].median for row in loading.rows}
    assert times["prepared folder"] < times["decode and align"]
    (goal,) = loading.goals
    assert (goal.limit, goal.at_least) == (10, True)
    assert goal.value == pytest.approx(times["decode and align"] / times["prepared folder"], rel=0.5)
    numbers = dict(changed.rows)
    assert 0 < numbers["mean difference"] < numbers["largest"] <= 255


@pytest.mark.slow
def test_every_frame_that_was_built_is_prepared():
    table = next(iter(measure(torch.device("cpu"), tiny=True)))
    (row,) = table.rows
    assert row[1] == round(0.0025 * FRAMES)
    assert row[9] > 100 * 100 * 3  # bytes of an aligned face and what belongs to it
    assert row[4] == pytest.approx(row[1] / row[3])


def test_a_share_is_of_prepare_only_and_at_most_all(capsys):
    for arguments in (["faces", "--share", "0.1"], ["prepare", "--share", "2"]):
        assert main([*arguments]) == 2
        assert "--share goes with prepare" in capsys.readouterr().err
