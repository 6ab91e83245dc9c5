"""The bundled example photographs: their names, thumbnails and credits."""

import csv
from dataclasses import dataclass
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


def write_thumbnails(folder: Path) -> tuple[list[Path], list[Path]]:
    """Small copies for the page, in colour and in grey; the photographs themselves are fetched on a click."""
    folder.mkdir(parents=True, exist_ok=True)
    colored, grey = [], []
    for example in EXAMPLES:
        with Image.open(example.path) as photo:
            small = photo.convert("RGB")
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        colored.append(folder / f"{example.path.stem}.jpg")
        grey.append(folder / f"{example.path.stem}-grey.jpg")
        small.save(colored[-1], quality=85)
        small.convert("L").save(grey[-1], quality=85)
    return colored, grey
