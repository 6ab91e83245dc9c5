"""Pictures between the visitor and the work: opened by the library's one door, written without loss."""

import secrets
from pathlib import Path

from PIL import Image
from torch import Tensor

from restore.images import JPEG, ImageError, Picture, open_picture, save_picture
from web.choices import MAX_PIXELS
from web.server import FOLDER


def open_photo(path: str | None, what: str = "photo") -> Picture:
    """Open an upload, or say in one line what is wrong with it."""
    if path is None:
        raise ImageError(f"there is no {what} yet: upload one, or choose an example")
    if not Path(path).is_file():
        raise ImageError(f"the {what} was deleted from the server, as all are within the hour: please upload it again")
    return open_within_limits(path, what)


def open_within_limits(source: str | bytes, what: str = "photo") -> Picture:
    """Open a file, or the content of one, no larger than the app's work and its results may be."""
    picture = open_picture(source, max_pixels=MAX_PIXELS)
    longest = max(picture.rgb.shape)
    if longest > JPEG.max_side:  # every result is offered as JPEG too
        raise ImageError(f"the limit is {JPEG.max_side:,} pixels a side; the {what} has {longest:,}")
    return picture


def to_image(rgb: Tensor) -> Image.Image:
    """Round (1, 3, H, W) in [0, 1] to a picture in sRGB, for those that no file stands behind."""
    return Image.fromarray((rgb[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy())


def new_folder() -> Path:
    """A folder for results that no one can guess."""
    folder = FOLDER / "results" / secrets.token_urlsafe(16)
    folder.mkdir(parents=True)
    return folder


def write_png(image: Image.Image, name: str) -> str:
    """Write one picture as PNG and give its path."""
    path = new_folder() / name
    save_picture(image, path)
    return str(path)


def name_of(path: str, suffix: str) -> str:
    """The file name of a result: "boat.jpg" to "boat-denoised.png", say."""
    return f"{Path(path).stem[:80]}{suffix}"
