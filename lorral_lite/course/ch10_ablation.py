"""Chapter 10, do relations help? Figures of the experiment, exercises."""

from collections.abc import Sequence

import ipywidgets as w
import numpy as np
import torch

from ..draw.base import BLUE, GREEN, GREY, INK, PALE, PINK, SKY, Picture, new_plot, styled
from ..draw.results import OUTPUT_NAMES, look_of
from ..faces.population import Population
from ..measure.statistics import holm
from ..model.relations import label_of
from ..study.ceiling import joint_posterior
from ..study.experiment import (
    HIDINGS,
    attention_correlation,
    ceiling_gain,
    modules_of,
    over_seeds,
    relation_gain,
    select,
)
from ..study.influence import effective_number
from .check import exercise
from .explore import SLIDER, explore


@exercise("10.1", "smallest p × 3, middle × 2, largest × 1, and none may be smaller than the one before",
          tolerance=0.0005)
def _holm_of_three():
    return holm([0.01, 0.04, 0.03])[0]


@exercise("10.2", "Population(relation_strength=0.5).expected_phi, at the places of AU 6 and 12 in .aus",
          tolerance=0.005)
def _phi_at_half_strength():
    people = Population(relation_strength=0.5)
    return float(people.expected_phi[people.aus.index(6), people.aus.index(12)])


@exercise("10.3", "draw many triples with np.random.default_rng(0).normal(size=(100_000, 3)); the mean of .max(1)",
          tolerance=0.02)
def _best_of_three_that_do_nothing():
    return 3 / (2 * np.sqrt(np.pi))


@exercise("10.4", "weights of (0, 1) and (1, 1) over the sum of all four; p₁ / (1 − p₁) is 1/19 now", tolerance=0.005)
def _hidden_au_beside_an_absent_one():
    prior, rates = np.array([0.45, 0.05, 0.10, 0.40]), np.array([0.50, 0.45])
    return joint_posterior(np.array([[0.05, 0.45]]), rates, prior)[0, 1]


@exercise("10.5", "there is no true positive, so the numerator of 2 tp / (2 tp + fp + fn) is …")
def _f1_of_never():
    return 0.0


STRENGTHS = (0.0, 0.5, 1.0)
STRUCTURES = {"real": "relations of BP4D", "exclusion": "BP4D with pairs that exclude each other"}
HIDING_NAMES = {"none": "nothing hidden", "eyes": "eyes hidden (AU 6, 7)"}
NOTE = "procedural faces"


def _draw_estimates(ax, places, relation: str, estimates, size: float, line: str = "") -> None:
    """Marks of one module at ``places`` with their intervals as bars; ``line`` joins them."""
    colour, marker = look_of(relation)
    ax.vlines(places, [e.low for e in estimates], [e.high for e in estimates], color=colour, lw=2.2)
    ax.plot(places, [e.value for e in estimates], marker, ls=line, lw=1, color=colour, ms=size, mec="white", mew=0.8,
            label=label_of(relation))


@styled
def plot_gains(result: dict, output: str = "local") -> Picture:
    """Gain in mean F1 over the same epochs without relation, against relation strength: one panel per structure and
    hiding, with 95 % t intervals over seeds; grey, the ceiling (none can be better on average)."""
    seeds, relations = len(select(result, "none", 0.0, "real")), ("mlp", *modules_of(result))
    words = []
    fig = new_plot(11.4, 8.2, "")
    axes = fig.subplots(len(HIDINGS), len(STRUCTURES), sharex=True, sharey="row", squeeze=False)
    for row, hiding in zip(axes, HIDINGS, strict=True):
        for ax, (structure, name) in zip(row, STRUCTURES.items(), strict=True):
            worlds = [select(result, hiding, strength, structure) for strength in STRENGTHS]
            top = [ceiling_gain(cells, output).value for cells in worlds]
            ax.fill_between(STRENGTHS, np.minimum(top, 0), top, color=PALE, alpha=0.7, lw=0, label="ceiling", zorder=0)
            words.append(f"{HIDING_NAMES[hiding]}, {name}: at strength 1 the ceiling is {top[-1]:+.1f}")
            for k, relation in enumerate(relations):
                x = np.array(STRENGTHS) + (k - (len(relations) - 1) / 2) * 0.028
                estimates = [relation_gain(cells, relation, output) for cells in worlds]
                _draw_estimates(ax, x, relation, estimates, 7.5, "-")
                words.append(f"{label_of(relation)} {estimates[-1].value:+.1f}")
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


@styled
def plot_au_gains(result: dict, hiding: str = "eyes", strength: float = 1.0) -> Picture:
    """Gain in F1 of every AU in one world, local output, with its ceiling; AUs with hidden evidence are shaded."""
    cells, relations = select(result, hiding, strength, "real"), modules_of(result)
    aus = cells[0]["aus"]
    fig = new_plot(11.4, 4.6, "")
    ax = fig.subplots()
    for au in cells[0]["covered"]:
        ax.axvspan(aus.index(au) - 0.5, aus.index(au) + 0.5, color=PALE, alpha=0.6, lw=0, zorder=0)
    top = [ceiling_gain(cells, "local", au).value for au in aus]
    ax.plot(range(len(aus)), top, "_", color=INK, ms=30, mew=2.4, label="ceiling")
    words = [f"ceiling of AU{au} {value:+.1f}" for au, value in zip(aus, top, strict=True)]
    for k, relation in enumerate(relations):
        x = np.arange(len(aus)) + (k - (len(relations) - 1) / 2) * 0.18
        estimates = [relation_gain(cells, relation, "local", au=au) for au in aus]
        _draw_estimates(ax, x, relation, estimates, 7.0)
        words.append(f"{label_of(relation)} "
                     + ", ".join(f"AU{au} {e.value:+.1f}" for au, e in zip(aus, estimates, strict=True)))
    ax.axhline(0, color=INK, lw=1.2, zorder=1)
    ax.set_xticks(range(len(aus)), [f"AU{au}" for au in aus])
    ax.set(title=f"Gain of every AU, {HIDING_NAMES[hiding]}, strength {strength:g}, {NOTE}",
           ylabel="gain in F1 (points)", xlim=(-0.6, len(aus) - 0.4))
    ax.grid(axis="y")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    fig.alt = f"Gain in F1 by AU, {HIDING_NAMES[hiding]}, strength {strength:g}, {NOTE}: " + "; ".join(words)
    return fig


@styled
def plot_attention(result: dict) -> Picture:
    """Learned self-attention against the true phi, a dot for each ordered pair of AUs, mean over seeds, for every
    strength above 0 and hiding; the titles carry the correlation over pairs with its interval over seeds."""
    fig = new_plot(11.4, 7.6, "")
    axes = fig.subplots(len(HIDINGS), 2, sharex=True, sharey=True, squeeze=False)
    words = []
    for row, hiding in zip(axes, HIDINGS, strict=True):
        for ax, strength in zip(row, STRENGTHS[1:], strict=True):
            cells = select(result, hiding, strength, "real")
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


def effective_aus(result: dict, hiding: str, strength: float):
    """To how many of the AUs the mean attention of an AU spreads: e to its entropy, mean over AUs, over seeds."""
    def spread(cell):
        return effective_number(torch.tensor(cell["attention"], dtype=torch.float64)).mean().item()

    return over_seeds([spread(cell) for cell in select(result, hiding, strength, "real")])


@styled
def plot_gate(heard: dict[str, dict[str, list[float]]], gate: float) -> Picture:
    """AUC of the AU that copies another one, of each module and of its deaf twin, a pair of marks for each seed.

    ``heard``: {module: {"module", "twin": one a seed}} in %; ``gate``: how far apart the two must lie.
    """
    words = "; ".join(f"{label_of(name)} {np.mean(pair['module']):.1f} against {np.mean(pair['twin']):.1f}"
                      for name, pair in heard.items())
    fig = new_plot(9.2, 3.9, f"AUC of the copied AU, module against deaf twin, {NOTE}: {words}")
    ax = fig.subplots()
    for k, (name, pair) in enumerate(heard.items()):
        colour, marker = look_of(name)
        for s, (module, twin) in enumerate(zip(pair["module"], pair["twin"], strict=True)):
            x = k + 0.22 * (s - (len(pair["twin"]) - 1) / 2)
            ax.plot([x, x], [twin, module], color=colour, lw=2)
            ax.plot(x, module, marker, color=colour, ms=9, mec="white", mew=0.8)
            ax.plot(x, twin, marker, color="white", ms=8, mec=colour, mew=1.8)
            ax.plot([x - 0.09, x + 0.09], [twin + gate] * 2, color=INK, lw=1.4)
    ax.plot([], [], "o", color=INK, ms=8, label="module")
    ax.plot([], [], "o", color="white", ms=8, mec=INK, mew=1.8, label="deaf twin")
    ax.plot([], [], color=INK, lw=1.4, label=f"gate, {gate:g} points above it")
    ax.set_xticks(range(len(heard)), [label_of(name) for name in heard])
    ax.set(ylabel="AUC of the copied AU (%)", xlim=(-0.6, len(heard) - 0.4))
    ax.grid(axis="y")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


@styled
def plot_slopes(families: dict[str, list[dict]], least: float, xlabel: str = "points of AUC") -> Picture:
    """What each module gains, a panel for each family of questions: a dot a seed, the mean with its 95 % t interval.

    ``families``: {title: rows of :func:`lorral_lite.study.question.answer`}; ``least``: the smallest gain of interest,
    a grey band around 0.
    """
    words = "; ".join(title.replace("\n", ", ") + ": " + ", ".join(
        f"{label_of(row['name'])} {row['estimate'].value:+.2f} ({row['estimate'].low:+.2f} to "
        f"{row['estimate'].high:+.2f}), {row['verdict']}" for row in rows) for title, rows in families.items())
    fig = new_plot(5.6 * len(families) + 1.2, 3.9, f"Module minus deaf twin, {NOTE}. {words}")
    axes = fig.subplots(1, len(families), squeeze=False, sharey=True)[0]
    for ax, (title, rows) in zip(axes, families.items(), strict=True):
        ax.axvspan(-least, least, color=PALE, alpha=0.55, lw=0, zorder=0)
        ax.axvline(0, color=INK, lw=1.2, zorder=1)
        for y, row in enumerate(rows):
            (colour, marker), e = look_of(row["name"]), row["estimate"]
            apart = np.linspace(-0.16, 0.16, len(row["values"])) if len(row["values"]) > 1 else [0]
            ax.plot(row["values"], y + 0.24 + 0.5 * np.asarray(apart), ".", color=colour, ms=6, alpha=0.7)
            ax.plot([e.low, e.high], [y - 0.08] * 2, color=colour, lw=2.6, solid_capstyle="butt")
            ax.plot(e.value, y - 0.08, marker, color=colour, ms=9, mec="white", mew=0.8)
            ax.annotate(row["verdict"], (1.01, y), xycoords=("axes fraction", "data"), fontsize=10.5, va="center")
        ax.set(title=title, xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
        ax.set_yticks(range(len(rows)), [label_of(row["name"]) for row in rows])
        ax.grid(axis="x")
    return fig


@styled
def plot_relation_strength(strengths: Sequence[float]) -> Picture:
    """True phi between the AUs of procedural people at each relation strength; the AUs' rates stay the same.

    On the right the four most positive and the two most negative pairs by number. Source of the rates and of phi at
    strength 1: the public frame labels (data/protocol/au_statistics.json).
    """
    people = [Population(relation_strength=float(s)) for s in strengths]
    aus = people[0].aus
    first, second = np.triu_indices(len(aus), 1)
    order = np.argsort(-Population().expected_phi[first, second])
    pairs = [(first[k], second[k]) for k in (*order[:4], *order[-2:])]
    alt = "Phi between the AUs of BP4D at relation strength " + ", ".join(
        f"{s:g} (AU{aus[pairs[0][0]]} with AU{aus[pairs[0][1]]}: {p.expected_phi[pairs[0]]:+.2f})"
        for s, p in zip(strengths, people, strict=True))
    fig = new_plot(3.7 * len(people) + 4.4, 4.1, alt)
    *axes, right = fig.subplots(1, len(people) + 1, squeeze=False)[0]
    for k, (ax, strength, person) in enumerate(zip(axes, strengths, people, strict=True)):
        values = person.expected_phi.copy()
        np.fill_diagonal(values, np.nan)
        shown = ax.imshow(values, cmap="PuOr", vmin=-0.6, vmax=0.6, interpolation="nearest")
        ax.set_xticks(range(len(aus)), aus, fontsize=10.5)
        ax.set_yticks(range(len(aus)), aus, fontsize=10.5)
        ax.set(title=f"strength {strength:g}", xlabel="AU")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        right.plot([person.expected_phi[pair] for pair in pairs], range(len(pairs)), "osD^v"[k % 5],
                   color=(GREY, SKY, BLUE, GREEN, PINK)[k % 5] if len(people) > 1 else BLUE, ms=9,
                   label=f"strength {strength:g}")
    right.axvline(0, color=INK, lw=1.2, zorder=0)
    right.set_yticks(range(len(pairs)), [f"AU{aus[i]} with {aus[j]}" for i, j in pairs])
    right.set(xlim=(-0.6, 0.6), ylim=(len(pairs) - 0.5, -0.5), xlabel="phi", title="strongest pairs")
    right.grid(axis="x")
    if len(people) > 1:
        right.legend(loc="lower right", fontsize=10.5)
    fig.colorbar(shown, ax=axes, shrink=0.8, pad=0.02)
    return fig


def relation_dial() -> w.VBox:
    """A slider for the strength of the relations in procedural people, 0 (independent AUs) to 1 (as in the data)."""
    return explore(lambda strength: plot_relation_strength([strength]),
                   strength=w.FloatSlider(1.0, min=0, max=1, step=0.1, continuous_update=False, layout=SLIDER))
