"""Colour profiles: the way to sRGB and the way back."""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageCms

from restore.images.errors import tolerating
from restore.images.pixels import is_deep, plain, signed, without_alpha

WHOLE_CHANGE = 32  # of 255: the change of a pixel from which on its colours outside sRGB are not brought back
Transform = ImageCms.ImageCmsTransform


@dataclass(frozen=True)
class ColorSpace:
    """The colours of a picture whose profile is not sRGB.

    A wide gamut holds colours that sRGB clips. So the way back adds what the way there has lost, as far as the network left the
    pixel alone: an untouched picture comes back to the bit, and a red beyond sRGB stays as red as it was.
    """

    original: Image.Image  # upright, in its own colours
    to_srgb: Transform
    from_srgb: Transform

    def restore(self, result: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
        """Bring the region `box` of a result, mode RGB in sRGB, back to the picture's own colours."""
        original = without_alpha(self.original.crop(box))
        seen = self.to_srgb.apply(original)
        lost = signed(original) - signed(self.from_srgb.apply(seen))  # (h, w) or (h, w, 3)
        red, green, blue = np.moveaxis(np.abs(signed(result) - signed(seen)), 2, 0)
        change = np.maximum(np.maximum(red, green), blue).astype(np.float32)  # (h, w)
        keep = (1 - change / WHOLE_CHANGE).clip(0, 1).reshape(change.shape + (1,) * (lost.ndim - 2))
        own = signed(self.from_srgb.apply(result)) + np.rint(keep * lost)
        return Image.fromarray(own.clip(0, 255).astype(np.uint8))


def in_srgb(image: Image.Image) -> Image.Image:
    """Bring the colours of a profile to sRGB; as it is where there is none, or where it is broken or does not fit."""
    icc, own = image.info.get("icc_profile"), plain(image)
    flat = without_alpha(own)
    if not icc or flat.mode not in ("L", "RGB", "CMYK"):
        return image
    try:
        to_srgb = _transform_to_srgb(icc, flat.mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    if to_srgb is None:
        return image
    result = to_srgb.apply(flat)
    if own.mode in ("LA", "RGBA"):
        result.putalpha(own.getchannel("A"))
    return result


def color_transforms(mode: str, icc: bytes, notes: list[str]) -> tuple[Transform | None, Transform | None, bytes]:
    """The ways to sRGB and back for pixels of `mode`, and the profile that the result carries.

    A profile of sRGB itself needs no way; a broken one is ignored; CMYK, Lab and the profiles of some scanners lead one way only,
    and the result stays in sRGB. Deep grey keeps its profile without using it, since Pillow converts to 8 bits.
    """
    if mode == "LAB":
        return Transform(_standard_profile("LAB"), _standard_profile("sRGB"), "LAB", "RGB"), None, b""
    if not icc or is_deep(mode):
        return None, None, icc
    flat = mode.removesuffix("A")
    to_srgb = fits = None
    with tolerating(notes, "the colour profile is broken or does not fit, and was ignored"):
        to_srgb, fits = _transform_to_srgb(icc, flat), True
    if not fits or flat == "CMYK":
        return to_srgb, None, b""
    if to_srgb is None:
        return None, None, icc
    with tolerating(notes, "the colour profile leads one way only, so the result is in sRGB"):
        return to_srgb, Transform(_standard_profile("sRGB"), _profile(icc), "RGB", flat), icc
    return to_srgb, None, b""


@lru_cache(maxsize=32)  # it takes as long to make as a small picture to decode, and a data set has few
def _transform_to_srgb(icc: bytes, mode: str) -> Transform | None:
    """The way of pixels of `mode` from a profile to sRGB; None where it changes nothing.

    Raises:
        ImageCms.PyCMSError, OSError, ValueError: The profile is broken, or does not fit the mode.
    """
    transform = Transform(_profile(icc), _standard_profile("sRGB"), mode, "RGB")
    return None if mode != "CMYK" and _changes_nothing(transform) else transform


def _profile(icc: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(icc))


def _standard_profile(space: Literal["sRGB", "LAB"]) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space))


def _changes_nothing(transform: Transform) -> bool:
    """Whether the colours of a transform from L or RGB are those of sRGB within a rounding, by trying a grid of them."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    red, green, blue = np.meshgrid(steps, steps, steps)
    if transform.input_mode == "L":
        green = blue = red
    colors = np.stack([red, green, blue], axis=-1).reshape(81, 9, 3)
    own = Image.fromarray(colors if transform.input_mode == "RGB" else np.ascontiguousarray(colors[..., 0]))
    return bool(np.abs(signed(transform.apply(own)) - colors).max() <= 2)
