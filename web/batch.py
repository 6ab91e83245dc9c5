"""Many photos in, one ZIP out; what fails is named and costs the others nothing."""

import io
import logging
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

from PIL import Image

import restore
from restore.engine import FAILURES
from restore.images import ImageError, Picture, image_errors, lost_in, save_picture
from web.choices import MAX_FILES, Batch, BatchRow, Report, TooSlowError
from web.files import new_folder, open_photo, open_within_limits

logger = logging.getLogger(__name__)

MAX_FILE_BYTES = 64 << 20  # of one unpacked file
MAX_LIST_BYTES = 1 << 18  # of a ZIP's list of its files, of which a million would fit into an upload: a thousand names
MAX_STEM_BYTES = 120  # of a result's name
ZIP_STARTS = (b"PK\3\4", b"PK\5\6")  # of one with files, and of one without

SUFFIXES = (".png", ".jpg")
TASKS: dict[str, Callable[..., Image.Image]] = {
    "restore": restore.restore,
    "denoise": restore.denoise,
    "colorize": restore.colorize,
}


def run_batch(paths: list[str], task: str, suffix: str, report: Report) -> Batch:
    """Do `task` to every photo, in the order given, and pack the results as files of `suffix`, one of SUFFIXES.

    Where the time is up, the ZIP has what was done by then.
    """
    if task not in TASKS or suffix not in SUFFIXES:
        raise ImageError(f"a batch does {', '.join(TASKS)} and writes {' or '.join(SUFFIXES)}, not {task} and {suffix}")
    sources = list(islice(_sources(paths), MAX_FILES + 1))
    if not 1 <= len(sources) <= MAX_FILES:
        raise ImageError(f"choose 1 to {MAX_FILES} photos, or a ZIP with as many")
    work = TASKS[task]
    folder = new_folder()
    rows: list[BatchRow] = []
    names: set[str] = set()
    done = 0
    late = ""
    with zipfile.ZipFile(folder / "restored.zip", "w") as archive:
        for index, (name, open_source) in enumerate(sources):
            if late:
                rows.append((name, late, None))
                continue
            start = time.monotonic()
            try:
                picture = open_source()
                image = work(picture, progress=lambda part, index=index: report((index + part) / len(sources)), in_place=True)
                target = folder / _free_name(name, suffix, names)
                save_picture(image, target)
            except ImageError as error:
                rows.append((name, f"Failed: {error}", None))
                continue
            except TooSlowError as error:  # what is done is the visitor's
                late = f"Not done: the limit is {error.limit}"
                rows.append((name, late, None))
                continue
            except FAILURES:
                logger.exception("a photo of a batch failed")
                rows.append((name, "Failed: something broke on our side", None))
                continue
            archive.write(target, target.name)
            target.unlink()
            done += 1
            result = "; ".join((target.name, *picture.notes, *lost_in(suffix, picture)))
            rows.append((name, result, round(time.monotonic() - start, 1)))
    return Batch(str(folder / "restored.zip") if done else None, rows)


Opener = Callable[[], Picture]


def _sources(paths: list[str]) -> Iterator[tuple[str, Opener]]:
    """Name and opener of every photo: files as they are, ZIPs by their members."""
    for path in map(Path, paths):
        if _is_zip(path):
            yield from _members(path)
        else:
            yield path.name, partial(open_photo, str(path))


def _is_zip(path: Path) -> bool:
    """Whether it begins as a ZIP: a photo that has one behind it is a photo."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(4) in ZIP_STARTS


def _members(path: Path) -> Iterator[tuple[str, Opener]]:
    """Members are read into memory, never unpacked, and only their last name is used: no path leads out of the ZIP."""
    try:
        with image_errors("the ZIP cannot be read"), _Listing(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except ImageError as error:
        yield path.name, partial(_fail, error)
        return
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/")).name
        is_folder = member.filename.endswith(("/", "\\"))
        if not is_folder and not name.startswith(".") and not member.filename.startswith("__MACOSX/"):
            yield name, partial(_open_member, path, member)


class _Listing(io.FileIO):
    """A ZIP of which only the list of its files is read, and not if it is endless: zipfile makes an object of each entry."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_LIST_BYTES:
            raise ImageError("the ZIP has too many files")
        return super().read(size) or b""


def _fail(error: ImageError) -> Picture:
    raise error


def _open_member(path: Path, member: zipfile.ZipInfo) -> Picture:
    """Read one member, no further than its limit, whatever its header says, and open it."""
    with image_errors("the ZIP does not give it out"), zipfile.ZipFile(path) as archive, archive.open(member) as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ImageError(f"it unpacks to more than {MAX_FILE_BYTES >> 20} MB")
    return open_within_limits(content)


def _free_name(source: str, suffix: str, taken: set[str]) -> str:
    """A name that no other file of the ZIP has, and no file system finds too long."""
    stem = PurePosixPath(source).stem.encode()[:MAX_STEM_BYTES].decode(errors="ignore") or "photo"
    name, number = f"{stem}{suffix}", 2
    while name.lower() in taken:
        name, number = f"{stem}-{number}{suffix}", number + 1
    taken.add(name.lower())
    return name
