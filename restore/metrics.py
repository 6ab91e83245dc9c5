"""How close, and how colourful: one number a picture, (B, C, H, W) to (B,).

All take float RGB in [0, 1]; means over a data set are the caller's, so that no average hides another.
"""

from itertools import chain

import torch
from kornia.metrics import ssim as _ssim_map
from torch import Tensor

from restore.color import rgb_to_lab

SSIM_WINDOW = 11  # pixels
STRIP_PIXELS = 1 << 17  # of a map at a time; strips of a million, whose memory the system takes back, take four times as long


def mse(picture: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error of each picture."""
    return (picture - truth).square().mean(dim=(1, 2, 3))


def psnr(picture: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each picture in dB, for a peak of 1; infinite where they are equal."""
    return psnr_of_mse(mse(picture, truth))


def psnr_of_mse(error: Tensor) -> Tensor:
    """PSNR in dB for a mean squared error; of the mean over a set, it is the pooled PSNR."""
    return -10 * error.log10()


def ssim(picture: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of each picture (Wang et al., 2004): Gaussian window of 11 pixels, sigma 1.5.

    It is the mean over the places where the window fits, so both sides must be at least 11 pixels.
    """
    height, width = picture.shape[-2:]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs pictures of at least 11x11 pixels, not {width}x{height}")
    rows = max(SSIM_WINDOW, STRIP_PIXELS // width)
    total = torch.zeros(len(picture), dtype=torch.float64)  # on the CPU, since an Apple GPU has no such numbers
    for first in range(0, height - SSIM_WINDOW + 1, rows):
        seen = (..., slice(first, first + rows + SSIM_WINDOW - 1), slice(None))
        strip = _ssim_map(picture[seen], truth[seen], window_size=SSIM_WINDOW, padding="valid")
        total += strip.cpu().double().mean(1).sum((1, 2))
    return (total / ((height - SSIM_WINDOW + 1) * (width - SSIM_WINDOW + 1))).to(picture)


def colorfulness(picture: Tensor) -> Tensor:
    """The measure M3 of Hasler and Suesstrunk (2003), on the 0 to 255 scale: 0 is grey, 33 moderate, 59 quite and 109 extremely
    colourful."""
    red, green, blue = (picture * 255).flatten(2).unbind(1)
    opponent = torch.stack([red - green, (red + green) / 2 - blue], dim=1)  # (B, 2, H * W)
    return opponent.var(dim=2, correction=0).sum(1).sqrt() + 0.3 * opponent.mean(dim=2).square().sum(1).sqrt()


def ciede2000(picture: Tensor, truth: Tensor) -> Tensor:
    """Mean colour difference of each picture (CIEDE2000, Sharma et al., 2005); 1 is just noticeable."""
    height, width = picture.shape[-2:]
    wide = torch.promote_types(picture.dtype, torch.float32)  # half precision does not hold the seventh power of a chroma
    rows = max(1, STRIP_PIXELS // width)
    total = torch.zeros(len(picture), dtype=torch.float64)
    for first in range(0, height, rows):
        seen = (..., slice(first, first + rows), slice(None))
        strips = (rgb_to_lab(each[seen].to(wide)) for each in (picture, truth))
        total += _ciede2000_map(*chain(*strips)).cpu().double().sum((1, 2, 3))
    return (total / (height * width)).to(picture)


def _ciede2000_map(lightness1: Tensor, ab1: Tensor, lightness2: Tensor, ab2: Tensor) -> Tensor:
    """Equations 2 to 22 of Sharma et al. (2005), in degrees: L (B, 1, H, W) and ab (B, 2, H, W) each, to (B, 1, H, W)."""
    mean_chroma = (_length(ab1) + _length(ab2)) / 2
    stretch = 1 + 0.5 * (1 - _saturation(mean_chroma))
    ab1, ab2 = _stretch_a(ab1, stretch), _stretch_a(ab2, stretch)
    chroma1, chroma2 = _length(ab1), _length(ab2)
    hue1, hue2 = _hue(ab1), _hue(ab2)
    coloured = (chroma1 * chroma2) > 0

    turn = torch.where(coloured, (hue2 - hue1 + 180) % 360 - 180, 0)
    delta_hue = 2 * (chroma1 * chroma2).sqrt() * torch.sin(torch.deg2rad(turn / 2))
    far = (hue1 - hue2).abs() > 180
    mean_hue = torch.where(far, ((hue1 + hue2 + 360) / 2) % 360, (hue1 + hue2) / 2)
    mean_hue = torch.where(coloured, mean_hue, hue1 + hue2)
    mean_lightness, mean_chroma = (lightness1 + lightness2) / 2, (chroma1 + chroma2) / 2

    weight = (
        1
        - 0.17 * _cos(mean_hue - 30)
        + 0.24 * _cos(2 * mean_hue)
        + 0.32 * _cos(3 * mean_hue + 6)
        - 0.20 * _cos(4 * mean_hue - 63)
    )
    scale_lightness = 1 + 0.015 * (mean_lightness - 50) ** 2 / (20 + (mean_lightness - 50) ** 2).sqrt()
    delta_lightness = (lightness2 - lightness1) / scale_lightness
    delta_chroma = (chroma2 - chroma1) / (1 + 0.045 * mean_chroma)
    delta_hue = delta_hue / (1 + 0.015 * mean_chroma * weight)
    rotation_angle = 60 * torch.exp(-(((mean_hue - 275) / 25) ** 2))
    rotation = -2 * _saturation(mean_chroma) * torch.sin(torch.deg2rad(rotation_angle))
    square = delta_lightness**2 + delta_chroma**2 + delta_hue**2 + rotation * delta_chroma * delta_hue
    return square.clamp_min(0).sqrt()


def _length(ab: Tensor) -> Tensor:
    return ab.square().sum(1, keepdim=True).sqrt()


def _saturation(chroma: Tensor) -> Tensor:
    return (chroma**7 / (chroma**7 + 25.0**7)).sqrt()


def _stretch_a(ab: Tensor, factor: Tensor) -> Tensor:
    return torch.cat([ab[:, :1] * factor, ab[:, 1:]], dim=1)


def _hue(ab: Tensor) -> Tensor:
    """Hue angle in [0, 360) degrees."""
    return torch.rad2deg(torch.atan2(ab[:, 1:], ab[:, :1])) % 360


def _cos(degrees: Tensor) -> Tensor:
    return torch.cos(torch.deg2rad(degrees))
