"""The colour brush: a grey copy of the photo, small or enlarged, with a dot for every colour that the visitor has given."""

from typing import Any

from PIL import ImageChops, ImageColor, ImageDraw
from PIL.Image import Resampling

from restore.images import ImageError
from web.choices import Base, Canvas, Report
from web.files import open_photo, to_image, write_png

SIDE = 640  # of the copy at most, in pixels
DOT = 8  # radius
MAX_HINTS = 200

Mark = list[Any]
"""[x, y, "#rrggbb"] in pixels of the upright photo, as it stands in JSON."""


def open_canvas(path: str, report: Report) -> Canvas:
    """Make the copy that is drawn on; none of a photo that cannot be read, of which Colorize tells why."""
    try:
        picture = open_photo(path)
    except ImageError:
        return Canvas(None, None)
    report(0.5)
    image = to_image(picture.rgb).convert("L")
    if picture.alpha:
        image.paste("white", mask=ImageChops.invert(picture.alpha))
    full = image.size
    image.thumbnail((SIDE, SIDE))
    if enlarged := SIDE // max(full):  # a dot would hide what is tiny
        image = image.resize([enlarged * side for side in full], Resampling.NEAREST)
    shown = write_png(image, "canvas.png")
    return Canvas(shown, Base(shown, image.size, full))


def add_mark(marks: list[Mark], base: Base, x: int, y: int, color: str) -> list[Mark]:
    """Add the colour at x, y of the copy. Raises ValueError where there are as many as there may be."""
    if len(marks) >= MAX_HINTS:
        raise ValueError(f"{MAX_HINTS} colours are the most that a photo takes")
    red, green, blue = parse_color(color)
    place = [min(at * full // shown, full - 1) for at, shown, full in zip((x, y), base.shown, base.full, strict=True)]
    return [*marks, [*place, f"#{red:02x}{green:02x}{blue:02x}"]]


def draw_marks(base: Base, marks: list[Mark]) -> str:
    """Draw the dots onto a fresh copy. Raises ImageError where the photo is no longer there."""
    canvas = to_image(open_photo(base.path).rgb)
    draw = ImageDraw.Draw(canvas)
    for *place, color in marks:
        center = [(at + 0.5) * shown / full for at, shown, full in zip(place, base.shown, base.full, strict=True)]
        draw.circle(center, DOT, fill=parse_color(color), outline="white", width=2)
    return write_png(canvas, "canvas.png")


def parse_color(color: str) -> tuple[int, int, int]:
    """What a colour picker gives, "#rrggbb" or "rgba(r, g, b, a)" with fractions, as three numbers of 0 to 255."""
    if color.startswith("rgba("):
        red, green, blue, _ = (round(float(part)) for part in color[5:].rstrip(")").split(","))
        return red, green, blue
    red, green, blue = ImageColor.getrgb(color)[:3]
    return red, green, blue
