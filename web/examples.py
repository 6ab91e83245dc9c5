"""The bundled example photographs: their names, thumbnails and credits."""

import base64
import csv
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).parents[1] / "examples"
THUMBNAIL_SIDE = 160


@dataclass(frozen=True)
class Example:
    """One photograph, and whom to thank for it."""

    path: Path
    author: str
    photo_page: str
    licence: str

    @property
    def title(self) -> str:
        return self.path.stem.capitalize()


def load_examples() -> list[Example]:
    """The photographs that credits.csv lists, in its order."""
    with open(FOLDER / "credits.csv", encoding="utf-8", newline="") as file:
        return [Example(FOLDER / row["file"], row["author"], row["photo_page"], row["licence"]) for row in csv.DictReader(file)]


EXAMPLES = load_examples()


@cache
def thumbnails(mode: str) -> tuple[str, ...]:
    """Small copies in Pillow's `mode`, "RGB" or "L", as addresses that hold them; the photographs are fetched on a click."""
    return tuple(_as_address(example.path, mode) for example in EXAMPLES)


def _as_address(path: Path, mode: str) -> str:
    file = io.BytesIO()
    with Image.open(path) as photo:
        small = photo.convert(mode)
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    small.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
