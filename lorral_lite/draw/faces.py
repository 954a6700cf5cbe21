"""Pictures with faces in them: sheets, landmarks, AU centers, predictions, overlays."""

from collections.abc import Sequence

import matplotlib.colors
import matplotlib.style
import numpy as np
from matplotlib.patches import Rectangle

from ..facs import ACTION_UNITS, check_aus
from ..landmarks import LINES, NUM_LANDMARKS, au_centers
from .base import BLUE, GREEN, GREY, INK, ORANGE, PALE, RED, SKY, Picture, new_grid, new_plot, pixels, styled, titled

THRESHOLD = 0.5
"""An AU counts as predicted from this probability on."""
PHOTO_WARNING = "trained on procedural faces, not validated on photographs"


def as_points(points) -> np.ndarray:
    array = points.detach().cpu().numpy() if hasattr(points, "detach") else np.asarray(points)
    if array.shape != (NUM_LANDMARKS, 2):
        raise ValueError(f"landmarks of one face must be (49, 2), got {array.shape}")
    return array


def _same_length(name: str, values, count: int) -> None:
    if values is not None and len(values) != count:
        raise ValueError(f"{count} images need {count} {name}, got {len(values)}")


def draw_face(ax, points, colour=SKY, width=1.4, dots=True) -> None:
    p = as_points(points)
    for line in LINES.values():
        ax.plot(p[line, 0], p[line, 1], color=colour, lw=width, solid_joinstyle="round")
    if dots:
        ax.plot(p[:, 0], p[:, 1], "o", color="white", ms=2.6 * width, mec=colour, mew=0.8 * width)


def _draw_centers(ax, points, aus) -> None:
    """The centres of AUs on a face (49, 2) as dots; AUs that share a centre share a label."""
    spots: dict[tuple, list[int]] = {}
    for au, pair in zip(aus, au_centers(points.astype(np.float64), aus), strict=True):
        for x, y in pair:
            spots.setdefault((round(float(x), 1), round(float(y), 1)), []).append(au)
    middle = np.mean([x for x, _ in spots])
    for (x, y), here in spots.items():
        side = "center" if len(here) < 3 else "right" if x < middle else "left"  # long labels grow outwards
        ax.plot(x, y, "o", ms=9, color=ORANGE, mec=INK, mew=1)
        ax.annotate(" ".join(map(str, here)), (x, y), xytext=(0, 8), textcoords="offset points", ha=side,
                    fontsize=11, weight="bold", color=INK,
                    bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8})


def blank_axes(ax, image=None, box=None) -> None:
    """Show ``image`` without ticks, or an empty frame that holds the points in ``box``, y down."""
    ax.set_aspect("equal")
    ax.axis("off")
    if image is not None:
        array = pixels(image)
        ax.imshow(array, cmap="gray" if array.ndim == 2 else None,
                  interpolation="bicubic" if min(array.shape[:2]) >= 48 else "nearest")
        ax.set(xlim=(-0.5, array.shape[1] - 0.5), ylim=(array.shape[0] - 0.5, -0.5))
    else:
        low, high = box.min(0), box.max(0)
        pad = 0.12 * max(high - low)
        ax.set(xlim=(low[0] - pad, high[0] + pad), ylim=(high[1] + pad, low[1] - pad))


@styled
def show_faces(images, titles: Sequence[str] | None = None, landmarks=None, centers: bool = False,
               columns: int = 6, *, aus: Sequence[int] | None = None, size: float = 2.2) -> Picture:
    """Faces in a grid with titles, on request with their landmarks and AU centres.

    ``images``: N of what :func:`pixels` takes. ``landmarks``: N of (49, 2), pixels of the image. ``centers`` draws
    the centres of ``aus``, which the landmarks give. ``size``: inches a face.
    """
    images = list(images)
    if not images:
        raise ValueError("no face to show")
    _same_length("titles", titles, len(images))
    _same_length("landmarks", landmarks, len(images))
    if centers and (aus is None or landmarks is None):
        raise ValueError("centers need landmarks, and aus must name the AUs whose centers are drawn")
    aus = check_aus(aus or ())
    lines = max((str(t).count("\n") + 1 for t in titles), default=0) if titles is not None else 0
    alt = f"{len(images)} faces" + (": " + "; ".join(str(t).replace("\n", " ") for t in titles) if lines else "")
    fig, axes = new_grid(len(images), columns, size, size + 0.25 * lines, alt)
    for i, image in enumerate(images):
        blank_axes(axes[i], image)
        if landmarks is not None:
            draw_face(axes[i], landmarks[i], width=1.0)
        if centers:
            _draw_centers(axes[i], as_points(landmarks[i]), aus)
        if titles is not None:
            axes[i].set_title(str(titles[i]), fontsize=12, weight="normal", pad=4)
    return fig


@styled
def contact_sheet(images, rows: Sequence[str], columns: Sequence[str], title: str | None = None, *,
                  groups: Sequence[str] | None = None, size: float = 1.15) -> Picture:
    """Many faces as one sheet: ``images`` in reading order, one per (row, column), all of one size.

    ``rows`` and ``columns`` label the sheet (people × expressions). ``groups`` are headings over equal runs
    of columns (three people side by side in the AU atlas).
    """
    images = [pixels(image) for image in images]
    r, c = len(rows), len(columns)
    if len(images) != r * c or not images:
        raise ValueError(f"a sheet of {r} rows and {c} columns needs {r * c} images, got {len(images)}")
    if groups is not None and c % len(groups):
        raise ValueError(f"{c} columns do not split into {len(groups)} equal groups")
    h, w = images[0].shape[:2]
    gap = max(1, w // 40)
    sheet = np.ones((r * (h + gap) - gap, c * (w + gap) - gap, 3))
    for i, image in enumerate(images):
        if image.shape != (h, w, 3):
            raise ValueError(f"all images of a sheet must be {h}×{w}×3, image {i} is {image.shape}")
        y, x = divmod(i, c)
        sheet[y * (h + gap):y * (h + gap) + h, x * (w + gap):x * (w + gap) + w] = (
            image / 255 if image.dtype == np.uint8 else image)
    margin = 0.1 * max((len(max(str(s).split("\n"), key=len)) for s in rows), default=0) + 0.2
    top = 0.3 + 0.35 * (title is not None) + 0.3 * (groups is not None)
    height = size * r * h / w
    alt = f"{title or 'Faces'}: rows {', '.join(map(str, rows))}; columns {', '.join(map(str, columns))}"
    fig = new_plot(margin + size * c, top + height, alt)
    fig.set_layout_engine("none")
    width = margin + size * c
    ax = fig.add_axes((margin / width, 0, size * c / width, height / (top + height)))
    ax.imshow(sheet, aspect="auto")
    ax.axis("off")
    for y, name in enumerate(rows):
        ax.text(-2 * gap, (y + 0.5) * (h + gap), str(name), ha="right", va="center", fontsize=12)
    for x, name in enumerate(columns):
        ax.text((x + 0.5) * (w + gap) - gap / 2, -2 * gap, str(name), ha="center", va="bottom", fontsize=12)
    for g, name in enumerate(groups or ()):
        ax.text((g + 0.5) * (c // len(groups)) * (w + gap), -2 * gap - 0.26 * w / size, str(name), ha="center",
                va="bottom", fontsize=13, weight="bold")
    if title:
        fig.text(margin / width, 1 - 0.06 / (top + height), title, ha="left", va="top", fontsize=16,
                 weight="bold")
    return fig


@styled
def plot_centers(points, aus: Sequence[int], image=None, *, title: str | None = None) -> Picture:
    """The two centres of each AU on one face (paper Figure 4); AUs with the same centres share a label."""
    aus, p = check_aus(aus), as_points(points)
    centers = au_centers(p.astype(np.float64), aus)
    fig = new_plot(5.2, 5.4 if title else 5.0, titled(title, f"centres of AUs {', '.join(map(str, aus))} on a face"))
    ax = fig.subplots()
    blank_axes(ax, image, np.concatenate([p, centers.reshape(-1, 2)]))
    draw_face(ax, p, colour=GREY if image is None else SKY, width=1.2, dots=False)
    _draw_centers(ax, p, aus)
    if title:
        ax.set_title(title)
    return fig


@styled
def prediction_sheet(aus: Sequence[int], labels, probabilities, landmarks, images=None, names=None, *,
                     true_landmarks=None) -> Picture:
    """Test faces with their predicted landmarks and, below each, its AUs: found, missed and wrongly claimed.

    ``labels`` (N, A) in {1, 0, −1 unknown}, ``probabilities`` (N, A), ``landmarks`` (N, 49, 2) pixels of ``images``.
    ``images`` None draws the landmarks alone (licensed faces). Sign and colour both tell the cases apart:
    ``12`` found, ``(12)`` missed, ``+12`` claimed wrongly.
    """
    aus = check_aus(aus)
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if labels.shape != probabilities.shape or labels.shape[1:] != (len(aus),):
        raise ValueError(f"labels {labels.shape} and probabilities {probabilities.shape} must be (N, {len(aus)})")
    n = len(labels)
    for what, values in (("images", images), ("landmarks", landmarks), ("names", names)):
        _same_length(what, values, n)
    alt = f"{n} test faces with predicted landmarks, and their AUs found, missed and claimed wrongly"
    fig, axes = new_grid(n, 4, 2.75, 3.35, alt, more=0.45)
    for i in range(n):
        ax, points = axes[i], as_points(landmarks[i])
        blank_axes(ax, None if images is None else images[i], points)
        if true_landmarks is not None:
            draw_face(ax, true_landmarks[i], colour="white" if images is not None else ORANGE, width=1.5, dots=False)
        draw_face(ax, points, colour=SKY if images is not None else BLUE, width=1.0, dots=False)
        if names is not None:
            ax.set_title(str(names[i]), fontsize=11, weight="normal", color=GREY, pad=3)
        yes = probabilities[i] >= THRESHOLD
        said = [(f"{a}", GREEN) for a, y, t in zip(aus, yes, labels[i], strict=True) if y and t == 1]
        said += [(f"({a})", ORANGE) for a, y, t in zip(aus, yes, labels[i], strict=True) if not y and t == 1]
        said += [(f"+{a}", RED) for a, y, t in zip(aus, yes, labels[i], strict=True) if y and t == 0]
        for k, (text, colour) in enumerate(said or [("none, rightly", GREEN)]):
            line, place = divmod(k, 6)
            ax.text((place + 0.5) / 6 if said else 0.5, -0.035 - 0.115 * line, text, transform=ax.transAxes,
                    ha="center", va="top", fontsize=11.5, weight="bold", color=is_dark(colour))
    fig.supxlabel("12 found    (12) missed    +12 claimed wrongly", fontsize=13, color=INK)
    return fig


def is_dark(colour: str) -> tuple[float, ...]:
    """A colour of the palette dark enough for text on white."""
    return tuple(0.72 * c for c in matplotlib.colors.to_rgb(colour))


@styled
def overlay(image, landmarks, aus_probabilities: dict | None = None, *, withheld: str | None = None,
            note: str = PHOTO_WARNING) -> Picture:
    """A photograph with its predicted landmarks, beside it the probability of every AU; ``note`` stands below.

    ``aus_probabilities``: {AU number: 0–1}. ``withheld``: why no AU is shown (then the probabilities are left
    out).
    """
    array, p = pixels(image), as_points(landmarks)
    fig = new_plot(10.4, 5.6, "A photograph with predicted landmarks; " + (
        f"AUs withheld: {withheld}" if withheld or not aus_probabilities else "AU probabilities as bars"))
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    blank_axes(left, array)
    draw_face(left, p, colour=SKY, width=1.3)
    if withheld or not aus_probabilities:
        right.axis("off")
        right.text(0, 0.62, "AUs withheld", fontsize=18, weight="bold", transform=right.transAxes)
        right.text(0, 0.56, withheld or "no probability was given", fontsize=13, va="top", wrap=True,
                   transform=right.transAxes)
    else:
        aus = check_aus(aus_probabilities)
        values = [float(aus_probabilities[a]) for a in aus_probabilities]
        y = np.arange(len(aus))
        right.barh(y, values, color=[RED if v >= THRESHOLD else PALE for v in values], height=0.72)
        for i, v in enumerate(values):
            right.text(v + 0.02, i, f"{v:.2f}", va="center", fontsize=11.5, color=INK,
                       bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none"}, zorder=3)
        right.axvline(THRESHOLD, color=INK, lw=1.2, ls="--", zorder=1)
        right.set_yticks(y, [f"{ACTION_UNITS[a].name} {a}" for a in aus])
        right.tick_params(axis="y", length=0)
        right.set(ylim=(len(aus) - 0.4, -0.6), xlim=(0, 1.12), title="Predicted action units")
        right.set_xticks([0, THRESHOLD, 1], ["0", f"threshold {THRESHOLD}", "1"])
    fig.supxlabel(note[:1].upper() + note[1:] + ".", fontsize=13, weight="bold", color=RED)
    return fig


@styled
def part_grid(images, grid: int, titles: Sequence[str], *, part: tuple[int, int] | None = None, seen=None) -> Picture:
    """Images with a grid×grid partition over them; ``part`` is outlined, pixels that ``seen`` lights up are tinted.

    ``seen``: None or one (H, W) array per image, 0 where nothing is seen; its strength is the strength of the tint.
    """
    images = [pixels(image) for image in images]
    _same_length("titles", titles, len(images))
    _same_length("seen", seen, len(images))
    fig = new_plot(3.5 * len(images), 3.9, "; ".join(titles))
    for i, (ax, image) in enumerate(zip(fig.subplots(1, len(images), squeeze=False)[0], images, strict=True)):
        side = image.shape[0] / grid
        blank_axes(ax, image)
        if seen is not None:
            tint = np.asarray(seen[i], dtype=float)
            shade = np.zeros((*tint.shape, 4))
            shade[..., :3] = matplotlib.colors.to_rgb(ORANGE)
            shade[..., 3] = np.where(tint > 0, 0.25 + 0.65 * tint / max(tint.max(), 1e-30), 0)
            ax.imshow(shade, interpolation="nearest")
        for k in range(1, grid):
            ax.axhline(k * side - 0.5, color="white", lw=0.9)
            ax.axvline(k * side - 0.5, color="white", lw=0.9)
        if part is not None:
            corner = (part[1] * side - 0.5, part[0] * side - 0.5)
            ax.add_patch(Rectangle(corner, side, side, fill=False, ec=RED, lw=2.6, zorder=5))
        ax.set_title(titles[i], fontsize=12, weight="normal", pad=4)
    return fig
