"""Pictures of what ``lorral experiment`` found: gains against relation strength, by AU, and attention beside phi."""

import numpy as np
import torch

from .experiment import (
    HIDINGS,
    MODULES,
    attention_correlation,
    ceiling_gain,
    over_seeds,
    relation_gain,
    select,
)
from .figures import (
    BLUE,
    GREY,
    INK,
    OUTPUT_NAMES,
    PALE,
    RELATION_LOOKS,
    RELATION_NAMES,
    Picture,
    _picture,
    _styled,
)
from .widgets import effective_number

STRENGTHS = (0.0, 0.5, 1.0)
STRUCTURES = {"real": "relations of BP4D", "exclusion": "BP4D with pairs that exclude each other"}
HIDING_NAMES = {"none": "nothing hidden", "eyes": "eyes hidden (AU 6, 7)"}
NOTE = "procedural faces"


@_styled
def plot_gains(result: dict, output: str = "local", relations=("mlp", *MODULES)) -> Picture:
    """Gain in mean F1 over the same epochs without relation, against relation strength: one panel per structure and
    hiding, with 95 % t intervals over seeds; grey, the ceiling (none can be better on average)."""
    seeds = len(select(result, "none", 0.0, "real"))
    words = []
    fig = _picture(11.4, 8.2, "")
    axes = fig.subplots(len(HIDINGS), len(STRUCTURES), sharex=True, sharey="row", squeeze=False)
    for row, hiding in zip(axes, HIDINGS, strict=True):
        for ax, (structure, name) in zip(row, STRUCTURES.items(), strict=True):
            worlds = [select(result, hiding, strength, structure) for strength in STRENGTHS]
            top = [ceiling_gain(cells, output).value for cells in worlds]
            ax.fill_between(STRENGTHS, np.minimum(top, 0), top, color=PALE, alpha=0.7, lw=0, label="ceiling", zorder=0)
            words.append(f"{HIDING_NAMES[hiding]}, {name}: at strength 1 the ceiling is {top[-1]:+.1f}")
            for k, relation in enumerate(relations):
                colour, marker = RELATION_LOOKS[relation]
                x = np.array(STRENGTHS) + (k - (len(relations) - 1) / 2) * 0.028
                estimates = [relation_gain(cells, relation, output) for cells in worlds]
                ax.vlines(x, [e.low for e in estimates], [e.high for e in estimates], color=colour, lw=2.2)
                ax.plot(x, [e.value for e in estimates], marker, ls="-", lw=1, color=colour, ms=7.5, mec="white",
                        mew=0.8, label=RELATION_NAMES[relation])
                words.append(f"{RELATION_NAMES[relation]} {estimates[-1].value:+.1f}")
            ax.axhline(0, color=INK, lw=1.2, zorder=1)
            ax.set_xticks(STRENGTHS)
            ax.set_title(f"{name}\n{HIDING_NAMES[hiding]}", fontsize=12.5)
            ax.grid(axis="y")
        row[0].set_ylabel("gain in mean F1 (points)")
    for ax in axes[-1]:
        ax.set_xlabel("relation strength")
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    fig.suptitle(f"What a relation module adds: {OUTPUT_NAMES[output]}\n{NOTE}, {seeds} seeds, 95 % intervals over "
                 "seeds", fontsize=14)
    fig.alt = (f"Gain in mean F1 over no relation against relation strength, {OUTPUT_NAMES[output]}, {NOTE}. "
               + "; ".join(words))
    return fig


@_styled
def plot_au_gains(result: dict, hiding: str = "eyes", strength: float = 1.0, structure: str = "real",
                  output: str = "local", relations=MODULES) -> Picture:
    """Gain in F1 of every AU in one world, with its ceiling; AUs whose evidence is hidden are shaded."""
    cells = select(result, hiding, strength, structure)
    aus = cells[0]["aus"]
    fig = _picture(11.4, 4.6, "")
    ax = fig.subplots()
    for au in cells[0]["covered"]:
        ax.axvspan(aus.index(au) - 0.5, aus.index(au) + 0.5, color=PALE, alpha=0.6, lw=0, zorder=0)
    top = [ceiling_gain(cells, output, au).value for au in aus]
    ax.plot(range(len(aus)), top, "_", color=INK, ms=30, mew=2.4, label="ceiling")
    words = [f"ceiling of AU{au} {value:+.1f}" for au, value in zip(aus, top, strict=True)]
    for k, relation in enumerate(relations):
        colour, marker = RELATION_LOOKS[relation]
        x = np.arange(len(aus)) + (k - (len(relations) - 1) / 2) * 0.18
        estimates = [relation_gain(cells, relation, output, au=au) for au in aus]
        ax.vlines(x, [e.low for e in estimates], [e.high for e in estimates], color=colour, lw=2)
        ax.plot(x, [e.value for e in estimates], marker, ls="", color=colour, ms=7, mec="white", mew=0.7,
                label=RELATION_NAMES[relation])
        words.append(f"{RELATION_NAMES[relation]} "
                     + ", ".join(f"AU{au} {e.value:+.1f}" for au, e in zip(aus, estimates, strict=True)))
    ax.axhline(0, color=INK, lw=1.2, zorder=1)
    ax.set_xticks(range(len(aus)), [f"AU{au}" for au in aus])
    ax.set(title=f"Gain of every AU, {HIDING_NAMES[hiding]}, strength {strength:g}, {NOTE}",
           ylabel="gain in F1 (points)", xlim=(-0.6, len(aus) - 0.4))
    ax.grid(axis="y")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    fig.alt = f"Gain in F1 by AU, {HIDING_NAMES[hiding]}, strength {strength:g}, {NOTE}: " + "; ".join(words)
    return fig


@_styled
def plot_attention(result: dict, structure: str = "real") -> Picture:
    """Learned self-attention against the true phi, a dot for each ordered pair of AUs, mean over seeds, for every
    strength above 0 and hiding; the titles carry the correlation over pairs with its interval over seeds."""
    fig = _picture(11.4, 7.6, "")
    axes = fig.subplots(len(HIDINGS), 2, sharex=True, sharey=True, squeeze=False)
    words = []
    for row, hiding in zip(axes, HIDINGS, strict=True):
        for ax, strength in zip(row, STRENGTHS[1:], strict=True):
            cells = select(result, hiding, strength, structure)
            pairs = ~np.eye(len(cells[0]["aus"]), dtype=bool)
            phi = np.array(cells[0]["expected_phi"])[pairs]
            attention = np.mean([c["attention"] for c in cells], axis=0)[pairs]
            ax.axhline(1 / len(pairs), color=GREY, lw=1.2, ls="--")
            ax.axvline(0, color=INK, lw=1, zorder=0)
            ax.plot(phi, attention, "o", color=BLUE, ms=5, alpha=0.6, mec="none")
            r = attention_correlation(cells)
            ax.set_title(f"strength {strength:g}, {HIDING_NAMES[hiding]}\nr = {r.value:+.2f} ({r.low:+.2f} to "
                         f"{r.high:+.2f})", fontsize=12.5)
            words.append(f"strength {strength:g}, {HIDING_NAMES[hiding]}: r = {r.value:+.2f}")
        row[0].set_ylabel("attention (row to column)")
    for ax in axes[-1]:
        ax.set_xlabel("true phi of the two AUs")
    fig.suptitle(f"Does attention learn who goes with whom? {NOTE}; dashed: equal attention to all", fontsize=14)
    fig.alt = f"Learned attention against true phi of pairs of AUs, {NOTE}. " + "; ".join(words)
    return fig


def effective_aus(result: dict, hiding: str, strength: float, structure: str = "real"):
    """To how many of the AUs the mean attention of an AU spreads: e to its entropy, mean over AUs, over seeds."""
    def spread(cell):
        return effective_number(torch.tensor(cell["attention"], dtype=torch.float64)).mean().item()

    return over_seeds([spread(cell) for cell in select(result, hiding, strength, structure)])
