"""The only door for pictures: a file, bytes or a PIL image in; float RGB, and all that is needed to give the result back, out.

    picture = open_picture("photo.jpg")             # or ImageError, and nothing else, ever
    image = picture.to_pil(model(picture.rgb))      # same size, mode, alpha, colour profile and EXIF
    save_picture(image, "clean.jpg")                # whole or not at all, and without the place where it was taken

The format is told by content, never by name, and the size is read from the header before a pixel is decoded. Only the readers
in `FORMATS` are ever reached, so that no file can start Ghostscript, and Pillow's global settings stay as they are.
Colour of 16 bits a channel is read as 8, which is what Pillow holds; grey of 16 and 32 bits and of float keeps its depth.
"""

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
import pillow_heif
import torch
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from torch import Tensor

from restore.files import replacing

MAX_PIXELS = 100_000_000  # width x height
MAX_SIDE = 65_535  # a thin picture costs more than its pixels, since the networks pad its short side
MAX_BYTES = 1 << 30  # some readers hold the whole file in memory

STRIP_PIXELS = 1 << 20  # pictures are converted by strips of this size, so that no second copy of a large one is made
WHOLE_CHANGE = 32  # of 255: the change of a pixel from which on its colours outside sRGB are not brought back
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts to grey

Array = npt.NDArray[Any]
Reader = Callable[[IO[bytes]], Image.Image]
Transform = ImageCms.ImageCmsTransform


class ImageError(ValueError):
    """A picture that cannot be read or written; the message is one line that names the cause and the limit, if there is one."""


# A picture and the way back


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
        original = _without_alpha(self.original.crop(box))
        seen = self.to_srgb.apply(original)
        lost = _signed(original) - _signed(self.from_srgb.apply(seen))  # (h, w) or (h, w, 3)
        red, green, blue = np.moveaxis(np.abs(_signed(result) - _signed(seen)), 2, 0)
        change = np.maximum(np.maximum(red, green), blue).astype(np.float32)  # (h, w)
        keep = (1 - change / WHOLE_CHANGE).clip(0, 1).reshape(change.shape + (1,) * (lost.ndim - 2))
        own = _signed(self.from_srgb.apply(result)) + np.rint(keep * lost)
        return Image.fromarray(own.clip(0, 255).astype(np.uint8))


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as the networks want it, and what is needed to give the result back as it came."""

    rgb: Tensor  # (1, 3, H, W) float32 sRGB in [0, 1], upright, without alpha
    mode: str  # of the result without alpha: "RGB", or grey as "L", "I;16", "I" or "F"
    levels: tuple[float, float]  # the values of the result that mean black and white
    alpha: Image.Image | None  # mode L, upright
    space: ColorSpace | None  # None where the colours are sRGB, or taken for it
    info: dict[str, Any]  # "icc_profile", "exif" and "dpi", as far as the picture has them
    notes: tuple[str, ...]  # what the visitor should know, such as "showing the first of 12 frames"

    @property
    def is_grey(self) -> bool:
        """Whether the mode is grey (1, L, LA, I;16, I or F): what comes in grey goes out grey."""
        return self.mode != "RGB"

    def to_pil(self, rgb: Tensor, *, color: bool = False) -> Image.Image:
        """Give a result back as the picture came: size, mode, alpha, colour profile, EXIF.

        1-bit pictures come back as L; palettes, CMYK and Lab as RGB.

        Args:
            rgb: (1, 3, H, W) in sRGB. Values outside [0, 1] are clamped, here and only here.
            color: Give RGB also when the picture is grey, as colorizing wants.

        Raises:
            ImageError: The shape is not the picture's, or a value is NaN or infinite.
        """
        if rgb.shape != self.rgb.shape:
            raise ImageError(f"the result has shape {tuple(rgb.shape)}, the picture {tuple(self.rgb.shape)}")
        colorized = color and self.is_grey
        mode = "RGB" if colorized else self.mode
        space = None if colorized else self.space
        height, width = rgb.shape[2:]
        image = Image.new(mode, (width, height))
        for box in _strips(width, height):
            _, top, _, bottom = box
            strip = rgb[0, :, top:bottom].detach().cpu().float()  # (3, h, W)
            if not bool(strip.isfinite().all()):
                raise ImageError("the result holds NaN or infinite values")
            if space:
                image.paste(space.restore(_rgb_image(strip), box), box)
            elif mode == "RGB":
                image.paste(_rgb_image(strip), box)
            else:
                image.paste(_grey_image(strip, mode, self.levels), box)
        if self.alpha:
            image.putalpha(self.alpha)
        image.info = {key: value for key, value in self.info.items() if not (colorized and key == "icc_profile")}
        if mode in ("I", "F"):
            image.info[LEVELS] = self.levels
        return image


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
        with _refusing("image"):
            _check_reader(source)
            return _picture(_decode(source, max_pixels))
    with _refusing("file"), _stream(source) as file:
        name, reader = _identify(file)
        with _refusing(name):
            return _picture(_decode(reader(file), max_pixels, count_frames=True))


def save_picture(image: Image.Image, path: str | Path, *, keep_gps: bool = False) -> None:
    """Write a picture in the format that the suffix names, whole or not at all.

    The colour profile, the resolution and the EXIF data are kept, without the orientation, since pixels are upright, and without
    the place unless `keep_gps`. What a format cannot hold gives way: alpha goes over white, deep grey becomes 16 or 8 bits.

    Raises:
        ImageError: The format is not written, the picture is too large for it, or the file cannot be written. An older file
            of that name is then as it was, and no other file is left behind.
    """
    with image_errors(f"cannot write {os.path.basename(path) if isinstance(path, str | Path) else path!r}"):
        path = Path(path)
        writer = _find_writer(path, image)
        with replacing(path) as file:
            writer.write(image, file, keep_gps)


def encode_picture(image: Image.Image, suffix: str, *, keep_gps: bool = False) -> bytes:
    """The content of the file that `save_picture` writes under a name with that suffix; ImageError where it would raise one."""
    with image_errors(f"cannot write {suffix!r}"):
        writer, file = _find_writer(Path(f"picture{suffix}"), image), io.BytesIO()
        writer.write(image, file, keep_gps)
        return file.getvalue()


def suffix_of(content: bytes) -> str:
    """The suffix under which a result keeps the format of the file it comes from: JPEG, WebP or TIFF; all else becomes .png.

    Raises:
        ImageError: It is no picture.
    """
    name, _ = _identify(io.BytesIO(content))
    return {"JPEG": ".jpg", "WebP": ".webp", "TIFF": ".tif"}.get(name, ".png")


@contextlib.contextmanager
def image_errors(what: str) -> Iterator[None]:
    """Turn anything that is raised within into an ImageError that says `what` failed: writers raise as many types as readers."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{what}: {_one_line(error)}") from error


# Reading: identify, decode, convert

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

UPRIGHT = {  # EXIF orientation to what undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_THEIR_SIDE = (5, 6, 7, 8)  # orientations whose width is the upright picture's height


LEVELS = "levels"  # in the info of a result of mode I or F: its black and white, whatever values it has come to
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


@contextlib.contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Turn anything that a reader raises into an ImageError.

    Readers raise OSError, SyntaxError, ValueError, TypeError, KeyError, EOFError, OverflowError, struct.error, zlib.error,
    MemoryError, RecursionError and more, by plugin and version: this is the boundary of trust, so every Exception counts.
    """
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"there is not enough memory to read this {what}") from error
    except Image.DecompressionBombError as error:  # a frame of a GIF or a tile of a TIFF beyond the size of its header
        raise ImageError(f"the {what} is larger than it says ({_one_line(error)})") from error
    except Exception as error:
        cause = _one_line(error)
        ended = isinstance(error, EOFError) or re.search("truncat|eof|end of|not enough|too short", cause, re.IGNORECASE)
        fate = "truncated" if ended else f"truncated, damaged or of a kind that is not read ({cause})"
        raise ImageError(f"the {what} is {fate}") from error


@contextlib.contextmanager
def _tolerating(notes: list[str], note: str) -> Iterator[None]:
    """Let broken metadata, whose readers raise as many types as those of pixels, cost a note and not the picture."""
    try:
        yield
    except Exception:  # noqa: BLE001 - see _refusing
        notes.append(note)


def _one_line(error: Exception) -> str:
    """What an exception says, on one printable line of bounded length."""
    text = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    return "".join(char if char.isprintable() else " " for char in text)[:200].strip()


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
            raise ImageError(f"cannot read {str(source)!r}: {_one_line(error)}") from error
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
    upright, info = _turn_upright(image, _tolerating(notes, "the EXIF data is broken and was left out"), keep_gps=True)
    _check_size(upright.size, max_pixels)  # a HEIC may turn out larger than its header says

    if raw_mode == "LA;16B":  # Pillow expands this grey to RGBA
        upright = upright.convert("LA")
    pixels = _plain(_with_stored_transparency(upright, raw_mode))
    pixels = pixels.copy() if pixels is image else pixels
    _check_samples(image, pixels)
    if re.search(";16[BLN]", raw_mode) and not _is_deep(pixels.mode):
        notes.append("16 bits a channel were read as 8")
    if _is_deep(pixels.mode) and pixels.has_transparency_data:
        notes.append("the transparency of 16-bit grey was left out")
    if pixels.mode in ("CMYK", "LAB"):
        notes.append(f"{pixels.mode} colours become RGB")

    icc = image.info.get("icc_profile")
    if icc and _is_deep(pixels.mode):
        notes.append("the colour profile of 16-bit grey was kept, but not used")
    if pixels.mode in ("I", "F") and _white_is_zero(image):
        levels = _range(pixels)[::-1]
    return Decoded(pixels, levels or _range(pixels), icc if isinstance(icc, bytes) else b"", info, notes)


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
    if kinds == (1,) and pixels.mode == "I" and _range(pixels)[0] < 0:
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


def _present(**items: Any) -> dict[str, Any]:
    """The items that are there."""
    return {name: item for name, item in items.items() if item}


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


def _resolution(image: Image.Image, orientation: int) -> tuple[float, float] | None:
    """Dots an inch across and down the upright picture, kept because a scan's size on paper depends on it; None unless sane."""
    dpi = image.info.get("dpi")
    if not isinstance(dpi, tuple) or len(dpi) != 2 or not all(10 <= value <= 65535 for value in dpi):
        return None
    across, down = dpi if orientation not in ON_THEIR_SIDE else dpi[::-1]
    return float(across), float(down)


def _is_grey(mode: str) -> bool:
    return mode in ("1", "L", "LA", "La", "I", "F") or mode.startswith("I;16")


def _is_deep(mode: str) -> bool:
    return mode in ("I", "F") or mode.startswith("I;16")


def _turn_upright(
    image: Image.Image, tolerating: contextlib.AbstractContextManager[None], *, keep_gps: bool
) -> tuple[Image.Image, dict[str, Any]]:
    """Read the pixels and undo their EXIF orientation; beside them the metadata that stay true, "exif" and "dpi"."""
    orientation = getattr(image, "tag_v2", {}).get(ExifTags.Base.Orientation, 1)
    image.load()  # a TIFF turns itself upright, and has no orientation from then on
    exif, still = b"", 1
    with tolerating:
        tags = image.getexif()  # only now: a PNG would decode here
        still = tags.get(ExifTags.Base.Orientation, 1)
        orientation = still if still in UPRIGHT else orientation
        exif = _portable_exif(tags, orientation, keep_gps=keep_gps)
    upright = image.transpose(UPRIGHT[still]) if still in UPRIGHT else image
    return upright, _present(exif=exif, dpi=_resolution(image, orientation))


def _plain(image: Image.Image) -> Image.Image:
    """Reduce the mode to L, LA, RGB, RGBA, CMYK, LAB or deep grey; transparency becomes an alpha channel."""
    if _is_deep(image.mode) or image.mode in ("CMYK", "LAB"):
        return image
    mode = ("L" if _is_grey(image.mode) else "RGB") + ("A" if image.has_transparency_data else "")
    return image if image.mode == mode else image.convert(mode)


def _without_alpha(image: Image.Image) -> Image.Image:
    return image.convert(image.mode[:-1]) if image.mode in ("LA", "RGBA") else image


def _range(pixels: Image.Image) -> tuple[float, float]:
    """The values that mean black and white, for pixels of a mode from `_plain`.

    Float and 32-bit grey has no fixed range: it spans from 0 to 1 and to 255, or as far as the values go. A result has that of
    the picture that it comes from, though the brightest values may have been noise.
    """
    if pixels.mode not in ("I", "F"):
        return (0.0, 65535.0) if _is_deep(pixels.mode) else (0.0, 255.0)
    given = pixels.info.get(LEVELS)
    black, white = given if isinstance(given, tuple) else (0.0, 1.0 if pixels.mode == "F" else 255.0)
    low, high = (float(value) for value in pixels.getextrema())  # type: ignore[arg-type]  # one band, so two numbers
    return min(black, low), max(white, high)


def _picture(decoded: Decoded) -> Picture:
    """Convert to float RGB, and put aside what the way back needs."""
    pixels, notes = decoded.pixels, decoded.notes
    to_srgb, from_srgb, icc = _color_transforms(pixels.mode, decoded.icc, notes)
    mode = "RGB"
    if _is_grey(pixels.mode):
        mode = "I;16" if pixels.mode.startswith("I;16") else pixels.mode[0]
    return Picture(
        rgb=_to_float(pixels, decoded.levels, to_srgb),
        mode=mode,
        levels=_range(pixels),
        alpha=pixels.getchannel("A") if pixels.mode in ("LA", "RGBA") else None,
        space=ColorSpace(pixels, to_srgb, from_srgb) if to_srgb and from_srgb else None,
        info=decoded.info | _present(icc_profile=icc),
        notes=tuple(notes),
    )


def _color_transforms(mode: str, icc: bytes, notes: list[str]) -> tuple[Transform | None, Transform | None, bytes]:
    """The ways to sRGB and back for pixels of `mode`, and the profile that the result carries.

    A profile of sRGB itself needs no way; a broken one is ignored; CMYK, Lab and the profiles of some scanners lead one way only,
    and the result stays in sRGB. Deep grey keeps its profile without using it, since Pillow converts to 8 bits.
    """
    if mode == "LAB":
        return Transform(_standard_profile("LAB"), _standard_profile("sRGB"), "LAB", "RGB"), None, b""
    if not icc or _is_deep(mode):
        return None, None, icc
    flat = mode.removesuffix("A")
    to_srgb = fits = None
    with _tolerating(notes, "the colour profile is broken or does not fit, and was ignored"):
        to_srgb, fits = _transform_to_srgb(icc, flat), True
    if not fits or flat == "CMYK":
        return to_srgb, None, b""
    if to_srgb is None:
        return None, None, icc
    with _tolerating(notes, "the colour profile leads one way only, so the result is in sRGB"):
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
    return bool(np.abs(_signed(transform.apply(own)) - colors).max() <= 2)


def _to_float(pixels: Image.Image, levels: tuple[float, float], to_srgb: Transform | None) -> Tensor:
    """Pixels of a mode from `_plain` as (1, 3, H, W) float32 in [0, 1]."""
    width, height = pixels.size
    rgb = torch.empty(1, 3, height, width)
    planes = rgb[0].numpy()  # the same memory
    for box in _strips(width, height):
        _, top, _, bottom = box
        strip = _without_alpha(pixels.crop(box))
        if to_srgb:
            strip = to_srgb.apply(strip)
        elif strip.mode == "CMYK":
            strip = strip.convert("RGB")
        if _is_deep(strip.mode):
            planes[:, top:bottom] = _unit(strip, levels)  # grey spreads over the three channels
        else:
            values = np.asarray(strip)  # (h, W) or (h, W, 3)
            planes[:, top:bottom] = values if values.ndim == 2 else values.transpose(2, 0, 1)
            planes[:, top:bottom] /= 255
    return rgb


def _unit(pixels: Image.Image, levels: tuple[float, float]) -> Array:
    """Deep grey as (h, w) float64 with black at 0 and white at 1."""
    black, white = levels
    values: Array = np.asarray(pixels).astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError("the picture holds NaN or infinite values")
    return (values - black) / (white - black)


def _strips(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) that cover a picture from top to bottom."""
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


# Giving back and writing


def _signed(image: Image.Image) -> Array:
    """8-bit pixels as numbers that can be subtracted: (h, w) or (h, w, 3) int16."""
    return np.asarray(image).astype(np.int16)


def _rgb_image(rgb: Tensor) -> Image.Image:
    """Round (3, h, w) to mode RGB; values outside [0, 1] are clamped."""
    return Image.fromarray((rgb.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy())


def _grey_image(rgb: Tensor, mode: str, levels: tuple[float, float]) -> Image.Image:
    """Weigh (3, h, w) to luma, of mode L, I;16, I or F between the levels; values outside [0, 1] are clamped."""
    luma = np.tensordot(LUMA, rgb.clamp(0, 1).double().numpy(), axes=1)  # (h, w)
    return _grey_levels(luma, mode, levels)


def _grey_levels(luma: Array, mode: str, levels: tuple[float, float]) -> Image.Image:
    """Bring (h, w) in [0, 1] to the levels of a grey mode."""
    black, white = levels
    values = black + luma * (white - black)
    kind = {"L": np.uint8, "I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    return Image.fromarray((values if mode == "F" else np.rint(values)).astype(kind))


EXIF_TAGS = (  # what describes a photograph; all else describes a file that is no more, or hides a thumbnail
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Rating,
    ExifTags.Base.Copyright,
    ExifTags.Base.XPTitle,
    ExifTags.Base.XPComment,
    ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords,
    ExifTags.Base.XPSubject,
)
STALE_EXIF_TAGS = {
    ExifTags.IFD.MakerNote,  # opaque: it has offsets of its own, and in some cameras a serial number or a place
    ExifTags.Base.ExifImageWidth,  # before turning upright
    ExifTags.Base.ExifImageHeight,
}


TURNED_EXIF_TAGS = {  # what becomes of the two when a picture is turned from its side
    ExifTags.Base.XResolution: ExifTags.Base.YResolution,
    ExifTags.Base.YResolution: ExifTags.Base.XResolution,
}


class StoredText(str):
    """Text of EXIF data, which Pillow reads a byte a letter, so written back; Pillow itself writes ? for all beyond ASCII."""

    def encode(self, encoding: str = "", errors: str = "") -> bytes:  # noqa: ARG002 - Pillow asks for ASCII
        try:
            return str.encode(self, "latin-1")
        except UnicodeEncodeError:  # not read, but set by a program
            return str.encode(self, "utf-8")


def _as_stored(value: Any) -> Any:
    return StoredText(value) if isinstance(value, str) else value


def _portable_exif(exif: Image.Exif, orientation: int, *, keep_gps: bool) -> bytes:
    """The EXIF data that stay true of an upright result: no orientation, thumbnail or maker notes."""
    kept = Image.Exif()
    turned = TURNED_EXIF_TAGS if orientation in ON_THEIR_SIDE else {}
    for tag in EXIF_TAGS:
        if tag in exif and _can_be_written({tag: exif[tag]}):
            kept[turned.get(tag, tag)] = _as_stored(exif[tag])
    for block in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo) if keep_gps else (ExifTags.IFD.Exif,):
        tags = {tag: _as_stored(value) for tag, value in exif.get_ifd(block).items() if tag not in STALE_EXIF_TAGS}
        if ExifTags.IFD.Interop in tags:  # an offset; what is there says of colours without a profile whether they are Adobe's
            tags[ExifTags.IFD.Interop] = dict(exif.get_ifd(ExifTags.IFD.Interop))
        tags = {tag: value for tag, value in tags.items() if _can_be_written({block: {tag: value}})}
        if tags:
            kept[block] = tags
    return kept.tobytes() if len(kept) else b""


def _can_be_written(tags: dict[int, Any]) -> bool:
    """Whether Pillow writes what it has read: a value of another type than is its tag's it does not, and then none at all."""
    probe = Image.Exif()
    probe.update(tags)
    with contextlib.suppress(Exception):  # see _refusing
        probe.tobytes()
        return True
    return False


@dataclass(frozen=True)
class Writer:
    """How one format is written."""

    name: str
    save: Callable[..., None]  # image, file, then icc_profile, exif and dpi by name
    modes: tuple[str, ...]  # what it holds
    max_side: int
    holds_profile: bool = True

    def write(self, image: Image.Image, file: IO[bytes], keep_gps: bool) -> None:
        """Write the pixels upright, in a mode that the format holds, with the metadata that stay true and with no other."""
        upright, info = _turn_upright(image, contextlib.suppress(Exception), keep_gps=keep_gps)  # broken EXIF data are left out
        fitted = _fit(upright, self.modes)
        same_colors = self.holds_profile and _is_grey(image.mode) == _is_grey(fitted.mode) and image.mode not in ("CMYK", "LAB")
        if not same_colors:
            fitted = _fit(in_srgb(upright), self.modes)
        if len(info.get("exif", b"")) > MAX_EXIF_BYTES:
            del info["exif"]
        metadata = info | _present(icc_profile=image.info.get("icc_profile") if same_colors else None)
        fitted.info = {}  # some writers take comments, XMP with a place, or transparency from there
        self.save(fitted, file, **metadata)


MAX_EXIF_BYTES = 65_533  # what a JPEG holds


def _fit(image: Image.Image, modes: tuple[str, ...]) -> Image.Image:
    """A new image in one of the modes of a format."""
    fitted = _plain(image)
    if _is_deep(fitted.mode) and fitted.mode not in modes:
        luma = _unit(fitted, _range(fitted))
        fitted = _grey_levels(luma, "I;16" if "I;16" in modes else "L", (0, 65535) if "I;16" in modes else (0, 255))
    if fitted.mode in ("LA", "RGBA") and "RGBA" not in modes:
        flat = Image.new(fitted.mode[:-1], fitted.size, "white")
        flat.paste(fitted, mask=fitted.getchannel("A"))
        fitted = flat
    if fitted.mode not in modes:
        fitted = fitted.convert("RGBA" if fitted.mode.endswith("A") else "RGB")
    return image.copy() if fitted is image else fitted


def in_srgb(image: Image.Image) -> Image.Image:
    """Bring the colours of a profile to sRGB; as it is where there is none, or where it is broken or does not fit."""
    icc, plain = image.info.get("icc_profile"), _plain(image)
    flat = _without_alpha(plain)
    if not icc or flat.mode not in ("L", "RGB", "CMYK"):
        return image
    try:
        to_srgb = _transform_to_srgb(icc, flat.mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    if to_srgb is None:
        return image
    result = to_srgb.apply(flat)
    if plain.mode in ("LA", "RGBA"):
        result.putalpha(plain.getchannel("A"))
    return result


def _save_heic(image: Image.Image, file: IO[bytes], **metadata: Any) -> None:
    image.info.update(metadata)
    pillow_heif.from_pillow(image).save(file, quality=90)


def _save_tiff(image: Image.Image, file: IO[bytes], exif: bytes = b"", **metadata: Any) -> None:
    """Uncompressed, since Pillow writes EXIF data into no other TIFF."""
    tags = Image.Exif()
    tags.load(exif)
    camera = tags.get_ifd(ExifTags.IFD.Exif)
    for block in (tags, camera, tags.get_ifd(ExifTags.IFD.GPSInfo)):
        block.update({tag: _as_stored(value) for tag, value in block.items() if isinstance(value, str)})
    if ExifTags.IFD.Interop in camera:
        camera[ExifTags.IFD.Interop] = dict(tags.get_ifd(ExifTags.IFD.Interop))  # an offset until now
    image.save(file, "TIFF", compression="raw", exif=tags, **metadata)


def _saver(name: str, **options: Any) -> Callable[..., None]:
    return partial(Image.Image.save, format=name, **options)


JPEG = Writer("JPEG", _saver("JPEG", quality=95, subsampling="4:4:4"), ("L", "RGB"), 65_500)
# A level at which photographs are as small as at the usual 6, within 5 %, in half to a third of the time.
PNG = Writer("PNG", _saver("PNG", compress_level=4), ("L", "LA", "RGB", "RGBA", "I;16"), MAX_SIDE)
WEBP = Writer("WebP", _saver("WEBP", quality=95), ("RGB", "RGBA"), 16_383)
TIFF = Writer("TIFF", _save_tiff, ("L", "LA", "RGB", "RGBA", "I;16", "I", "F"), MAX_SIDE)
AVIF = Writer("AVIF", _saver("AVIF", quality=90), ("RGB", "RGBA"), MAX_SIDE)
HEIC = Writer("HEIC", _save_heic, ("L", "LA", "RGB", "RGBA"), 16_384)
BMP = Writer("BMP", _saver("BMP"), ("L", "RGB"), MAX_SIDE, holds_profile=False)
WRITERS = {
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".png": PNG,
    ".webp": WEBP,
    ".tif": TIFF,
    ".tiff": TIFF,
    ".avif": AVIF,
    ".heic": HEIC,
    ".heif": HEIC,
    ".bmp": BMP,
}


def lost_in(suffix: str, picture: Picture) -> tuple[str, ...]:
    """What of a picture the format of a suffix does not hold, in words for its owner; nothing for an unknown suffix."""
    writer = WRITERS.get(suffix.lower())
    if writer is None:
        return ()
    lost = []
    if picture.alpha is not None and "RGBA" not in writer.modes:
        lost.append(f"what is transparent becomes white, since {writer.name} holds no transparency")
    if _is_deep(picture.mode) and not any(_is_deep(mode) for mode in writer.modes):
        lost.append(f"its depth becomes 8 bits, since {writer.name} holds no more")
    return tuple(lost)


def _find_writer(path: Path, image: Image.Image) -> Writer:
    if not isinstance(image, Image.Image):
        raise ImageError(f"cannot write {path.name!r}: expected a PIL image, as denoise gives, not {type(image).__name__}")
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ImageError(f"cannot write {path.name!r}: the suffix must be one of {', '.join(WRITERS)}")
    if max(image.size) > writer.max_side:
        raise ImageError(
            f"cannot write {image.width:,} x {image.height:,} pixels as {writer.name}: the limit is {writer.max_side:,} a side"
        )
    return writer
