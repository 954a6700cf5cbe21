"""Chapter 2, data: relations and their limits, time lines, exercises."""

from collections.abc import Sequence

import numpy as np

from ..draw.base import BLUE, INK, PALE, RED, SKY, Picture, new_plot, styled, titled
from ..faces.correlation import lowest_phi
from ..facs import ACTION_UNITS, AU_SETS
from ..files import data_file, read_json
from .check import exercise


@exercise("2.1", "phi = (P(both) - p q) / sqrt(p (1-p) q (1-q)); solve it for P(both)", tolerance=0.0005)
def _both_12_and_15():
    table = read_json(data_file("protocol", "au_statistics.json"))["bp4d"]
    i, j = table["aus"].index(12), table["aus"].index(15)
    p, q = table["rate"][i], table["rate"][j]
    return p * q + table["phi"][i][j] * (p * (1 - p) * q * (1 - q)) ** 0.5


@exercise("2.2", "take disfa['phi'] as an array, find its smallest entry with argmin, look up both AU numbers")
def _strongest_exclusion_of_disfa():
    table = read_json(data_file("protocol", "au_statistics.json"))["disfa"]
    i, j = np.unravel_index(np.argmin(table["phi"]), np.shape(table["phi"]))
    return {table["aus"][i], table["aus"][j]}


@exercise("2.3", "phi / lowest_phi(p, q) with the pair's two rates p and q, once for each data set", tolerance=0.01)
def _share_of_the_exclusion_that_is_possible():
    tables = read_json(data_file("protocol", "au_statistics.json"))
    shares = []
    for name in ("bp4d", "disfa"):
        i, j = tables[name]["aus"].index(4), tables[name]["aus"].index(12)
        p, q = tables[name]["rate"][i], tables[name]["rate"][j]
        shares.append(tables[name]["phi"][i][j] / lowest_phi(p, q))
    return np.array(shares)


@exercise("2.4", "round au_centers(points, bp4d_aus) and count the different (2, 2) blocks with a set")
def _places_of_bp4d():
    return len({(ACTION_UNITS[au].points, ACTION_UNITS[au].shift) for au in AU_SETS["bp4d"]})


@styled
def phi_ranges(rows: Sequence[tuple[str, float, float, float]], title: str = "") -> Picture:
    """Pairs of AUs as (name, lowest phi that their rates allow, phi, highest): the dot inside what is possible."""
    fig = new_plot(9.4, 1.5 + 0.52 * len(rows), titled(title, "; ".join(f"{r[0]} phi {r[2]:+.2f}" for r in rows)))
    ax = fig.subplots()
    ax.axvline(0, color=INK, lw=1)
    for y, (_, low, value, high) in enumerate(rows):
        ax.plot([low, high], [y, y], color=PALE, lw=9, solid_capstyle="butt", zorder=1)
        ax.plot(value, y, "o", ms=11, color=RED if value < 0 else BLUE, zorder=3)
        ax.annotate(f"{value:+.2f}", (value, y), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=12)
    ax.set_yticks(range(len(rows)), [r[0] for r in rows])
    ax.tick_params(axis="y", length=0)
    ax.set(ylim=(len(rows) - 0.5, -0.75), xlim=(-1, 1), title=title, xlabel="phi (grey: what the two rates allow)")
    return fig


@styled
def timeline(labels, aus: Sequence[int], frames_per_second: float, title: str = "") -> Picture:
    """Which AU is shown when: labels (frames, A) in {1, 0, −1} as one line of bars per AU over seconds."""
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.shape[1] != len(aus):
        raise ValueError(f"labels must be (frames, {len(aus)}), got {labels.shape}")
    fig = new_plot(10.5, 1.2 + 0.3 * len(aus), titled(title, f"bouts of AUs {', '.join(map(str, aus))} over time"))
    ax = fig.subplots()
    for y, shown in enumerate((labels == 1).T):
        edges = np.flatnonzero(np.diff(np.pad(shown.astype(int), 1)))
        spans = [(a / frames_per_second, (b - a) / frames_per_second) for a, b in edges.reshape(-1, 2)]
        ax.broken_barh(spans, (y - 0.38, 0.76), color=BLUE if y % 2 else SKY)
    ax.set_yticks(range(len(aus)), [f"AU{a}" for a in aus])
    ax.tick_params(axis="y", length=0)
    ax.set(ylim=(len(aus) - 0.4, -0.6), xlim=(0, len(labels) / frames_per_second), xlabel="seconds", title=title)
    return fig
