"""Pictures of the experiment: what is drawn is what was computed."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from test_experiment import made_up

from lorral_lite.course.ch10_ablation import plot_attention, plot_au_gains, plot_gains
from lorral_lite.study.experiment import relation_gain, select


@pytest.fixture(scope="module")
def result():
    return made_up(effect=20)


def test_gains_are_drawn_at_their_values(result):
    fig = plot_gains(result)
    panels = [(hiding, structure) for hiding in ("none", "eyes") for structure in ("real", "exclusion")]
    for ax, (hiding, structure) in zip(fig.axes, panels, strict=True):
        drawn = next(line for line in ax.get_lines() if line.get_label() == "self-attention").get_ydata()
        worlds = [select(result, hiding, strength, structure) for strength in (0, 0.5, 1)]
        wanted = [relation_gain(cells, "self_attention", "local").value for cells in worlds]
        assert_allclose(drawn, wanted)
    assert f"self-attention {wanted[-1]:+.1f}" in fig.alt


def test_gains_of_every_au_are_drawn_at_their_values(result):
    lines = {line.get_label(): line for line in plot_au_gains(result).axes[0].get_lines()}
    cells = select(result, "eyes", 1.0, "real")
    wanted = [relation_gain(cells, "hopfield", "local", au=au).value for au in (4, 6, 12)]
    assert_allclose(lines["Hopfield"].get_ydata(), wanted)


def test_attention_is_drawn_against_phi(result):
    fig = plot_attention(result)
    dots = fig.axes[1].get_lines()[-1]  # nothing hidden, strength 1
    cells = select(result, "none", 1.0, "real")
    pairs = ~np.eye(3, dtype=bool)
    assert_allclose(dots.get_xdata(), np.array(cells[0]["expected_phi"])[pairs])
    assert_allclose(dots.get_ydata(), np.mean([c["attention"] for c in cells], axis=0)[pairs])
    assert "r = +1.00" in fig.alt
