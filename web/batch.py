"""Many photos in, one ZIP out; what fails is named and costs the others nothing."""

import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

from PIL import Image

import restore
from restore.images import ImageError, Picture, open_picture, save_picture
from web.choices import MAX_FILES, MAX_PIXELS, Batch, BatchRow, Report
from web.files import new_folder

MAX_FILE_BYTES = 64 << 20  # of one unpacked file


TASKS: dict[str, Callable[..., Image.Image]] = {
    "restore": restore.restore,
    "denoise": restore.denoise,
    "colorize": restore.colorize,
}


def run_batch(paths: list[str], task: str, suffix: str, report: Report) -> Batch:
    """Do `task` to every photo, in the order given, and pack the results as files of `suffix` (".png" or ".jpg")."""
    sources = list(islice(_sources(paths), MAX_FILES + 1))
    if not 1 <= len(sources) <= MAX_FILES:
        raise ImageError(f"choose 1 to {MAX_FILES} photos, or a ZIP with as many")
    work = TASKS[task]
    folder = new_folder()
    rows: list[BatchRow] = []
    names: set[str] = set()
    done = 0
    with zipfile.ZipFile(folder / "restored.zip", "w") as archive:
        for index, (name, read) in enumerate(sources):
            start = time.monotonic()
            try:
                image = work(_open(read), progress=lambda part, index=index: report((index + part) / len(sources)))
                target = folder / _free_name(PurePosixPath(name).stem[:80] or "photo", suffix, names)
                save_picture(image, target)
            except ImageError as error:
                rows.append((name, f"Failed: {error}", None))
                continue
            archive.write(target, target.name)
            target.unlink()
            done += 1
            rows.append((name, target.name, round(time.monotonic() - start, 1)))
    return Batch(str(folder / "restored.zip") if done else None, rows)


Reader = Callable[[], bytes]


def _open(read: Reader) -> Picture:
    return open_picture(read(), max_pixels=MAX_PIXELS)


def _sources(paths: list[str]) -> Iterator[tuple[str, Reader]]:
    """Name and reader of every photo: files as they are, ZIPs by their members."""
    for path in map(Path, paths):
        if zipfile.is_zipfile(path):
            yield from _members(path)
        else:
            yield path.name, path.read_bytes


def _members(path: Path) -> Iterator[tuple[str, Reader]]:
    """Members are read into memory, never unpacked, and only their last name is used: no path leads out of the ZIP."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = PurePosixPath(member.filename.replace("\\", "/")).name
            if not member.is_dir() and not name.startswith(".") and not member.filename.startswith("__MACOSX/"):
                yield name, partial(_read_member, path, member)


def _read_member(path: Path, member: zipfile.ZipInfo) -> bytes:
    """Read one member, no further than its limit, whatever its header says."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, ValueError, zlib.error) as error:
        raise ImageError(f"the ZIP does not give it out ({error})") from error
    if len(content) > MAX_FILE_BYTES:
        raise ImageError(f"it unpacks to more than {MAX_FILE_BYTES >> 20} MB")
    return content


def _free_name(stem: str, suffix: str, taken: set[str]) -> str:
    """A name that no other file of the ZIP has."""
    name, number = f"{stem}{suffix}", 2
    while name.lower() in taken:
        name, number = f"{stem}-{number}{suffix}", number + 1
    taken.add(name.lower())
    return name
