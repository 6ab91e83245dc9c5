"""Noise has the statistics of its formula, comes from its generator alone, and the camera's is a camera's."""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from torch import Generator, Tensor

from restore import noise
from restore.metrics import psnr
from restore.models.denoiser import Denoiser

SIDE = 256  # pixels enough for a standard deviation within 1 %
KINDS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "gaussian": lambda x, g: noise.gaussian(x, 0.1, g, clip=True),
    "grey_gaussian": lambda x, g: noise.grey_gaussian(x, 0.1, g, clip=True),
    "correlated": lambda x, g: noise.correlated(x, 0.1, g, radius=0.8, clip=True),
    "salt_and_pepper": lambda x, g: noise.salt_and_pepper(x, 0.1, g),
    "salt_and_pepper_per_channel": lambda x, g: noise.salt_and_pepper(x, 0.1, g, per_channel=True),
    "poisson": lambda x, g: noise.poisson(x, 30, g, clip=True),
    "speckle": lambda x, g: noise.speckle(x, 0.2, g, clip=True),
    "camera": lambda x, g: noise.camera(x, 0.01, 0.02, g),
    "camera_smoothed_jpeg": lambda x, g: noise.camera(x, 0.01, 0.02, g, smoothing=0.7, quality=80),
    "paper_mixture": noise.paper_mixture,
    **noise.MIXTURES,
}


def flat(level: float, batch: int = 1) -> Tensor:
    return torch.full((batch, 3, SIDE, SIDE), level)


def correlation(a: Tensor, b: Tensor) -> float:
    return float(np.corrcoef(a.flatten(), b.flatten())[0, 1])


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


# What all kinds share


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 8)])
def test_any_size_stays_finite_and_in_range(kind: str, size: tuple[int, int]) -> None:
    clean = torch.rand(2, 3, *size, generator=seeded(1))
    noisy = KINDS[kind](clean, seeded(0))
    assert noisy.shape == clean.shape
    assert noisy.dtype == clean.dtype
    assert noisy.isfinite().all()
    if kind != "photo":  # half of its pictures keep the overshoot of white noise
        assert ((noisy >= 0) & (noisy <= 1)).all()


@pytest.mark.parametrize("precision", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [*KINDS, "halftone"])
def test_any_precision_is_taken_and_kept(kind: str, precision: torch.dtype) -> None:
    clean = torch.rand(2, 3, 17, 8, generator=seeded(1)).to(precision)
    clean[..., 0] = 1
    noisy = noise.halftone(clean, 4.0) if kind == "halftone" else KINDS[kind](clean, seeded(0))
    assert noisy.dtype == precision
    assert noisy.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_alone_decides(kind: str, photos: Tensor) -> None:
    torch.manual_seed(1)
    state, before = torch.get_rng_state(), photos.clone()
    first = KINDS[kind](photos, seeded(5))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(photos, before)
    torch.manual_seed(2)
    assert torch.equal(KINDS[kind](photos, seeded(5)), first)
    assert not torch.equal(KINDS[kind](photos, seeded(6)), first)


@pytest.mark.parametrize("kind", [noise.gaussian, noise.grey_gaussian, noise.correlated, noise.speckle])
def test_every_picture_can_have_its_own_level(kind: Callable[..., Tensor], generator: Generator) -> None:
    change = kind(flat(0.5, batch=2), torch.tensor([0.0, 0.1]).view(2, 1, 1, 1), generator) - 0.5
    assert torch.equal(change[0], torch.zeros(3, SIDE, SIDE))
    assert change[1].std() > 0.04


@pytest.mark.parametrize("kind", [noise.gaussian, noise.grey_gaussian, noise.correlated, noise.speckle])
def test_clipping_is_the_callers_choice(kind: Callable[..., Tensor]) -> None:
    free, clipped = (kind(flat(0.9), 0.3, seeded(0), clip=clip) for clip in (False, True))
    assert free.max() > 1
    assert torch.equal(free.clamp(0, 1), clipped)


# The formulas


@pytest.mark.parametrize(
    ("kind", "std"),
    [
        (partial(noise.gaussian, sigma=0.1), 0.1),
        (partial(noise.grey_gaussian, sigma=0.1), 0.1),
        (partial(noise.correlated, sigma=0.1, radius=0.5), 0.1),
        (partial(noise.correlated, sigma=0.1, radius=2.0), 0.1),
        (partial(noise.speckle, sigma=0.2), 0.2 * 0.4),
        (partial(noise.poisson, peak=50), (0.4 / 50) ** 0.5),
    ],
)
def test_mean_and_standard_deviation(kind: Callable[..., Tensor], std: float, generator: Generator) -> None:
    change = kind(flat(0.4, batch=2), generator=generator) - 0.4
    assert change.mean().abs() < 0.03 * std
    assert change.std().item() == pytest.approx(std, rel=0.03)


@pytest.mark.parametrize("kind", [noise.gaussian, noise.speckle, noise.correlated])
def test_channels_and_pictures_are_independent(kind: Callable[..., Tensor], generator: Generator) -> None:
    change = kind(flat(0.5, batch=2), 0.1, generator) - 0.5
    assert abs(correlation(change[0, 0], change[0, 1])) < 0.03
    assert abs(correlation(change[0, 0], change[0, 2])) < 0.03
    assert abs(correlation(change[0], change[1])) < 0.03


@pytest.mark.parametrize(("kind", "neighbours"), [(noise.gaussian, 0.0), (noise.correlated, np.exp(-1 / 4))])
def test_correlation_of_neighbours(kind: Callable[..., Tensor], neighbours: float, generator: Generator) -> None:
    change = kind(flat(0.5), 0.1, generator)
    assert correlation(change[..., 1:], change[..., :-1]) == pytest.approx(neighbours, abs=0.03)
    assert correlation(change[..., 1:, :], change[..., :-1, :]) == pytest.approx(neighbours, abs=0.03)


def test_noise_of_no_radius_is_white() -> None:
    clean = torch.zeros(1, 3, 8, 8)
    white = noise.gaussian(clean, 0.1, Generator().manual_seed(3))
    assert torch.equal(noise.correlated(clean, 0.1, Generator().manual_seed(3), radius=0), white)


def test_correlated_noise_is_as_strong_at_the_border(generator: Generator) -> None:
    change = noise.correlated(torch.zeros(2000, 3, 6, 6), 0.1, generator, radius=1.4)
    assert torch.allclose(change.std(dim=(0, 1)), torch.tensor(0.1), rtol=0.05)


def test_grey_noise_is_the_same_in_all_channels(generator: Generator) -> None:
    red, green, blue = (noise.grey_gaussian(flat(0.5), 0.1, generator) - 0.5)[0]
    assert torch.equal(red, green)
    assert torch.equal(red, blue)


@pytest.mark.parametrize("precision", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.3, 1.0])
def test_salt_and_pepper_hit_whole_pixels_evenly(fraction: float, precision: torch.dtype, generator: Generator) -> None:
    noisy = noise.salt_and_pepper(flat(0.5, batch=2).to(precision), fraction, generator)
    pepper, salt = noisy == 0, noisy == 1
    assert torch.equal(pepper.any(1), pepper.all(1))
    assert torch.equal(salt.any(1), salt.all(1))
    assert pepper.float().mean().item() == pytest.approx(fraction / 2, rel=0.1, abs=1e-4)
    assert salt.float().mean().item() == pytest.approx(fraction / 2, rel=0.1, abs=1e-4)
    assert (noisy[~(pepper | salt)] == 0.5).all()


def test_salt_and_pepper_can_hit_each_channel_by_itself(generator: Generator) -> None:
    hit = noise.salt_and_pepper(flat(0.5), 0.3, generator, per_channel=True) != 0.5
    assert hit.float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert hit.all(1).float().mean().item() == pytest.approx(0.3**3, abs=0.005)


@pytest.mark.parametrize(("name", "fraction"), [("paper-cifar10", 0.01), ("paper-imagenet64", 0.02)])
def test_the_papers_mixtures(name: str, fraction: float, generator: Generator) -> None:
    noisy = noise.MIXTURES[name](flat(0.5, batch=4), generator)
    impulse = ((noisy == 0) | (noisy == 1)).all(1, keepdim=True).expand_as(noisy)
    assert impulse.float().mean().item() == pytest.approx(fraction, rel=0.1)
    assert noisy[~impulse].std().item() == pytest.approx(0.125, rel=0.02)


# JPEG and the curve of sRGB, beside other libraries


@pytest.mark.parametrize("quality", [10, 60, 95])
@pytest.mark.parametrize(
    ("subsampling", "factor"),
    [
        ("4:4:4", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        ("4:2:2", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
        ("4:2:0", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
    ],
)
def test_jpeg_agrees_with_opencv(quality: int, subsampling: str, factor: int, photos: Tensor) -> None:
    levels = np.ascontiguousarray((photos[0] * 255).byte().permute(1, 2, 0).numpy()[..., ::-1])
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    _, encoded = cv2.imencode(".jpg", levels, options)
    theirs = torch.from_numpy(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1].copy()).permute(2, 0, 1).float() / 255
    assert (noise.jpeg(photos[:1], quality, subsampling)[0] - theirs).abs().max() < 2.5 / 255


def test_the_curve_agrees_with_kornia_and_comes_back() -> None:
    level = torch.linspace(0, 1, 999).expand(1, 3, 1, 999)
    assert torch.allclose(noise.srgb_to_linear(level), rgb_to_linear_rgb(level), rtol=0, atol=1e-6)
    assert torch.allclose(noise.linear_to_srgb(level), linear_rgb_to_rgb(level), rtol=0, atol=1e-6)
    assert torch.allclose(noise.linear_to_srgb(noise.srgb_to_linear(level)), level, rtol=0, atol=1e-6)


# The camera


def test_the_mosaic_is_rggb() -> None:
    red, green, blue = 0.1, 0.2, 0.3
    rgb = torch.tensor([red, green, blue]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert torch.equal(noise.mosaic(rgb)[0, 0], torch.tensor([[red, green], [green, blue]]).tile(2, 2))


def test_demosaicing_keeps_a_colour(generator: Generator) -> None:
    rgb = torch.rand(4, 3, 1, 1, generator=generator).expand(4, 3, 9, 12)
    assert torch.allclose(noise.demosaic(noise.mosaic(rgb)), rgb, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("down", "right"), [(0.01, 0.0), (0.0, 0.02), (-0.01, 0.015)])
def test_demosaicing_keeps_a_ramp_inside(down: float, right: float) -> None:
    ramp = 0.5 + down * torch.arange(12)[:, None] + right * torch.arange(14)
    rgb = torch.stack([ramp, ramp + 0.1, ramp - 0.1])[None]
    result = noise.demosaic(noise.mosaic(rgb))
    assert torch.allclose(result[..., 2:-2, 2:-2], rgb[..., 2:-2, 2:-2], rtol=0, atol=1e-6)


def test_shot_noise_grows_with_the_light() -> None:
    linear = [noise.srgb_to_linear(noise.camera(flat(level), 5e-4, 0.0, seeded(0))) for level in (0.2, 0.4, 0.6, 0.8)]
    variance = torch.tensor([picture.var() for picture in linear])
    light = noise.srgb_to_linear(torch.tensor([0.2, 0.4, 0.6, 0.8]))
    assert torch.allclose(variance / variance[-1], light / light[-1], rtol=0.1)  # a Poisson process: variance follows the signal


def test_read_noise_does_not() -> None:
    linear = [noise.srgb_to_linear(noise.camera(flat(level), 0.0, 0.01, seeded(0))) for level in (0.5, 0.8)]
    assert linear[0].var().item() == pytest.approx(linear[1].var().item(), rel=0.05)


def test_a_camera_without_noise_changes_nothing(photos: Tensor, generator: Generator) -> None:
    still = noise.camera(photos, 0.0, 0.0, generator, smoothing=1.0, detail=0.5, contrast=1.6, pivot=0.3)
    assert torch.allclose(still, photos, rtol=0, atol=1e-5)


def test_a_tone_curve_makes_the_noise_strongest_in_the_middle() -> None:
    """As it is in photographs straight from a camera; without a curve it is strongest in the dark."""
    levels = (0.1, 0.5, 0.9)
    plain, toned = (
        [noise.camera(flat(level), 1e-3, 1e-3, seeded(0), contrast=contrast).std().item() for level in levels]
        for contrast in (1.0, 2.0)
    )
    assert plain[0] > plain[1] > plain[2]
    assert toned[0] < toned[1] > toned[2]


@pytest.mark.parametrize(("contrast", "pivot"), [(0.6, 0.5), (1.0, 0.3), (1.7, 0.5), (1.7, 0.3)])
def test_a_tone_curve_keeps_the_ends_and_the_pivot_and_can_be_undone(contrast: float, pivot: float) -> None:
    levels = torch.linspace(0, 1, 101)
    toned = noise.tone(levels, contrast, pivot)
    middle = round(100 * pivot)
    assert torch.allclose(toned[[0, middle, 100]], torch.tensor([0.0, pivot, 1.0]), atol=1e-6)
    assert bool((toned.diff() > 0).all())
    assert float(toned[middle + 1] - toned[middle - 1]) == pytest.approx(0.02 * contrast, rel=0.01)
    assert torch.allclose(noise.tone(toned, 1 / contrast, pivot), levels, atol=1e-5)


def test_the_cameras_noise_reduction_leaves_coarser_and_weaker_noise() -> None:
    sharp, smooth = (
        noise.camera(flat(0.5), 0.01, 0.01, seeded(0), smoothing=radius, color_smoothing=radius) - 0.5 for radius in (0.0, 1.0)
    )
    assert smooth.std() < 0.6 * sharp.std()
    assert correlation(smooth[..., 1:], smooth[..., :-1]) > correlation(sharp[..., 1:], sharp[..., :-1]) + 0.2


def test_noise_reduction_may_spare_the_lightness_of_texture() -> None:
    clean = torch.full((1, 3, 64, 128), 0.4)
    clean[..., 64::2] = 0.6  # stripes
    even, sparing = (
        noise.camera(clean, 1e-3, 0.0, seeded(0), smoothing=1.0, color_smoothing=1.0, detail=detail) - clean
        for detail in (0.0, 1.0)
    )
    assert torch.allclose(even[..., :48], sparing[..., :48], rtol=0, atol=1e-4)
    assert sparing[..., 80:].mean(1).std() > 1.5 * even[..., 80:].mean(1).std()


def test_colour_is_smoothed_apart_from_lightness() -> None:
    sharp, smooth = (
        linear_noise(noise.camera(flat(0.5), 1e-4, 1e-3, seeded(0), color_smoothing=radius), 0.5) for radius in (0.0, 2.0)
    )
    assert torch.allclose(lightness(smooth), lightness(sharp), rtol=0, atol=1e-5)
    colour_before, colour_after = (x - lightness(x) for x in (sharp, smooth))
    assert colour_after.std() < 0.4 * colour_before.std()
    assert correlation(colour_after[..., 2:], colour_after[..., :-2]) > 0.7


def linear_noise(noisy: Tensor, level: float) -> Tensor:
    return noise.srgb_to_linear(noisy) - noise.srgb_to_linear(torch.tensor(level))


def lightness(linear: Tensor) -> Tensor:
    """The Y of XYZ."""
    return (linear * torch.tensor([0.2126729, 0.7151522, 0.0721750]).view(1, 3, 1, 1)).sum(1, keepdim=True)


# Prints


@pytest.mark.parametrize("level", [0.0, 0.05, 0.3, 0.5, 0.8, 1.0])
def test_dots_keep_the_tone(level: float) -> None:
    printed = noise.halftone(flat(level), 5.3, (15, 75, 40))
    assert printed.mean((0, 2, 3)).tolist() == pytest.approx([level] * 3, abs=0.005)
    assert printed.std().item() <= (level * (1 - level)) ** 0.5  # that of black and white, less what a sensor blurs
    assert printed.std() >= 0.6 * (level * (1 - level)) ** 0.5


def test_dots_stand_a_period_apart_along_their_angle() -> None:
    """Also where one strip of the printing ends and the next begins."""
    straight, turned, _ = noise.halftone(flat(0.4), 6.0, (0, 45, 0))[0]
    assert (straight[6:] - straight[:-6]).abs().max() < 0.2  # a sample or so of nine, by rounding
    assert (straight[:, 6:] - straight[:, :-6]).abs().max() < 0.2
    assert correlation(straight[3:], straight[:-3]) < 0
    peak = np.abs(np.fft.rfft2(turned - turned.mean())).argmax()
    row, column = np.unravel_index(peak, (SIDE, SIDE // 2 + 1))
    assert sorted((min(row, SIDE - row) * 6 / SIDE, column * 6 / SIDE)) == pytest.approx([0.5**0.5] * 2, abs=0.03)


def test_a_scanner_blurs_the_dots() -> None:
    sharp, soft = (noise.halftone(flat(0.5), 4.0, radius=radius) for radius in (0.0, 1.5))
    assert soft.std() < 0.5 * sharp.std()
    assert soft.mean().item() == pytest.approx(0.5, abs=0.01)


def test_dither_has_few_colours_and_keeps_their_mean(photos: Tensor) -> None:
    one_bit = noise.dither(photos)
    assert set(one_bit.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(F.avg_pool2d(one_bit, 16), F.avg_pool2d(photos, 16), atol=0.1)
    for colors in (2, 16, 256):
        dithered = noise.dither(photos, colors)
        assert all(len(picture.flatten(1).unique(dim=1).T) <= colors for picture in dithered)
    assert psnr(dithered, photos).min() > 30


@pytest.mark.parametrize(
    "change", [noise.dither, partial(noise.dither, colors=8), partial(noise.halftone, period=4, angles=(45,) * 3)]
)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (96, 80)])
def test_a_black_print_of_a_grey_picture_is_grey(change: Callable[..., Tensor], size: tuple[int, int]) -> None:
    grey = torch.rand(2, 1, *size, generator=seeded(0)).expand(-1, 3, -1, -1)
    printed = change(grey)
    assert printed.shape == grey.shape
    assert torch.equal(printed, printed[:, :1].expand_as(printed))
    assert ((printed >= 0) & (printed <= 1)).all()


# What the photo denoiser trains on


def test_the_photo_mixture_leaves_a_picture_its_colour(generator: Generator) -> None:
    clean = torch.tensor([0.7, 0.45, 0.3]).view(1, 3, 1, 1).expand(200, 3, 32, 32)
    change = noise.photo_mixture(clean, generator).mean(dim=(2, 3)) - clean[:, :, 0, 0]
    assert change.abs().max() < 0.1


def test_the_photo_mixture_gives_each_picture_the_kind_that_is_asked_for(generator: Generator) -> None:
    clean = torch.tensor([0.7, 0.45, 0.3]).view(1, 3, 1, 1).expand(40, 3, 64, 64)
    grey, impulses = noise.photo_mixture(clean, generator, ["grey"] * 20 + ["impulses"] * 20).sub(clean).split(20)
    assert (grey - grey.mean(1, keepdim=True)).abs().mean() < 0.3 * grey.abs().mean()
    assert (impulses.abs().amax((1, 2, 3)) > 0.29).all()


def test_the_grid_of_a_camera_begins_anywhere(monkeypatch: pytest.MonkeyPatch, generator: Generator) -> None:
    """As in a photograph that was cropped or turned; on one grid alone, a network would learn to rely on it."""

    def corners_of_blocks(clean: Tensor, _: Generator | None) -> Tensor:
        rows, columns = (torch.arange(side) % noise.GRID == 0 for side in clean.shape[-2:])
        return (rows[:, None] & columns).expand_as(clean).float()

    monkeypatch.setitem(noise._PHOTO_KINDS, "camera", (corners_of_blocks, 1.0))
    noisy = noise.photo_mixture(torch.rand(1000, 3, 8, 8, generator=generator), generator, ["camera"] * 1000)
    assert (noisy.sum((2, 3)) == 1).all()
    assert (noisy.sum(0) > 0).all()  # each of the 64 places, 16 times in the mean


def test_the_shipped_denoiser_does_not_mind_where_a_mosaic_begins(photos: Tensor, generator: Generator) -> None:
    noisy = noise.camera(photos, 0.01, 0.01, generator, contrast=1.5, quality=90)
    denoiser = Denoiser.from_pretrained("denoiser-photo").eval()
    with torch.inference_mode():
        found = [
            psnr(denoiser(noisy[..., top:, left:])[..., 4 - top :, 4 - left :].clamp(0, 1), photos[..., 4:, 4:]).mean().item()
            for top, left in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (4, 4))
        ]
    assert min(found) > psnr(noisy, photos).mean().item() + 6
    assert max(found) - min(found) < 0.5


@pytest.mark.parametrize(
    "change",
    [
        noise.dither,
        partial(noise.halftone, period=4.0, radius=1.0),
        partial(noise.halftone, period=3.0, angles=(45, 45, 45), radius=0.5),
    ],
)
def test_the_shipped_denoiser_takes_dots_for_tones(change: Callable[[Tensor], Tensor], photos: Tensor) -> None:
    for clean in (photos, photos.mean(1, keepdim=True).expand_as(photos)):
        printed = change(clean)
        with torch.inference_mode():
            estimate = Denoiser.from_pretrained("denoiser-photo")(printed).clamp(0, 1)
        assert (estimate.mean((1, 2, 3)) - clean.mean((1, 2, 3))).abs().max() < 0.02
        assert (psnr(estimate, clean) - psnr(printed, clean)).min() > 3


def test_the_kinds_have_their_shares(generator: Generator) -> None:
    kinds = noise.photo_kinds(4000, generator)
    assert kinds.count("camera") / 4000 == pytest.approx(0.28, abs=0.03)  # four standard deviations
    assert (kinds.count("halftone") + kinds.count("dither")) / 4000 == pytest.approx(0.08, abs=0.02)
    assert len(set(kinds)) == 10


def test_the_photo_mixture_puts_grey_noise_on_grey_pictures(generator: Generator) -> None:
    noisy = noise.photo_mixture(torch.full((300, 3, 8, 8), 0.5), generator)
    still_grey = (noisy - noisy.mean(1, keepdim=True)).abs().amax(dim=(1, 2, 3)) < 1e-6
    assert 0.4 < still_grey.float().mean() < 0.75
