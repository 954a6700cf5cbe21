"""Every picture of the notebooks and the report, one function each: data in, matplotlib Figure out.

Figures are drawn with the style file beside this one: opaque white ground (legible in dark mode), large text,
the colours of Okabe and Ito. They need no pyplot and no open window. Each carries ``alt``, a sentence for
readers who cannot see it, and shows itself in a notebook as a PNG of at most 150 kB (:func:`png_bytes`).
"""

import base64
import functools
import io
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib.colors
import matplotlib.style
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image, ImageColor

from .faces import AUS, render_faces
from .faces.population import Population
from .facs import ACTION_UNITS, check_aus
from .landmarks import LINES, NUM_LANDMARKS, alignment, au_centers, ruler, transform

STYLE = Path(__file__).with_name("lorral.mplstyle")
PNG_LIMIT = 150_000

BLUE, ORANGE, GREEN, RED, PINK, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, GREY, PALE = "#222222", "#6f6f6f", "#d4d4d4"

RELATION_NAMES = {
    "none": "no relation", "mlp": "MLP control", "bilstm": "BiLSTM", "self_attention": "self-attention",
    "hopfield": "Hopfield", "series": "in series",
}
"""Name in a config → name in a figure or table, in the order of every table."""

RELATION_LOOKS = {
    "none": (GREY, "o"), "mlp": (INK, "X"), "bilstm": (ORANGE, "s"), "self_attention": (BLUE, "D"),
    "hopfield": (RED, "^"), "series": (GREEN, "v"),
}
OUTPUT_NAMES = {"local": "local output (sees the relation module only)", "au": "AU output (sees everything)"}

PHOTO_WARNING = "trained on procedural faces, not validated on photographs"


class Picture(Figure):
    """A Figure with ``alt`` text, which a notebook shows as a small PNG."""

    alt = ""

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"image/png": base64.b64encode(png_bytes(self)).decode("ascii"),
                "text/plain": f"<figure: {self.alt}>"}


def _styled(function):
    """Draw inside the style file, whatever the reader's own matplotlib settings are."""

    @functools.wraps(function)
    def drawn(*args, **kwargs):
        with matplotlib.style.context(["default", STYLE]):
            return function(*args, **kwargs)

    return drawn


def _picture(width: float, height: float, alt: str) -> Picture:
    fig = Picture(figsize=(width, height))
    fig.alt = alt
    return fig


def _words(title: str | None, what: str) -> str:
    return f"{title}: {what}" if title else what[0].upper() + what[1:]


def png_bytes(fig: Figure, limit: int = PNG_LIMIT) -> bytes:
    """The figure as PNG of at most ``limit`` bytes: fewer colours first, fewer pixels only when that is not enough.

    ValueError when even a quarter of the size does not fit.
    """
    buffer = io.BytesIO()
    with matplotlib.style.context(["default", STYLE]):
        fig.savefig(buffer, format="png", dpi=fig.dpi)
    return shrink_png(buffer.getvalue(), limit)


def shrink_png(data: bytes, limit: int = PNG_LIMIT) -> bytes:
    """A PNG file's bytes, unchanged when they fit into ``limit``, else as :func:`png_bytes` makes them fit."""
    if len(data) <= limit:
        return data
    full = Image.open(io.BytesIO(data)).convert("RGB")
    scale, colours = 1.0, 256
    while scale > 0.2:
        size = (round(full.width * scale), round(full.height * scale))
        picture = full if scale == 1 else full.resize(size, Image.Resampling.LANCZOS)
        small = io.BytesIO()
        _quantise(picture, colours).save(small, "PNG", optimize=True)
        if small.tell() <= limit:
            return small.getvalue()
        if scale == 1 and colours == 256 and small.tell() < 1.25 * limit:
            colours = 128
        else:
            scale, colours = scale * min(0.95, 0.98 * math.sqrt(limit / small.tell())), 256
    raise ValueError(f"this figure does not fit into {limit} bytes")


def _quantise(picture: Image.Image, colours: int) -> Image.Image:
    """Median cut, with places kept for the colours of lines and text: a busy photograph may not repaint them."""
    kept = [ImageColor.getrgb(c) for c in (BLUE, ORANGE, GREEN, RED, PINK, SKY, INK, GREY, PALE, "white", "black")]
    free = colours - len(kept)
    cut = picture.quantize(free, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).getpalette()[:3 * free]
    palette = Image.new("P", (1, 1))
    palette.putpalette(cut + [channel for colour in kept for channel in colour])
    small = picture.quantize(palette=palette, dither=Image.Dither.NONE)
    index, rgb = np.array(small), np.asarray(picture)
    for place, colour in enumerate(kept, start=len(cut) // 3):  # Pillow's search is approximate: white stays white
        index[(rgb == colour).all(-1)] = place
    exact = Image.frombytes("P", small.size, index.tobytes())
    exact.putpalette(small.getpalette())
    return exact


def pixels(image) -> np.ndarray:
    """One image as (H, W, 3) or (H, W) array that matplotlib shows.

    Accepted: (3, H, W) or (H, W, 3) or (H, W), tensor or array, uint8 or float in 0–1. ValueError otherwise.
    """
    array = image.detach().cpu().numpy() if hasattr(image, "detach") else np.asarray(image)
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3:
        array = array.transpose(1, 2, 0)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise ValueError(f"an image must be (3, H, W), (H, W, 3) or (H, W), got {array.shape}")
    if array.dtype != np.uint8:
        if not np.isfinite(array).all() or array.min() < -1e-3 or array.max() > 1 + 1e-3:
            raise ValueError(f"a float image must lie in 0–1, got {array.min():.3g} to {array.max():.3g}")
        array = np.clip(array, 0, 1)
    return array


def _points(points) -> np.ndarray:
    array = points.detach().cpu().numpy() if hasattr(points, "detach") else np.asarray(points)
    if array.shape != (NUM_LANDMARKS, 2):
        raise ValueError(f"landmarks of one face must be (49, 2), got {array.shape}")
    return array


def _same_length(name: str, values, count: int) -> None:
    if values is not None and len(values) != count:
        raise ValueError(f"{count} images need {count} {name}, got {len(values)}")


def _draw_face(ax, points, colour=SKY, width=1.4, dots=True) -> None:
    p = _points(points)
    for line in LINES.values():
        ax.plot(p[line, 0], p[line, 1], color=colour, lw=width, solid_joinstyle="round")
    if dots:
        ax.plot(p[:, 0], p[:, 1], "o", color="white", ms=2.6 * width, mec=colour, mew=0.8 * width)


def _draw_centers(ax, centers, aus) -> None:
    """Centres (A, 2, 2) as dots; AUs that share a centre share a label."""
    spots: dict[tuple, list[int]] = {}
    for au, pair in zip(aus, np.asarray(centers), strict=True):
        for x, y in pair:
            spots.setdefault((round(float(x), 1), round(float(y), 1)), []).append(au)
    middle = np.mean([x for x, _ in spots])
    for (x, y), here in spots.items():
        side = "center" if len(here) < 3 else "right" if x < middle else "left"  # long labels grow outwards
        ax.plot(x, y, "o", ms=9, color=ORANGE, mec=INK, mew=1)
        ax.annotate(" ".join(map(str, here)), (x, y), xytext=(0, 8), textcoords="offset points", ha=side,
                    fontsize=11, weight="bold", color=INK,
                    bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8})


def _blank(ax, image=None, box=None) -> None:
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


@_styled
def show_faces(images, titles: Sequence[str] | None = None, landmarks=None, centers=None,
               columns: int | None = None, *, aus: Sequence[int] | None = None, size: float = 2.2) -> Picture:
    """Faces in a grid with titles, on request with their landmarks and AU centres.

    ``images``: N of what :func:`pixels` takes. ``landmarks``: N of (49, 2), pixels of the image. ``centers``:
    N of (A, 2, 2) with ``aus`` naming them; ``centers=True`` computes them from ``landmarks``. ``size``:
    inches a face.
    """
    images = list(images)
    if not images:
        raise ValueError("no face to show")
    _same_length("titles", titles, len(images))
    _same_length("landmarks", landmarks, len(images))
    if centers is not None and centers is not False:
        if aus is None:
            raise ValueError("aus must name the AUs whose centers are drawn")
        aus = check_aus(aus)
        if centers is True:
            if landmarks is None:
                raise ValueError("centers=True needs landmarks")
            centers = [au_centers(_points(p).astype(np.float64), aus) for p in landmarks]
        _same_length("centers", centers, len(images))
    else:
        centers = None
    columns = min(len(images), columns or 6)
    rows = math.ceil(len(images) / columns)
    lines = max((str(t).count("\n") + 1 for t in titles), default=0) if titles is not None else 0
    alt = f"{len(images)} faces" + (": " + "; ".join(str(t).replace("\n", " ") for t in titles) if lines else "")
    fig = _picture(size * columns, (size + 0.25 * lines) * rows, alt)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(images):]:
        ax.axis("off")
    for i, image in enumerate(images):
        _blank(axes[i], image)
        if landmarks is not None:
            _draw_face(axes[i], landmarks[i], width=1.0)
        if centers is not None:
            _draw_centers(axes[i], centers[i], aus)
        if titles is not None:
            axes[i].set_title(str(titles[i]), fontsize=12, weight="normal", pad=4)
    return fig


@_styled
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
    fig = _picture(margin + size * c, top + height, alt)
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


@_styled
def au_atlas(aus: Sequence[int] | None = None, intensities: Sequence[float] = (0.2, 0.6, 1.0),
             people: Sequence[int] = (1, 2, 3), *, scene: int = 0, face: int = 100) -> Picture:
    """The AU atlas: one row per AU, for each person the same face from neutral up the ``intensities``.

    ``people`` and ``scene`` are seeds of :func:`lorral_lite.render_faces`; pose and light stay the same
    throughout.
    """
    aus = check_aus(ACTION_UNITS if aus is None else aus)
    steps = [0.0, *intensities]
    images = []
    for au in aus:
        for person in people:
            images += [render_faces({au: x} if x else {}, size=face, seed=person, scene=scene).images[0]
                       for x in steps]
    names = ["0", *[f"{x:g}" for x in intensities]]
    return contact_sheet(images, [f"AU{a} {ACTION_UNITS[a].name.lower()}" for a in aus], names * len(people),
                         "Action units at rising intensity", groups=[f"person {p}" for p in people], size=0.95)


@_styled
def plot_landmarks(points, image=None, *, numbers: bool = False, title: str | None = None) -> Picture:
    """The 49 landmarks of one face as polylines, over ``image`` when there is one; ``numbers`` prints the indices."""
    p = _points(points)
    side = 7.0 if numbers else 5.0
    fig = _picture(side, side + 0.4 * bool(title), _words(title, "the 49 facial landmarks as lines"))
    ax = fig.subplots()
    _blank(ax, image, p)
    _draw_face(ax, p, colour=BLUE if image is None else SKY, width=1.8)
    for line in LINES.values() if numbers else ():
        middle = p[line].mean(0)
        for i in set(line) - ({31, 37} if len(line) == 9 else set()):  # the inner lip shares the corners
            away = (p[i] - middle) / (np.linalg.norm(p[i] - middle) + 1e-9) * (10, -10)
            away = (12, 0) if i in LINES["nose bridge"] else away
            ax.annotate(str(i), p[i], xytext=away, textcoords="offset points", fontsize=10, color=INK, ha="center",
                        va="center", path_effects=[withStroke(linewidth=2.5, foreground="white")])
    if title:
        ax.set_title(title)
    return fig


@_styled
def plot_centers(points, aus: Sequence[int], image=None, *, title: str | None = None) -> Picture:
    """The two centres of each AU on one face (paper Figure 4); AUs with the same centres share a label."""
    aus, p = check_aus(aus), _points(points)
    centers = au_centers(p.astype(np.float64), aus)
    fig = _picture(5.2, 5.4 if title else 5.0, _words(title, f"centres of AUs {', '.join(map(str, aus))} on a face"))
    ax = fig.subplots()
    _blank(ax, image, np.concatenate([p, centers.reshape(-1, 2)]))
    _draw_face(ax, p, colour=GREY if image is None else SKY, width=1.2, dots=False)
    _draw_centers(ax, centers, aus)
    if title:
        ax.set_title(title)
    return fig


def displacements(aus: Sequence[int], intensity: float = 1.0, people: Sequence[int] = tuple(range(8)),
                  scene: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """What each AU does to the landmarks of procedural faces, mean over ``people``, in rulers.

    Each face is brought upright by its own neutral face (:func:`lorral_lite.landmarks.alignment`), so head
    pose does not blur the arrows. → neutral face (49, 2), displacement (A, 49, 2).
    """
    aus = check_aus(aus)
    seeds = [p for p in people for _ in range(len(aus) + 1)]
    table = [[0.0] * len(AUS) for _ in seeds]
    for row in range(len(seeds)):
        which = row % (len(aus) + 1)
        if which:
            table[row][AUS.index(aus[which - 1])] = float(intensity)
    faces = render_faces(torch.tensor(table, dtype=torch.float32), size=64, seed=seeds, scene=scene)
    points = faces.landmarks.cpu().numpy().astype(np.float64).reshape(len(people), len(aus) + 1, NUM_LANDMARKS, 2)
    upright = np.stack([transform(person, alignment(person[0])) for person in points])
    unit = ruler(upright[:, 0])[:, None, None]
    neutral = upright[:, 0] / unit
    moved = upright[:, 1:] / unit[:, None] - neutral[:, None]
    return neutral.mean(0), moved.mean(0)


@_styled
def au_displacement(aus: Sequence[int] | None = None, intensity: float = 1.0, people: Sequence[int] = tuple(range(8)),
                    *, columns: int = 6, scene: int = 0) -> Picture:
    """Arrows from neutral to each AU at full intensity, drawn at true length; the longest is printed in rulers."""
    aus = check_aus(AUS if aus is None else aus)
    neutral, moved = displacements(aus, intensity, people, scene)
    columns = min(columns, len(aus))
    rows = math.ceil(len(aus) / columns)
    fig = _picture(2.15 * columns, 2.75 * rows, f"How AUs {', '.join(map(str, aus))} move the 49 landmarks")
    fig.get_layout_engine().set(h_pad=0.12)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(aus):]:
        ax.axis("off")
    box = np.concatenate([neutral, *(neutral + moved)])
    for ax, au, d in zip(axes, aus, moved, strict=False):
        _blank(ax, None, box)
        _draw_face(ax, neutral, colour="#b4b4b4", width=1.2, dots=False)
        length = np.hypot(*d.T)
        big = length > 0.02
        ax.quiver(*neutral[big].T, *d[big].T, angles="xy", scale_units="xy", scale=1, color=RED, width=0.012,
                  headwidth=3.4, headlength=4, headaxislength=3.6)
        ax.set_title(f"AU{au}\n{ACTION_UNITS[au].name.lower()}", fontsize=12)
        ax.text(0.5, 0.0, f"up to {length.max():.2f} rulers", transform=ax.transAxes, ha="center", va="top",
                fontsize=11, color=GREY)
    return fig


@_styled
def training_curves(log, title: str | None = None) -> Picture:
    """Losses, landmark loss and learning rate over epochs, and held-out F1 when the log has it.

    ``log``: the rows of a log.jsonl (dicts with epoch, train_loss, au, local_au, landmark, lr), or {name:
    rows} to lay several runs over each other (then one line per run: the total loss).
    """
    runs = log if isinstance(log, dict) else {"": log}
    if not runs or not all(runs.values()):
        raise ValueError("no epoch to draw: the log is empty")
    several = len(runs) > 1
    scored = any("val_mean_f1" in row for rows in runs.values() for row in rows)
    fig = _picture(9.6 if not scored else 12.8, 3.9,
                   _words(title, "training loss and learning rate over epochs"))
    axes = fig.subplots(1, 3 if scored else 2)
    parts = {"train_loss": ("total", INK, "-"), "au": ("AU output", BLUE, "-"),
             "local_au": ("local output", RED, "--"), "landmark": ("landmarks", GREEN, ":")}
    longest = 1
    for name, rows in runs.items():
        colour, marker = RELATION_LOOKS.get(name, (INK, "o"))
        epochs = [row["epoch"] + 1 for row in rows]
        longest = max(longest, *epochs)
        dot = marker if len(rows) == 1 else None
        if several:
            axes[0].plot(epochs, [row.get("train_loss", np.nan) for row in rows], color=colour, marker=dot,
                         label=RELATION_NAMES.get(name, name))
        else:
            for key, (label, line_colour, dash) in parts.items():
                if any(row.get(key) is not None for row in rows):
                    axes[0].plot(epochs, [np.nan if row.get(key) is None else row[key] for row in rows], dash,
                                 color=line_colour, marker=dot, label=label)
        axes[1].plot(epochs, [row.get("lr", np.nan) for row in rows], color=colour if several else INK, marker=dot,
                     drawstyle="steps-mid")
        if scored:
            axes[2].plot(epochs, [row.get("val_mean_f1", np.nan) for row in rows], marker=marker, ms=5,
                         color=colour if several else BLUE)
    axes[0].set(title="Training loss", ylim=(0, None))
    axes[1].set(title="Learning rate", yscale="log")
    if scored:
        axes[2].set(title="Mean F1, held-out people (%)")
    for ax in axes:
        ax.set(xlabel="epoch", xlim=(0.7, longest + 0.3))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(axis="y")
    axes[0].legend(loc="upper right")
    if title:
        fig.suptitle(title)
    return fig


@_styled
def f1_bars(metrics_by_relation: dict, floor: dict | Sequence[float] | None = None, *, output: str = "local",
            intervals: dict | None = None, title: str | None = None) -> Picture:
    """F1 per AU and mean: one mark per relation over the grey bars of the always-positive floor.

    ``metrics_by_relation``: {relation: metrics.json}. ``floor``: F1 per AU of always saying yes (default: the
    ``always_positive`` part of the metrics). ``intervals``: {relation: (low, high)} of the mean, drawn as a
    bar.
    """
    if not metrics_by_relation:
        raise ValueError("no relation to draw: metrics_by_relation is empty")
    if output not in OUTPUT_NAMES:
        raise ValueError(f"unknown output {output!r}: choose from {', '.join(OUTPUT_NAMES)}")
    first = next(iter(metrics_by_relation.values()))
    aus = first["aus"]
    floor = first.get("always_positive") if floor is None else floor
    floor = floor["f1"] if isinstance(floor, dict) else floor
    means = [(RELATION_NAMES.get(n, n), m["outputs"][output]["mean_f1"]) for n, m in metrics_by_relation.items()]
    fig = _picture(11.5, 4.8, f"F1 per action unit, {output} output; means: " + ", ".join(
        f"{n} {v:.1f}" for n, v in means if v is not None))
    ax = fig.subplots()
    x = np.append(np.arange(len(aus)), len(aus) + 0.5)
    ax.axvspan(len(aus) - 0.25, len(aus) + 1.25, color="#f3f3f3", lw=0)
    if floor is not None:
        known = _numbers(floor)
        mean = known[~np.isnan(known)].mean() if not np.isnan(known).all() else np.nan
        ax.bar(x, np.append(known, mean), width=0.86, color=PALE, label="always positive")
    n = len(metrics_by_relation)
    for k, (name, metrics) in enumerate(metrics_by_relation.items()):
        part = metrics["outputs"][output]
        colour, marker = RELATION_LOOKS.get(name, (INK, "o"))
        shift = (k - (n - 1) / 2) * min(0.14, 0.72 / n)
        ax.plot(x + shift, np.append(_numbers(part["f1"]), part["mean_f1"]), marker, color=colour, ms=7.5, mec="white",
                mew=0.6, label=RELATION_NAMES.get(name, name), zorder=3)
        if intervals and name in intervals:
            ax.plot([x[-1] + shift] * 2, intervals[name], color=colour, lw=1.6, zorder=2)
    ax.set(ylabel="F1 (%)", ylim=(0, 100), xlim=(-0.6, len(aus) + 1.25), title=title or OUTPUT_NAMES[output])
    ax.set_xticks(x, [*(f"AU{a}" for a in aus), "mean"])
    ax.grid(axis="y")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=min(7, n + 1), columnspacing=1.1,
              handletextpad=0.3)
    return fig


def _numbers(values) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


@_styled
def gain_plot(gains: Sequence[dict], title: str | None = None) -> Picture:
    """Paired gains in mean F1 with intervals, one panel per control, both outputs, zero marked.

    ``gains``: dicts with relation, control, output, gain, low, high (points of mean F1) and optionally
    ``clear``: True fills the mark (the corrected interval leaves out zero).
    """
    gains = list(gains)
    if not gains:
        raise ValueError("no gain to draw: the list is empty")
    controls = list(dict.fromkeys(g["control"] for g in gains))
    relations = list(dict.fromkeys(g["relation"] for g in gains))
    alt = "Gain in mean F1 over " + " and ".join(RELATION_NAMES.get(c, c) for c in controls)
    alt += ", local output: " + ", ".join(f"{RELATION_NAMES.get(g['relation'], g['relation'])} {g['gain']:+.1f}"
                                          for g in gains if g["output"] == "local")
    fig = _picture(5.9 * max(len(controls), 1.3), 1.9 + 0.62 * len(relations), alt)
    axes = fig.subplots(1, len(controls), sharey=True, sharex=True, squeeze=False)[0]
    looks = {"local": (BLUE, "D", -0.14), "au": (ORANGE, "o", 0.14)}
    labelled = set()
    for ax, control in zip(axes, controls, strict=True):
        ax.axvline(0, color=INK, lw=1.2)
        for g in (g for g in gains if g["control"] == control):
            colour, marker, shift = looks[g["output"]]
            y = relations.index(g["relation"]) + shift
            if None not in (g["low"], g["high"]):
                ax.plot([g["low"], g["high"]], [y, y], color=colour, lw=2.6, solid_capstyle="butt")
            label = None if g["output"] in labelled else f"{g['output'] if g['output'] == 'local' else 'AU'} output"
            labelled.add(g["output"])
            ax.plot(g["gain"], y, marker, color=colour, mfc=colour if g.get("clear", True) else "white", mew=2, ms=8,
                    label=label)
        ax.set(title=f"against {RELATION_NAMES.get(control, control)}", xlabel="gain in mean F1 (points)")
        ax.grid(axis="x")
    axes[0].set_yticks(range(len(relations)), [RELATION_NAMES.get(r, r) for r in relations])
    axes[0].set_ylim(len(relations) - 0.5, -0.5)
    fig.legend(loc="outside lower center", ncols=2)
    if title:
        fig.suptitle(title)
    return fig


@_styled
def matrix(values, labels: Sequence[str], title: str = "", *, column_labels: Sequence[str] | None = None,
           limit: float | None = None, unit: str = "") -> Picture:
    """A heat map: orange–purple around 0 for signed values (phi), white to blue for weights (attention).

    ``values`` (R, C) with one ``labels`` entry per row (and per column unless ``column_labels``). Numbers are
    printed in the cells up to 13 rows. ``limit`` fixes the colour scale (±limit, or 0–limit).
    """
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64)
    columns = labels if column_labels is None else column_labels
    if array.shape != (len(labels), len(columns)):
        raise ValueError(f"values of shape {array.shape} do not fit {len(labels)} rows and {len(columns)} columns")
    signed = bool(np.nanmin(array) < 0)
    off = array[~np.eye(*array.shape, dtype=bool)] if signed and array.shape[0] == array.shape[1] else array
    top = limit if limit is not None else float(np.nanmax(np.abs(off))) or 1.0
    cell = 0.62
    fig = _picture(1.9 + cell * len(columns), 1.0 + 0.93 * cell * len(labels),
                   _words(title, f"heat map, {len(labels)} rows, {len(columns)} columns"))
    ax = fig.subplots()
    shown = ax.imshow(array, cmap="PuOr" if signed else "Blues", vmin=-top if signed else 0, vmax=top,
                      interpolation="nearest")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(labels)), labels)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if len(labels) <= 13 and len(columns) <= 13:
        for i, j in np.ndindex(array.shape):
            share = array[i, j] / top
            dark = abs(share) > 0.6
            text = f"{array[i, j]:.2f}".replace("0.", ".").replace("-", "−")
            ax.text(j, i, text if abs(array[i, j]) < 0.995 else f"{array[i, j]:.0f}", ha="center", va="center",
                    fontsize=11, color="white" if dark else INK)
    bar = fig.colorbar(shown, ax=ax, shrink=0.8, pad=0.03)
    bar.set_label(unit)
    bar.outline.set_visible(False)
    if title:
        ax.set_title(title)
    return fig


@_styled
def prediction_sheet(aus: Sequence[int], labels, probabilities, landmarks, images=None, names=None, *,
                     true_landmarks=None, columns: int = 4, threshold: float = 0.5) -> Picture:
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
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    alt = f"{n} test faces with predicted landmarks, and their AUs found, missed and claimed wrongly"
    fig = _picture(2.75 * columns, 3.35 * rows + 0.45, alt)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[n:]:
        ax.axis("off")
    for i in range(n):
        ax, points = axes[i], _points(landmarks[i])
        _blank(ax, None if images is None else images[i], points)
        if true_landmarks is not None:
            _draw_face(ax, true_landmarks[i], colour="white" if images is not None else ORANGE, width=1.5, dots=False)
        _draw_face(ax, points, colour=SKY if images is not None else BLUE, width=1.0, dots=False)
        if names is not None:
            ax.set_title(str(names[i]), fontsize=11, weight="normal", color=GREY, pad=3)
        yes = probabilities[i] >= threshold
        said = [(f"{a}", GREEN) for a, y, t in zip(aus, yes, labels[i], strict=True) if y and t == 1]
        said += [(f"({a})", ORANGE) for a, y, t in zip(aus, yes, labels[i], strict=True) if not y and t == 1]
        said += [(f"+{a}", RED) for a, y, t in zip(aus, yes, labels[i], strict=True) if y and t == 0]
        for k, (text, colour) in enumerate(said or [("none, rightly", GREEN)]):
            line, place = divmod(k, 6)
            ax.text((place + 0.5) / 6 if said else 0.5, -0.035 - 0.115 * line, text, transform=ax.transAxes,
                    ha="center", va="top", fontsize=11.5, weight="bold", color=_dark(colour))
    fig.supxlabel("12 found    (12) missed    +12 claimed wrongly", fontsize=13, color=INK)
    return fig


def _dark(colour: str) -> tuple[float, ...]:
    """A colour of the palette dark enough for text on white."""
    return tuple(0.72 * c for c in matplotlib.colors.to_rgb(colour))


@_styled
def overlay(image, landmarks, aus_probabilities: dict | None = None, *, withheld: str | None = None,
            note: str = PHOTO_WARNING, threshold: float = 0.5) -> Picture:
    """A photograph with its predicted landmarks, beside it the probability of every AU; ``note`` stands below.

    ``aus_probabilities``: {AU number: 0–1}. ``withheld``: why no AU is shown (then the probabilities are left
    out).
    """
    array, p = pixels(image), _points(landmarks)
    fig = _picture(10.4, 5.6, "A photograph with predicted landmarks; " + (
        f"AUs withheld: {withheld}" if withheld or not aus_probabilities else "AU probabilities as bars"))
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    _blank(left, array)
    _draw_face(left, p, colour=SKY, width=1.3)
    if withheld or not aus_probabilities:
        right.axis("off")
        right.text(0, 0.62, "AUs withheld", fontsize=18, weight="bold", transform=right.transAxes)
        right.text(0, 0.56, withheld or "no probability was given", fontsize=13, va="top", wrap=True,
                   transform=right.transAxes)
    else:
        aus = check_aus(aus_probabilities)
        values = [float(aus_probabilities[a]) for a in aus_probabilities]
        y = np.arange(len(aus))
        right.barh(y, values, color=[RED if v >= threshold else PALE for v in values], height=0.72)
        for i, v in enumerate(values):
            right.text(v + 0.02, i, f"{v:.2f}", va="center", fontsize=11.5, color=INK,
                       bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none"}, zorder=3)
        right.axvline(threshold, color=INK, lw=1.2, ls="--", zorder=1)
        right.set_yticks(y, [f"{ACTION_UNITS[a].name} {a}" for a in aus])
        right.tick_params(axis="y", length=0)
        right.set(ylim=(len(aus) - 0.4, -0.6), xlim=(0, 1.12), title="Predicted action units")
        right.set_xticks([0, 0.5, 1], ["0", "threshold 0.5" if threshold == 0.5 else "0.5", "1"])
    fig.supxlabel(note[:1].upper() + note[1:] + ".", fontsize=13, weight="bold", color=RED)
    return fig


@_styled
def architecture() -> Picture:
    """The six components of the paper's Figure 2, coloured by the training step that moves their weights."""
    fig = _picture(12.6, 5.3, "LoRRaL: patches feed global, landmark and local AU features; a relation module "
                   "mixes the local ones; heads predict AUs and landmarks. Step 2 freezes patches, global, local.")
    fig.set_layout_engine("none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 12.6), ylim=(0, 5.3))
    ax.axis("off")
    frozen, moving = "#d9ecf7", "#fde3c8"
    boxes = {
        "image": (0.15, 2.2, 1.45, 1.0, "aligned\nface", "white"),
        "patch": (2.15, 2.2, 1.9, 1.0, "1 patch learning\nPatchConv ×2", frozen),
        "global": (4.7, 4.0, 2.3, 0.85, "2 global feature\nFeatConv ×3", frozen),
        "land": (4.7, 2.28, 2.3, 0.85, "landmark feature\nFeatConv ×3", moving),
        "local": (4.7, 0.45, 2.3, 0.95, "3 local AU features\ncrops at AU centers", frozen),
        "relation": (7.6, 0.45, 2.2, 0.95, "4 relation\n(step 2 only)", moving),
        "localhead": (10.4, 0.45, 2.05, 0.95, "5 AU occurrence,\nlocal features", moving),
        "landhead": (7.6, 2.28, 2.2, 0.85, "6 landmarks (49)", moving),
        "head": (10.4, 3.45, 2.05, 1.4, "AU occurrence,\nall features", moving),
    }
    for x, y, w, h, text, colour in boxes.values():
        ax.add_patch(FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0,rounding_size=0.12", fc=colour, ec="#4d4d4d",
                                    lw=1.3))
        ax.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=13)

    def arrow(start, end, dashed=False):
        ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=16, lw=1.7, color="#4d4d4d",
                                     ls="--" if dashed else "-", shrinkA=0, shrinkB=0))

    def edge(name, side):
        x, y, w, h = boxes[name][:4]
        return {"r": (x + w, y + h / 2), "l": (x, y + h / 2), "t": (x + w / 2, y + h), "b": (x + w / 2, y)}[side]

    for a, b in (("image", "patch"), ("patch", "global"), ("patch", "land"), ("patch", "local"),
                 ("land", "landhead"), ("local", "relation"), ("relation", "localhead")):
        arrow(edge(a, "r"), edge(b, "l"))
    x, y = edge("head", "l")
    arrow(edge("global", "r"), (x, y + 0.27))
    arrow((7.0, 2.95), (x, y))
    arrow((9.62, 1.4), (x, y - 0.4))
    arrow((8.2, 2.28), (6.4, 1.4), dashed=True)
    ax.text(6.55, 1.85, "where to crop", fontsize=11.5, color=GREY, ha="right", va="center")
    for x, colour, text in ((0.15, frozen, "trained in step 1, frozen in step 2"),
                            (0.15, moving, "trained in step 2 too")):
        y = 4.75 if colour == frozen else 4.3
        ax.add_patch(FancyBboxPatch((x, y), 0.35, 0.28, boxstyle="round,pad=0,rounding_size=0.06", fc=colour,
                                    ec="#4d4d4d"))
        ax.text(x + 0.5, y + 0.13, text, fontsize=12, va="center")
    return fig



SHEET = {
    "neutral": {}, "1+2+5+26": {1: 0.8, 2: 0.8, 5: 0.6, 25: 0.8, 26: 0.8},
    "1+4+15+17": {1: 0.7, 4: 0.7, 15: 0.7, 17: 0.4},
    "4+5+7+23": {4: 0.9, 5: 0.4, 7: 0.7, 23: 0.8}, "6+12+25": {6: 0.9, 12: 0.9, 25: 0.6},
    "9+10+17": {9: 0.9, 10: 0.4, 17: 0.4}, "R12+R14": {14: (0, 1), 12: (0, 0.3)}, "4+24": {24: 0.9, 4: 0.3},
}
SHEET_PEOPLE = (2, 108, 102, 11, 127, 302, 325, 106)


def people_sheet(people: Sequence[int] = SHEET_PEOPLE, face: int = 110) -> Picture:
    """Each person of ``people`` (seeds) neutral and with seven AU combinations: the picture of the README."""
    images = [render_faces(aus, face, seed=person).images[0] for person in people for aus in SHEET.values()]
    names = [f"person {i + 1}" for i in range(len(people))]
    return contact_sheet(images, names, list(SHEET))
