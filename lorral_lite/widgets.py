"""Sliders and buttons for the notebooks. A callback is a plain function from values to a picture; widgets only call it.

Pictures go into the ``value`` of an HTML widget, with their alt text: nothing is printed, so stored outputs stay equal.
"""

import base64
import html
import io
import itertools
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import ipywidgets as w
import matplotlib.style
import numpy as np
import torch
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from .datasets.prepared import as_input
from .datasets.synthetic import DISTRACTORS, RENDER_SCALE
from .device import pick_device
from .faces import AUS, render_faces
from .faces.population import Population
from .facs import ACTION_UNITS, AU_SETS, EXPRESSIONS, INTENSITY, check_aus, facs_notation
from .figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PINK,
    RED,
    SKY,
    STUDIO,
    STYLE,
    Picture,
    _picture,
    _styled,
    crop_windows,
    matrix,
    part_grid,
    plot_relation_strength,
    plot_schedule,
    plot_threshold,
    show_faces,
    training_curves,
)  # fmt: skip
from .landmarks import LINES, align_face, alignment, au_centers, transform, warp
from .layers import AUCrops, PatchConv
from .metrics import f1_from_counts
from .relations import energy, hopfield_retrieve

SLIDER = w.Layout(width="20em")


def picture_html(figure: Figure) -> str:
    """A figure as an <img> element with its alt text, for the value of an HTML widget.

    The PNG keeps all its colours and is packed fast, not small: what a widget shows is not stored in a notebook.
    """
    canvas = FigureCanvasAgg(figure)
    with matplotlib.style.context(["default", STYLE]):
        canvas.draw()
    return image_html(np.asarray(canvas.buffer_rgba())[..., :3], getattr(figure, "alt", "") or "picture")


def image_html(image: np.ndarray, alt: str, style: str = "max-width:100%") -> str:
    """An image (H, W, 3) uint8 as an <img> element."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" style="{style};height:auto" src="data:image/png;base64,{data}">'


def faces_html(images: Sequence[np.ndarray], titles: Sequence[str], width: int = 230) -> str:
    """Images beside each other, each with its title below as text of the page, which the reader's theme colours.

    Each takes ``width`` CSS pixels, however many it has.
    """
    style = f"margin:0 0.6em 0 0;display:inline-block;vertical-align:top;width:{width}px"
    words = [html.escape(title).replace("+", "+<wbr>") for title in titles]  # long notations break behind a plus
    return "".join(f'<figure style="{style}">{image_html(image, title, "width:100%")}'
                   f'<figcaption style="line-height:1.3">{text}</figcaption></figure>'
                   for image, title, text in zip(images, titles, words, strict=True))


def explore(draw: Callable[..., Figure], **controls: w.Widget) -> w.VBox:
    """Controls above a picture that ``draw(**values)`` makes anew whenever one of them changes.

    Controls are any widgets with a ``value``; sliders should have ``continuous_update=False`` when drawing is slow.
    A ValueError of ``draw`` is shown in place of the picture. The box has attributes ``picture`` and ``controls``.
    Axes stay where the first picture has them, which is quicker and keeps the eye where it was.
    """
    picture, places = w.HTML(), {}

    def redraw(_=None) -> None:
        try:
            figure = draw(**{name: control.value for name, control in controls.items()})
            kind = (len(figure.axes), *figure.get_size_inches())
            if kind in places:
                figure.set_layout_engine("none")
                for ax, place in zip(figure.axes, places[kind], strict=True):
                    ax.set_position(place)
            picture.value = picture_html(figure)
            places.setdefault(kind, [ax.get_position(original=True) for ax in figure.axes])
        except ValueError as error:
            picture.value = f"<p role='alert'>{html.escape(str(error))}</p>"

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    box = w.VBox([w.HBox(list(controls.values()), layout=w.Layout(flex_flow="row wrap")), picture])
    box.picture, box.controls = picture, controls
    return box

# ---- relations
# What notebooks 05 to 07 draw and measure. "Listener" is the AU whose new token is made, "source" one that it hears.


class Sample(NamedTuple):
    """Procedural faces as the model sees them: images (N, s, s, 3) uint8 and landmarks (N, 49, 2) in their pixels,
    labels (N, A), and the local AU features (N, A, D) before the relation."""

    images: np.ndarray
    landmarks: np.ndarray
    labels: np.ndarray
    tokens: torch.Tensor


@torch.no_grad()
def sample_faces(model, subjects: int = 12, frames: int = 6, seed: int = 1) -> Sample:
    """Faces of the BP4D population, aligned and cropped as ``lorral prepare faces`` and the tests do it.

    ``seed`` chooses people, labels and scenes; the shipped weights were trained with seed 0, so 1 gives new people.
    ValueError when the model's AUs are not those of BP4D.
    """
    config, people = model.config, Population("bp4d", seed=seed)
    if config.aus != people.aus:
        raise ValueError(f"sample_faces draws the AUs of BP4D {people.aus}, but this model knows {config.aus}")
    drawn = people.subjects(subjects, frames)
    strengths = people.to_render(drawn, DISTRACTORS, people.unrest, seed).reshape(subjects * frames, -1)
    shown = torch.as_tensor(strengths, dtype=torch.float32)
    person = seed * 1_000_003 + np.repeat(np.arange(subjects), frames)
    faces = render_faces(shown, round(RENDER_SCALE * config.frame_size), seed=person,
                         scene=seed * 1_000_003 + 500_009 + np.arange(len(shown)))
    pixels = (faces.images.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    aligned = [align_face(image, points, config.frame_size)
               for image, points in zip(pixels, faces.landmarks.numpy(), strict=True)]
    margin = (config.frame_size - config.image_size) // 2
    window = slice(margin, margin + config.image_size)
    images = np.stack([image[window, window] for image, _ in aligned])
    device = next(model.parameters()).device
    inputs = as_input(images).to(device)
    tokens = model.eval().features(inputs).local.cpu()
    return Sample(images, np.stack([p for _, p in aligned]) - margin, drawn.labels.reshape(len(shown), -1), tokens)


def influence(relation, tokens: torch.Tensor) -> torch.Tensor:
    """How much the new token of AU i (row) moves when the token of AU j (column) moves: ‖∂ new_i / ∂ token_j‖.

    Frobenius norm of the D × D block of the Jacobian, mean over the faces. (N, A, D) → (A, A).
    """
    relation.eval()
    n, a, d = tokens.shape
    copies, rows = tokens.detach().repeat(d, 1, 1).requires_grad_(), []
    for i in range(a):  # copy k of all faces asks for feature k of the new token i
        wanted = relation(copies)[:, i].view(d, n, d).diagonal(dim1=0, dim2=2)
        (block,) = torch.autograd.grad(wanted.sum(), copies)
        rows.append(block.view(d, n, a, d).square().sum((0, 3)).sqrt().mean(0))
    return torch.stack(rows)


@torch.no_grad()
def swap_effect(relation, head, tokens: torch.Tensor, labels) -> torch.Tensor:
    """What AU j does to the logit of AU i: (A, A), rows i, columns j, signed.

    In every face the token of AU j is set to the mean token of faces that show it, then of faces that do not; the
    entry is the mean difference of the logits that ``head`` reads from the new tokens. NaN when all or no faces show j.
    """
    labels, columns = torch.as_tensor(labels), []
    for j in range(tokens.shape[1]):
        logits = []
        for shown in (1, 0):
            changed = tokens.clone()
            changed[:, j] = tokens[labels[:, j] == shown, j].mean(0)
            logits.append(head(relation(changed)))
        columns.append((logits[0] - logits[1]).mean(0))
    return torch.stack(columns, dim=1)


def pair_correlation(a, b, permutations: int = 999, seed: int = 0) -> tuple[float, float]:
    """Pearson correlation of two (A, A) tables over the pairs i ≠ j, and how often chance does as well (p).

    Pairs that share an AU are not independent, so chance renames the AUs of one table (Mantel 1967), two-sided.
    """
    a, b = (np.asarray(x, dtype=np.float64) for x in (a, b))
    if a.shape != b.shape or a.ndim != 2 or a.shape[0] != a.shape[1] or len(a) < 3:
        raise ValueError(f"two square tables of equal size are needed, at least 3 × 3, got {a.shape} and {b.shape}")
    pairs, rng = ~np.eye(len(a), dtype=bool), np.random.default_rng(seed)
    r = np.corrcoef(a[pairs], b[pairs])[0, 1]
    orders = [rng.permutation(len(a)) for _ in range(permutations)]
    chance = [np.corrcoef(a[np.ix_(order, order)][pairs], b[pairs])[0, 1] for order in orders]
    return float(r), float((1 + np.sum(np.abs(chance) >= abs(r) - 1e-12)) / (permutations + 1))


def effective_number(weights: torch.Tensor) -> torch.Tensor:
    """How many patterns weights (…, N) that sum to 1 spread over: e to the power of their entropy, 1 to N."""
    return torch.special.entr(weights).sum(-1).exp()


def retrieval_rate(patterns: int, beta: float, steps: int = 1, *, bits: int = 64, queries: int = 200,
                   seed: int = 0) -> float:
    """Share of ``queries`` random ±1 patterns that :func:`hopfield_retrieve` completes without a wrong bit.

    ``patterns`` are stored; in each query half of the bits are hidden (set to 0).
    """
    rng = torch.Generator().manual_seed(seed)
    stored = torch.randint(0, 2, (patterns, bits), generator=rng) * 2.0 - 1
    wanted = stored[torch.randint(0, patterns, (queries,), generator=rng)]
    hidden = torch.rand(queries, bits, generator=rng).argsort(-1) < bits // 2
    recalled = hopfield_retrieve(wanted.masked_fill(hidden, 0), stored, beta, steps)
    return (recalled.sign() == wanted).all(-1).float().mean().item()


@_styled
def plot_lines(x, lines: dict, xlabel: str, ylabel: str, title: str = "", *, logx: bool = False, marks: str = "o",
               vertical: dict | None = None, height: float = 3.7) -> Figure:
    """One line per entry of {name: y over x}; ``vertical`` marks {name: x} with dashed lines."""
    fig = _picture(8.2, height, f"{title}: {ylabel} over {xlabel}, lines for {', '.join(map(str, lines))}")
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


@_styled
def pair_scatter(x, y, aus, xlabel: str, ylabel: str, title: str, named: int = 4) -> Figure:
    """Two (A, A) tables against each other: one dot per pair i ≠ j, row i, column j, with the line of least squares.

    The ``named`` pairs of largest and of smallest x carry their AU numbers, i ← j.
    """
    x, y = (np.asarray(table, dtype=np.float64) for table in (x, y))
    rows, columns = np.nonzero(~np.eye(len(aus), dtype=bool))
    x, y = x[rows, columns], y[rows, columns]
    slope, start = np.polyfit(x, y, 1)
    fig = _picture(8.2, 4.4, f"{title}: {ylabel} over {xlabel}, one dot for each of {len(x)} pairs of AUs")
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


@_styled
def flow(panels, aus, title: str = "", *, columns: int = 4, size: float = 2.75) -> Figure:
    """Tables side by side, with what leads from each to the next written over the arrow between them.

    ``panels``: (name, table (A, anything), words over the arrow to the next or ""). Rows are the AUs. Signed tables are
    drawn orange to purple around 0, others white to blue; each has its own scale.
    """
    rows = math.ceil(len(panels) / columns)
    fig = _picture(size * columns + 0.6, (0.98 * size + 0.5) * rows + 0.55 * bool(title),
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


@_styled
def bilstm_picture(relation, tokens: torch.Tensor, aus, title: str = "BiLSTM (paper Figure 5)") -> Figure:
    """The paper's Figure 5 with real numbers: tokens (A, D) of one face, both directions, and the new tokens.

    Every column is one AU, every cell one feature; orange is negative, purple positive.
    """
    with torch.no_grad():
        out = relation.eval().lstm(tokens[None])[0][0]
    half = out.shape[1] // 2
    fig = _picture(11.5, 5.6, f"{title}: AU features pass a forward and a backward LSTM, whose states are joined")
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


def au_order(shuffle: int, aus: int = 12) -> torch.Tensor:
    """Places of the AUs in the order number ``shuffle``; 0 is the natural one."""
    if not shuffle:
        return torch.arange(aus)
    return torch.randperm(aus, generator=torch.Generator().manual_seed(shuffle))


def reordered_influence(relation, tokens: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """:func:`influence` when the relation reads the AUs in ``order``; rows and columns in natural order again."""
    back = order.argsort()
    return influence(relation, tokens[:, order])[back][:, back]


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


def attention_picture(relation, tokens: torch.Tensor, aus, title: str = "Self-attention (paper Figure 6)",
                      head: int = 0) -> Figure:
    """The paper's Figure 6 with real numbers: preprocessing above, the encoding layer below, for one face (A, D)."""
    s = attention_stages(relation, tokens, head)
    return flow([
        ("AU features", s["features"], "Linear,\nLayerNorm,\nDropout"), ("preprocessed", s["preprocessed"], "+"),
        ("position\neq. 3.1, 3.2", s["position"], "="), ("layer input", s["input"], ""),
        (f"scores, head {head + 1}\nQKᵀ/√d", s["scores"], "softmax\nof rows"),
        ("attention weights", s["weights"], "× V"), ("heard\neq. 3.3", s["heard"], "join heads,\nresidual,\nMLP"),
        ("new AU features", s["new"], ""),
    ], aus, title)


def hopfield_picture(relation, tokens: torch.Tensor, aus, title: str = "Hopfield (paper Figure 7)",
                     head: int = 0) -> Figure:
    """The paper's Figure 7 with real numbers: stored patterns and states above, each update's weights below."""
    s = attention_stages(relation, tokens, head)
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
    return flow([*top, *low], aus, title, columns=steps + 2, size=2.5)


@_styled
def attention_on_face(sample: Sample, attention: torch.Tensor, aus, face: int = 0, au: int = 12) -> Figure:
    """Whom AU ``au`` listens to in one face: discs at the AU centres, and bars. ``attention`` (N, heads, A, A)."""
    if not 0 <= face < len(sample.images):
        raise ValueError(f"face must be 0 to {len(sample.images) - 1}, got {face}")
    if au not in aus:
        raise ValueError(f"AU{au} is not one of {', '.join(map(str, aus))}")
    weights = attention[face].mean(0)[aus.index(au)].numpy()
    shown = [a for a, y in zip(aus, sample.labels[face], strict=True) if y == 1]
    fig = _picture(9.4, 4.3, f"Face {face}: attention of AU{au}, most to AU{aus[int(weights.argmax())]}")
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


@_styled
def energy_landscape(stored: torch.Tensor, betas, starts: torch.Tensor, steps: int = 40) -> Figure:
    """Energy over the plane of patterns (N, 2), one panel per β, with the paths of states from ``starts`` (M, 2)."""
    edge = 1.25 * float(torch.cat([stored, starts]).abs().max())
    axis = torch.linspace(-edge, edge, 121)
    plane = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).reshape(-1, 2)
    alt = f"Energy of {len(stored)} patterns in the plane for β {', '.join(map(str, betas))}"
    fig = _picture(4.0 * len(betas), 4.3, alt)
    for ax, beta in zip(fig.subplots(1, len(betas), squeeze=False)[0], betas, strict=True):
        height = energy(plane, stored, beta).reshape(121, 121).numpy()
        ax.contourf(axis.numpy(), axis.numpy(), height, 18, cmap="cividis")
        path = [starts]
        for _ in range(steps):
            path.append(hopfield_retrieve(path[-1], stored, beta))
        for line in torch.stack(path, 1).numpy():
            ax.plot(*line.T, color="white", marker="o", ms=3, lw=1.4)
            ax.plot(*line[-1], "o", color=RED, mec="white", ms=8, zorder=4)
        ax.plot(*stored.numpy().T, "*", color=ORANGE, mec=INK, ms=15, zorder=3)
        ax.set(title=f"β = {beta:g}", aspect="equal", xticks=[], yticks=[])
    return fig


def face_patterns(people: int = 9, size: int = 40, seed: int = 0) -> torch.Tensor:
    """Small grey faces of different people and expressions as patterns to store, (people, size, size) in 0–1."""
    shown = np.zeros((people, len(AUS)), dtype=np.float32)
    rng = np.random.default_rng(seed)
    for row in shown:
        row[rng.choice(len(AUS), 3, replace=False)] = 1
    faces = render_faces(torch.from_numpy(shown), 2 * size, seed=seed + np.arange(people), scene=seed)
    return torch.nn.functional.avg_pool2d(faces.images.mean(1), 2)


@_styled
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
    fig = _picture(12, 3.2, f"Recall at β {beta:g} after {steps} step{'s' * (steps != 1)}, noise {noise:g}: "
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


# ------------------------------------------------------------------------------------------------ faces to play with

ALIGNED_TO_RENDERED = 1.25  # a face rendered at this many times the aligned size keeps its pixels when aligned


_render_device = torch.device("cpu")


def draw_on(device: str = "auto") -> None:
    """Where the faces of the notebooks are rendered from now on: auto (a GPU when there is one), cpu or cuda."""
    global _render_device
    _render_device = pick_device(device)
    _rendered.cache_clear()


def portrait(aus: dict | None = None, person: int = 1, scene: int = 0, size: int = 150, **place: float):
    """One face, cropped and turned upright by the alignment of its own neutral face: only the AUs move.

    ``aus``: {AU: 0–1 or (left, right)}. ``scene`` 0 is :data:`~lorral_lite.figures.STUDIO`, any other number draws
    pose, light and background. ``place`` names factors of :func:`lorral_lite.render_faces` that win over the scene;
    a yaw, pitch or roll named there is seen, because the alignment is that of the neutral face without it.
    → image (size, size, 3) uint8, landmarks (49, 2) float32 in its pixels.
    """
    if scene == 0:
        place = {name: value for name, value in place.items() if STUDIO.get(name) != value}
    pose = [(name, 0.0) for name in ("pitch", "roll", "yaw") if name in place and scene != 0]
    _, neutral = _rendered((), person, scene, size, tuple(pose))
    image, points = _rendered(tuple(sorted((aus or {}).items())), person, scene, size, tuple(sorted(place.items())))
    matrix = alignment(neutral, size)
    return warp(image, matrix, size), transform(points, matrix)


@lru_cache(maxsize=64)
def _rendered(aus: tuple, person: int, scene: int, size: int, place: tuple):
    """(H, W, 3) uint8 and landmarks (49, 2), not aligned."""
    where = (STUDIO if scene == 0 else {"scene": scene}) | dict(place)
    face = render_faces(dict(aus), max(48, round(ALIGNED_TO_RENDERED * size)), seed=person, device=_render_device,
                        **where)
    image = (face.images[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
    return image.cpu().numpy(), face.landmarks[0].cpu().numpy()


def mark_face(image: np.ndarray, points, aus=(), *, landmarks: bool = False, centers: bool = False,
              crops: bool = False) -> np.ndarray:
    """A copy of the image at twice its size with the 49 landmarks, the centres of ``aus`` and their crops drawn in.

    image (H, W, 3) uint8, points (49, 2) in its pixels → (2H, 2W, 3) uint8. A crop is the window of ``lite()``, 24 of
    88 pixels wide. AUs that share a centre share its label.
    """
    aus, scale = check_aus(aus), 2
    picture = Image.fromarray(image).resize((scale * image.shape[1], scale * image.shape[0]), Image.Resampling.BICUBIC)
    draw, p = ImageDraw.Draw(picture), scale * (np.asarray(points, dtype=np.float64) + 0.5)
    spots: dict[tuple, list[int]] = {}
    for au, pair in zip(aus, au_centers(p, aus), strict=True):
        for spot in pair:
            spots.setdefault(tuple(spot.round(1)), []).append(au)
    if landmarks:
        for line in LINES.values():
            draw.line([tuple(p[i]) for i in line], SKY, 2)
        for x, y in p:
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), "white", SKY)
    half = scale * image.shape[1] * LITE_CROP / 2
    for x, y in spots if crops else ():
        draw.rectangle((x - half, y - half, x + half, y + half), outline=ORANGE, width=2)
    for (x, y), here in spots.items() if centers or crops else ():
        if centers:
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), ORANGE, INK)
        place, words = (x, y - 8 if centers else y - half), " ".join(map(str, here))
        draw.rectangle(draw.textbbox(place, words, _label_font(), "mb"), "white")
        draw.text(place, words, INK, _label_font(), "mb")
    return np.asarray(picture)


@lru_cache(maxsize=1)
def _label_font():
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans:bold"), 15)


LITE_CROP = 6 / 22
"""Side of an AU's crop as a share of the image in ``lite()``: 6 of 22 cells."""


def playground_faces(aus: dict | None = None, person: int = 1, scene: int = 0, *, landmarks: bool = False,
                     centers: bool = False, crops: bool = False, size: int = 200, **place: float):
    """The person's neutral face and the same face showing ``aus``: two images (uint8) and their titles.

    ``landmarks`` draws the 49 points, ``centers`` the centres of the shown AUs (paper Figure 4), ``crops`` the windows
    around them that the model looks at; ``place`` is light and pose, see :func:`portrait`. The second title is the
    FACS notation. ValueError for an AU that does not exist, an intensity outside 0–1 and a factor outside its range.
    """
    shown = {au: value for au, value in (aus or {}).items() if np.any(np.asarray(value, dtype=float) != 0)}
    faces = [portrait({}, person, scene, size, **place), portrait(shown, person, scene, size, **place)]
    if landmarks or centers or crops:
        marks = {"landmarks": landmarks, "centers": centers, "crops": crops}
        images = [mark_face(image, points, shown, **marks) for image, points in faces]
    else:
        images = [image for image, _ in faces]
    return images, ["neutral", facs_notation(shown)]


def playground_figure(aus: dict | None = None, person: int = 1, scene: int = 0, **switches) -> Picture:
    """The two faces of :func:`playground_faces` (same arguments) as a figure, which a notebook can store."""
    images, (neutral, notation) = playground_faces(aus, person, scene, **switches)
    lines = textwrap.wrap(notation.replace("+", "+ "), 48)  # breaks behind a plus
    return show_faces(images, [neutral, "\n".join(line.replace(" ", "") for line in lines)], size=3.3)


class Playground(w.VBox):
    """A slider per AU (0, A to E), presets, person, light, pose and side, switches, and the face in FACS notation.

    Attributes, all widgets: ``sliders`` {AU: slider with values 0–5}, ``presets`` {name: button}, ``person``,
    ``place`` {factor of :func:`lorral_lite.render_faces`: slider} for light and pose, ``side``, ``switches``
    {landmarks, centers, crops: checkbox}, ``readout``, ``picture``. Every callback is :func:`playground_faces`.
    """

    def __init__(self, person: int = 1) -> None:
        look = {"layout": w.Layout(width="25em"), "style": {"description_width": "14em"}}
        letters = [("0", 0), *((letter, k) for k, letter in enumerate(INTENSITY, start=1))]
        self.sliders = {
            au: w.SelectionSlider(options=letters, value=0, description=unit.label, **look)
            for au, unit in ACTION_UNITS.items()
        }
        self.presets = {name: w.Button(description=name, layout=w.Layout(width="7em")) for name in EXPRESSIONS}
        self.person = w.IntSlider(person, 0, max(50, person), description="person", layout=SLIDER)
        self.place = {
            name: w.IntSlider(round(STUDIO[name]), low, high, step=5, description=words, layout=SLIDER)
            for name, words, low, high in (
                ("light_azimuth", "light right °", -80, 80), ("light_elevation", "light up °", -20, 75),
                ("yaw", "turn right °", -20, 20), ("pitch", "tip up °", -15, 15), ("roll", "tilt °", -20, 20))
        }
        self.side = w.Dropdown(options=["both", "left", "right"], description="side", layout=w.Layout(width="14em"))
        self.switches = {
            name: w.Checkbox(False, description=words, indent=False, layout=w.Layout(width="8em"))
            for name, words in (("landmarks", "landmarks"), ("centers", "AU centres"), ("crops", "crops"))
        }
        self.readout, self.picture = w.HTML(), w.HTML()
        self._held = False
        for name, button in self.presets.items():
            button.on_click(lambda _, name=name: self.show(EXPRESSIONS[name]))
        for control in [*self.sliders.values(), self.person, *self.place.values(), self.side, *self.switches.values()]:
            control.observe(self._redraw, names="value")
        groups = {region: [w.HTML(f"<b>{region} face</b>"),
                           *(self.sliders[au] for au, unit in ACTION_UNITS.items() if unit.region == region)]
                  for region in ("upper", "middle", "lower")}
        wrap = w.Layout(flex_flow="row wrap")
        super().__init__([
            w.HBox(list(self.presets.values()), layout=wrap),
            w.HBox([self.person, *self.place.values()], layout=wrap),
            w.HBox([self.side, *self.switches.values()], layout=wrap),
            w.HBox([w.VBox([self.readout, self.picture]), w.VBox(groups["upper"] + groups["middle"]),
                    w.VBox(groups["lower"])], layout=wrap),
        ])
        self._redraw()

    @property
    def aus(self) -> dict:
        """{AU: intensity 0–1, or (left, right) when one side is chosen}: what the sliders say."""
        shown = {au: slider.value / len(INTENSITY) for au, slider in self.sliders.items() if slider.value}
        sides = {"both": lambda x: x, "left": lambda x: (x, 0.0), "right": lambda x: (0.0, x)}
        return {au: sides[self.side.value](x) for au, x in shown.items()}

    def show(self, aus, level: int = 4) -> None:
        """Set the sliders of ``aus`` to ``level`` (4 is D, severe), all others to 0, and draw once."""
        self._held = True
        for au, slider in self.sliders.items():
            slider.value = level if au in aus else 0
        self._held = False
        self._redraw()

    def _redraw(self, _=None) -> None:
        if self._held:
            return
        self.readout.value = f'<span role="status"><b>FACS notation:</b> {facs_notation(self.aus)}</span>'
        place = {name: float(slider.value) for name, slider in self.place.items()}
        switches = {name: box.value for name, box in self.switches.items()}
        self.picture.value = faces_html(*playground_faces(self.aus, self.person.value, **switches, **place))


# ------------------------------------------------------------------------------------------------- be the coder

QUIZ_AUS = AU_SETS["bp4d"]


@dataclass(frozen=True)
class QuizItem:
    """One face to code: what it shows, {AU: 0–1}, and who it is."""

    aus: dict
    person: int


def quiz_item(number: int, seed: int = 0) -> QuizItem:
    """Face ``number`` of the quiz: one to three of the 12 AUs of BP4D, together as often as there, at C, D or E."""
    random = np.random.default_rng([seed, number])
    labels = _quiz_labels(seed)[number % len(_quiz_labels(seed))]
    shown = {au: float(random.choice([0.6, 0.8, 1.0])) for au, label in zip(QUIZ_AUS, labels, strict=True) if label}
    return QuizItem(shown, int(random.integers(1, 1000)))


@lru_cache(maxsize=4)
def _quiz_labels(seed: int) -> np.ndarray:
    labels = Population("bp4d", seed=seed).draw(400)
    return labels[(labels.sum(1) >= 1) & (labels.sum(1) <= 3)]


def quiz_faces(item: QuizItem, reveal: bool = False, size: int = 200):
    """The neutral face and the face to code, two images, and their titles; ``reveal`` makes the answer a title."""
    faces = [portrait({}, item.person, 0, size)[0], portrait(item.aus, item.person, 0, size)[0]]
    return faces, ["neutral", facs_notation(item.aus) if reveal else "which AUs?"]


def quiz_feedback(item: QuizItem, ticked) -> dict[str, list[int]]:
    """The ticked AUs sorted into ``found``, ``missed`` and ``claimed`` (not there)."""
    ticked, truth = set(check_aus(ticked)), set(item.aus)
    groups = {"found": ticked & truth, "missed": truth - ticked, "claimed": ticked - truth}
    return {name: sorted(aus) for name, aus in groups.items()}


def quiz_score(item: QuizItem, ticked) -> str:
    """One sentence: how many of the shown AUs were found, and how many were claimed that are not there."""
    counts = {name: len(aus) for name, aus in quiz_feedback(item, ticked).items()}
    total = counts["found"] + counts["missed"]
    wrong = f", {counts['claimed']} claimed that {'is' if counts['claimed'] == 1 else 'are'} not there"
    return f"Found {counts['found']} of {total}{wrong if counts['claimed'] else ''}."


def agreement(truth, coded) -> tuple[float, float]:
    """F1 in percent and Cohen's kappa of one coder against the truth, all decisions pooled.

    truth, coded: 0/1 arrays of one shape, for example (faces, AUs). Kappa is how far the observed agreement lies
    between what two coders with these rates reach by chance (0) and full agreement (1); it is NaN where chance alone
    agrees always, which is when both give the same single answer throughout.
    """
    truth, coded = np.asarray(truth).astype(bool).ravel(), np.asarray(coded).astype(bool).ravel()
    if truth.shape != coded.shape or not truth.size:
        raise ValueError(f"truth and coded must hold the same decisions, got {truth.size} and {coded.size}")
    tp, fp = (truth & coded).sum(), (~truth & coded).sum()
    fn, tn = (truth & ~coded).sum(), (~truth & ~coded).sum()
    f1 = float(f1_from_counts({"tp": tp, "fp": fp, "fn": fn, "tn": tn}))
    n = truth.size
    observed = (tp + tn) / n
    chance = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / n**2
    return f1, float((observed - chance) / (1 - chance)) if chance < 1 else float("nan")


class CoderQuiz(w.VBox):
    """A face beside the same person's neutral: tick the AUs, check, read why, go on; F1 and kappa run along.

    Attributes: ``ticks`` {AU: checkbox}, buttons ``answer`` and ``following``, ``picture``, ``feedback`` (HTML),
    ``item`` (the truth) and ``history``, one (truth, coded) pair of 0/1 rows per face answered.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.number, self.history = seed, -1, []
        self.ticks = {
            au: w.Checkbox(False, description=ACTION_UNITS[au].label, indent=False, layout=w.Layout(width="17em"))
            for au in QUIZ_AUS
        }
        self.answer = w.Button(description="check", button_style="primary")
        self.following = w.Button(description="next face")
        self.picture, self.feedback = w.HTML(), w.HTML()
        self.answer.on_click(lambda _: self.check())
        self.following.on_click(lambda _: self.next_face())
        side = w.VBox([*self.ticks.values(), w.HBox([self.answer, self.following])])
        super().__init__([w.HBox([self.picture, side], layout=w.Layout(flex_flow="row wrap")), self.feedback])
        self.next_face()

    def next_face(self) -> None:
        self.number += 1
        self.item = quiz_item(self.number, self.seed)
        for tick in self.ticks.values():
            tick.value = False
        self.answer.disabled, self.feedback.value = False, ""
        self.picture.value = faces_html(*quiz_faces(self.item))

    def check(self) -> None:
        """Score what is ticked, once for each face."""
        if self.answer.disabled:
            return
        self.answer.disabled = True
        ticked = [au for au, tick in self.ticks.items() if tick.value]
        self.history.append(([au in self.item.aus for au in QUIZ_AUS], [au in ticked for au in QUIZ_AUS]))
        f1, kappa = agreement(*zip(*self.history, strict=True))
        rows = [
            f"<li>{word} <b>{ACTION_UNITS[au].label}</b>: {ACTION_UNITS[au].sign}</li>"
            for word, group in (("found", "found"), ("missed", "missed"), ("not there:", "claimed"))
            for au in quiz_feedback(self.item, ticked)[group]
        ]
        shown = "not defined yet" if np.isnan(kappa) else f"{kappa:.2f}"
        self.picture.value = faces_html(*quiz_faces(self.item, reveal=True))
        faces = f"{len(self.history)} face{'s' * (len(self.history) > 1)}"
        self.feedback.value = (
            f'<div role="status"><p>{quiz_score(self.item, ticked)}</p><ul>{"".join(rows)}</ul>'
            f"<p>After {faces}: F1 {f1:.0f} %, Cohen's kappa {shown}</p></div>")


# ----------------------------------------------------------------------------------- notebooks 03 and 04: where from?


def patch_model(grids=(8,), channels: int = 8, seed: int = 0) -> nn.Sequential:
    """PatchConvs with random weights, each after the first behind a 2×2 pooling, in eval mode; grid 1 is a plain stack.

    Made to show what is looked at: all weights are positive, so nothing cancels out in a gradient, and the pooling is
    the mean, because the maximum lets the gradient through to only one of the four cells that it compares.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = []
        for k, grid in enumerate(grids):
            layers += [nn.AvgPool2d(2)] if k else []
            layers.append(PatchConv(channels if k else 3, channels, grid))
        model = nn.Sequential(*layers).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.abs_().add_(1e-3)
    return model


def seen_pixels(model: nn.Module, part: tuple[int, int], grid: int, size: int = 88, seed: int = 0) -> np.ndarray:
    """(size, size) size of the gradient of one part's output by every pixel: 0 where the part sees nothing.

    ``part`` is (row, column) of a ``grid``×``grid`` partition of the model's output.
    """
    if not all(0 <= k < grid for k in part):
        raise ValueError(f"part must be a row and a column from 0 to {grid - 1}, got {tuple(part)}")
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    out = model(image)
    side = out.shape[-1] // grid
    r, c = (k * side for k in part)
    out[..., r : r + side, c : c + side].sum().backward()
    return image.grad[0].abs().sum(0).numpy()


def receptive_figure(row: int = 2, column: int = 2, layers: str = "one PatchConv", person: int = 1) -> Picture:
    """Which pixels one part sees in the lite model's PatchConvs, beside a plain convolution of the same depth.

    ``layers``: "one PatchConv" (grid 8 on 88 pixels) or "two PatchConvs" (then grid 4 on the 44 cells behind the
    max-pooling).
    """
    choices = {"one PatchConv": (8,), "two PatchConvs": (8, 4)}
    if layers not in choices:
        raise ValueError(f"layers must be one of {', '.join(choices)}, got {layers!r}")
    grids = choices[layers]
    face = portrait({}, person, 0, 88)[0]
    seen = [seen_pixels(patch_model(g), (row, column), grids[-1]) for g in (grids, (1,) * len(grids))]
    titles = [f"{name}: {int((s > 0).sum())} of {88 * 88} pixels"
              for name, s in zip((layers, "plain convolutions"), seen, strict=True)]
    return part_grid([face, face], grids[-1], titles, part=(row, column), seen=seen)


def crop_figure(au: int = 12, right: float = 0.0, down: float = 0.0, person: int = 1, scene: int = 0,
                size: int = 88, cells: int = 22, crop: int = 6) -> Picture:
    """The windows of one AU when its landmarks are moved by ``right`` and ``down`` pixels: the crops follow.

    The window is the lite model's, ``crop`` cells of a map of ``cells``; what is cut out is shown from the image
    itself, at its own resolution, by the same :class:`~lorral_lite.layers.AUCrops`.
    """
    image, points = portrait({}, person, scene, size)
    moved = torch.from_numpy(points)[None] + torch.tensor([right, down], dtype=torch.float32)
    window = crop * size // cells
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    cut = AUCrops((au,), window)(pixels, moved, size)[0].clamp(0, 1)
    return crop_windows(image, moved[0], (au,), window, cut, f"landmarks moved by {right:+g}, {down:+g} pixels")


# ---- training and evaluation


def live_curves(title: str = "Training") -> w.HTML:
    """A picture of training curves. Give its ``update`` to a training step as ``on_epoch``, then it grows by epochs."""
    picture = w.HTML(value="<p>No epoch is done yet.</p>")

    def update(log: list[dict]) -> None:
        picture.value = picture_html(training_curves(log, f"{title}: {len(log)} epoch{'s' * (len(log) > 1)} done"))

    picture.update = update
    return picture


def schedule_explorer() -> w.VBox:
    """Sliders for the decay of the paper's learning rate: when is nothing left to learn with?"""
    return explore(
        plot_schedule,
        gamma=w.FloatSlider(0.3, min=0.1, max=1.0, step=0.1, description="gamma", continuous_update=False,
                            layout=SLIDER),
        every=w.IntSlider(2, min=1, max=10, description="every", continuous_update=False, layout=SLIDER),
    )


def threshold_explorer(probabilities, labels, aus: Sequence[int]) -> w.VBox:
    """One AU's threshold and base rate by slider: probabilities and labels (N, A), ``aus`` their A numbers.

    The base rate starts at the data's own; choosing another AU sets it anew.
    """
    p, y, aus = np.asarray(probabilities), np.asarray(labels), list(aus)

    def own_rate(au: int) -> float:
        here = y[:, aus.index(au)]
        return float(np.clip(round(100 * (here == 1).sum() / max((here >= 0).sum(), 1)), 1, 99))

    def draw(au: int, threshold: float, rate: float) -> Figure:
        a = aus.index(au)
        return plot_threshold(p[:, a], y[:, a], threshold, rate / 100, f"AU{au} {ACTION_UNITS[au].name.lower()}")

    choice = w.Dropdown(options=[(f"AU{au}", au) for au in aus], description="AU", layout=w.Layout(width="12em"))
    rate = w.FloatSlider(own_rate(aus[0]), min=1, max=99, step=1, description="base rate %", readout_format=".0f",
                         continuous_update=False, layout=SLIDER, style={"description_width": "6em"})
    choice.observe(lambda change: setattr(rate, "value", own_rate(change["new"])), names="value")
    threshold = w.FloatSlider(0.5, min=0, max=1, step=0.05, description="threshold", continuous_update=False,
                              layout=SLIDER)
    return explore(draw, au=choice, threshold=threshold, rate=rate)


def relation_dial(profile: str = "bp4d") -> w.VBox:
    """A slider for the strength of the relations in procedural people, 0 (independent AUs) to 1 (as in the data)."""
    return explore(
        lambda strength: plot_relation_strength([strength], profile),
        strength=w.FloatSlider(1.0, min=0, max=1, step=0.1, description="strength", continuous_update=False,
                               layout=SLIDER),
    )
