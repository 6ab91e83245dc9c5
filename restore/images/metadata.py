"""What a file says about its picture, as far as it stays true of a result: upright, without place, thumbnail and maker notes."""

import contextlib
from typing import Any

from PIL import ExifTags, Image

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


def as_stored(value: Any) -> Any:
    """A value of EXIF data such that it is written as it was read."""
    return StoredText(value) if isinstance(value, str) else value


def turn_upright(
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
    return upright, present(exif=exif, dpi=_resolution(image, orientation))


def _resolution(image: Image.Image, orientation: int) -> tuple[float, float] | None:
    """Dots an inch across and down the upright picture, kept because a scan's size on paper depends on it; None unless sane."""
    dpi = image.info.get("dpi")
    if not isinstance(dpi, tuple) or len(dpi) != 2 or not all(10 <= value <= 65535 for value in dpi):
        return None
    across, down = dpi if orientation not in ON_THEIR_SIDE else dpi[::-1]
    return float(across), float(down)


def present(**items: Any) -> dict[str, Any]:
    """The items that are there."""
    return {name: item for name, item in items.items() if item}


def _portable_exif(exif: Image.Exif, orientation: int, *, keep_gps: bool) -> bytes:
    """The EXIF data that stay true of an upright result: no orientation, thumbnail or maker notes."""
    kept = Image.Exif()
    turned = TURNED_EXIF_TAGS if orientation in ON_THEIR_SIDE else {}
    for tag in EXIF_TAGS:
        if tag in exif and _can_be_written({tag: exif[tag]}):
            kept[turned.get(tag, tag)] = as_stored(exif[tag])
    for block in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo) if keep_gps else (ExifTags.IFD.Exif,):
        tags = {tag: as_stored(value) for tag, value in exif.get_ifd(block).items() if tag not in STALE_EXIF_TAGS}
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
    with contextlib.suppress(Exception):  # see refusing
        probe.tobytes()
        return True
    return False
