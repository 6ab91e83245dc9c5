"""The work behind the buttons, without a page: paths and settings in, paths and numbers out.

Every function takes `report` last and calls it with the fraction done; it raises when the visitor has cancelled.
"""

import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from torch import Generator, Tensor

import restore
from restore.color import grey, is_neutral
from restore.images import ImageError, Picture, open_picture, save_picture
from restore.noise import (
    MIXTURES,
    camera,
    correlated,
    dither,
    gaussian,
    grey_gaussian,
    halftone,
    jpeg,
    poisson,
    salt_and_pepper,
    speckle,
)
from restore.pipeline import Hint, estimate_sigma, is_colourless
from web.brush import MAX_HINTS, Mark, parse_color
from web.choices import NoiseSettings, Report, Result, Score
from web.files import name_of, new_folder, open_photo, to_image, write_png
from web.scores import check_same_size, compare_with_truth, noise_score, notes, round_psnr, time_score

NOISY_SEED = 7  # of the noise on the examples
GIVEN_COLOR = "Taken for a grey photo, so its colours are guesses; Denoise leaves it as it is"
HAS_COLOR = "It has colour already and keeps it; Colorize would give it another"


def load_models() -> None:
    """Load the two networks that the first visitor will want; the pipeline keeps them and shares them."""
    restore.restore(Image.new("L", (64, 64)))


# One picture


def restore_photo(path: str, strength: float, vividness: float, report: Report) -> Result:
    """Remove the noise, then bring colour if the photo has none."""
    picture = open_photo(path)
    start = time.monotonic()
    line = HAS_COLOR

    def note_color() -> None:
        nonlocal line
        line = GIVEN_COLOR

    image = restore.restore(picture, strength=strength, vividness=vividness, progress=report, on_color=note_color)
    seconds = time.monotonic() - start
    scores = [noise_score(estimate_sigma(picture.rgb)), *notes((line,))]
    return _result(picture, image, path, "-restored", scores, seconds, report)


def denoise_photo(path: str, truth_path: str | None, model: str, strength: float, self_ensemble: bool, report: Report) -> Result:
    """Remove the noise, and measure it where the clean original is known."""
    picture = open_photo(path)
    truth = open_photo(truth_path, "clean original").rgb if truth_path else None
    if truth is not None:
        check_same_size(picture.rgb, truth)
    start = time.monotonic()
    image = restore.denoise(picture, model, strength=strength, self_ensemble=self_ensemble, progress=report)
    seconds = time.monotonic() - start
    scores = [noise_score(estimate_sigma(picture.rgb))]
    if truth is not None:
        scores += compare_with_truth(picture.rgb, open_picture(image).rgb, truth, "noisy", report)
    return _result(picture, image, path, "-denoised", scores, seconds, report)


def colorize_photo(path: str, model: str, vividness: float, hints: list[Mark] | None, report: Report) -> Result:
    """Bring colour to a grey photo; a photo in colour is made grey first, and then is the truth to measure by."""
    picture = open_photo(path)
    start = time.monotonic()
    image = restore.colorize(picture, model, vividness=vividness, hints=_parse_hints(hints or []), progress=report)
    seconds = time.monotonic() - start
    if is_colourless(picture.rgb):
        return _result(picture, image, path, "-colorized", [], seconds, report)
    before = grey(picture.rgb)
    scores = compare_with_truth(before, open_picture(image).rgb, picture.rgb, "grey", report)
    return _result(picture, image, path, "-colorized", scores, seconds, report, picture.to_pil(before))


def _parse_hints(marks: list[Mark]) -> list[Hint]:
    """Turn [x, y, "#rrggbb"] from the page into hints as the library takes them."""
    if isinstance(marks, list) and len(marks) > MAX_HINTS:
        raise ImageError(f"{MAX_HINTS} hints are the most that a photo takes, not {len(marks)}")
    try:
        return [(x, y, parse_color(color)) for x, y, color in marks]
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f'a hint is [x, y, "#rrggbb"], not as here: {str(marks)[:60]}') from error


def _result(
    picture: Picture,
    image: Image.Image,
    path: str,
    suffix: str,
    scores: list[Score],
    seconds: float,
    report: Report,
    before: Image.Image | None = None,
) -> Result:
    """Write what the tab shows; the picture itself is what the result is compared with, unless `before` is given."""
    scores = [*scores, time_score(seconds), *notes(picture.notes)]
    before = before or picture.to_pil(picture.rgb)
    folder = new_folder()
    first, second, third = (folder / name_of(path, end) for end in ("-before.png", f"{suffix}.png", f"{suffix}.jpg"))
    for contents, target in ((before, first), (image, second), (image, third)):
        report(1.0)  # a large picture takes seconds to save, and a cancelled job must not
        save_picture(contents, target)
    return Result((str(first), str(second)), str(second), str(third), scores)


# Noise on purpose


Noise = Callable[[Tensor, NoiseSettings, Generator], Tensor]

NOISES: dict[str, Noise] = {
    "Gaussian": lambda clean, use, draw: gaussian(clean, use.sigma / 255, draw, clip=True),
    "Salt and pepper": lambda clean, use, draw: salt_and_pepper(clean, use.percent / 100, draw),
    "Poisson (few photons)": lambda clean, use, draw: poisson(clean, use.photons, draw, clip=True),
    "Speckle": lambda clean, use, draw: speckle(clean, use.sigma / 255, draw, clip=True),
    "Film grain": lambda clean, use, draw: grey_gaussian(clean, use.sigma / 255, draw, clip=True),
    "Blotches": lambda clean, use, draw: correlated(clean, use.sigma / 255, draw, radius=use.radius, clip=True),
    "Camera in the dark": lambda clean, use, draw: camera(clean, 1 / use.photons, 1 / use.photons, draw, contrast=1.5),
    "JPEG": lambda clean, use, _: jpeg(clean, use.quality),
    "Halftone print": lambda clean, use, _: printed(clean, use.period),
    "Dither": lambda clean, use, _: dither(clean, use.colors),
    "The paper's, CIFAR-10": lambda clean, _, draw: MIXTURES["paper-cifar10"](clean, draw),
    "The paper's, ImageNet": lambda clean, _, draw: MIXTURES["paper-imagenet64"](clean, draw),
}


def printed(clean: Tensor, period: float) -> Tensor:
    """Print with three inks, a grey photo in black, and scan: dots `period` pixels apart."""
    angles = (45.0, 45.0, 45.0) if is_neutral(clean) else (15.0, 75.0, 0.0)
    return halftone(clean, period, angles, radius=period / 4)


def add_noise(path: str, kind: str, settings: NoiseSettings, seed: int, report: Report) -> Result:
    """Spoil a clean photo on purpose; the same seed gives the same noise."""
    if kind not in NOISES:
        raise ValueError(f"the kinds of noise are {', '.join(NOISES)}; {kind} is none")
    picture = open_photo(path)
    start = time.monotonic()
    noisy = NOISES[kind](picture.rgb, settings, Generator().manual_seed(seed))
    if picture.is_grey:
        noisy = noisy[:, 1:2].expand_as(noisy)  # the luma of noise in three channels is weaker than was asked for
    seconds = time.monotonic() - start
    report(0.5)
    image = picture.to_pil(noisy)
    stored = open_picture(image).rgb  # clipped and rounded, as every stored picture is
    psnr = Score(name="PSNR", value=round_psnr(stored, picture.rgb), unit="dB", role="before")
    return _result(picture, image, path, "-noisy", [psnr, noise_score(estimate_sigma(stored))], seconds, report)


def noisy_example(path: Path) -> str:
    """An example as a noisy camera would give it."""
    picture = open_photo(str(path))
    noisy = gaussian(picture.rgb, 25 / 255, Generator().manual_seed(NOISY_SEED), clip=True)
    return write_png(picture.to_pil(noisy), name_of(str(path), "-noisy.png"))


def aged_example(path: Path) -> str:
    """An example as an old grey print: grain, and some dust."""
    picture = open_photo(str(path))
    draw = Generator().manual_seed(NOISY_SEED)
    aged = salt_and_pepper(grey_gaussian(grey(picture.rgb), 20 / 255, draw, clip=True), 0.003, draw)
    return write_png(to_image(aged).convert("L"), name_of(str(path), "-old.png"))
