"""Pictures from outside: one reader for all commands, which decodes only the formats that it names."""

import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "AVIF", "GIF", "PPM")
"""What is decoded, where this Pillow can. Never PostScript and its kind, which are programs."""


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


class PictureError(ValueError):
    """Why a file is no picture, in a few words."""


NO_PICTURE, A_FOLDER, TOO_LARGE = "no such picture", "is a folder", "more pixels than is safe to open"


def read_picture(path, upright: bool = False, smaller: Callable[[tuple[int, int]], tuple[int, int]] | None = None):
    """A picture as (H, W, 3) uint8, and how many of the file's pixels one of its pixels is wide.

    16-bit, float and 32-bit grey are scaled to 8 bits. ``upright`` turns it as its EXIF orientation says. ``smaller``
    says, of (width, height), how small a JPEG decoder may make it (D37). PictureError: whatever is wrong with it.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_formats()) as picture:
                width = picture.width
                if smaller and picture.format == "JPEG":
                    picture.draft("RGB", list(smaller(picture.size)))
                picture.load()
                shrunk = width / picture.width
                return np.asarray(eight_bits(ImageOps.exif_transpose(picture) if upright else picture)), shrunk
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


def size_of(path) -> tuple[int, int]:
    """Width and height of a picture; PictureError when it is none."""
    try:
        with Image.open(path, formats=_formats()) as picture:
            return picture.size
    except Exception as error:  # Pillow raises many kinds on broken files
        raise PictureError("not readable as a picture") from error


def eight_bits(picture: Image.Image) -> Image.Image:
    """In RGB. Pillow clips deeper grey to white; here its range is scaled: 16 bits where a value is above 255."""
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.nan_to_num(np.asarray(picture, dtype=np.float64))
        if picture.mode.startswith("I;16") or values.max(initial=0) > 255:
            values //= 256
        elif picture.mode == "F" and values.max(initial=0) <= 1:
            values = (255 * values).round()
        picture = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    return picture if picture.mode == "RGB" else picture.convert("RGB")
