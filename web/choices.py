"""What the page offers and shows, without anything heavy: the page is there seconds before torch is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

Report = Callable[[float], None]
"""What the work calls with its fraction done; it raises when the work should stop."""


class TooSlowError(Exception):
    """What the report raises when the job has used up its seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.limit = f"{seconds} seconds" if seconds < 120 else f"{seconds // 60} minutes"


UPLOADS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".hif", ".bmp", ".gif")
MAX_PIXELS = 50_000_000  # width x height of a picture in the app
MAX_FILES = 50  # of a batch
MAX_PHOTOS = 6  # of a comparison
MAX_SIDE = 512  # of a photo in a comparison; larger ones are shrunk, so that six of them take seconds

DENOISER, COLORIZER = "denoiser-photo", "colorizer-photo"
TINY = (("Tiny pictures, trained on CIFAR-10 (32 px)", "cifar10"), ("Tiny pictures, trained on ImageNet (64 px)", "imagenet64"))
DENOISERS = [("Photographs of any size", DENOISER), *((label, f"denoiser-{data}") for label, data in TINY)]
COLORIZERS = [("Photographs of any size", COLORIZER), *((label, f"colorizer-{data}") for label, data in TINY)]

NOISES: dict[str, tuple[str, ...]] = {  # the settings that each kind reads
    "Gaussian": ("sigma",),
    "Salt and pepper": ("percent",),
    "Poisson (few photons)": ("photons",),
    "Speckle": ("sigma",),
    "Film grain": ("sigma",),
    "Blotches": ("sigma", "radius"),
    "Camera in the dark": ("photons",),
    "JPEG": ("quality",),
    "Halftone print": ("period",),
    "Dither": ("colors",),
    "The paper's, CIFAR-10": (),
    "The paper's, ImageNet": (),
}
SETTINGS: dict[str, tuple[str, tuple[float, float, float, float]]] = {  # label; least, most, usual, step
    "sigma": ("Strength (sigma, of 255)", (1, 100, 25, 1)),
    "percent": ("Share of the pixels (%)", (0.1, 30, 2, 0.1)),
    "photons": ("Photons at white", (5, 1000, 50, 5)),
    "quality": ("JPEG quality", (1, 95, 15, 1)),
    "radius": ("Size of the blotches (pixels)", (0.5, 3, 1, 0.1)),
    "period": ("From dot to dot (pixels)", (2, 8, 4, 0.5)),
    "colors": ("Colours that are kept", (2, 256, 16, 1)),
}


@dataclass(frozen=True)
class NoiseSettings:
    """The sliders of Add noise; each kind of noise reads its own."""

    sigma: float  # standard deviation on the 0 to 255 scale
    percent: float  # of the pixels
    photons: float  # at white
    quality: int  # of JPEG, 1 to 95
    radius: float  # of a blotch, in pixels
    period: float  # of a halftone screen, in pixels
    colors: int  # of a dithered picture, 2 to 256


class Score(TypedDict):
    """One number: what it is, how much, of what; `role` is how the page shows it ("before", "after", "plain" or "note")."""

    name: str
    value: float | str
    unit: str
    role: str


class Result(NamedTuple):
    """What a tab shows: before and after for the slider, the two downloads, and the numbers."""

    pair: tuple[str, str]
    png: str
    jpeg: str
    scores: list[Score]


ComparedRow = tuple[str, str, float | None, float | None, float | None]
COMPARED_COLUMNS = ("Photo", "Method", "PSNR (dB)", "SSIM", "Seconds")


class Comparison(NamedTuple):
    """Captioned pictures, the table below them, and the table as a file."""

    tiles: list[tuple[str, str]]
    rows: list[ComparedRow]
    csv: str


CurvePoint = tuple[float, str, float]
CURVE_COLUMNS = ("Noise level (sigma, of 255)", "Method", "PSNR (dB)")

BatchRow = tuple[str, str, float | None]
BATCH_COLUMNS = ("File", "Result", "Seconds")


class Batch(NamedTuple):
    """The ZIP, or None if nothing came out well, and a line for every file."""

    zip: str | None
    rows: list[BatchRow]


class Base(NamedTuple):
    """A small grey copy of a photo, its size, and the photo's, as width and height in pixels."""

    path: str
    shown: tuple[int, int]
    full: tuple[int, int]


class Canvas(NamedTuple):
    """A photo to put colours on: what is shown, and what it is drawn from; nothing where the photo cannot be read."""

    shown: str | None
    base: Base | None
