"""Pictures from outside: one reader for all commands, which decodes only the formats that it names.

A picture may be stored turned and say so (EXIF); a video says it in its display matrix. Both are named by the numbers 1
to 8 of EXIF. Whoever knows where things are in a picture must know which way up it was seen: as it is ``"stored"``, or
``"upright"``. Nobody guesses: a turned picture whose reader names neither is an error.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "AVIF", "GIF", "PPM")
"""What is decoded, where this Pillow can. Never PostScript and its kind, which are programs."""

UPRIGHT, STORED = "upright", "stored"

TURNS = {1: (0, 0, 0), 2: (0, 1, 0), 3: (0, 1, 1), 4: (0, 0, 1), 5: (1, 0, 0), 6: (1, 1, 0), 7: (1, 1, 1), 8: (1, 0, 1)}
"""EXIF's orientations: from stored to upright, are x and y exchanged, and is then x, is y counted from the far end?"""


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


class PictureError(ValueError):
    """Why a file is no picture, in a few words."""


NO_PICTURE, A_FOLDER, TOO_LARGE = "no such picture", "is a folder", "more pixels than is safe to open"


class Look(NamedTuple):
    """Pixels of a picture as it is stored, and its EXIF orientation, 1 where it says none."""

    width: int
    height: int
    orientation: int = 1

    def size(self, seen: str | None) -> tuple[int, int]:
        """(width, height) as somebody sees it, ``"upright"`` or ``"stored"``."""
        swapped = seen == UPRIGHT and TURNS[self.orientation][0]
        return (self.height, self.width) if swapped else (self.width, self.height)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An open picture; whatever the body meets is a PictureError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if path.exists() and not path.is_file() and not path.is_dir():
                raise PictureError("it is no file")  # a pipe may have nothing to say for ever
            with Image.open(path, formats=_formats()) as picture:
                yield picture
    except PictureError:
        raise
    except FileNotFoundError:
        raise PictureError(NO_PICTURE) from None
    except IsADirectoryError:
        raise PictureError(A_FOLDER) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(TOO_LARGE) from None
    except Exception as error:  # Pillow raises many kinds on broken files
        if path.is_file() and not path.stat().st_size:
            raise PictureError("empty file") from None
        if isinstance(error, UnidentifiedImageError):
            raise PictureError("unknown format") from None
        raise PictureError(" ".join(str(error).split()) or type(error).__name__) from None


def _orientation(picture: Image.Image) -> int:
    """1 to 8. Pillow, like OpenCV, turns a TIFF while it decodes: nobody sees it as it is stored."""
    said = 1 if picture.format == "TIFF" else picture.getexif().get(ExifTags.Base.Orientation)
    return said if said in TURNS else 1


def look_at(path) -> Look:
    """Size and orientation of a picture, from its first bytes; PictureError when it is none."""
    with _opened(Path(path)) as picture:
        return Look(*picture.size, _orientation(picture))


def read_picture(path, seen: str | None = None, smaller: Callable[[tuple[int, int]], tuple[int, int]] | None = None):
    """A picture as (H, W, 3) uint8, and how many of the file's pixels one of its pixels is wide.

    16-bit, float and 32-bit grey are scaled to 8 bits. ``seen``: "upright", as its orientation says, or "stored";
    without it a turned picture is refused. ``smaller`` says, of (width, height), how small a JPEG decoder may make it
    (D37). PictureError: whatever is wrong with it.
    """
    with _opened(Path(path)) as picture:
        width, orientation = picture.width, _orientation(picture)
        if orientation != 1 and seen is None:
            raise PictureError(f"is stored turned (EXIF orientation {orientation})")
        if getattr(picture, "is_animated", False) and picture.format != "MPO":  # a photograph and its previews
            raise PictureError("holds several pictures, not one")
        if smaller and picture.format == "JPEG":
            picture.draft("RGB", list(smaller(picture.size)))
        picture.load()
        pixels = np.asarray(eight_bits(picture))
        return (upright(pixels, orientation) if seen == UPRIGHT else pixels), width / picture.width


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, 3) pixels as they are stored → as the orientation, 1 to 8, says that they are seen."""
    swap, flip_x, flip_y = TURNS[orientation]
    pixels = pixels.transpose(1, 0, 2) if swap else pixels
    return pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


def eight_bits(picture: Image.Image) -> Image.Image:
    """In RGB. Pillow clips deeper grey to white; here its range is scaled: 16 bits where a value is above 255.

    PictureError: levels that are neither of 0 to 1, 0 to 255 nor 0 to 65535.
    """
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.nan_to_num(np.asarray(picture, dtype=np.float64))
        most = values.max(initial=0)
        if most > 65535 or (picture.mode == "F" and 1 < most < 2):
            raise PictureError(f"its grey levels end at {most:g}, not at 1, 255 or 65535")
        if picture.mode.startswith("I;16") or most > 255:
            values //= 256
        elif picture.mode == "F" and most <= 1:
            values = (255 * values).round()
        picture = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    return picture if picture.mode == "RGB" else picture.convert("RGB")
