"""What every picture shares: its style, its text alternative, and how it becomes a small PNG.

Figures are drawn with the style file beside this one: opaque white ground (legible in dark mode), large text,
the colours of Okabe and Ito. They need no pyplot and no open window. Each carries ``alt``, a sentence for
readers who cannot see it, and shows itself in a notebook as a PNG of at most 150 kB (:func:`png_bytes`).
Neither the reader's own settings nor the names in a figure change how it is drawn: a ``$`` is a dollar sign.
"""

import base64
import functools
import io
import math
import sys
import warnings
from pathlib import Path

import matplotlib.colors
import matplotlib.style
import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image, ImageColor

from ..output import plain

STYLE = Path(__file__).with_name("lorral.mplstyle")
PNG_LIMIT = 150_000
BLUE, ORANGE, GREEN, RED, PINK, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, GREY, PALE = "#222222", "#6f6f6f", "#d4d4d4"


FORMULA = "formula"
"""The gid of a text that is mathematics."""


class Picture(Figure):
    """A Figure with ``alt`` text, which a notebook shows as a small PNG; whoever draws it, it has the house's style."""

    alt = ""

    def draw(self, renderer):
        with house_style(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")  # letter_texts has said it in one line
            letter_texts(self)
            super().draw(renderer)

    def savefig(self, *args, **kwargs):
        with house_style():
            super().savefig(*args, **kwargs)

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"image/png": base64.b64encode(png_bytes(self)).decode("ascii"),
                "text/plain": f"<figure: {self.alt}>"}


def house_style():
    """The context of the style file, whatever the reader's own matplotlib settings are."""
    return matplotlib.style.context(["default", STYLE])


def styled(function):
    """Make a function that draws do so in the style file."""

    @functools.wraps(function)
    def drawn(*args, **kwargs):
        with house_style():
            return function(*args, **kwargs)

    return drawn


def letter_texts(fig: Figure) -> None:
    """Make every text of a figure what it says: mathematics are only formulas and the powers on log axes. Characters
    that our font lacks come from another one; those that none has are said, once, on standard error."""
    powers = {label for ax in fig.axes for axis in (ax.xaxis, ax.yaxis) if axis.get_scale() == "log"
              for label in axis.get_ticklabels(which="both")}
    lost = set()
    for text in fig.findobj(Text):
        text.set_usetex(False)
        text.set_parse_math(text in powers or text.get_gid() == FORMULA)
        found = {c: font_with(c) for c in sorted(set(text.get_text())) if not (c == "\n" or " " <= c <= "~")}
        lost |= {c for c, font in found.items() if font is None}
        text.set_fontfamily([FONT, *sorted(set(found.values()) - {FONT, None})])
    if new := sorted(lost - SAID):
        SAID.update(new)
        print(f"a figure shows boxes for {plain(' '.join(new))}: no font here has them; install one that does, such as "
              "Noto Sans CJK, and draw it again", file=sys.stderr)


FONT = "DejaVu Sans"
"""That of the style file; it comes with matplotlib."""
SAID: set[str] = set()
"""Characters that a figure could not show, and that the reader knows of."""


@functools.cache
def font_with(character: str) -> str | None:
    """The family of a font on this machine that has the character, ours if it does; None when there is none."""
    for font in sorted(font_manager.fontManager.ttflist, key=lambda font: font.name != FONT):
        try:
            if "Last" not in font.name and font_manager.get_font(font.fname).get_char_index(ord(character)):
                return font.name  # those called LastResort have a box for everything
        except (OSError, RuntimeError):  # a font that cannot be read, or not drawn with
            continue
    return None


def new_plot(width: float, height: float, alt: str) -> Picture:
    fig = Picture(figsize=(width, height))
    fig.alt = alt
    return fig


def new_grid(count: int, columns: int, width: float, height: float, alt: str, more: float = 0.0):
    """A figure of ``count`` axes in rows of at most ``columns``, ``width`` × ``height`` inches each, ``more`` inches
    higher than they are together. → the figure and its axes, the first row first.
    """
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    fig = new_plot(width * columns, height * rows + more, alt)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[count:]:
        ax.axis("off")
    return fig, axes[:count]


def diagram_axes(fig: Figure):
    """Axes over the whole figure without frame, in inches: to draw a diagram on."""
    fig.set_layout_engine("none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, fig.get_figwidth()), ylim=(0, fig.get_figheight()))
    ax.axis("off")
    return ax


def titled(title: str | None, what: str) -> str:
    return f"{title}: {what}" if title else what[0].upper() + what[1:]


def png_bytes(fig: Picture, limit: int = PNG_LIMIT) -> bytes:
    """The figure as PNG of at most ``limit`` bytes: fewer colours first, fewer pixels only when that is not enough.

    ValueError when even a quarter of the size does not fit.
    """
    buffer = io.BytesIO()
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
