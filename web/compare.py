"""The gallery: several methods on the same photos, with their numbers."""

import csv
import re
import time
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

from PIL import Image
from torch import Generator, Tensor
from torch.nn.functional import interpolate

import restore
from restore.color import grey
from restore.images import ImageError, open_picture
from restore.metrics import SSIM_WINDOW, ssim
from restore.noise import gaussian
from restore.pipeline import estimate_sigma, is_colourless
from web.baselines import median, non_local_means
from web.choices import COMPARED_COLUMNS, MAX_PHOTOS, MAX_SIDE, ComparedRow, Comparison, CurvePoint, Report
from web.files import name_of, new_folder, open_photo, to_image, write_png
from web.scores import round_psnr

CURVE_SIGMAS = (5, 10, 15, 25, 35, 50)  # on the 0 to 255 scale


def compare(paths: list[str], sigma: float, seed: int, report: Report) -> Comparison:
    """Add noise to each photo and take it off in four ways; take its colours and bring them back."""
    if not 1 <= len(paths) <= MAX_PHOTOS:
        raise ImageError(f"choose 1 to {MAX_PHOTOS} photos; there are {len(paths)}")
    tiles: list[tuple[str, str]] = []
    rows: list[ComparedRow] = []
    for index, path in enumerate(paths):
        truth = _shrunk(open_photo(path).rgb)
        colors = None if is_colourless(truth) else truth  # nobody knows the colours of a grey photo
        name = Path(path).stem
        tiles.append((_png(truth, path, "original"), f"{name}: original"))
        steps = chain(
            ((run, truth) for run in _denoisers(truth, sigma / 255, seed)),
            ((run, colors) for run in _colorizers(truth, sigma / 255, seed)),
        )
        for step, ((method, picture, seconds), known) in enumerate(steps):
            rows.append((name, method, *_likeness(picture, known), seconds))
            tiles.append((_png(picture, path, method), _caption(rows[-1])))
            report((index + (step + 1) / 7) / len(paths))
    return Comparison(tiles, rows, _write_csv(rows))


def _likeness(picture: Tensor, truth: Tensor | None) -> tuple[float | None, float | None]:
    """PSNR and, where the picture is large enough, SSIM; nothing where the truth is not known."""
    if truth is None:
        return None, None
    return round_psnr(picture, truth), round(ssim(picture, truth).item(), 3) if min(truth.shape[-2:]) >= SSIM_WINDOW else None


def _caption(row: ComparedRow) -> str:
    _, method, decibels, similarity, seconds = row
    numbers = [] if decibels is None else [f"{decibels:.2f} dB"]
    numbers += [] if similarity is None else [f"SSIM {similarity:.3f}"]
    numbers += [] if seconds is None else [f"{max(seconds, 0.001):.2g} s"]
    return f"{method}: {', '.join(numbers)}" if numbers else method


def noise_curve(paths: list[str], seed: int, report: Report) -> list[CurvePoint]:
    """PSNR against the noise level, as (sigma, method, PSNR), for the methods that remove noise."""
    truth = _shrunk(open_photo(paths[0] if paths else None).rgb)
    points: list[CurvePoint] = []
    for index, sigma in enumerate(CURVE_SIGMAS):
        for method, picture, _ in _denoisers(truth, sigma / 255, seed):
            points.append((sigma, method, round_psnr(picture, truth)))
        report((index + 1) / len(CURVE_SIGMAS))
    return points


Run = tuple[str, Tensor, float | None]
"""Method, picture and seconds; in the order of the gallery's tiles."""


def _denoisers(truth: Tensor, sigma: float, seed: int) -> Iterable[Run]:
    noisy = _noisy(truth, sigma, seed)
    level = estimate_sigma(noisy)  # as blind as ours
    yield "Noisy", noisy, None
    yield _timed("Denoised, ours", lambda: _eight_bit(restore.denoise(to_image(noisy))))
    yield _timed("Non-local means", lambda: non_local_means(noisy, level))
    yield _timed("Median", lambda: median(noisy))


def _colorizers(truth: Tensor, sigma: float, seed: int) -> Iterable[Run]:
    colorless = grey(truth)
    yield "Grey", colorless, None
    yield _timed("Colorized, ours", lambda: _eight_bit(restore.colorize(to_image(colorless))))
    noisy = grey(_noisy(truth, sigma, seed))
    yield _timed("Noisy grey, restored", lambda: _eight_bit(restore.restore(to_image(noisy))))


def _timed(method: str, work: Callable[[], Tensor]) -> Run:
    start = time.monotonic()
    picture = work()
    return method, picture, round(time.monotonic() - start, 3)


def _noisy(truth: Tensor, sigma: float, seed: int) -> Tensor:
    """White Gaussian noise, rounded to 8 bits as a stored picture is."""
    return gaussian(truth, sigma, Generator().manual_seed(seed), clip=True).mul(255).round().div(255)


def _shrunk(photo: Tensor) -> Tensor:
    scale = MAX_SIDE / max(photo.shape[-2:])
    size = [max(1, round(scale * side)) for side in photo.shape[-2:]]
    return photo if scale >= 1 else interpolate(photo, size, mode="bicubic", antialias=True).clamp(0, 1)


def _eight_bit(image: Image.Image) -> Tensor:
    return open_picture(image).rgb


def _png(rgb: Tensor, path: str, method: str) -> str:
    """Under the names of photo and method, as visitors save it: boat-denoised-ours.png, say."""
    return write_png(to_image(rgb), name_of(path, f"-{re.sub(r'[^a-z]+', '-', method.lower())}.png"))


def _write_csv(rows: list[ComparedRow]) -> str:
    path = new_folder() / "comparison.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COMPARED_COLUMNS, *rows])
    return str(path)
