"""Chapters 3 and 4, PatchConv, features and crops: what layers see, the architecture drawn, exercises."""

from collections.abc import Sequence

import matplotlib.colors
import matplotlib.style
import numpy as np
import torch
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from torch import nn

from ..draw.base import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PINK,
    RED,
    SKY,
    Picture,
    diagram_axes,
    new_plot,
    pixels,
    styled,
    titled,
)
from ..draw.faces import as_points, blank_axes, draw_face, part_grid
from ..facs import check_aus
from ..landmarks import LINES, au_centers
from ..model import AUCrops, PatchConv
from ..model.lorral import LoRRaLConfig, feat_stack
from .check import exercise
from .portraits import studio_face


@exercise("3.1", "a part has 88 / 8 = 11 pixels a side; at the corner of the image only two sides have neighbours")
def _pixels_of_a_corner_part():
    return int((seen_pixels(patch_model((8,)), (0, 0), 8) > 0).sum())


@exercise("3.2", "go back one layer at a time: 11 + 1 cells of 44, twice as many pixels, one more, one more")
def _pixels_of_a_corner_part_behind_two():
    return int((seen_pixels(patch_model((8, 4)), (0, 0), 4) > 0).sum())


@exercise("3.3", "64 parts, each with its own 3×3 convolution from 64 to 64 channels: weights and biases")
def _weights_of_the_part_convolutions():
    return sum(p.numel() for p in PatchConv(32, 64, grid=8).part_conv.parameters())


@exercise("4.1", "each FeatConv ends in a 2×2 max-pooling that drops an odd last row: 44 // 2, and so on")
def _sides_behind_the_feat_convs():
    return tuple(44 >> k for k in (1, 2, 3))


@exercise("4.2", "sum(p.numel() for p in one FeatConv stack from 2 · 64 channels to 96, 128 and 160, without groups)")
def _parameters_of_a_shared_local_stack():
    model = LoRRaLConfig.paper()
    return sum(p.numel() for block in feat_stack(2 * model.patch_channels[-1], model.local_channels)
               for p in block.parameters())


@exercise("4.3", "a cell is 88 / 22 pixels wide and the window has 6 cells")
def _window_in_pixels():
    return 6 * 88 / 22


@exercise("4.4", "column 0 is read at cell 12.125 − 2.5; what lies between two cells is shared by nearness",
          tolerance=1e-3)
def _weight_of_cell_ten():
    return 1 - abs((50 + 0.5) * 22 / 88 - 0.5 - 2.5 - 10)


PARTS_LOOK = {"parts_8_4": ("8×8, then 4×4 parts", RED, "s"), "parts_4_2": ("4×4, then 2×2 parts", ORANGE, "D"),
              "parts_2_2": ("2×2, then 2×2 parts", BLUE, "o"), "one_part": ("no parts", GREEN, "v"),
              "linear_svm": ("linear SVM", INK, "P")}


@styled
def parts_against_faces(found: dict, faces: Sequence[int]) -> Picture:
    """AUC and F1 against the number of training faces, a line for each kind of parts and a dot for each seed.

    ``found``: {kind: {"auc", "f1": (numbers of faces, seeds)}}, as :func:`lorral_lite.study.parts.curve` gives it.
    """
    words = "; ".join(f"{PARTS_LOOK[kind][0]}: " + ", ".join(f"{value:.1f}" for value in values["auc"].mean(1))
                      for kind, values in found.items())
    sizes = ", ".join(f"{n:,}" for n in faces)
    fig = new_plot(11.6, 4.6, f"AUC on unseen people with {sizes} training faces. {words}.")
    for ax, (measure, title) in zip(fig.subplots(1, 2), {"auc": "AUC (%)", "f1": "F1 (%)"}.items(), strict=True):
        for kind, values in found.items():
            label, colour, marker = PARTS_LOOK[kind]
            ax.plot(faces, values[measure].mean(1), color=colour, marker=marker, ms=8, mec="white", mew=0.8,
                    ls="--" if kind in ("one_part", "linear_svm") else "-", label=label)
            for seed in values[measure].T:
                ax.plot(faces, seed, ".", color=colour, ms=5, alpha=0.7)
        ax.set(title=title, xscale="log", xlabel="training faces")
        ax.set_xticks(faces, [f"{n:,}" for n in faces])
        ax.minorticks_off()
        ax.grid(axis="y")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


FROZEN, BOTH, ANEW = "#d9ecf7", "#e8def3", "#fde3c8"
"""Ground of the boxes that step 2 freezes, of those that it trains on, and of those that it begins anew."""

EDGE = "#4d4d4d"


def _box(ax, x: float, y: float, width: float, height: float, colour: str) -> None:
    """A box with round corners in inches, its lower left corner at (x, y)."""
    ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.1", fc=colour, ec=EDGE,
                                lw=1.2))


def _arrow(ax, start, end, dashed: bool = False) -> None:
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=14, lw=1.6, color=EDGE,
                                 ls="--" if dashed else "-", shrinkA=0, shrinkB=0))


def _legend(ax, top: float) -> None:
    """What the three grounds mean, on the left below ``top``."""
    for row, (colour, words) in enumerate(((FROZEN, "trained in step 1, then frozen"),
                                           (BOTH, "trained in both (lite: frozen too, D18)"),
                                           (ANEW, "begun anew in step 2"))):
        y = top - 0.28 - 0.37 * row
        _box(ax, 0.15, y, 0.35, 0.28, colour)
        ax.text(0.65, y + 0.14, words, fontsize=11.5, va="center")


@styled
def architecture() -> Picture:
    """The six components of the paper's Figure 2, coloured by the training step that moves their weights."""
    fig = new_plot(12.6, 5.3, "LoRRaL: patches feed global, landmark and local AU features; a relation module "
                   "mixes the local ones; heads predict AUs and landmarks. Step 2 freezes patches, global, local.")
    ax = diagram_axes(fig)
    boxes = {
        "image": (0.15, 2.2, 1.45, 1.0, "aligned\nface", "white"),
        "patch": (2.15, 2.2, 1.9, 1.0, "1 patch learning\nPatchConv ×2", FROZEN),
        "global": (4.7, 4.0, 2.3, 0.85, "2 global feature\nFeatConv ×3", FROZEN),
        "land": (4.7, 2.28, 2.3, 0.85, "landmark feature\nFeatConv ×3", BOTH),
        "local": (4.7, 0.45, 2.3, 0.95, "3 local AU features\ncrops at AU centers", FROZEN),
        "relation": (7.6, 0.45, 2.2, 0.95, "4 relation", ANEW),
        "localhead": (10.4, 0.45, 2.05, 0.95, "5 AU occurrence,\nlocal features", ANEW),
        "landhead": (7.6, 2.28, 2.2, 0.85, "6 landmarks (49)", BOTH),
        "head": (10.4, 3.45, 2.05, 1.4, "AU occurrence,\nall features", ANEW),
    }
    for x, y, w, h, text, colour in boxes.values():
        _box(ax, x, y, w, h, colour)
        ax.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=13)

    def edge(name, side):
        x, y, w, h = boxes[name][:4]
        return (x + w if side == "r" else x, y + h / 2)

    for a, b in (("image", "patch"), ("patch", "global"), ("patch", "land"), ("patch", "local"),
                 ("land", "landhead"), ("local", "relation"), ("relation", "localhead")):
        _arrow(ax, edge(a, "r"), edge(b, "l"))
    x, y = edge("head", "l")
    _arrow(ax, edge("global", "r"), (x, y + 0.27))
    _arrow(ax, (7.0, 2.95), (x, y))
    _arrow(ax, (9.62, 1.4), (x, y - 0.4))
    _arrow(ax, (8.2, 2.28), (6.4, 1.4), dashed=True)
    ax.text(6.55, 1.85, "where to crop", fontsize=11.5, color=GREY, ha="right", va="center")
    _legend(ax, 5.03)
    return fig


@styled
def crop_windows(image, landmarks, aus: Sequence[int], window: float, crops, title: str = "") -> Picture:
    """A face with landmarks and, around the two centres of each AU, its windows of ``window`` pixels.

    ``crops`` (A, 2, 3, s, s) in 0–1, what was cut out there, is shown beside the face: one row per AU.
    """
    aus, points = check_aus(aus), as_points(landmarks).astype(np.float64)
    fig = new_plot(8.6, 4.4, titled(title, f"windows of AUs {', '.join(map(str, aus))} on a face"))
    left, right = fig.subfigures(1, 2, width_ratios=(4.4, 4.2))
    ax = left.subplots()
    blank_axes(ax, image)
    draw_face(ax, points, width=1.0, dots=False)
    colours = (ORANGE, GREEN, PINK, BLUE, RED, INK)
    for k, pair in enumerate(au_centers(points, aus)):
        for x, y in pair:
            ax.plot(x, y, "o", ms=6, color=colours[k % 6], mec="white")
            corner = (x - window / 2, y - window / 2)
            ax.add_patch(Rectangle(corner, window, window, fill=False, ec=colours[k % 6], lw=2.4))
    if title:
        ax.set_title(title, fontsize=12, weight="normal", pad=4)
    axes = right.subplots(len(aus), 2, squeeze=False)
    for k, au in enumerate(aus):
        sides = ("top", "bottom") if au in (23, 24, 25) else ("left", "right")
        for s in range(2):
            blank_axes(axes[k, s], crops[k, s])
            axes[k, s].set_title(f"AU{au} {sides[s]}", fontsize=12, weight="normal", pad=3, color=colours[k % 6])
    return fig


def _liveliest(values, count: int) -> list[np.ndarray]:
    """The ``count`` channels of (C, h, w) that vary most, in their order."""
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=float)
    return list(array[np.sort(np.argsort(-array.std((1, 2)), kind="stable")[:count])])


@styled
def feature_maps(maps: dict[str, object]) -> Picture:
    """The six liveliest channels of each named map (C, h, w): one row per map, each channel on its own scale."""
    if not maps:
        raise ValueError("no map to draw")
    channels = 6
    fig = new_plot(1.65 * channels + 2.1, 1.5 * len(maps), f"feature maps: {', '.join(maps)}".replace("\n", " "))
    axes = fig.subplots(len(maps), channels, squeeze=False)
    for row, (name, values) in zip(axes, maps.items(), strict=True):
        for ax in row:
            ax.axis("off")
        for ax, channel in zip(row, _liveliest(values, channels), strict=False):
            ax.imshow(channel, interpolation="nearest")
        row[0].text(-0.12, 0.5, name, transform=row[0].transAxes, ha="right", va="center", fontsize=12)
    return fig


def _coloured(values, grid: int = 1) -> np.ndarray:
    """A map (h, w) on a colour scale of its own, or an image, as (H, W, 3); cut into grid×grid parts by white gaps."""
    array = values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
    if array.ndim == 2:
        low, high = float(array.min()), float(array.max())
        array = matplotlib.colormaps["cividis"]((array - low) / max(high - low, 1e-12))[..., :3]
    else:
        array = pixels(array)
        array = array / 255 if array.dtype == np.uint8 else array
    if array.shape[0] % grid or array.shape[1] % grid:
        raise ValueError(f"a map of {array.shape[0]}×{array.shape[1]} cannot be cut into {grid}×{grid} equal parts")
    repeat = max(1, 88 // array.shape[0])  # fine enough that a gap is thin
    array = array.repeat(repeat, 0).repeat(repeat, 1)
    for axis in (0, 1):
        side = array.shape[axis] // grid
        array = np.insert(array, [side * k for k in range(1, grid) for _ in range(2)], 1.0, axis=axis)
    return array


def _put(ax, values, x: float, y: float, width: float, height: float | None = None, grid: int = 1) -> None:
    """Draw a map or an image on a canvas in inches, its lower left corner at (x, y)."""
    height = width if height is None else height
    ax.imshow(_coloured(values, grid), extent=(x, x + width, y, y + height), interpolation="nearest", aspect="auto",
              zorder=2)
    ax.set(xlim=(0, ax.figure.get_figwidth()), ylim=(0, ax.figure.get_figheight()))


@styled
def layer_stages(rows: dict[str, Sequence[tuple]]) -> Picture:
    """What stands after each step of a layer, one row of maps with arrows: the paper's Figure 3 with real tensors.

    ``rows``: {name: [(words, map), …]}. A map is (h, w), drawn on a colour scale of its own, or an image;
    (words, map, grid) draws it cut into grid×grid parts. Maps keep their size: one of half the cells is half as large.
    """
    if not rows or not all(rows.values()):
        raise ValueError("no map to draw")
    longest = max(len(row) for row in rows.values())
    size = min(1.7, 11.6 / longest - 0.36)
    step, height = size + 0.36, size + 0.95
    alt = "; ".join(f"{name}: " + ", then ".join(step[0].replace("\n", " ") for step in row)
                    for name, row in rows.items())
    fig = new_plot(step * longest + 0.05, height * len(rows), alt)
    ax = diagram_axes(fig)
    for r, (name, row) in enumerate(rows.items()):
        bottom = height * (len(rows) - 1 - r) + 0.42
        largest = max(np.shape(step[1])[-1] if np.ndim(step[1]) == 2 else 0 for step in row) or 1
        ax.text(0.05, bottom + size + 0.3, name, fontsize=13, weight="bold", va="center")
        for k, (words, values, *grid) in enumerate(row):
            share = np.shape(values)[-1] / largest if np.ndim(values) == 2 else 1.0
            x, y = step * k + 0.05 + size * (1 - share) / 2, bottom + size * (1 - share) / 2
            _put(ax, values, x, y, size * share, grid=grid[0] if grid else 1)
            ax.text(step * k + 0.05 + size / 2, bottom - 0.06, words, fontsize=10.5, ha="center", va="top")
            if k + 1 < len(row):
                _arrow(ax, (step * k + 0.1 + size, bottom + size / 2), (step * (k + 1), bottom + size / 2))
    return fig


@styled
def architecture_flow(flow: dict, aus: Sequence[int], labels: Sequence[int]) -> Picture:
    """The paper's Figure 2 with the real tensors of one face in its boxes, coloured as in :func:`architecture`.

    ``flow``: image; patches, a list of maps (C, h, w); global and landmark (C, h, w); landmarks (49, 2) in pixels of
    the image; windows {AU: (2, C, s, s)}, at most three AUs; tokens and related (A, D), before and after the relation;
    local_chances and chances (A,), probabilities of both heads. ``labels`` (A,): what the face shows, 1 or 0. Of each
    map the liveliest channels are drawn, each on a colour scale of its own.
    """
    aus = check_aus(aus)
    wanted = ("image", "patches", "global", "landmark", "landmarks", "windows", "tokens", "related", "local_chances",
              "chances")
    missing = [name for name in wanted if name not in flow]
    if missing:
        raise ValueError(f"the flow lacks {', '.join(missing)}")
    fig = new_plot(13.45, 7.2, "One face flows through LoRRaL: patch maps, then global, landmark and local features; "
                   "predicted landmarks say where to crop; one token per AU, mixed by the relation; AUs claimed: "
                   + (", ".join(str(a) for a, p in zip(aus, flow["chances"], strict=True) if p >= 0.5) or "none")
                   + "; shown: " + (", ".join(str(a) for a, y in zip(aus, labels, strict=True) if y == 1) or "none"))
    ax = diagram_axes(fig)

    def box(x, y, w, h, words, colour):
        _box(ax, x, y, w, h, colour)
        ax.text(x + w / 2, y + h - 0.07, words, ha="center", va="top", fontsize=11.5)

    def bars(x, y, chances):  # one bar per AU, the shown ones filled dark
        for k, (au, p, shown) in enumerate(zip(aus, chances, labels, strict=True)):
            row = y + 0.155 * (len(aus) - 1 - k)
            ax.add_patch(Rectangle((x, row), 1.15, 0.12, fc="white", ec="none"))
            ax.add_patch(Rectangle((x, row), 1.15 * float(p), 0.12, fc=BLUE if shown == 1 else "#9a9a9a", ec="none"))
            ax.text(x - 0.05, row + 0.06, str(au), fontsize=8.5, ha="right", va="center")
        ax.plot([x + 0.575] * 2, [y, y + 0.155 * len(aus)], color=INK, lw=0.8, ls=":")

    face = pixels(flow["image"])
    box(0.1, 2.7, 1.75, 2.1, "aligned face", "white")
    _put(ax, face, 0.2, 2.8, 1.55)
    box(2.3, 2.05, 2.35, 3.4, "1 patch learning\nPatchConv ×2", FROZEN)
    for k, stage in enumerate(flow["patches"][:2]):
        for c, channel in enumerate(_liveliest(stage, 2)):
            _put(ax, channel, 2.42 + 1.1 * c, 3.75 - 1.4 * k, 1.0)
        ax.text(3.47, 3.73 - 1.4 * k, f"{stage.shape[0]}×{stage.shape[1]}×{stage.shape[2]}", fontsize=9.5, ha="center",
                va="top")
    for name, y, words, colour in (("global", 5.75, "2 global feature, FeatConvs", FROZEN),
                                   ("landmark", 3.75, "landmark feature, FeatConvs", BOTH)):
        box(5.15, y, 2.6, 1.35, words, colour)
        for c, channel in enumerate(_liveliest(flow[name], 3)):
            _put(ax, channel, 5.27 + 0.82 * c, y + 0.27, 0.74)
        shape = flow[name].shape
        ax.text(6.45, y + 0.23, f"{shape[0]}×{shape[1]}×{shape[2]}", fontsize=9.5, ha="center", va="top")
    box(5.15, 0.1, 4.05, 2.55, "3 local AU features: crops → tokens", FROZEN)
    for r, (au, pair) in enumerate(list(flow["windows"].items())[:3]):
        for s in (0, 1):
            _put(ax, _liveliest(pair[s], 1)[0], 5.75 + 0.68 * s, 1.68 - 0.69 * r, 0.62)
        ax.text(5.69, 1.99 - 0.69 * r, f"AU{au}", fontsize=9.5, ha="right", va="center")
    _arrow(ax, (7.1, 1.25), (7.5, 1.25))
    _put(ax, flow["tokens"], 7.75, 0.4, 1.3, 1.86)
    box(9.65, 0.1, 1.55, 2.55, "4 relation", ANEW)
    _put(ax, flow["related"], 9.78, 0.4, 1.3, 1.86)
    for x in (8.4, 10.43):
        ax.text(x, 0.36, "×".join(map(str, np.shape(flow["tokens"]))), fontsize=9.5, ha="center", va="top")
    for k, au in enumerate(aus):
        ax.text(7.7, 0.4 + 1.86 * (1 - (k + 0.5) / len(aus)), str(au), fontsize=8.5, ha="right", va="center")
    box(8.25, 3.05, 1.8, 1.97, "6 landmarks", BOTH)
    _put(ax, face, 8.4, 3.15, 1.5)
    p = as_points(flow["landmarks"]) + 0.5
    for line in LINES.values():
        ax.plot(8.4 + 1.5 * p[line, 0] / face.shape[1], 3.15 + 1.5 * (1 - p[line, 1] / face.shape[0]), color=SKY,
                lw=1.3, zorder=3)
    box(11.6, 0.1, 1.75, 2.55, "5 AUs, local", ANEW)
    bars(12.0, 0.32, flow["local_chances"])
    box(11.6, 4.4, 1.75, 2.4, "AUs, all features", ANEW)
    bars(12.0, 4.55, flow["chances"])
    _arrow(ax, (1.85, 3.75), (2.3, 3.75))
    for y in (6.42, 4.42, 1.4):
        _arrow(ax, (4.65, 3.75), (5.15, y))
    _arrow(ax, (7.75, 4.42), (8.25, 4.42))
    _arrow(ax, (7.75, 6.42), (11.6, 6.2))
    _arrow(ax, (7.75, 4.98), (11.6, 5.75))
    _arrow(ax, (10.43, 2.65), (11.6, 4.9))
    _arrow(ax, (9.2, 1.4), (9.65, 1.4))
    _arrow(ax, (11.2, 1.4), (11.6, 1.4))
    _arrow(ax, (8.7, 3.05), (7.4, 2.65), dashed=True)
    ax.text(8.3, 2.83, "where to crop", fontsize=10.5, color=GREY, ha="left", va="center")
    _legend(ax, 7.0)
    ax.text(0.15, 0.62, "bars: probabilities, dotted line ½\nblue: the face shows this AU", fontsize=11, va="center")
    return fig


@styled
def convolution_blocks() -> Picture:
    """The paper's Figure 3: FeatConv (a) is a plain stack; PatchConv (b) has one branch for each part of the map."""
    fig = new_plot(11.5, 4.9, "FeatConv: Conv2D, BatchNorm, PReLU twice, then max-pooling. PatchConv: Conv2D, then for "
                   "each part its own BatchNorm, PReLU and Conv2D, then the parts are put together again.")
    ax = diagram_axes(fig)
    looks = {"Conv2D": "#d9ecf7", "BatchNorm": "#e8e8e8", "PReLU": "#e5f3ec", "MaxPool 2": "#fde3c8", "divide": "white",
             "concatenate": "white"}

    def box(x, y, text, width=1.15, height=0.5):
        _box(ax, x, y, width, height, looks[text])
        ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=12,
                rotation=90 if height > 1 else 0)

    def arrow(x, y, length):
        _arrow(ax, (x, y), (x + length, y))

    ax.text(0.2, 4.5, "(a) FeatConv", fontsize=14, weight="bold", va="center")
    for k, text in enumerate(("Conv2D", "BatchNorm", "PReLU", "Conv2D", "BatchNorm", "PReLU", "MaxPool 2")):
        arrow(0.2 + 1.55 * k, 3.85, 0.4)
        box(0.6 + 1.55 * k, 3.6, text)
    ax.text(0.2, 2.95, "(b) PatchConv", fontsize=14, weight="bold", va="center")
    arrow(0.2, 1.3, 0.4)
    box(0.6, 1.05, "Conv2D")
    arrow(1.75, 1.3, 0.45)
    box(2.2, 0.2, "divide", 0.5, 2.2)
    branches = (("part 1", 2.15), ("part 2", 1.45), ("part g·g", 0.45))
    for name, y in branches:
        arrow(2.7, y, 1.3)
        ax.text(3.3, y + 0.06, name, fontsize=11.5, ha="center", va="bottom")
        for k, text in enumerate(("BatchNorm", "PReLU", "Conv2D")):
            box(4.0 + 1.6 * k, y - 0.22, text, height=0.44)
            arrow(5.15 + 1.6 * k, y, 0.45)
    ax.text(4.6, 0.93, "⋮", fontsize=17, ha="center", va="center")
    box(8.8, 0.2, "concatenate", 0.5, 2.2)
    arrow(9.3, 1.3, 0.5)
    ax.text(9.95, 1.3, "same height,\nsame width", fontsize=11.5, va="center")
    return fig


# ----------------------------------------------------------------------------------- notebooks 03 and 04: where from?


def patch_model(grids=(8,), seed: int = 0) -> nn.Sequential:
    """PatchConvs with random weights, each after the first behind a 2×2 pooling, in eval mode; grid 1 is a plain stack.

    Made to show what is looked at: all weights are positive, so nothing cancels out in a gradient, and the pooling is
    the mean, because the maximum lets the gradient through to only one of the four cells that it compares.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = []
        for k, grid in enumerate(grids):
            layers += [nn.AvgPool2d(2)] if k else []
            layers.append(PatchConv(8 if k else 3, 8, grid))
        model = nn.Sequential(*layers).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.abs_().add_(1e-3)
    return model


def seen_pixels(model: nn.Module, part: tuple[int, int], grid: int) -> np.ndarray:
    """Size (88, 88) of the gradient of one part's output by every pixel: 0 where the part sees nothing.

    ``part`` is (row, column) of a ``grid``×``grid`` partition of the model's output.
    """
    if not all(0 <= k < grid for k in part):
        raise ValueError(f"part must be a row and a column from 0 to {grid - 1}, got {tuple(part)}")
    image = torch.rand(1, 3, 88, 88, generator=torch.Generator().manual_seed(0)).requires_grad_()
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
    face = studio_face({}, person, size=88)[0]
    seen = [seen_pixels(patch_model(g), (row, column), grids[-1]) for g in (grids, (1,) * len(grids))]
    titles = [f"{name}: {int((s > 0).sum())} of {88 * 88} pixels"
              for name, s in zip((layers, "plain convolutions"), seen, strict=True)]
    return part_grid([face, face], grids[-1], titles, part=(row, column), seen=seen)


def crop_figure(au: int = 12, right: float = 0.0, down: float = 0.0, person: int = 1, scene: int = 0) -> Picture:
    """The windows of one AU when its landmarks are moved by ``right`` and ``down`` pixels: the crops follow.

    The window is the lite model's, 6 of 22 cells, which is 24 of 88 pixels; what is cut out is shown from the image
    itself, at its own resolution, by the same :class:`~lorral_lite.model.AUCrops`.
    """
    size, window = 88, 24
    image, points = studio_face({}, person, scene, size)
    moved = torch.from_numpy(points)[None] + torch.tensor([right, down], dtype=torch.float32)
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    cut = AUCrops((au,), window)(pixels, moved, size)[0].clamp(0, 1)
    return crop_windows(image, moved[0], (au,), window, cut, f"landmarks moved by {right:+g}, {down:+g} pixels")
