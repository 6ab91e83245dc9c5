"""Out: whole or not at all, and without the place where the picture was taken."""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import pillow_heif
from PIL import ExifTags, Image

from restore.files import replacing
from restore.images.errors import ImageError, image_errors
from restore.images.metadata import as_stored, present, turn_upright
from restore.images.picture import Picture
from restore.images.pixels import grey_levels, is_deep, is_grey, levels_of, plain, unit
from restore.images.profiles import in_srgb
from restore.images.reading import MAX_SIDE


@dataclass(frozen=True)
class Writer:
    """How one format is written."""

    name: str
    save: Callable[..., None]  # image, file, then icc_profile, exif and dpi by name
    modes: tuple[str, ...]  # what it holds
    max_side: int
    holds_profile: bool = True
    max_exif: int = sys.maxsize  # bytes

    def write(self, image: Image.Image, file: IO[bytes], keep_gps: bool) -> None:
        """Write the pixels upright, in a mode that the format holds, with the metadata that stay true and with no other."""
        upright, info = turn_upright(image, contextlib.suppress(Exception), keep_gps=keep_gps)  # broken EXIF data are left out
        fitted = _fit(upright, self.modes)
        same_colors = self.holds_profile and is_grey(image.mode) == is_grey(fitted.mode) and image.mode not in ("CMYK", "LAB")
        if not same_colors:
            fitted = _fit(in_srgb(upright), self.modes)
        if len(info.get("exif", b"")) > self.max_exif:
            del info["exif"]
        metadata = info | present(icc_profile=image.info.get("icc_profile") if same_colors else None)
        fitted.info = {}  # some writers take comments, XMP with a place, or transparency from there
        self.save(fitted, file, **metadata)


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


def lost_in(suffix: str, picture: Picture) -> tuple[str, ...]:
    """What of a picture the format of a suffix does not hold, in words for its owner; nothing for an unknown suffix."""
    writer = WRITERS.get(suffix.lower())
    if writer is None:
        return ()
    lost = []
    if picture.alpha is not None and "RGBA" not in writer.modes:
        lost.append(f"what is transparent becomes white, since {writer.name} holds no transparency")
    if is_deep(picture.mode) and not any(is_deep(mode) for mode in writer.modes):
        lost.append(f"its depth becomes 8 bits, since {writer.name} holds no more")
    if len(picture.info.get("exif", b"")) > writer.max_exif:
        lost.append(f"its EXIF data are left out, since {writer.name} holds no more than {writer.max_exif:,} bytes of them")
    return tuple(lost)


def check_fits(suffix: str, width: int, height: int) -> None:
    """Raise ImageError where a picture of so many pixels is too large for the format of a suffix; an unknown one has no limit."""
    writer = WRITERS.get(suffix.lower())
    if writer and max(width, height) > writer.max_side:
        raise ImageError(f"cannot write {width:,} x {height:,} pixels as {writer.name}: the limit is {writer.max_side:,} a side")


def _find_writer(path: Path, image: Image.Image) -> Writer:
    if not isinstance(image, Image.Image):
        raise ImageError(f"cannot write {path.name!r}: expected a PIL image, as denoise gives, not {type(image).__name__}")
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ImageError(f"cannot write {path.name!r}: the suffix must be one of {', '.join(WRITERS)}")
    check_fits(path.suffix, *image.size)
    return writer


def _fit(image: Image.Image, modes: tuple[str, ...]) -> Image.Image:
    """A new image in one of the modes of a format."""
    fitted = plain(image)
    if is_deep(fitted.mode) and fitted.mode not in modes:
        luma = unit(fitted, levels_of(fitted))
        fitted = grey_levels(luma, "I;16" if "I;16" in modes else "L", (0, 65535) if "I;16" in modes else (0, 255))
    if fitted.mode in ("LA", "RGBA") and "RGBA" not in modes:
        flat = Image.new(fitted.mode[:-1], fitted.size, "white")
        flat.paste(fitted, mask=fitted.getchannel("A"))
        fitted = flat
    if fitted.mode not in modes:
        fitted = fitted.convert("RGBA" if fitted.mode.endswith("A") else "RGB")
    return image.copy() if fitted is image else fitted


def _save_heic(image: Image.Image, file: IO[bytes], **metadata: Any) -> None:
    image.info.update(metadata)
    pillow_heif.from_pillow(image).save(file, quality=90)


def _save_tiff(image: Image.Image, file: IO[bytes], exif: bytes = b"", **metadata: Any) -> None:
    """Uncompressed, since Pillow writes EXIF data into no other TIFF."""
    tags = Image.Exif()
    tags.load(exif)
    camera = tags.get_ifd(ExifTags.IFD.Exif)
    for block in (tags, camera, tags.get_ifd(ExifTags.IFD.GPSInfo)):
        block.update({tag: as_stored(value) for tag, value in block.items() if isinstance(value, str)})
    if ExifTags.IFD.Interop in camera:
        camera[ExifTags.IFD.Interop] = dict(tags.get_ifd(ExifTags.IFD.Interop))  # an offset until now
    image.save(file, "TIFF", compression="raw", exif=tags, **metadata)


def _saver(name: str, **options: Any) -> Callable[..., None]:
    return partial(Image.Image.save, format=name, **options)


JPEG = Writer("JPEG", _saver("JPEG", quality=95, subsampling="4:4:4"), ("L", "RGB"), 65_500, max_exif=65_533)
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
