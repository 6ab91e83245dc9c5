"""Noise models on float RGB in [0, 1], each drawn from an explicit generator.

Training, the app and the tests share these functions. All take `clean` (B, 3, H, W) and return the same shape; a level is a float
or a (B, 1, 1, 1) tensor, so that every picture of a batch can have its own. With `clip` the result is clamped to [0, 1], as a
stored picture would be; without, the noise keeps its textbook statistics.
"""

import io
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d, get_gaussian_kernel1d
from PIL import Image
from torch import Generator, Tensor

Level = float | Tensor
Degrade = Callable[[Tensor, Generator | None], Tensor]
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")  # of colour in a JPEG
STRIP = 64  # rows that are printed at a time, for the memory's sake
GRID = 8  # side in pixels of JPEG's blocks, and a multiple of a mosaic's


def gaussian(clean: Tensor, sigma: Level, generator: Generator | None = None, *, clip: bool = False) -> Tensor:
    """Add white Gaussian noise of standard deviation `sigma` on the [0, 1] scale."""
    return _clip(clean + sigma * _normal(clean, clean.shape, generator), clip)


def grey_gaussian(clean: Tensor, sigma: Level, generator: Generator | None = None, *, clip: bool = False) -> Tensor:
    """Add the same Gaussian noise to all three channels, as on a scan of a black-and-white film."""
    batch, _, height, width = clean.shape
    return _clip(clean + sigma * _normal(clean, (batch, 1, height, width), generator), clip)


def correlated(
    clean: Tensor, sigma: Level, generator: Generator | None = None, *, radius: float = 1.0, clip: bool = False
) -> Tensor:
    """Add Gaussian noise blurred with a Gaussian of standard deviation `radius` pixels, then scaled back to `sigma`."""
    if radius == 0:
        return gaussian(clean, sigma, generator, clip=clip)
    batch, channels, height, width = clean.shape
    margin = _reach(radius)  # noise from outside the picture too, or its border would be noisier
    noise = _smoothed(_normal(clean, (batch, channels, height + 2 * margin, width + 2 * margin), generator), radius)
    taps = get_gaussian_kernel1d(2 * margin + 1, radius, device=noise.device, dtype=noise.dtype)
    return _clip(clean + sigma * noise[..., margin:-margin, margin:-margin] / taps.square().sum(), clip)


def salt_and_pepper(clean: Tensor, fraction: Level, generator: Generator | None = None, *, per_channel: bool = False) -> Tensor:
    """Replace a `fraction` in [0, 1] of the pixels by 0 or 1, evenly; all channels together as on a sensor, or each by itself."""
    batch, channels, height, width = clean.shape
    draw = _uniform(clean, (batch, channels if per_channel else 1, height, width), generator)
    return clean.masked_fill(draw < fraction / 2, 0.0).masked_fill(1 - draw < fraction / 2, 1.0)


def poisson(clean: Tensor, peak: Level, generator: Generator | None = None, *, clip: bool = False) -> Tensor:
    """Count photons: white is `peak` photons in the mean, and the variance is clean / peak."""
    photons = (clean.clamp_min(0) * peak).to(_device(clean, generator))
    return _clip(torch.poisson(photons, generator=generator).to(clean) / peak, clip)


def speckle(clean: Tensor, sigma: Level, generator: Generator | None = None, *, clip: bool = False) -> Tensor:
    """Multiply by 1 + n, n white Gaussian of standard deviation `sigma`, as in radar and ultrasound."""
    return _clip(clean + clean * sigma * _normal(clean, clean.shape, generator), clip)


def jpeg(clean: Tensor, quality: int, subsampling: str = "4:2:0") -> Tensor:
    """Compress and decompress each picture at `quality` 1 to 100; rounds to 8 bits and clips, as the format does.

    `subsampling` is one of SUBSAMPLINGS: whether colour is kept at full size, at half the width, or at half the width and height.
    """
    levels = (clean.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    compressed = np.stack([_through_jpeg(picture, quality, subsampling) for picture in levels])
    return torch.from_numpy(compressed).permute(0, 3, 1, 2).to(clean) / 255


def _through_jpeg(levels: npt.NDArray[np.uint8], quality: int, subsampling: str) -> npt.NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))


def halftone(clean: Tensor, period: float, angles: Sequence[float] = (15.0, 75.0, 0.0), *, radius: float = 0.0) -> Tensor:
    """Print by dots, as newspapers and books do, and scan: where it is lighter the dots are smaller, and the mean tone is kept.

    The dots stand `period` pixels apart on a square grid, turned by one of the `angles`, in degrees, for each channel: those of
    cyan, magenta and yellow ink, or thrice the same for black. The scanner blurs by a Gaussian of `radius` pixels.
    """
    across = (torch.arange(64, dtype=torch.float32) + 0.5) / 64
    tones = _dots(*torch.meshgrid(across, across, indexing="ij")).flatten().sort().values.to(clean)
    tones[0], tones[-1] = -3, 3  # black and white have no dots
    printed = torch.empty_like(clean)
    for top in range(0, clean.shape[2], STRIP):
        rows = slice(top, top + STRIP)
        printed[:, :, rows] = _inked(clean[:, :, rows], tones, period, angles, top)
    return _smoothed(printed, radius)


def _inked(clean: Tensor, tones: Tensor, period: float, angles: Sequence[float], top: int) -> Tensor:
    """A strip (B, 3, H, W) that begins `top` pixels below the corner of the grid of dots, white where the grid is low.

    It is as low as one of `tones`, of which as large a share lies below as the strip is light. A pixel is the mean of nine
    samples, as a sensor would see it.
    """
    heights = tones[(clean.float().clamp(0, 1) * (len(tones) - 1)).round().long()]
    rows, columns = (torch.arange(3 * side, dtype=torch.float32, device=heights.device) for side in heights.shape[-2:])
    rows, columns = (rows[:, None] + 3 * top + 0.5) / (3 * period), (columns + 0.5) / (3 * period)
    turns = [(math.cos(angle), math.sin(angle)) for angle in map(math.radians, angles)]
    grid = torch.stack([_dots(rows * cos + columns * sin, columns * cos - rows * sin) for cos, sin in turns])
    return F.avg_pool2d((F.interpolate(heights, scale_factor=3, mode="nearest") > grid).to(heights), 3)


def _dots(u: Tensor, v: Tensor) -> Tensor:
    """A square grid of round hills, one a unit: u and v of any shapes that go together, to [-2, 2]."""
    return torch.cos(2 * math.pi * u) + torch.cos(2 * math.pi * v)


def dither(clean: Tensor, colors: int | None = None) -> Tensor:
    """Keep few colours and spread their error over neighbours (Floyd and Steinberg, 1976).

    Each picture keeps 2 to 256 `colors` of its own, as a GIF does; without a number each channel is 0 or 1, as in a one-bit scan.
    """
    levels = (clean.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    dithered = np.stack([_dithered(picture, colors) for picture in levels])
    return torch.from_numpy(dithered).permute(0, 3, 1, 2).to(clean) / 255


def _dithered(levels: npt.NDArray[np.uint8], colors: int | None) -> npt.NDArray[np.uint8]:
    picture = Image.fromarray(levels)
    if colors is None:
        return np.asarray(Image.merge("RGB", [channel.convert("1").convert("L") for channel in picture.split()]))
    palette = picture.quantize(colors, method=Image.Quantize.MEDIANCUT)
    return np.asarray(picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB"))


def camera(
    clean: Tensor,
    shot: Level,
    read: Level,
    generator: Generator | None = None,
    *,
    smoothing: float = 0.0,
    color_smoothing: float = 0.0,
    detail: float = 0.0,
    contrast: float = 1.0,
    pivot: float = 0.5,
    quality: int | None = None,
    subsampling: str = "4:2:0",
) -> Tensor:
    """Camera noise in a developed photograph, after Brooks et al. (Unprocessing, 2019) and CBDNet (Guo et al., 2019).

    The picture is taken back to the sensor, where the noise has variance shot * signal + read ** 2 on [0, 1], and only the noise
    goes through the (linear) demosaicing, so that the clean picture stays a fair target. `smoothing` and `color_smoothing` are
    the radii in pixels of the camera's own noise reduction, of lightness and of colour, which cameras blur more; 0 for none.
    `detail` from 0 to 1 is how far it spares the lightness of edges and texture, noise and all. `contrast` and `pivot` are those
    of its tone curve (see `tone`), `quality` and `subsampling` those of its JPEG (see `jpeg`); without a quality there is none.
    """
    linear = srgb_to_linear(tone(clean.clamp(0, 1), 1 / contrast, pivot))
    gains, to_camera, to_srgb = (each.to(clean) for each in _camera(generator))
    sensor = _apply_matrix(linear, to_camera).clamp_min(0) / gains
    noise = (shot * sensor + read**2).sqrt() * _normal(clean, clean.shape, generator)
    noise = _apply_matrix(demosaic(mosaic(noise)) * gains, to_srgb)
    lightness = _apply_matrix(noise, noise.new_tensor(_SRGB_TO_XYZ[1:2]))
    color = _smoothed(noise - lightness, color_smoothing)
    if smoothing:
        lightness = lightness.lerp(_smoothed(lightness, smoothing), 1 - detail * _texture(clean))
    noisy = tone(linear_to_srgb((linear + lightness + color).clamp(0, 1)), contrast, pivot)
    return noisy if quality is None else jpeg(noisy, quality, subsampling)


def _smoothed(x: Tensor, radius: float) -> Tensor:
    """Blur (B, C, H, W) with a Gaussian of `radius` pixels; 0 leaves it."""
    if not radius:
        return x
    return gaussian_blur2d(x, 2 * _reach(radius) + 1, (radius, radius), border_type="replicate")


def _reach(radius: float) -> int:
    """Pixels at which a Gaussian of standard deviation `radius` is cut off, three of them."""
    return math.ceil(3 * radius)


def _texture(clean: Tensor) -> Tensor:
    """Where a picture has edges or texture, from 0 to 1 by its contrast within a few pixels: (B, 3, H, W) to (B, 1, H, W)."""
    grey = clean.mean(1, keepdim=True)
    power = _smoothed((grey - _smoothed(grey, 2)).square(), 2)
    return power / (power + 0.02**2)  # a half at a standard deviation of five of 255 levels


def tone(srgb: Tensor, contrast: float, pivot: float = 0.5) -> Tensor:
    """The curve logit(out) - logit(pivot) = contrast * (logit(in) - logit(pivot)), which 1 / contrast undoes.

    With contrast > 1 it is S-shaped, like the curves of cameras (Grossberg and Nayar, 2004): steep around the pivot, which it
    leaves as it is, and flat at the ends. Any shape, [0, 1] to [0, 1].
    """
    light = srgb**contrast * math.pow(pivot, 1 - contrast)
    dark = (1 - srgb) ** contrast * math.pow(1 - pivot, 1 - contrast)
    return light / (light + dark)


def srgb_to_linear(srgb: Tensor) -> Tensor:
    """Undo the sRGB transfer curve (IEC 61966-2-1); any shape, [0, 1] to [0, 1]."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: Tensor) -> Tensor:
    """Apply the sRGB transfer curve; any shape, [0, 1] to [0, 1]."""
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def mosaic(rgb: Tensor) -> Tensor:
    """Keep one colour a pixel in the RGGB order: (B, 3, H, W) to (B, 1, H, W)."""
    return (rgb * _bayer_masks(rgb)).sum(1, keepdim=True)


def demosaic(raw: Tensor) -> Tensor:
    """Interpolate RGGB linearly: (B, 1, H, W) to (B, 3, H, W), with the gradient-corrected kernels of Malvar et al. (2004)."""
    edge = "reflect" if min(raw.shape[-2:]) > 2 else "replicate"  # reflection keeps the phase of the mosaic
    kernels = raw.new_tensor(_MALVAR)[:, None] / 16
    green, along_row, along_column, diagonal = F.conv2d(F.pad(raw, (2, 2, 2, 2), mode=edge), kernels).chunk(4, dim=1)
    at_red, at_green, at_blue = _bayer_masks(raw).chunk(3, dim=1)
    red_row = torch.arange(raw.shape[-2], device=raw.device)[:, None] % 2 == 0
    red_at_green = torch.where(red_row, along_row, along_column)
    blue_at_green = torch.where(red_row, along_column, along_row)
    return torch.cat(
        [
            raw * at_red + red_at_green * at_green + diagonal * at_blue,
            raw * at_green + green * (at_red + at_blue),
            raw * at_blue + blue_at_green * at_green + diagonal * at_red,
        ],
        dim=1,
    )


def paper_mixture(clean: Tensor, generator: Generator | None = None, *, sigma: float = 0.125, fraction: float = 0.01) -> Tensor:
    """The paper's degradation: Gaussian noise, then salt and pepper on a fraction of the pixels, clipped to [0, 1]."""
    return salt_and_pepper(gaussian(clean, sigma, generator, clip=True), fraction, generator)


def photo_mixture(clean: Tensor, generator: Generator | None = None, kinds: Sequence[str] = ()) -> Tensor:
    """What the photo denoiser trains on: each picture of the batch gets one kind of noise at a random strength.

    The kinds are drawn as in `photo_kinds` where none are given. A grey picture that is not in print gets grey noise half the
    time, as it would have on film. Each is noisy as a part of a larger picture is: a camera's mosaic and JPEG's blocks begin
    anywhere.
    """
    kinds = kinds or photo_kinds(len(clean), generator)
    noisy = []
    for kind, picture in zip(kinds, clean, strict=True):
        on_film = kind not in PRINTS and _is_grey(picture) and _between(0, 1, generator) < 0.5
        degrade = _random_grey if on_film else _PHOTO_KINDS[kind][0]
        noisy.append(_as_part(degrade, picture[None], generator))
    return torch.cat(noisy)


def _as_part(degrade: Degrade, clean: Tensor, generator: Generator | None) -> Tensor:
    """Degrade a picture as it would be within a larger one, on a grid that begins anywhere above and left of it."""
    height, width = clean.shape[-2:]
    top, left = (int(_between(0, GRID, generator)) for _ in range(2))
    larger = F.pad(clean, (left, GRID - left, top, GRID - top), mode="replicate")
    return degrade(larger, generator)[..., top : top + height, left : left + width]


def photo_kinds(count: int, generator: Generator | None = None) -> list[str]:
    """Draw kinds of noise: for four pictures in ten white Gaussian, sigma ~ U(0, 55/255), for three a camera's, and others."""
    weights = torch.tensor([weight for _, weight in _PHOTO_KINDS.values()])
    weights = weights.to("cpu" if generator is None else generator.device)
    names = list(_PHOTO_KINDS)
    return [names[pick] for pick in weights.multinomial(count, replacement=True, generator=generator).tolist()]


def _is_grey(picture: Tensor) -> bool:
    return bool((picture == picture[:1]).all())


def _random_gaussian(clean: Tensor, generator: Generator | None) -> Tensor:
    return gaussian(clean, _between(0, 55 / 255, generator), generator)


def _random_clipped_gaussian(clean: Tensor, generator: Generator | None) -> Tensor:
    return gaussian(clean, _between(0, 55 / 255, generator), generator, clip=True).mul(255).round().div(255)


def _random_impulses(clean: Tensor, generator: Generator | None) -> Tensor:
    noisy = gaussian(clean, _between(0, 40 / 255, generator), generator, clip=True)
    per_channel = _between(0, 1, generator) < 0.3
    return salt_and_pepper(noisy, _between(0, 0.1, generator), generator, per_channel=per_channel)


def _random_poisson(clean: Tensor, generator: Generator | None) -> Tensor:
    return poisson(clean, 10 ** _between(1.3, 3.5, generator), generator, clip=True)


def _random_speckle(clean: Tensor, generator: Generator | None) -> Tensor:
    return speckle(clean, _between(0, 0.35, generator), generator, clip=True)


def _random_correlated(clean: Tensor, generator: Generator | None) -> Tensor:
    """Grain of a scanned colour film."""
    radius = _between(0.4, 1.4, generator)
    return _scanned(correlated(clean, _between(0, 35 / 255, generator), generator, radius=radius, clip=True), generator)


def _random_grey(clean: Tensor, generator: Generator | None) -> Tensor:
    """Grain of a scanned black-and-white film."""
    return _scanned(grey_gaussian(clean, _between(0, 50 / 255, generator), generator, clip=True), generator)


def _random_halftone(clean: Tensor, generator: Generator | None) -> Tensor:
    """A scanned print in black, on white or tinted paper, or in colour."""
    period, turn = _between(2, 7, generator), _between(0, 90, generator)
    apart = (0.0, 60.0, -15.0) if not _is_grey(clean[0]) and _between(0, 1, generator) < 0.5 else (0.0, 0.0, 0.0)
    radius = period * _between(0.1, 0.35, generator)
    printed = halftone(clean, period, [turn + angle for angle in apart], radius=radius)
    return _scanned(gaussian(printed, _between(0, 8 / 255, generator), generator, clip=True), generator)


def _random_dither(clean: Tensor, generator: Generator | None) -> Tensor:
    """A scan of one bit, or a GIF."""
    is_one_bit = _between(0, 1, generator) < 0.5
    return dither(clean, None if is_one_bit else int(2 ** _between(2, 8, generator)))


def _scanned(noisy: Tensor, generator: Generator | None) -> Tensor:
    """Two scans in five are kept as JPEG."""
    return noisy if _between(0, 1, generator) < 0.6 else jpeg(noisy, int(_between(60, 98, generator)))


def _random_camera(clean: Tensor, generator: Generator | None) -> Tensor:
    """Noise as correlated as in the photographs of seven cameras (Nam et al., 2016; Xu et al., 2018), colour most."""
    log_shot = _between(math.log(1e-4), math.log(3e-2), generator)  # as Brooks et al., and more, since smoothing takes some
    shot, read = math.exp(log_shot), math.exp(0.5 * (2.18 * log_shot + 1.2 + _between(-0.5, 0.5, generator)))
    is_smoothed = _between(0, 1, generator) < 0.9
    smoothing = _between(0.5, 1.3, generator) if is_smoothed else 0.0
    color_smoothing = math.exp(_between(math.log(1.2), math.log(5), generator)) if is_smoothed else 0.0
    contrast, pivot = _between(1, 2, generator), _between(0.25, 0.5, generator)  # noise is strongest in the middle tones
    quality = int(_between(75, 100, generator)) if _between(0, 1, generator) < 0.85 else None
    subsampling = SUBSAMPLINGS[int(_between(0, len(SUBSAMPLINGS), generator))]
    return camera(
        clean,
        shot,
        read,
        generator,
        smoothing=smoothing,
        color_smoothing=color_smoothing,
        detail=_between(0, 1, generator),
        contrast=contrast,
        pivot=pivot,
        quality=quality,
        subsampling=subsampling,
    )


_PHOTO_KINDS: dict[str, tuple[Degrade, float]] = {  # and the share of the pictures
    "gaussian": (_random_gaussian, 0.34),
    "clipped gaussian": (_random_clipped_gaussian, 0.06),
    "impulses": (_random_impulses, 0.06),
    "poisson": (_random_poisson, 0.04),
    "speckle": (_random_speckle, 0.02),
    "correlated": (_random_correlated, 0.05),
    "grey": (_random_grey, 0.07),
    "camera": (_random_camera, 0.28),
    "halftone": (_random_halftone, 0.05),
    "dither": (_random_dither, 0.03),
}
PRINTS = ("halftone", "dither")  # kinds that are most often seen in black

MIXTURES: dict[str, Degrade] = {
    "paper-cifar10": partial(paper_mixture, fraction=0.01),
    "paper-imagenet64": partial(paper_mixture, fraction=0.02),
    "photo": photo_mixture,
}

# Malvar, He and Cutler (2004), figure 2, times 16: green at red or blue; red or blue at green, along the row and along the
# column; red at blue and blue at red.
_MALVAR = (
    ((0, 0, -2, 0, 0), (0, 0, 4, 0, 0), (-2, 4, 8, 4, -2), (0, 0, 4, 0, 0), (0, 0, -2, 0, 0)),
    ((0, 0, 1, 0, 0), (0, -2, 0, -2, 0), (-2, 8, 10, 8, -2), (0, -2, 0, -2, 0), (0, 0, 1, 0, 0)),
    ((0, 0, -2, 0, 0), (0, -2, 8, -2, 0), (1, 0, 10, 0, 1), (0, -2, 8, -2, 0), (0, 0, -2, 0, 0)),
    ((0, 0, -3, 0, 0), (0, 4, 0, 4, 0), (-3, 0, 12, 0, -3), (0, 4, 0, 4, 0), (0, 0, -3, 0, 0)),
)

# XYZ to the raw RGB of four cameras, as in Brooks et al. (2019); linear sRGB to XYZ, D65 (IEC 61966-2-1).
_XYZ_TO_CAMERA = (
    ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)),
    ((0.4913, -0.0541, -0.0202), (-0.6130, 1.3513, 0.2906), (-0.1564, 0.2151, 0.7183)),
    ((0.8380, -0.2630, -0.0639), (-0.2887, 1.0725, 0.2496), (-0.0627, 0.1427, 0.5438)),
    ((0.6596, -0.2079, -0.0562), (-0.4782, 1.3016, 0.1933), (-0.0970, 0.1581, 0.5181)),
)
_SRGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))


def _camera(generator: Generator | None) -> tuple[Tensor, Tensor, Tensor]:
    """Draw the gains of a white balance (1, 3, 1, 1), and matrices (3, 3) from sRGB to a camera and back that keep white.

    The camera is a random blend of four. Its numbers are of float64, which no precision of the pictures makes rougher.
    """
    balance = [_between(1.9, 2.4, generator), 1.0, _between(1.5, 1.9, generator)]
    gains = torch.tensor(balance, dtype=torch.float64).view(1, 3, 1, 1)
    blend = torch.tensor([_between(0.01, 1, generator) for _ in _XYZ_TO_CAMERA], dtype=torch.float64)
    xyz_to_camera = (blend[:, None, None] * torch.tensor(_XYZ_TO_CAMERA, dtype=torch.float64)).sum(0) / blend.sum()
    to_camera = xyz_to_camera @ torch.tensor(_SRGB_TO_XYZ, dtype=torch.float64)
    to_camera = to_camera / to_camera.sum(1, keepdim=True)
    return gains, to_camera, torch.linalg.inv(to_camera)


def _apply_matrix(rgb: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("oc,bchw->bohw", matrix, rgb)


def _bayer_masks(like: Tensor) -> Tensor:
    """RGGB as ones and zeros, (1, 3, H, W)."""
    rows = torch.arange(like.shape[-2], device=like.device)[:, None] % 2
    columns = torch.arange(like.shape[-1], device=like.device)[None] % 2
    return torch.stack([(rows + columns == 0), (rows != columns), (rows * columns == 1)])[None].to(like)


def _normal(like: Tensor, shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    return torch.randn(shape, generator=generator, device=_device(like, generator), dtype=like.dtype).to(like.device)


def _uniform(like: Tensor, shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """Numbers in [0, 1), not rougher than float32: half precision has none between 0.999 and 1."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    return torch.rand(shape, generator=generator, device=_device(like, generator), dtype=dtype).to(like.device)


def _device(like: Tensor, generator: Generator | None) -> torch.device:
    return like.device if generator is None else generator.device


def _between(low: float, high: float, generator: Generator | None) -> float:
    device = "cpu" if generator is None else generator.device
    return low + (high - low) * torch.rand((), generator=generator, device=device).item()


def _clip(noisy: Tensor, clip: bool) -> Tensor:
    return noisy.clamp(0, 1) if clip else noisy
