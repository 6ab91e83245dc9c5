"""The pixels of a Pillow image: which of its modes are kept, and what their values mean."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from restore.images.errors import ImageError

STRIP_PIXELS = 1 << 20  # pictures are converted by strips of this size, so that no second copy of a large one is made
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts to grey
LEVELS = "levels"  # in the info of a result of mode I or F: its black and white, whatever values it has come to
Array = npt.NDArray[Any]


def is_grey(mode: str) -> bool:
    """Whether a mode has no colours."""
    return mode in ("1", "L", "LA", "La", "I", "F") or mode.startswith("I;16")


def is_deep(mode: str) -> bool:
    """Whether a mode is grey of more than 8 bits."""
    return mode in ("I", "F") or mode.startswith("I;16")


def plain(image: Image.Image) -> Image.Image:
    """Reduce the mode to L, LA, RGB, RGBA, CMYK, LAB or deep grey; transparency becomes an alpha channel."""
    if is_deep(image.mode) or image.mode in ("CMYK", "LAB"):
        return image
    mode = ("L" if is_grey(image.mode) else "RGB") + ("A" if image.has_transparency_data else "")
    return image if image.mode == mode else image.convert(mode)


def without_alpha(image: Image.Image) -> Image.Image:
    """The colours alone, as they are stored also where they are transparent."""
    return image.convert(image.mode[:-1]) if image.mode in ("LA", "RGBA") else image


def levels_of(pixels: Image.Image) -> tuple[float, float]:
    """The values that mean black and white, for pixels of a mode from `plain`.

    Float and 32-bit grey has no fixed range: it spans from 0 to 1 and to 255, or as far as the values go. A result has that of
    the picture that it comes from, though the brightest values may have been noise.
    """
    if pixels.mode not in ("I", "F"):
        return (0.0, 65535.0) if is_deep(pixels.mode) else (0.0, 255.0)
    given = pixels.info.get(LEVELS)
    black, white = given if isinstance(given, tuple) else (0.0, 1.0 if pixels.mode == "F" else 255.0)
    low, high = (float(value) for value in pixels.getextrema())  # type: ignore[arg-type]  # one band, so two numbers
    return min(black, low), max(white, high)


def unit(pixels: Image.Image, levels: tuple[float, float]) -> Array:
    """Deep grey as (h, w) float64 with black at 0 and white at 1."""
    black, white = levels
    values: Array = np.asarray(pixels).astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError("the picture holds NaN or infinite values")
    return (values - black) / (white - black)


def grey_levels(luma: Array, mode: str, levels: tuple[float, float]) -> Image.Image:
    """Bring (h, w) in [0, 1] to the levels of a grey mode."""
    black, white = levels
    values = black + luma * (white - black)
    kind = {"L": np.uint8, "I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    return Image.fromarray((values if mode == "F" else np.rint(values)).astype(kind))


def signed(image: Image.Image) -> Array:
    """8-bit pixels as numbers that can be subtracted: (h, w) or (h, w, 3) int16."""
    return np.asarray(image).astype(np.int16)


def strips(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) that cover a picture from top to bottom."""
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)
