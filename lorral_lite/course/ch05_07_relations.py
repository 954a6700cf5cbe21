"""Chapters 5 to 7, the three relation modules: pictures of what they compute, exercises."""

import itertools
import math
import textwrap

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ..draw.base import BLUE, GREEN, GREY, INK, ORANGE, PALE, PINK, RED, SKY, new_plot, styled
from ..draw.results import matrix
from ..faces.population import Population
from ..facs import AU_SETS
from ..landmarks import au_centers
from ..model.relations import BiLSTMRelation, energy, hopfield_retrieve, position_encoding
from ..study.influence import au_order, effective_number, reordered_influence, retrieval_rate
from .check import exercise
from .portraits import Sample


@exercise("5.1", "a direction has 4 gates of h = D / 2 rows with D + h weights each, and two bias vectors of 4h")
def bilstm_parameters() -> int:
    return sum(p.numel() for p in BiLSTMRelation(160, 12).parameters())


@exercise("5.2", "the forward LSTM has read AU17 before it writes AU17 and everything after it: count from the list")
def forward_halves_that_hear_au17() -> int:
    return len(AU_SETS["bp4d"]) - AU_SETS["bp4d"].index(17)


@exercise("5.3", "from AU1 to AU24 the memory is multiplied by f eleven times: solve f^11 = 1/2", 2e-3)
def forget_gate_that_remembers() -> float:
    return 0.5 ** (1 / (len(AU_SETS["bp4d"]) - 1))


@exercise("5.4", "what was read forwards is now read backwards: do the two directions share their weights?")
def reversed_input_gives_reversed_output() -> bool:
    with torch.no_grad():
        relation, tokens = BiLSTMRelation(4, 3), torch.arange(12.0).sin().view(1, 3, 4)
        return torch.allclose(relation(tokens.flip(1)), relation(tokens).flip(1))


@exercise("5.5", "sort the 66 pairs i < j by |phi|, largest first, and count among the first 10 those with j = i + 1")
def strongest_pairs_that_are_list_neighbours() -> int:
    phi = np.abs(Population("bp4d").expected_phi)
    pairs = sorted(zip(*np.triu_indices(len(phi), 1), strict=True), key=lambda pair: -phi[pair])
    return sum(int(j - i == 1) for i, j in pairs[:10])


@exercise("6.1", "AU12 is at place 6 of the list, 0-based; feature 2 is even, so it is a sine with 2i = 2", 1e-3)
def position_of_au12() -> float:
    return position_encoding(12, 24)[AU_SETS["bp4d"].index(12), 2].item()


@exercise("6.2", "softmax: e to the power of each score, divided by their sum; no score makes a weight negative", 5e-3)
def weights_of_three_scores() -> np.ndarray:
    return torch.tensor([2.0, 0.0, -3.0]).softmax(0).numpy()


@exercise("6.3", "AU4 hears weight × value × (change of AU12): solve 0.2 · v · 2 = −1", 1e-3)
def value_that_excludes() -> float:
    return -1 / (0.2 * 2)


@exercise("6.4", "q·k is −6 to 6, so a score is −√6 to √6: one AU has the highest, eleven the lowest", 2e-3)
def largest_weight_of_one_au() -> float:
    return torch.tensor([6**0.5] + [-(6**0.5)] * 11).softmax(0)[0].item()


@exercise("7.1", "with patterns +1 and −1 the new state is (e^βξ − e^−βξ) / (e^βξ + e^−βξ) = tanh(βξ)", 1e-3)
def one_update_between_two_patterns() -> float:
    return hopfield_retrieve(torch.tensor([[0.5]]), torch.tensor([[1.0], [-1.0]]), beta=2.0).item()


@exercise("7.2", "call retrieval_rate(1024, β) for each of the four")
def smallest_beta_for_1024_patterns() -> float:
    return min(beta for beta in (0.05, 0.125, 0.25, 1.0) if retrieval_rate(1024, beta) >= 0.99)


@exercise("7.3", "one bit speaks for A and against B: their scores differ by 2β; take the softmax of two", 2e-3)
def weight_of_the_pattern_that_one_bit_favours() -> float:
    return torch.tensor([2.0, 0.0]).softmax(0)[0].item()


@exercise("7.4", "near 0, tanh(βξ) ≈ βξ: for which β does a small state grow instead of shrink?", 0.05)
def beta_that_tells_two_patterns_apart() -> float:
    patterns, state = torch.tensor([[1.0], [-1.0]]), torch.tensor([[0.1]])
    grows = [b / 100 for b in range(50, 151) if hopfield_retrieve(state, patterns, b / 100, 300).item() > 0.1]
    return min(grows)


@styled
def plot_lines(x, lines: dict, xlabel: str, ylabel: str, title: str = "", *, logx: bool = False, marks: str = "o",
               vertical: dict | None = None, height: float = 3.7) -> Figure:
    """One line per entry of {name: y over x}; ``vertical`` marks {name: x} with dashed lines."""
    fig = new_plot(8.2, height, f"{title}: {ylabel} over {xlabel}, lines for {', '.join(map(str, lines))}")
    ax = fig.subplots()
    looks = zip(itertools.cycle([BLUE, RED, GREEN, ORANGE, PINK, SKY, INK]), itertools.cycle("os^DvXP"), strict=False)
    for (name, y), (colour, mark) in zip(lines.items(), looks, strict=False):
        ax.plot(x, y, color=colour, marker=mark if marks else None, ms=6, label=str(name), clip_on=False)
    for name, place in (vertical or {}).items():
        ax.axvline(place, color=GREY, ls="--", lw=1.3, zorder=0)
        ax.annotate(name, (place, 0.6), xycoords=("data", "axes fraction"), xytext=(5, 0), textcoords="offset points",
                    color=GREY, va="center", fontsize=11)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if logx:
        ax.set_xscale("log", base=2)
    elif all(float(value).is_integer() for value in x):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y")
    if len(lines) > 1:
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return fig


@styled
def pair_scatter(x, y, aus, xlabel: str, ylabel: str, title: str, named: int = 4) -> Figure:
    """Two (A, A) tables against each other: one dot per pair i ≠ j, row i, column j, with the line of least squares.

    The ``named`` pairs of largest and of smallest x carry their AU numbers, i ← j.
    """
    x, y = (np.asarray(table, dtype=np.float64) for table in (x, y))
    rows, columns = np.nonzero(~np.eye(len(aus), dtype=bool))
    x, y = x[rows, columns], y[rows, columns]
    slope, start = np.polyfit(x, y, 1)
    fig = new_plot(8.2, 4.4, f"{title}: {ylabel} over {xlabel}, one dot for each of {len(x)} pairs of AUs")
    ax = fig.subplots()
    ax.axhline(0, color=GREY, lw=1, zorder=0)
    ax.axvline(0, color=GREY, lw=1, zorder=0)
    ax.scatter(x, y, s=34, color=BLUE, alpha=0.6, edgecolor="white", lw=0.5)
    ends = np.array([x.min(), x.max()])
    ax.plot(ends, start + slope * ends, color=RED)
    lowest_first = np.argsort(x, kind="stable")
    for k in [*lowest_first[:named], *lowest_first[-named:]]:
        ax.annotate(f"{aus[rows[k]]} ← {aus[columns[k]]}", (x[k], y[k]), xytext=(5, 3), textcoords="offset points",
                    fontsize=10, color=INK)
    ax.margins(x=0.1)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    return fig


@styled
def flow(panels, aus, title: str = "", *, columns: int = 4, size: float = 2.75) -> Figure:
    """Tables side by side, with what leads from each to the next written over the arrow between them.

    ``panels``: (name, table (A, anything), words over the arrow to the next or ""). Rows are the AUs. Signed tables are
    drawn orange to purple around 0, others white to blue; each has its own scale.
    """
    rows = math.ceil(len(panels) / columns)
    fig = new_plot(size * columns + 0.6, (0.98 * size + 0.5) * rows + 0.55 * bool(title),
                   f"{title}: " * bool(title) + ", then ".join(name.replace("\n", " ") for name, *_ in panels))
    fig.set_layout_engine("none")
    top = 0.55 * bool(title) / fig.get_figheight()
    axes = fig.subplots(rows, columns, squeeze=False, gridspec_kw={
        "left": 0.55 / fig.get_figwidth(), "right": 0.985, "bottom": 0.12 / fig.get_figheight(),
        "top": 1 - top - 0.5 / fig.get_figheight(), "wspace": 0.62, "hspace": 0.36}).ravel()
    for ax in axes[len(panels):]:
        ax.axis("off")
    for i, (ax, (name, table, words)) in enumerate(zip(axes, panels, strict=False)):
        table = np.asarray(table.detach() if hasattr(table, "detach") else table, dtype=np.float64)
        signed, most = bool(table.min() < 0), max(np.abs(table).max(), 1e-9)
        ax.imshow(table, cmap="PuOr" if signed else "Blues", vmin=-most if signed else 0, vmax=most, aspect="auto",
                  interpolation="nearest")
        ax.set_title(name, fontsize=12)
        ax.set_yticks(range(len(aus)), aus if i % columns == 0 else [""] * len(aus), fontsize=10)
        ax.set_xticks([])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        if words and i + 1 < len(panels) and (i + 1) % columns:
            ax.annotate("", (1.52, 0.5), (1.06, 0.5), xycoords="axes fraction",
                        arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.6})
        if words:
            ax.text(1.29, 0.53, words, transform=ax.transAxes, ha="center", va="bottom", fontsize=10.5, color=INK)
    if title:
        fig.text(0.012, 1 - 0.1 / fig.get_figheight(), title, fontsize=15, weight="bold", va="top")
    return fig


@styled
def bilstm_picture(relation, tokens: torch.Tensor, aus) -> Figure:
    """The paper's Figure 5 with real numbers: tokens (A, D) of one face, both directions, and the new tokens.

    Every column is one AU, every cell one feature; orange is negative, purple positive.
    """
    with torch.no_grad():
        out = relation.eval().lstm(tokens[None])[0][0]
    half, title = out.shape[1] // 2, "BiLSTM (paper Figure 5)"
    fig = new_plot(11.5, 5.6, f"{title}: AU features pass a forward and a backward LSTM, whose states are joined")
    fig.set_layout_engine("none")
    ax = fig.add_axes((0.02, 0.02, 0.965, 0.88))
    ax.set(xlim=(-2.6, len(aus)), ylim=(-0.55, 6.7))
    ax.axis("off")
    rows = [(tokens, 0.0, 1.5, INK, "local AU\nfeatures"), (out[:, :half], 2.15, 0.8, BLUE, "forward LSTM\nreads on →"),
            (out[:, half:], 3.45, 0.8, RED, "backward LSTM\n← reads back"), (out, 4.95, 1.5, INK, "new AU\nfeatures")]
    arrow = {"arrowstyle": "-|>", "lw": 1.6, "shrinkA": 0, "shrinkB": 0}
    for values, y, height, colour, name in rows:
        most = float(values.abs().max())
        ax.text(-0.55, y + height / 2, name, ha="right", va="center", fontsize=13, color=colour, weight="bold")
        for x in range(len(aus)):
            ax.imshow(values[x, :, None].flip(0).numpy(), extent=(x - 0.24, x + 0.24, y, y + height), cmap="PuOr",
                      vmin=-most, vmax=most, aspect="auto", interpolation="nearest", origin="lower")
            ax.add_patch(Rectangle((x - 0.24, y), 0.48, height, fill=False, ec=colour, lw=1.5))
    for x, au in enumerate(aus):
        ax.text(x, -0.1, f"AU{au}", ha="center", va="top", fontsize=12)
        for low, high in ((1.5, 2.15), (4.25, 4.95)):
            ax.annotate("", (x, high), (x, low), arrowprops={**arrow, "color": GREY})
        for low, high, side in ((1.3, 4.1, -1), (2.3, 5.15, 1)):  # token → backward, forward → output: past the boxes
            ax.plot(x + side * np.array([0.24, 0.36, 0.36]), [low, low, high], color=GREY, lw=1.6, zorder=0)
            ax.annotate("", (x + side * 0.24, high), (x + side * 0.37, high), arrowprops={**arrow, "color": GREY})
        if x + 1 < len(aus):
            ax.annotate("", (x + 0.76, 2.55), (x + 0.24, 2.55), arrowprops={**arrow, "color": BLUE})
            ax.annotate("", (x + 0.24, 3.85), (x + 0.76, 3.85), arrowprops={**arrow, "color": RED})
    ax.set(xlim=(-2.7, len(aus) - 0.5), ylim=(-0.55, 6.6), aspect="auto")
    fig.text(0.02, 0.975, title, fontsize=16, weight="bold", va="top")
    return fig


def order_picture(relation, tokens: torch.Tensor, aus, shuffle: int = 0) -> Figure:
    """Influence of AUs on each other when the relation reads them in another order; 0 is the natural one.

    Rows and columns are printed in natural order, whatever was read, so only what the order changes moves.
    """
    order = au_order(shuffle, len(aus))
    table = reordered_influence(relation, tokens, order)
    names = ", ".join(str(aus[i]) for i in order)
    return matrix(table / table.max(), [f"AU{a}" for a in aus], f"read as {names}",
                  unit="influence of column on row, largest = 1", numbers=False)


def attention_stages(relation, tokens: torch.Tensor, head: int = 0) -> dict[str, torch.Tensor]:
    """What happens to the tokens (A, D) of one face in a (Hopfield) self-attention relation, in order, one head.

    → features, preprocessed, position, input, queries, keys, values, scores, weights, heard, new; the Hopfield
    relation's has states ``queries 1``, … and weights ``weights 1``, … of its earlier updates.
    """
    layer = relation.eval().layers[0]
    size = relation.dim // layer.heads
    part = slice(head * size, (head + 1) * size)
    with torch.no_grad():
        pre = relation.norm(relation.linear(tokens))
        x = pre + relation.position
        q, k, v = (f(x)[:, part] for f in (layer.query, layer.key, layer.value))
        stages = {"features": tokens, "preprocessed": pre, "position": relation.position, "input": x, "queries": q,
                  "keys": k, "values": v}
        beta = getattr(layer, "beta", size**-0.5)
        for step in range(1, getattr(layer, "steps", 1)):
            stages[f"weights {step}"] = (beta * q @ k.mT).softmax(-1)
            q = stages[f"queries {step}"] = hopfield_retrieve(q, k, beta)
        scores = beta * q @ k.mT
        weights = scores.softmax(-1)
        return {**stages, "scores": scores, "weights": weights, "heard": weights @ v, "new": relation(tokens[None])[0]}


def attention_picture(relation, tokens: torch.Tensor, aus) -> Figure:
    """The paper's Figure 6 with real numbers: preprocessing above, the encoding layer below, for one face (A, D)."""
    s = attention_stages(relation, tokens)
    return flow([
        ("AU features", s["features"], "Linear,\nLayerNorm,\nDropout"), ("preprocessed", s["preprocessed"], "+"),
        ("position\neq. 3.1, 3.2", s["position"], "="), ("layer input", s["input"], ""),
        ("scores, head 1\nQKᵀ/√d", s["scores"], "softmax\nof rows"),
        ("attention weights", s["weights"], "× V"), ("heard\neq. 3.3", s["heard"], "join heads,\nresidual,\nMLP"),
        ("new AU features", s["new"], ""),
    ], aus, "Self-attention (paper Figure 6)")


def hopfield_picture(relation, tokens: torch.Tensor, aus) -> Figure:
    """The paper's Figure 7 with real numbers: stored patterns and states above, each update's weights below."""
    s = attention_stages(relation, tokens)
    steps = relation.layers[0].steps
    states = [s["queries"], *[s[f"queries {t}"] for t in range(1, steps)]]
    weights = [*[s[f"weights {t}"] for t in range(1, steps)], s["weights"]]
    over = ["× K:\nnext state" if t < steps - 1 else "× V, join,\nresidual,\nMLP" for t in range(steps)]
    moves = [*["update\n(weights\nbelow)"] * (steps - 1), ""]
    top = [("layer input", s["input"], "W_K"), ("stored K", s["keys"], ""),
           *[(f"state ξ, step {t}", state, moves[t]) for t, state in enumerate(states)]]
    low = [("AU features", s["features"], ""),
           *[(f"weights, step {t + 1}", table, over[t]) for t, table in enumerate(weights)],
           ("new AU features", s["new"], "")]
    return flow([*top, *low], aus, "Hopfield (paper Figure 7)", columns=steps + 2, size=2.5)


@styled
def attention_on_face(sample: Sample, attention: torch.Tensor, aus, face: int = 0, au: int = 12) -> Figure:
    """Whom AU ``au`` listens to in one face: discs at the AU centres, and bars. ``attention`` (N, heads, A, A)."""
    if not 0 <= face < len(sample.images):
        raise ValueError(f"face must be 0 to {len(sample.images) - 1}, got {face}")
    if au not in aus:
        raise ValueError(f"AU{au} is not one of {', '.join(map(str, aus))}")
    weights = attention[face].mean(0)[aus.index(au)].numpy()
    shown = [a for a, y in zip(aus, sample.labels[face], strict=True) if y == 1]
    fig = new_plot(9.4, 4.3, f"Face {face}: attention of AU{au}, most to AU{aus[int(weights.argmax())]}")
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.5))
    left.imshow(sample.images[face], interpolation="bicubic")
    left.set_anchor("S")  # all the room is above, for a title of two lines
    left.axis("off")
    left.set_title(textwrap.fill("shows AU " + (" ".join(map(str, shown)) or "none"), 30), fontsize=12)
    centers = au_centers(sample.landmarks[face].astype(np.float64), aus)  # (A, 2, 2)
    for pair, weight, a in zip(centers, weights, aus, strict=True):
        left.scatter(*pair.T, s=1500 * weight, color=RED if a == au else SKY, alpha=0.55, edgecolor="white", lw=1)
    left.scatter(*centers[aus.index(au)].T, s=40, color=RED, edgecolor="white", zorder=3)
    right.bar(range(len(aus)), weights, color=[RED if a == au else BLUE if a in shown else PALE for a in aus])
    right.axhline(1 / len(aus), color=INK, ls="--", lw=1.2)
    right.annotate("equal share", (len(aus) - 0.3, 1 / len(aus)), xytext=(0, 3), textcoords="offset points", ha="left",
                   va="bottom", fontsize=11, annotation_clip=False)
    right.set_xlim(-0.7, len(aus) + 2)
    right.set_xticks(range(len(aus)), aus)
    right.set(xlabel="AU that is heard (blue: shown in this face)", ylabel="attention weight",
              title=f"whom AU{au} listens to", ylim=(0, max(0.2, 1.15 * weights.max())))
    return fig


@styled
def energy_landscape(stored: torch.Tensor, betas, starts: torch.Tensor) -> Figure:
    """Energy over the plane of patterns (N, 2), one panel per β, with 40 updates of states from ``starts`` (M, 2)."""
    edge = 1.25 * float(torch.cat([stored, starts]).abs().max())
    axis = torch.linspace(-edge, edge, 121)
    plane = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).reshape(-1, 2)
    alt = f"Energy of {len(stored)} patterns in the plane for β {', '.join(map(str, betas))}"
    fig = new_plot(4.0 * len(betas), 4.3, alt)
    for ax, beta in zip(fig.subplots(1, len(betas), squeeze=False)[0], betas, strict=True):
        height = energy(plane, stored, beta).reshape(121, 121).numpy()
        ax.contourf(axis.numpy(), axis.numpy(), height, 18, cmap="cividis")
        path = [starts]
        for _ in range(40):
            path.append(hopfield_retrieve(path[-1], stored, beta))
        for line in torch.stack(path, 1).numpy():
            ax.plot(*line.T, color="white", marker="o", ms=3, lw=1.4)
            ax.plot(*line[-1], "o", color=RED, mec="white", ms=8, zorder=4)
        ax.plot(*stored.numpy().T, "*", color=ORANGE, mec=INK, ms=15, zorder=3)
        ax.set(title=f"β = {beta:g}", aspect="equal", xticks=[], yticks=[])
    return fig


@styled
def recall_picture(faces: torch.Tensor, beta: float = 20.0, steps: int = 1, hidden: float = 0.5,
                   which: int = 0, noise: float = 0.0) -> Figure:
    """A half-hidden face completed by :func:`hopfield_retrieve`, and the weights of the stored faces in its last step.

    ``faces`` (N, s, s) are stored less their mean and scaled to length 1; ``noise`` is the length of the Gaussian noise
    on the cue, and hidden rows of it (a share of the face, from the bottom) are 0, the mean face. ``steps`` 0 shows the
    cue itself.
    """
    if not 0 <= which < len(faces):
        raise ValueError(f"which must be 0 to {len(faces) - 1}, got {which}")
    if steps < 0 or noise < 0 or not 0 <= hidden <= 1:
        raise ValueError(f"steps and noise must be 0 or more and hidden 0 to 1, got {steps}, {noise} and {hidden}")
    mean, side = faces.mean(0), faces.shape[-1]
    stored = (faces - mean).flatten(1)
    length = stored.norm(dim=1, keepdim=True)
    stored = stored / length
    grains = torch.randn(side, side, generator=torch.Generator().manual_seed(which))
    cue = stored[which].view(side, side) + noise / side * grains
    cue[side - round(hidden * side):] = 0
    before = hopfield_retrieve(cue.view(1, -1), stored, beta, max(steps - 1, 0))
    weights = (beta * before @ stored.mT).softmax(-1)[0]
    state = weights @ stored if steps else cue.flatten()
    shown = (state * length.mean()).view(side, side) + mean
    fig = new_plot(12, 3.2, f"Recall at β {beta:g} after {steps} step{'s' * (steps != 1)}, noise {noise:g}: "
                   f"{float(effective_number(weights)):.1f} faces take part, face {int(weights.argmax())} most")
    grid = fig.add_gridspec(2, len(faces) + 6, height_ratios=(1.3, 1))
    big = [(cue * length.mean() + mean, "cue"), (shown, f"after {steps} step{'s' * (steps != 1)}")]
    for k, (image, name) in enumerate(big):
        ax = fig.add_subplot(grid[:, 3 * k:3 * k + 3])
        ax.imshow(image.clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="bicubic")
        ax.set_title(name)
        ax.axis("off")
        if name == "cue" and hidden:
            ax.axhspan(side - round(hidden * side) - 0.5, side - 0.5, fc="white", ec=GREY, alpha=0.55, hatch="//")
    for i, image in enumerate(faces):
        ax = fig.add_subplot(grid[0, 6 + i])
        ax.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="bicubic")
        ax.axis("off")
        if i == which:
            ax.set_title("true", fontsize=12)
    ax = fig.add_subplot(grid[1, 6:])
    ax.bar(range(len(faces)), weights.numpy(), width=0.6,
           color=[RED if i == which else BLUE for i in range(len(faces))])
    ax.set(ylim=(0, 1.05), xticks=[], xlim=(-0.5, len(faces) - 0.5), yticks=[0, 0.5, 1],
           xlabel=f"weights of the stored faces: {float(effective_number(weights)):.1f} take part")
    return fig
