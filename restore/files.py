"""Files that are there whole or not at all: written beside their place under another name, then put into it at once."""

import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

_TEMPORARY = re.compile(r"\.([0-9a-f]{16})\.[0-9a-f]{16}\.tmp")  # whose it is, and a name of its own


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that takes the place of `path` when the block ends, and is gone if it raises.

    Where `path` is a link, it is that of what the link leads to; an older file's permissions stay.

    Raises:
        OSError: The file cannot be written; an older one of that name is then as it was.
    """
    path = Path(os.path.realpath(path))
    temporary = path.parent / f".{_mark(path)}.{secrets.token_hex(8)}.tmp"  # in the same folder, so that replacing is atomic
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def open_to_others(path: Path) -> None:
    """Let whoever may read its folder's other files read a file that a library has made for its owner alone."""
    with _probe(path.parent) as reference:  # as the umask has it, which cannot be asked for without being changed
        path.chmod(reference.stat().st_mode)


def check_writable(folder: Path) -> None:
    """Raise OSError where no file can be written into a folder, or into the nearest above it that is there; leaves nothing."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    with _probe(folder):
        pass


def folds_case(folder: Path) -> bool:
    """Whether names that differ in case alone are one on the disk of a folder, or of the nearest above it that is there."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    with _probe(folder) as probe:
        return probe.with_name(probe.name.upper()).exists()


@contextlib.contextmanager
def _probe(folder: Path) -> Iterator[Path]:
    """An empty file with a lower-case name in a folder, for as long as the block lasts."""
    probe = folder / f".{secrets.token_hex(8)}.tmp"
    probe.touch()
    try:
        yield probe
    finally:
        probe.unlink()


def sweep(paths: Iterable[Path]) -> None:
    """Remove what killed processes have left of writing these files, which nobody may be writing now; as far as it can be."""
    marks: dict[Path, set[str]] = defaultdict(set)
    for path in (Path(os.path.realpath(path)) for path in paths):
        marks[path.parent].add(_mark(path))
    for folder, own in marks.items():
        with contextlib.suppress(OSError):  # there is no such folder yet, or it is locked
            for entry in folder.iterdir():
                if (match := _TEMPORARY.fullmatch(entry.name)) and match[1] in own:
                    entry.unlink(missing_ok=True)


def _mark(path: Path) -> str:
    """What the temporary names of a file have in common; the name itself may be as long as the system allows."""
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
