"""In: identify, decode, convert."""

import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pillow_heif
import torch
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from torch import Tensor

from restore.images.errors import ImageError, one_line, refusing, tolerating
from restore.images.metadata import present, turn_upright
from restore.images.picture import Picture
from restore.images.pixels import is_deep, is_grey, levels_of, plain, strips, unit, without_alpha
from restore.images.profiles import ColorSpace, Transform, color_transforms

MAX_PIXELS = 100_000_000  # width x height
MAX_SIDE = 65_535  # a thin picture costs more than its pixels, since the networks pad its short side
MAX_BYTES = 1 << 30  # some readers hold the whole file in memory
Reader = Callable[[IO[bytes]], Image.Image]
FORMATS: tuple[tuple[str, re.Pattern[bytes], Reader], ...] = tuple(
    (name, re.compile(magic, re.DOTALL), reader)
    for name, magic, reader in (
        ("JPEG", rb"\xff\xd8\xff", JpegImagePlugin.jpeg_factory),
        ("PNG", rb"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
        ("WebP", rb"RIFF....WEBP", WebPImagePlugin.WebPImageFile),
        ("TIFF", rb"II[*+]\0|MM\0[*+]", TiffImagePlugin.TiffImageFile),
        ("AVIF", rb"....ftyp(avi[fs]|m[is]f1.{4,40}avi[fs])", AvifImagePlugin.AvifImageFile),
        ("HEIC", rb"....ftyp(he[iv][cmsx]|m[is]f1)", pillow_heif.HeifImageFile),
        ("BMP", rb"BM", BmpImagePlugin.BmpImageFile),
        ("GIF", rb"GIF8[79]a", GifImagePlugin.GifImageFile),
    )
)
SAFE_TO_LOAD = {"JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "BMP", "GIF"}  # Pillow's names of the same
NEW_SUBFILE_TYPE, DNG_VERSION = 254, 50706  # tags of TIFF; the first is odd in a preview
CANON_RAW = re.compile(rb"(?:II|MM).{6}CR", re.DOTALL)  # a TIFF whose preview has no tag that tells
RAW_FILE = "this is a camera's raw file, of which only the preview can be read: develop it first"


@dataclass(frozen=True)
class Decoded:
    """Pixels free of their file, and what the file said about them."""

    pixels: Image.Image  # upright; L, LA, RGB, RGBA, CMYK, LAB, or deep grey (I;16, I;16B, I, F)
    levels: tuple[float, float]  # the stored values that mean black and white
    icc: bytes
    info: dict[str, Any]  # exif and dpi
    notes: list[str]


def open_picture(source: str | Path | bytes | Image.Image, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Open a picture, whatever it is.

    Beside its float tensor, a large picture costs a copy in 8 bits while it is converted.

    Args:
        source: A path, the content of a file, or a PIL image, which is left as it is and taken at its current frame.
        max_pixels: The largest width x height; a larger picture is refused by its header, before it is decoded.

    Raises:
        ImageError: The source is missing, too large, truncated, damaged, of a format that is not read, or no picture at all.
            Nothing else is ever raised.
    """
    if isinstance(source, Image.Image):
        with refusing("image"):
            _check_reader(source)
            return _picture(_decode(source, max_pixels))
    with refusing("file"), _stream(source) as file:
        name, reader = _identify(file)
        with refusing(name):
            return _picture(_decode(reader(file), max_pixels, count_frames=True))


def suffix_of(content: bytes) -> str:
    """The suffix under which a result keeps the format of the file it comes from: JPEG, WebP or TIFF; all else becomes .png.

    Raises:
        ImageError: It is no picture.
    """
    name, _ = _identify(io.BytesIO(content))
    return {"JPEG": ".jpg", "WebP": ".webp", "TIFF": ".tif"}.get(name, ".png")


def _stream(source: str | Path | bytes) -> IO[bytes]:
    """Open the content for reading; regular files only, since a pipe or a device may never end."""
    if isinstance(source, bytes):
        file: IO[bytes] = io.BytesIO(source)
        size = len(source)
    elif isinstance(source, str | Path):
        if not os.path.isfile(source):
            raise ImageError(f"{str(source)!r} is not a file" if os.path.exists(source) else f"there is no {str(source)!r}")
        try:
            file = open(source, "rb")  # noqa: SIM115 - the caller closes it
        except OSError as error:
            raise ImageError(f"cannot read {str(source)!r}: {one_line(error)}") from error
        size = os.fstat(file.fileno()).st_size
    else:
        raise ImageError(f"expected a path, bytes or a PIL image, not {type(source).__name__}")
    if size > MAX_BYTES:
        file.close()
        raise ImageError(f"the file has {size:,} bytes; the limit is {MAX_BYTES:,}")
    return file


def _identify(file: IO[bytes]) -> tuple[str, Reader]:
    """Tell the format by the first bytes, and leave the file at its start."""
    head = file.read(64)
    file.seek(0)
    if not head:
        raise ImageError("the file is empty")
    if CANON_RAW.match(head):
        raise ImageError(RAW_FILE)
    for name, magic, reader in FORMATS:
        if magic.match(head):
            return name, reader
    raise ImageError(f"this is not a picture of a format that is read here ({', '.join(name for name, _, _ in FORMATS)})")


def _check_reader(image: Image.Image) -> None:
    """Refuse a PIL image whose pixels are yet to be read by a reader that the door does not trust, such as the one of EPS."""
    if getattr(image, "tile", None) and image.format not in SAFE_TO_LOAD:
        raise ImageError(f"{image.format} is not read here; load() the image first if you trust it")


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if min(size) < 1:
        raise ImageError("the picture has no pixels")
    if max(size) > MAX_SIDE:
        raise ImageError(f"the picture has {width:,} x {height:,} pixels; the limit is {MAX_SIDE:,} a side")
    if width * height > max_pixels:
        raise ImageError(
            f"the picture has {width:,} x {height:,} pixels, {width * height / 1e6:,.1f} megapixels; "
            f"the limit is {max_pixels / 1e6:,g}"
        )


def _decode(image: Image.Image, max_pixels: int, *, count_frames: bool = False) -> Decoded:
    """Read the pixels, once the header has shown that they are few enough.

    The copy frees them of their reader, which may hold several times their size.
    """
    _check_size(image.size, max_pixels)
    notes: list[str] = []
    if count_frames:
        notes += _frame_notes(image)
    _check_raw(image)
    raw_mode = _raw_mode(image)
    _check_planes(image, raw_mode)
    levels = _stored_levels(image)
    upright, info = turn_upright(image, tolerating(notes, "the EXIF data is broken and was left out"), keep_gps=True)
    _check_size(upright.size, max_pixels)  # a HEIC may turn out larger than its header says

    if raw_mode == "LA;16B":  # Pillow expands this grey to RGBA
        upright = upright.convert("LA")
    pixels = plain(_with_stored_transparency(upright, raw_mode))
    pixels = pixels.copy() if pixels is image else pixels
    _check_samples(image, pixels)
    if re.search(";16[BLN]", raw_mode) and not is_deep(pixels.mode):
        notes.append("16 bits a channel were read as 8")
    if is_deep(pixels.mode) and pixels.has_transparency_data:
        notes.append("the transparency of 16-bit grey was left out")
    if pixels.mode in ("CMYK", "LAB"):
        notes.append(f"{pixels.mode} colours become RGB")

    icc = image.info.get("icc_profile")
    if icc and is_deep(pixels.mode):
        notes.append("the colour profile of 16-bit grey was kept, but not used")
    if pixels.mode in ("I", "F") and _white_is_zero(image):
        levels = levels_of(pixels)[::-1]
    return Decoded(pixels, levels or levels_of(pixels), icc if isinstance(icc, bytes) else b"", info, notes)


def _check_raw(image: Image.Image) -> None:
    """Refuse what a camera's raw file shows first, a TIFF's preview: the photograph itself is not read."""
    tags = getattr(image, "tag_v2", {})
    is_preview = isinstance(kind := tags.get(NEW_SUBFILE_TYPE, 0), int) and kind & 1
    if is_preview or DNG_VERSION in tags:
        raise ImageError(RAW_FILE)


def _check_planes(image: Image.Image, raw_mode: str) -> None:
    """Refuse a TIFF of uncompressed 16-bit planes, each of which Pillow takes for one of bytes."""
    bits = getattr(image, "tag_v2", {}).get(TiffImagePlugin.BITSPERSAMPLE, (8,))
    if raw_mode == "R" and max(bits) > 8:
        raise ImageError(f"the planes of this uncompressed {max(bits)}-bit TIFF cannot be read: save it interleaved")


def _check_samples(image: Image.Image, pixels: Image.Image) -> None:
    """Refuse a TIFF of signed bytes, or of unsigned 32 bits in the upper half of their range: Pillow takes each for the other."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return
    kinds = tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))
    if kinds == (2,) and tags.get(TiffImagePlugin.BITSPERSAMPLE) == (8,):
        raise ImageError("the levels of this TIFF are signed bytes, which cannot be read: save it with unsigned ones")
    if kinds == (1,) and pixels.mode == "I" and levels_of(pixels)[0] < 0:
        raise ImageError("this TIFF has 32-bit levels from 2,147,483,648 on, which cannot be read: save it with 16 bits")


def _white_is_zero(image: Image.Image) -> bool:
    """Whether a TIFF is a negative, which Pillow makes positive of 8 bits alone."""
    return bool(getattr(image, "tag_v2", {}).get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0)


def _with_stored_transparency(image: Image.Image, raw_mode: str) -> Image.Image:
    """Bring the transparent level or colour of a PNG to 8 bits, as Pillow has brought its pixels."""
    clear = image.info.get("transparency")
    if isinstance(clear, int) and raw_mode in ("L;2", "L;4"):
        clear *= 85 if raw_mode == "L;2" else 17
    elif isinstance(clear, tuple) and raw_mode == "RGB;16B":
        clear = tuple(level >> 8 for level in clear)
    else:
        return image
    copy = image.copy()
    copy.info["transparency"] = clear
    return copy


def _frame_notes(image: Image.Image) -> list[str]:
    """Say so when a file holds more than is shown. A JPEG's further frames are previews and gain maps of the same picture."""
    if image.format in ("JPEG", "MPO") or not getattr(image, "is_animated", False):
        return []
    if image.format in ("GIF", "TIFF"):  # counting would read the whole file, frame by frame
        return ["showing the first of several frames"]
    return [f"showing the first of {getattr(image, 'n_frames', 0)} frames"]


def _raw_mode(image: Image.Image) -> str:
    """How the file stores a pixel, before Pillow narrows it: "RGB;16B", say; "" when it is not told."""
    for tile in getattr(image, "tile", ()):
        args = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        return str(args[0]) if args else ""
    return ""


def _stored_levels(image: Image.Image) -> tuple[float, float] | None:
    """Black and white of a 16-bit TIFF, whose white may be 0 or 4095; None for all others."""
    tags = getattr(image, "tag_v2", None)
    if tags is None or not image.mode.startswith("I;16"):
        return None
    white = 4095.0 if tags.get(TiffImagePlugin.BITSPERSAMPLE) == (12,) else 65535.0
    return (white, 0.0) if _white_is_zero(image) else (0.0, white)


def _picture(decoded: Decoded) -> Picture:
    """Convert to float RGB, and put aside what the way back needs."""
    pixels, notes = decoded.pixels, decoded.notes
    to_srgb, from_srgb, icc = color_transforms(pixels.mode, decoded.icc, notes)
    mode = "RGB"
    if is_grey(pixels.mode):
        mode = "I;16" if pixels.mode.startswith("I;16") else pixels.mode[0]
    return Picture(
        rgb=_to_float(pixels, decoded.levels, to_srgb),
        mode=mode,
        levels=levels_of(pixels),
        alpha=pixels.getchannel("A") if pixels.mode in ("LA", "RGBA") else None,
        space=ColorSpace(pixels, to_srgb, from_srgb) if to_srgb and from_srgb else None,
        info=decoded.info | present(icc_profile=icc),
        notes=tuple(notes),
    )


def _to_float(pixels: Image.Image, levels: tuple[float, float], to_srgb: Transform | None) -> Tensor:
    """Pixels of a mode from `plain` as (1, 3, H, W) float32 in [0, 1]."""
    width, height = pixels.size
    rgb = torch.empty(1, 3, height, width, dtype=torch.float32, device="cpu")  # whatever a program has made torch's default
    planes = rgb[0].numpy()  # the same memory
    for box in strips(width, height):
        _, top, _, bottom = box
        strip = without_alpha(pixels.crop(box))
        if to_srgb:
            strip = to_srgb.apply(strip)
        elif strip.mode == "CMYK":
            strip = strip.convert("RGB")
        if is_deep(strip.mode):
            planes[:, top:bottom] = unit(strip, levels)  # grey spreads over the three channels
        else:
            values = np.asarray(strip)  # (h, W) or (h, W, 3)
            planes[:, top:bottom] = values if values.ndim == 2 else values.transpose(2, 0, 1)
            planes[:, top:bottom] /= 255
    return rgb
