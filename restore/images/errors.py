"""What goes wrong with a picture, whatever its reader or writer raises, as one error of one line."""

import contextlib
import re
from collections.abc import Iterator

from PIL import Image


class ImageError(ValueError):
    """A picture that cannot be read or written; the message is one line that names the cause and the limit, if there is one."""


@contextlib.contextmanager
def image_errors(what: str) -> Iterator[None]:
    """Turn anything that is raised within into an ImageError that says `what` failed: writers raise as many types as readers."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{what}: {one_line(error)}") from error


@contextlib.contextmanager
def refusing(what: str) -> Iterator[None]:
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
        raise ImageError(f"the {what} is larger than it says ({one_line(error)})") from error
    except Exception as error:
        cause = one_line(error)
        ended = isinstance(error, EOFError) or re.search("truncat|eof|end of|not enough|too short", cause, re.IGNORECASE)
        fate = "truncated" if ended else f"truncated, damaged or of a kind that is not read ({cause})"
        raise ImageError(f"the {what} is {fate}") from error


@contextlib.contextmanager
def tolerating(notes: list[str], note: str) -> Iterator[None]:
    """Let broken metadata, whose readers raise as many types as those of pixels, cost a note and not the picture."""
    try:
        yield
    except Exception:  # noqa: BLE001 - see refusing
        notes.append(note)


def one_line(error: Exception) -> str:
    """What an exception says, on one printable line of bounded length."""
    text = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    return "".join(char if char.isprintable() else " " for char in text)[:200].strip()
