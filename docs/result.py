"""Make docs/result.jpg: example photographs, spoiled on purpose, and what the bundled networks make of them."""

from pathlib import Path

from PIL import Image
from torch import Generator

import restore
from restore.color import grey
from restore.images import open_picture
from restore.noise import gaussian, grey_gaussian

FOLDER = Path(__file__).parent
NOISY, OLD = ("car", "dish", "balloon"), ("town", "river", "bontebok")
SIGMA = 25 / 255


def pair(name: str, *, old: bool) -> tuple[Image.Image, Image.Image]:
    """A photograph spoiled, as a noisy one or as an old grey print, and restored."""
    picture = open_picture(FOLDER.parent / "examples" / f"{name}.png")
    draw = Generator().manual_seed(0)
    spoiled = (
        grey_gaussian(grey(picture.rgb), SIGMA / 2, draw, clip=True) if old else gaussian(picture.rgb, SIGMA, draw, clip=True)
    )
    before = picture.to_pil(spoiled)
    return before, restore.restore(before) if old else restore.denoise(before)


def main() -> None:
    pairs = [pair(name, old=False) for name in NOISY] + [pair(name, old=True) for name in OLD]
    width, height = pairs[0][0].size
    sheet = Image.new("RGB", (width * len(pairs), height * 2))
    for column, pictures in enumerate(pairs):
        for row, picture in enumerate(pictures):
            sheet.paste(picture, (column * width, row * height))
    sheet.save(FOLDER / "result.jpg", quality=88)


if __name__ == "__main__":
    main()
