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

from .device import pick_device
from .faces import AUS, render_faces
from .faces.population import Population
from .faces.render import EYE_LINE, IMAGE_RULER
from .facs import ACTION_UNITS, INTENSITY, check_aus
from .landmarks import LINES, NUM_LANDMARKS, alignment, au_centers, ruler, transform
from .relations import RELATION_NAMES

STYLE = Path(__file__).with_name("lorral.mplstyle")
PNG_LIMIT = 150_000

BLUE, ORANGE, GREEN, RED, PINK, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, GREY, PALE = "#222222", "#6f6f6f", "#d4d4d4"

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


def _canvas(fig: Figure):
    """Axes over the whole figure without frame, in inches: to draw a diagram on."""
    fig.set_layout_engine("none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, fig.get_figwidth()), ylim=(0, fig.get_figheight()))
    ax.axis("off")
    return ax


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
    """The colours that cover most, refined by k-means (skin keeps its lips), with places kept for lines and text."""
    kept = [ImageColor.getrgb(c) for c in (BLUE, ORANGE, GREEN, RED, PINK, SKY, INK, GREY, PALE, "white", "black")]
    free = colours - len(kept)
    cut = picture.quantize(free, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE).getpalette()[:3 * free]
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


STUDIO = {
    "yaw": 0.0, "pitch": 0.0, "roll": 0.0, "zoom": 1.0, "shift_x": 0.0, "shift_y": -0.2, "light_azimuth": 25.0,
    "light_elevation": 35.0, "light_strength": 0.6, "light_warmth": 0.1, "exposure": 0.0, "background": "plain",
    "background_hue": 0.45, "background_light": 0.75, "focus": 1.0, "noise": 0.0,
}  # fmt: skip
"""From the front in even light, so that nothing but the expression tells two pictures apart."""

ATLAS_PEOPLE = (652, 92, 216)
_PARTS = {"face": (1.95, -2.2, 2.9), "upper": (1.75, -1.6, 0.5), "lower": (1.45, -0.1, 2.75)}  # half width, from, to


def au_atlas(aus: Sequence[int] | None = None, people: Sequence[int] = ATLAS_PEOPLE,
             intensities: Sequence[float] = tuple(INTENSITY.values()), *, part: str = "face", face: int = 180,
             device=None) -> Picture:
    """The AU atlas: one row per AU, for each person the same face, pose and light from neutral up the ``intensities``.

    ``people`` are seeds of :func:`lorral_lite.render_faces`, seen in the :data:`STUDIO`. ``part`` shows the whole
    "face" or cuts out what moves: "upper" (forehead to lower lids), "lower" (nose to chin). ``face`` pixels before
    the cut; ``device`` as in :func:`lorral_lite.device.pick_device`. Default: all 18 AUs at A to E. ValueError for an
    unknown AU, part or intensity.
    """
    aus = check_aus(AUS if aus is None else aus)
    if part not in _PARTS:
        raise ValueError(f"part must be one of {', '.join(_PARTS)}, got {part!r}")
    steps = [0.0, *intensities]
    shown = torch.zeros(len(aus), len(people), len(steps), len(AUS))
    for i, au in enumerate(aus):
        shown[i, :, :, AUS.index(au)] = torch.tensor(steps)
    seeds = [person for _ in aus for person in people for _ in steps]
    images = render_faces(shown.flatten(0, 2), face, seed=seeds, device=pick_device(device), **STUDIO).images.cpu()
    half, top, low = _PARTS[part]  # in rulers
    rows = [round((EYE_LINE + IMAGE_RULER * (v + STUDIO["shift_y"])) * face) for v in (top, low)]
    columns = [round((0.5 + IMAGE_RULER * u) * face) for u in (-half, half)]
    images = images[:, :, max(rows[0], 0):rows[1], columns[0]:columns[1]]
    letters = {x: letter for letter, x in INTENSITY.items()}
    names = ["0", *[letters.get(x, f"{x:g}") for x in intensities]]
    return contact_sheet(images, [f"AU{a} {ACTION_UNITS[a].name.lower()}" for a in aus], names * len(people),
                         "Action units at rising intensity", groups=[f"person {p}" for p in people],
                         size=min(0.95, 11.0 / len(names) / len(people)))


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
    """Arrows from neutral to each AU, drawn at true length, the longest printed in rulers (inner eye corner to corner).

    ``intensity`` 0–1 is the same for all AUs, ``people`` and ``scene`` are those of :func:`displacements`.
    """
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
        if ax is axes[0]:  # the unit, where it is measured
            ax.annotate("", neutral[22], neutral[25], arrowprops={"arrowstyle": "|-|,widthA=0.25,widthB=0.25",
                                                                  "color": BLUE, "lw": 1.4, "shrinkA": 0, "shrinkB": 0})
            ax.text(*neutral[[22, 25]].mean(0) - [0, 0.1], "1 ruler", ha="center", va="bottom", fontsize=10, color=BLUE)
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
    fig = _picture(11.2 if not scored else 14.2, 3.9,
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
    axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(1, 1))
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
           limit: float | None = None, unit: str = "", numbers: bool = True) -> Picture:
    """A heat map: orange–purple around 0 for signed values (phi), white to blue for weights (attention).

    ``values`` (R, C) with one ``labels`` entry per row (and per column unless ``column_labels``). With ``numbers``
    they are printed in the cells up to 13 rows. ``limit`` fixes the colour scale (±limit, or 0–limit).
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
    if numbers and len(labels) <= 13 and len(columns) <= 13:
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
    ax = _canvas(fig)
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
SHEET_PEOPLE = (607, 108, 11, 604, 2041, 92, 240, 127)


def people_sheet(people: Sequence[int] = SHEET_PEOPLE, face: int = 200) -> Picture:
    """Each person of ``people`` (seeds) neutral and with seven AU combinations: the picture of the README."""
    images = [render_faces(aus, face, seed=person).images[0] for person in people for aus in SHEET.values()]
    names = [f"person {i + 1}" for i in range(len(people))]
    return contact_sheet(images, names, list(SHEET), size=1.25)


# ---------------------------------------------------------------------------------- drawn for notebooks 01 to 04


@_styled
def bars(series: dict[str, Sequence[float]], labels: Sequence[str], title: str = "", ylabel: str = "", *,
         log: bool = False, form: str = "{:.0f}") -> Picture:
    """Grouped bars with their numbers on top: {name: one value per label}; ``log`` for values of many sizes."""
    if not series or any(len(values) != len(labels) for values in series.values()):
        raise ValueError(f"bars need one value per label ({len(labels)}) in every series")
    width = 0.84 / len(series)
    wide = min(11.5, max(6.5, 0.62 * len(labels) * len(series) + 1.6))
    fig = _picture(wide, 3.9, _words(title, f"bars of {', '.join(series)}"))
    ax = fig.subplots()
    for k, (name, values) in enumerate(series.items()):
        x = np.arange(len(labels)) + (k - (len(series) - 1) / 2) * width
        shown = ax.bar(x, values, 0.94 * width, color=(BLUE, ORANGE, GREEN, PINK)[k % 4], label=name)
        ax.bar_label(shown, [form.format(v) for v in values], fontsize=11, padding=2)
    ax.set_xticks(range(len(labels)), labels)
    ax.set(ylabel=ylabel, title=title, yscale="log" if log else "linear")
    tallest = [max(group) for group in zip(*series.values(), strict=True)]  # of each label
    full = min(tallest) > 0.3 * max(tallest)
    crowded = full and len(series) > 1  # no room beside the bars: make some above them
    ax.margins(x=0.02, y=0.35 if crowded and not log else 0.12)
    if len(series) > 1:
        ax.legend(loc="upper right" if crowded else "best", ncols=len(series) if crowded else 1)
    return fig


@_styled
def phi_ranges(rows: Sequence[tuple[str, float, float, float]], title: str = "") -> Picture:
    """Pairs of AUs as (name, lowest phi that their rates allow, phi, highest): the dot inside what is possible."""
    fig = _picture(9.4, 1.5 + 0.52 * len(rows), _words(title, "; ".join(f"{r[0]} phi {r[2]:+.2f}" for r in rows)))
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


@_styled
def timeline(labels, aus: Sequence[int], frames_per_second: float, title: str = "") -> Picture:
    """Which AU is shown when: labels (frames, A) in {1, 0, −1} as one line of bars per AU over seconds."""
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.shape[1] != len(aus):
        raise ValueError(f"labels must be (frames, {len(aus)}), got {labels.shape}")
    fig = _picture(10.5, 1.2 + 0.3 * len(aus), _words(title, f"bouts of AUs {', '.join(map(str, aus))} over time"))
    ax = fig.subplots()
    for y, shown in enumerate((labels == 1).T):
        edges = np.flatnonzero(np.diff(np.pad(shown.astype(int), 1)))
        spans = [(a / frames_per_second, (b - a) / frames_per_second) for a, b in edges.reshape(-1, 2)]
        ax.broken_barh(spans, (y - 0.38, 0.76), color=BLUE if y % 2 else SKY)
    ax.set_yticks(range(len(aus)), [f"AU{a}" for a in aus])
    ax.tick_params(axis="y", length=0)
    ax.set(ylim=(len(aus) - 0.4, -0.6), xlim=(0, len(labels) / frames_per_second), xlabel="seconds", title=title)
    return fig


@_styled
def part_grid(images, grid: int, titles: Sequence[str], *, part: tuple[int, int] | None = None, seen=None) -> Picture:
    """Images with a grid×grid partition over them; ``part`` is outlined, pixels that ``seen`` lights up are tinted.

    ``seen``: None or one (H, W) array per image, 0 where nothing is seen; its strength is the strength of the tint.
    """
    images = [pixels(image) for image in images]
    _same_length("titles", titles, len(images))
    _same_length("seen", seen, len(images))
    fig = _picture(3.5 * len(images), 3.9, "; ".join(titles))
    for i, (ax, image) in enumerate(zip(fig.subplots(1, len(images), squeeze=False)[0], images, strict=True)):
        side = image.shape[0] / grid
        _blank(ax, image)
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


@_styled
def crop_windows(image, landmarks, aus: Sequence[int], window: float, crops=None, title: str = "") -> Picture:
    """A face with landmarks and, around the two centres of each AU, its windows of ``window`` pixels.

    ``crops`` (A, 2, 3, s, s) in 0–1, what was cut out there, is shown beside the face: one row per AU.
    """
    aus, points = check_aus(aus), _points(landmarks).astype(np.float64)
    wide = crops is not None
    fig = _picture(8.6 if wide else 4.4, 4.4, _words(title, f"windows of AUs {', '.join(map(str, aus))} on a face"))
    parts = fig.subfigures(1, 2, width_ratios=(4.4, 4.2)) if wide else [fig]
    ax = parts[0].subplots()
    _blank(ax, image)
    _draw_face(ax, points, width=1.0, dots=False)
    colours = (ORANGE, GREEN, PINK, BLUE, RED, INK)
    for k, pair in enumerate(au_centers(points, aus)):
        for x, y in pair:
            ax.plot(x, y, "o", ms=6, color=colours[k % 6], mec="white")
            corner = (x - window / 2, y - window / 2)
            ax.add_patch(Rectangle(corner, window, window, fill=False, ec=colours[k % 6], lw=2.4))
    if title:
        ax.set_title(title, fontsize=12, weight="normal", pad=4)
    if wide:
        axes = parts[1].subplots(len(aus), 2, squeeze=False)
        for k, au in enumerate(aus):
            sides = ("top", "bottom") if au in (23, 24, 25) else ("left", "right")
            for s in range(2):
                _blank(axes[k, s], crops[k, s])
                axes[k, s].set_title(f"AU{au} {sides[s]}", fontsize=12, weight="normal", pad=3, color=colours[k % 6])
    return fig


def _liveliest(values, count: int) -> list[np.ndarray]:
    """The ``count`` channels of (C, h, w) that vary most, in their order."""
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=float)
    return list(array[np.sort(np.argsort(-array.std((1, 2)), kind="stable")[:count])])


@_styled
def feature_maps(maps: dict[str, object], channels: int = 6) -> Picture:
    """The liveliest ``channels`` of each named map (C, h, w): one row per map, each channel on its own scale."""
    if not maps:
        raise ValueError("no map to draw")
    fig = _picture(1.65 * channels + 2.1, 1.5 * len(maps), f"feature maps: {', '.join(maps)}".replace("\n", " "))
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


def _arrow(ax, start, end, dashed: bool = False) -> None:
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=14, lw=1.6, color="#4d4d4d",
                                 ls="--" if dashed else "-", shrinkA=0, shrinkB=0))


@_styled
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
    fig = _picture(step * longest + 0.05, height * len(rows), alt)
    ax = _canvas(fig)
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


@_styled
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
    fig = _picture(13.45, 7.2, "One face flows through LoRRaL: patch maps, then global, landmark and local features; "
                   "predicted landmarks say where to crop; one token per AU, mixed by the relation; AUs claimed: "
                   + (", ".join(str(a) for a, p in zip(aus, flow["chances"], strict=True) if p >= 0.5) or "none")
                   + "; shown: " + (", ".join(str(a) for a, y in zip(aus, labels, strict=True) if y == 1) or "none"))
    ax = _canvas(fig)
    frozen, moving = "#d9ecf7", "#fde3c8"

    def box(x, y, w, h, words, colour):
        ax.add_patch(FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0,rounding_size=0.1", fc=colour, ec="#4d4d4d",
                                    lw=1.2))
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
    box(2.3, 2.05, 2.35, 3.4, "1 patch learning\nPatchConv ×2", frozen)
    for k, stage in enumerate(flow["patches"][:2]):
        for c, channel in enumerate(_liveliest(stage, 2)):
            _put(ax, channel, 2.42 + 1.1 * c, 3.75 - 1.4 * k, 1.0)
        ax.text(3.47, 3.73 - 1.4 * k, f"{stage.shape[0]}×{stage.shape[1]}×{stage.shape[2]}", fontsize=9.5, ha="center",
                va="top")
    for name, y, words, colour in (("global", 5.75, "2 global feature, FeatConvs", frozen),
                                   ("landmark", 3.75, "landmark feature, FeatConvs", moving)):
        box(5.15, y, 2.6, 1.35, words, colour)
        for c, channel in enumerate(_liveliest(flow[name], 3)):
            _put(ax, channel, 5.27 + 0.82 * c, y + 0.27, 0.74)
        shape = flow[name].shape
        ax.text(6.45, y + 0.23, f"{shape[0]}×{shape[1]}×{shape[2]}", fontsize=9.5, ha="center", va="top")
    box(5.15, 0.1, 4.05, 2.55, "3 local AU features: crops → tokens", frozen)
    for r, (au, pair) in enumerate(list(flow["windows"].items())[:3]):
        for s in (0, 1):
            _put(ax, _liveliest(pair[s], 1)[0], 5.75 + 0.68 * s, 1.68 - 0.69 * r, 0.62)
        ax.text(5.69, 1.99 - 0.69 * r, f"AU{au}", fontsize=9.5, ha="right", va="center")
    _arrow(ax, (7.1, 1.25), (7.5, 1.25))
    _put(ax, flow["tokens"], 7.75, 0.4, 1.3, 1.86)
    box(9.65, 0.1, 1.55, 2.55, "4 relation", moving)
    _put(ax, flow["related"], 9.78, 0.4, 1.3, 1.86)
    for x in (8.4, 10.43):
        ax.text(x, 0.36, "×".join(map(str, np.shape(flow["tokens"]))), fontsize=9.5, ha="center", va="top")
    for k, au in enumerate(aus):
        ax.text(7.7, 0.4 + 1.86 * (1 - (k + 0.5) / len(aus)), str(au), fontsize=8.5, ha="right", va="center")
    box(8.25, 3.05, 1.8, 1.97, "6 landmarks", moving)
    _put(ax, face, 8.4, 3.15, 1.5)
    p = _points(flow["landmarks"]) + 0.5
    for line in LINES.values():
        ax.plot(8.4 + 1.5 * p[line, 0] / face.shape[1], 3.15 + 1.5 * (1 - p[line, 1] / face.shape[0]), color=SKY,
                lw=1.3, zorder=3)
    box(11.6, 0.1, 1.75, 2.55, "5 AUs, local", moving)
    bars(12.0, 0.32, flow["local_chances"])
    box(11.6, 4.4, 1.75, 2.4, "AUs, all features", moving)
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
    for x, colour, words in ((0.15, frozen, "trained in step 1, frozen in step 2"),
                             (0.15, moving, "trained in step 2 too")):
        y = 6.75 if colour == frozen else 6.35
        ax.add_patch(FancyBboxPatch((x, y), 0.32, 0.25, boxstyle="round,pad=0,rounding_size=0.05", fc=colour,
                                    ec="#4d4d4d"))
        ax.text(x + 0.45, y + 0.12, words, fontsize=11, va="center")
    ax.text(0.15, 0.62, "bars: probabilities, dotted line ½\nblue: the face shows this AU", fontsize=11, va="center")
    return fig


@_styled
def convolution_blocks() -> Picture:
    """The paper's Figure 3: FeatConv (a) is a plain stack; PatchConv (b) has one branch for each part of the map."""
    fig = _picture(11.5, 4.9, "FeatConv: Conv2D, BatchNorm, PReLU twice, then max-pooling. PatchConv: Conv2D, then for "
                   "each part its own BatchNorm, PReLU and Conv2D, then the parts are put together again.")
    ax = _canvas(fig)
    looks = {"Conv2D": "#d9ecf7", "BatchNorm": "#e8e8e8", "PReLU": "#e5f3ec", "MaxPool 2": "#fde3c8", "divide": "white",
             "concatenate": "white"}

    def box(x, y, text, width=1.15, height=0.5):
        ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.08", fc=looks[text],
                                    ec="#4d4d4d", lw=1.2))
        ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=12,
                rotation=90 if height > 1 else 0)

    def arrow(x0, y0, x1, y1):
        ax.add_patch(FancyArrowPatch((x0, y0), (x1, y1), arrowstyle="-|>", mutation_scale=12, lw=1.4, color="#4d4d4d",
                                     shrinkA=0, shrinkB=0))

    ax.text(0.2, 4.5, "(a) FeatConv", fontsize=14, weight="bold", va="center")
    for k, text in enumerate(("Conv2D", "BatchNorm", "PReLU", "Conv2D", "BatchNorm", "PReLU", "MaxPool 2")):
        arrow(0.2 + 1.55 * k, 3.85, 0.6 + 1.55 * k, 3.85)
        box(0.6 + 1.55 * k, 3.6, text)
    ax.text(0.2, 2.95, "(b) PatchConv", fontsize=14, weight="bold", va="center")
    arrow(0.2, 1.3, 0.6, 1.3)
    box(0.6, 1.05, "Conv2D")
    arrow(1.75, 1.3, 2.2, 1.3)
    box(2.2, 0.2, "divide", 0.5, 2.2)
    branches = (("part 1", 2.15), ("part 2", 1.45), ("part g·g", 0.45))
    for name, y in branches:
        arrow(2.7, y, 4.0, y)
        ax.text(3.3, y + 0.06, name, fontsize=11.5, ha="center", va="bottom")
        for k, text in enumerate(("BatchNorm", "PReLU", "Conv2D")):
            box(4.0 + 1.6 * k, y - 0.22, text, height=0.44)
            arrow(5.15 + 1.6 * k, y, 5.6 + 1.6 * k, y)
    ax.text(4.6, 0.93, "⋮", fontsize=17, ha="center", va="center")
    box(8.8, 0.2, "concatenate", 0.5, 2.2)
    arrow(9.3, 1.3, 9.8, 1.3)
    ax.text(9.95, 1.3, "same height,\nsame width", fontsize=11.5, va="center")
    return fig


# ---------------------------------------------------------------------------------------- training and evaluation


@_styled
def plot_schedule(lr: float = 0.01, gamma: float = 0.3, every: int = 2, epochs: int = 30) -> Picture:
    """A learning rate of ``lr`` × ``gamma`` every ``every`` epochs, and how much of its sum is spent after each epoch.

    The defaults are the paper's (section 3.5). The dashed line stands where 99.9 % is spent.
    """
    if not (lr > 0 and 0 < gamma <= 1 and every >= 1 and epochs >= 1):
        raise ValueError(f"lr and epochs must be positive, gamma in 0–1, every at least 1; got {lr}, {gamma}, {every}")
    rates = lr * gamma ** (np.arange(epochs) // every)
    spent = 100 * rates.cumsum() / rates.sum()
    done = int(np.argmax(spent >= 99.9)) + 1
    fig = _picture(10.2, 4.0, f"Learning rate {lr:g} times {gamma:g} every {every} epochs: 99.9 % of its sum is spent "
                   f"after epoch {done} of {epochs}")
    left, right = fig.subplots(1, 2)
    x = np.arange(1, epochs + 1)
    left.step(x, rates, where="mid", color=BLUE)
    left.set(title="Learning rate", yscale="log")
    right.plot(x, spent, "o-", color=BLUE, ms=4)
    right.set(title="Spent of the summed rate (%)", ylim=(0, 104))
    right.axvline(done, color=RED, ls="--", lw=1.6)
    right.text(done + (0.4 if done < 0.6 * epochs else -0.4), 12, f"99.9 % after\nepoch {done} of {epochs}", color=RED,
               ha="left" if done < 0.6 * epochs else "right", fontsize=12)
    for ax in (left, right):
        ax.set(xlabel="epoch", xlim=(0.5, epochs + 0.5))
        ax.grid(axis="y")
    return fig


def floor_f1(rate):
    r"""F1 in percent of always saying yes to an AU of the given rate: precision is the rate, recall is 1.

    .. math:: F_1 = 100 \cdot \frac{2 r}{1 + r}
    """
    rate = np.asarray(rate, dtype=np.float64)
    return 100 * 2 * rate / (1 + rate)


@_styled
def plot_floor(rates: dict[str, dict[int, float]]) -> Picture:
    """What always saying yes scores at each base rate, with the AUs of data sets on it: {data set: {AU: rate}}."""
    means = {name: float(np.mean(floor_f1(list(values.values())))) for name, values in rates.items()}
    fig = _picture(8.6, 5.0, "F1 of always saying yes against the base rate; mean F1: "
                   + ", ".join(f"{name} {mean:.2f} %" for name, mean in means.items()))
    ax = fig.subplots()
    r = np.linspace(0, 1, 201)
    ax.plot(100 * r, floor_f1(r), color=PALE, lw=4, zorder=1)
    ax.text(80, 83, r"$\frac{2r}{1+r}$", fontsize=20, color=GREY)
    for k, (name, values) in enumerate(rates.items()):
        colour = (BLUE, ORANGE, GREEN)[k % 3]
        x = np.array(list(values.values()))
        ax.plot(100 * x, floor_f1(x), "os^"[k % 3], color=colour, mec="white", ms=9, zorder=3,
                label=f"{name}: mean of its AUs {means[name]:.2f} %")
        ax.axhline(means[name], color=colour, lw=1.2, ls="--", zorder=0)
        near: list[list[tuple[float, int]]] = []
        for rate, au in sorted((rate, au) for au, rate in values.items()):
            if near and 100 * (rate - near[-1][0][0]) < 3:
                near[-1].append((rate, au))
            else:
                near.append([(rate, au)])
        for group in near:  # AUs of nearly equal rates share a label, above the curve or, for every second set, below
            rate = float(np.mean([rate for rate, _ in group]))
            ax.annotate(", ".join(str(au) for _, au in group), (100 * rate, floor_f1(rate)),
                        (-8, 6) if k % 2 == 0 else (9, -11), textcoords="offset points", fontsize=11.5,
                        ha="right" if k % 2 == 0 else "left", color=_dark(colour))
    ax.set(xlabel="base rate r: share of frames that show the AU (%)", ylabel="F1 of always saying yes (%)",
           xlim=(-4, 100), ylim=(0, 100))
    ax.grid()
    ax.legend(loc="lower right")
    return fig


def at_threshold(probabilities, labels, threshold: float, rate: float | None = None) -> dict[str, float]:
    """Precision, recall, F1 and floor in percent of one AU at a threshold, and (N,) arrays are all it takes.

    ``rate`` asks what the same detector would score were the AU shown in that share of the frames: what it does on
    frames with and on frames without the AU stays, only their mixture changes. Unknown labels (−1) are left out;
    ValueError unless both kinds of frames are there.
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if p.shape != y.shape or p.ndim != 1:
        raise ValueError(f"one probability per label is needed, got {p.shape} and {y.shape}")
    if not (y == 1).any() or not (y == 0).any():
        raise ValueError("a threshold needs frames that show the AU and frames that do not")
    if rate is not None and not 0 < rate < 1:
        raise ValueError(f"a base rate must lie between 0 and 1, got {rate}")
    r = float((y == 1).sum() / (y >= 0).sum()) if rate is None else rate
    found, alarms = float((p[y == 1] >= threshold).mean()), float((p[y == 0] >= threshold).mean())
    tp, fp, fn = r * found, (1 - r) * alarms, r * (1 - found)
    return {"precision": 100 * tp / (tp + fp) if tp + fp > 0 else 0.0, "recall": 100 * found,
            "f1": 100 * 2 * tp / (2 * tp + fp + fn), "floor": float(floor_f1(r)), "rate": r}


@_styled
def plot_threshold(probabilities, labels, threshold: float = 0.5, rate: float | None = None,
                   name: str = "AU") -> Picture:
    """One AU's probabilities on frames with and without it, and precision, recall and F1 at every threshold.

    Arguments as in :func:`at_threshold`, which computes the figures.
    """
    now = at_threshold(probabilities, labels, threshold, rate)
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    fig = _picture(11.8, 4.2, f"{name} at threshold {threshold:.2f} and base rate {100 * now['rate']:.0f} %: precision "
                   f"{now['precision']:.0f}, recall {now['recall']:.0f}, F1 {now['f1']:.0f}, always yes "
                   f"{now['floor']:.0f} %")
    left, right = fig.subplots(1, 2)
    bins = np.linspace(0, 1, 26)
    for shown, weight, colour, label in ((0, 1 - now["rate"], GREY, "frames without it"),
                                         (1, now["rate"], BLUE, "frames that show it")):
        part = p[y == shown]
        left.hist(part, bins, weights=np.full(len(part), 100 * weight / len(part)), color=colour, alpha=0.65,
                  label=label)
    left.set(title=f"{name}, {100 * now['rate']:.0f} % of the frames", xlabel="predicted probability",
             ylabel="share of all frames (%)", xlim=(0, 1))
    grid = np.linspace(0, 1, 101)
    curves = [at_threshold(p, y, t, rate) for t in grid]
    for c in curves:
        c["precision"] = c["precision"] or np.nan  # nothing is claimed any more: there is no precision
    for key, colour, dash in (("precision", ORANGE, ":"), ("recall", GREEN, "--"), ("f1", BLUE, "-")):
        right.plot(grid, [c[key] for c in curves], dash, color=colour, label="F1" if key == "f1" else key)
    right.axhline(now["floor"], color=GREY, lw=1.6, label="F1 of always yes")
    right.plot(threshold, now["f1"], "o", color=BLUE, ms=10, mec="white")
    right.set(title=f"F1 {now['f1']:.0f}, precision {now['precision']:.0f}, recall {now['recall']:.0f}",
              xlabel="threshold", ylabel="%", xlim=(0, 1), ylim=(0, 102))
    keys = [left.get_legend_handles_labels(), right.get_legend_handles_labels()]
    right.legend(keys[0][0] + keys[1][0], keys[0][1] + keys[1][1], loc="upper left", bbox_to_anchor=(1, 1), fontsize=11)
    for ax in (left, right):
        ax.axvline(threshold, color=RED, lw=1.8)
        ax.grid(axis="y")
    return fig


@_styled
def plot_estimates(groups: dict[str, dict[str, object]], title: str, xlabel: str, *, zero: bool = False) -> Picture:
    """Values with their intervals, one line each: {series: {label: Estimate}}, all series with the same labels.

    An estimate is anything with ``value``, ``low`` and ``high``; nan ends draw the value alone.
    """
    labels = list(next(iter(groups.values()))) if groups else []
    if not labels or any(list(values) != labels for values in groups.values()):
        raise ValueError("estimates need at least one series, and every series the same labels")
    words = "; ".join((f"{name}: " if name else "") + ", ".join(
        f"{k} {e.value:.1f}" + ("" if math.isnan(e.low) else f" ({e.low:.1f} to {e.high:.1f})")
        for k, e in values.items()) for name, values in groups.items())
    fig = _picture(8.8, 1.7 + 0.42 * len(labels) * max(1, 0.7 * len(groups)), _words(title, words))
    ax = fig.subplots()
    for k, (name, values) in enumerate(groups.items()):
        colour, marker = ((BLUE, "D"), (ORANGE, "o"), (GREEN, "s"))[k % 3]
        y = np.arange(len(labels)) + (k - (len(groups) - 1) / 2) * 0.34
        for at, e in zip(y, values.values(), strict=True):
            ax.plot([e.low, e.high], [at, at], color=colour, lw=3, solid_capstyle="butt")
        ax.plot([e.value for e in values.values()], y, marker, color=colour, ms=7, mec="white", mew=0.8, label=name)
    if zero:
        ax.axvline(0, color=INK, lw=1.2, zorder=0)
    ax.set_yticks(range(len(labels)), labels)
    ax.set(title=title, xlabel=xlabel, ylim=(len(labels) - 0.4, -0.6))
    ax.grid(axis="x")
    if len(groups) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


@_styled
def plot_audit(audit: Sequence[dict]) -> Picture:
    """Printed minus recomputed mean of every published row (:func:`lorral_lite.reporting.audit_published`)."""
    rows = sorted(audit, key=lambda row: (row["dataset"], abs(row["difference"])))
    wrong = [f"{r['method']} on {r['dataset'].upper()} {r['difference']:+.1f}" for r in rows if r["mismatch"]]
    fig = _picture(10.2, 5.6, "Printed minus recomputed mean F1 of each published row; beyond rounding: "
                   + ", ".join(wrong))
    sets = list(dict.fromkeys(r["dataset"] for r in rows))
    for ax, dataset in zip(fig.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        here = [r for r in rows if r["dataset"] == dataset]
        ax.axvline(0, color=INK, lw=1)
        for y, r in enumerate(here):
            colour = RED if r["mismatch"] else GREY
            ax.plot([0, r["difference"]], [y, y], color=colour, lw=3)
            ax.plot(r["difference"], y, "o", color=colour)
            if r["mismatch"]:
                ax.annotate(f"{r['difference']:+.2f}".replace("-", "−"), (r["difference"], y),
                            (8 if r["difference"] > 0 else -8, 0), textcoords="offset points", va="center",
                            ha="left" if r["difference"] > 0 else "right", color=_dark(RED), fontsize=12)
        ax.set_yticks(range(len(here)), [r["method"] for r in here])
        widest = max(abs(r["difference"]) for r in here)
        ax.set(title=dataset.upper(), xlabel="printed − recomputed (points)", xlim=(-1.5 * widest, 1.5 * widest))
        ax.grid(axis="x")
    return fig


@_styled
def plot_published(audit: Sequence[dict], floors: dict[str, float], ours: dict[str, float] | None = None,
                   ours_floor: float | None = None, data: str = "procedural faces") -> Picture:
    """Recomputed means of the published rows over the floor of each data set.

    ``ours`` stands apart: as this run when ``data`` is one of the published sets, else marked as other data.
    """
    sets = list(dict.fromkeys(r["dataset"] for r in audit))
    panels = [(name.upper(), {r["method"]: r["recomputed"] for r in audit if r["dataset"] == name}, floors[name])
              for name in sets]
    if ours:
        same = data.lower() in sets
        panels.append((f"this run, one fold of {data}" if same else f"OTHER DATA: {data}", ours, ours_floor))
    alt = "Mean F1: " + "; ".join(f"{name}, floor {'unknown' if floor is None else format(floor, '.2f')}, "
                                  + ", ".join(f"{k} {v:.1f}" for k, v in values.items())
                                  for name, values, floor in panels)
    fig = _picture(4.1 * len(panels), 5.4, alt)
    for k, (ax, (name, values, floor)) in enumerate(zip(fig.subplots(1, len(panels), squeeze=False)[0], panels,
                                                       strict=True)):
        other = k == len(sets) and not same
        items = sorted(values.items(), key=lambda item: item[1])
        colours = [ORANGE if other else BLUE if method.startswith("LoRRaL") else "#9db7c9" for method, _ in items]
        ax.barh(range(len(items)), [v for _, v in items], color=colours, height=0.7, hatch="//" if other else None,
                edgecolor="white")
        for y, (_, v) in enumerate(items):
            ax.text(v + 1, y, f"{v:.1f}", va="center", fontsize=11)
        if floor is not None:
            ax.axvline(floor, color=RED, lw=2)
            ax.text(floor + 1, -0.95, f"always yes {floor:.2f}", color=_dark(RED), fontsize=11.5, va="center")
        ax.set_yticks(range(len(items)), [method for method, _ in items])
        ax.set(xlim=(0, 100), ylim=(-1.4, max(len(items), 8) - 0.4), xlabel="mean F1 (%)")
        ax.set_title(name, color=_dark(RED) if other else "#111111", fontsize=12 if other else 14)
        if other:
            ax.set_facecolor("#fbf3e6")
            ax.text(0.5, 0.96, "not comparable with\nthe panels beside it", transform=ax.transAxes, ha="center",
                    va="top", fontsize=12, weight="bold", color=_dark(RED))
    return fig


@_styled
def plot_relation_strength(strengths: Sequence[float] = (0.0, 0.5, 1.0), profile: str = "bp4d") -> Picture:
    """True phi between the AUs of procedural people at each relation strength; the AUs' rates stay the same.

    On the right the four most positive and the two most negative pairs by number. Source of the rates and of phi at
    strength 1: the public frame labels (data/protocol/au_statistics.json).
    """
    people = [Population(profile=profile, relation_strength=float(s)) for s in strengths]
    aus = people[0].aus
    first, second = np.triu_indices(len(aus), 1)
    order = np.argsort(-Population(profile=profile).expected_phi[first, second])
    pairs = [(first[k], second[k]) for k in (*order[:4], *order[-2:])]
    alt = f"Phi between the AUs of {profile.upper()} at relation strength " + ", ".join(
        f"{s:g} (AU{aus[pairs[0][0]]} with AU{aus[pairs[0][1]]}: {p.expected_phi[pairs[0]]:+.2f})"
        for s, p in zip(strengths, people, strict=True))
    fig = _picture(3.7 * len(people) + 4.4, 4.1, alt)
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
