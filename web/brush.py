"""The colour brush: a small grey copy of the photo, with a dot for every colour that the visitor has given."""

from typing import Any

from PIL import Image, ImageColor, ImageDraw

from web.choices import Base, Canvas, Report
from web.files import open_photo, to_image, write_png

SIDE = 640  # of the copy, in pixels
DOT = 8  # radius
MAX_HINTS = 200

Mark = list[Any]
"""[x, y, "#rrggbb"] in pixels of the upright photo, as it stands in JSON."""


def open_canvas(path: str, report: Report) -> Canvas:
    """Make the copy that is drawn on."""
    image = to_image(open_photo(path).rgb).convert("L")
    report(0.5)
    width = image.width
    image.thumbnail((SIDE, SIDE))
    shown = write_png(image, "canvas.png")
    return Canvas(shown, (shown, image.width / width))


def add_mark(marks: list[Mark], base: Base, x: int, y: int, color: str) -> list[Mark]:
    """Add the colour at x, y of the copy."""
    red, green, blue = parse_color(color)
    scale = base[1]
    return [*marks, [int(x / scale), int(y / scale), f"#{red:02x}{green:02x}{blue:02x}"]][:MAX_HINTS]


def draw_marks(base: Base, marks: list[Mark]) -> str:
    """Draw the dots onto a fresh copy."""
    path, scale = base
    with Image.open(path) as grey:
        canvas = grey.convert("RGB")
    draw = ImageDraw.Draw(canvas)
    for x, y, color in marks:
        draw.circle((x * scale, y * scale), DOT, fill=parse_color(color), outline="white", width=2)
    return write_png(canvas, "canvas.png")


def parse_color(color: str) -> tuple[int, int, int]:
    """What a colour picker gives, "#rrggbb" or "rgba(r, g, b, a)" with fractions, as three numbers of 0 to 255."""
    if color.startswith("rgba("):
        red, green, blue, _ = (round(float(part)) for part in color[5:].rstrip(")").split(","))
        return red, green, blue
    red, green, blue = ImageColor.getrgb(color)[:3]
    return red, green, blue
