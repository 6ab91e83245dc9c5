"""The gallery: several methods on the same photos, with their numbers."""

import csv
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image
from torch import Generator, Tensor
from torch.nn.functional import interpolate

import restore
from restore.color import grey
from restore.images import ImageError, open_picture
from restore.metrics import ssim
from restore.noise import gaussian
from restore.pipeline import estimate_sigma
from web.baselines import median, non_local_means
from web.choices import COMPARED_COLUMNS, MAX_PHOTOS, MAX_SIDE, ComparedRow, Comparison, CurvePoint, Report
from web.files import new_folder, open_photo, to_image, write_png
from web.scores import SSIM_WINDOW, round_psnr

CURVE_SIGMAS = (5, 10, 15, 25, 35, 50)  # on the 0 to 255 scale


def compare(paths: list[str], sigma: float, seed: int, report: Report) -> Comparison:
    """Add noise to each photo and take it off in four ways; take its colours and bring them back."""
    if not 1 <= len(paths) <= MAX_PHOTOS:
        raise ImageError(f"choose 1 to {MAX_PHOTOS} photos; there are {len(paths)}")
    tiles: list[tuple[str, str]] = []
    rows: list[ComparedRow] = []
    for index, path in enumerate(paths):
        truth = _shrunk(open_photo(path).rgb)
        name = Path(path).stem
        tiles.append((_png(truth), f"{name}: original"))
        for step, (method, picture, seconds) in enumerate(_methods(truth, sigma / 255, seed)):
            similarity = round(ssim(picture, truth).item(), 3) if min(truth.shape[-2:]) >= SSIM_WINDOW else None
            rows.append((name, method, round_psnr(picture, truth), similarity, seconds))
            tiles.append((_png(picture), _caption(rows[-1])))
            report((index + (step + 1) / 7) / len(paths))
    return Comparison(tiles, rows, _write_csv(rows))


def _caption(row: ComparedRow) -> str:
    _, method, decibels, similarity, seconds = row
    numbers = [f"{decibels:.2f} dB"]
    numbers += [] if similarity is None else [f"SSIM {similarity:.3f}"]
    numbers += [] if seconds is None else [f"{seconds:.2f} s"]
    return f"{method}: {', '.join(numbers)}"


def noise_curve(paths: list[str], seed: int, report: Report) -> list[CurvePoint]:
    """PSNR against the noise level, as (sigma, method, PSNR), for the methods that remove noise."""
    truth = _shrunk(open_photo(paths[0] if paths else None).rgb)
    points: list[CurvePoint] = []
    for index, sigma in enumerate(CURVE_SIGMAS):
        for method, picture, _ in _denoisers(truth, sigma / 255, seed):
            points.append((sigma, method, round_psnr(picture, truth)))
        report((index + 1) / len(CURVE_SIGMAS))
    return points


def _methods(truth: Tensor, sigma: float, seed: int) -> Iterable[tuple[str, Tensor, float | None]]:
    """Method, picture and seconds, in the order of the gallery's tiles."""
    yield from _denoisers(truth, sigma, seed)
    colorless = grey(truth)
    yield "Grey", colorless, None
    yield _timed("Colorized, ours", lambda: _eight_bit(restore.colorize(to_image(colorless))))
    noisy = grey(_noisy(truth, sigma, seed))
    yield _timed("Noisy grey, restored", lambda: _eight_bit(restore.restore(to_image(noisy))))


def _denoisers(truth: Tensor, sigma: float, seed: int) -> Iterable[tuple[str, Tensor, float | None]]:
    noisy = _noisy(truth, sigma, seed)
    level = estimate_sigma(noisy)  # as blind as ours
    yield "Noisy", noisy, None
    yield _timed("Denoised, ours", lambda: _eight_bit(restore.denoise(to_image(noisy))))
    yield _timed("Non-local means", lambda: non_local_means(noisy, level))
    yield _timed("Median", lambda: median(noisy))


def _timed(method: str, work: Callable[[], Tensor]) -> tuple[str, Tensor, float]:
    start = time.monotonic()
    picture = work()
    return method, picture, round(time.monotonic() - start, 2)


def _noisy(truth: Tensor, sigma: float, seed: int) -> Tensor:
    """White Gaussian noise, rounded to 8 bits as a stored picture is."""
    return gaussian(truth, sigma, Generator().manual_seed(seed), clip=True).mul(255).round().div(255)


def _shrunk(photo: Tensor) -> Tensor:
    scale = MAX_SIDE / max(photo.shape[-2:])
    return photo if scale >= 1 else interpolate(photo, scale_factor=scale, mode="bicubic", antialias=True).clamp(0, 1)


def _eight_bit(image: Image.Image) -> Tensor:
    return open_picture(image).rgb


def _png(rgb: Tensor) -> str:
    return write_png(to_image(rgb), "picture.png")


def _write_csv(rows: list[ComparedRow]) -> str:
    path = new_folder() / "comparison.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COMPARED_COLUMNS, *rows])
    return str(path)
