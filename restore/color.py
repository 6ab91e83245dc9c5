"""RGB to lightness and ab and back, over kornia's CIELAB (D65).

RGB is sRGB (B, 3, H, W) in [0, 1]; lightness is L* (B, 1, H, W) in [0, 100]; ab is (B, 2, H, W), about -110 to 110 within sRGB.
"""

import torch
from kornia.color import lab_to_rgb as _lab_to_rgb
from kornia.color import rgb_to_lab as _rgb_to_lab
from torch import Tensor

from restore.tiling import strips

STRIP_PIXELS = 1 << 17  # of a picture that are converted at a time, so that they stay in the cache of a core


def rgb_to_lab(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Split `rgb` into lightness and ab."""
    lab = _rgb_to_lab(rgb)
    return lab[:, :1], lab[:, 1:]


def lab_to_rgb(lightness: Tensor, ab: Tensor) -> Tensor:
    """Join lightness and ab to RGB in [0, 1].

    A colour that sRGB cannot show keeps its lightness and hue: its chroma shrinks until it can be shown, so nothing clips or
    overflows.
    """
    lightness = lightness.clamp(0, 100)
    rgb = _unclipped(lightness, ab)
    outside = (rgb.amin(1) < -GAMUT_TOLERANCE) | (rgb.amax(1) > 1 + GAMUT_TOLERANCE)  # (B, H, W)
    if outside.any():
        rgb = rgb.permute(0, 2, 3, 1).contiguous()
        rgb[outside] = _shrink_chroma(lightness.permute(0, 2, 3, 1)[outside], ab.permute(0, 2, 3, 1)[outside])
        rgb = rgb.permute(0, 3, 1, 2)
    return rgb.clamp(0, 1)


def grey(rgb: Tensor) -> Tensor:
    """The grey picture of the same lightness: (B, 3, H, W) to (B, 3, H, W) with ab = 0."""
    result = torch.empty_like(rgb)
    _, _, height, width = rgb.shape
    for rows in strips(height, width, STRIP_PIXELS):
        lightness, ab = rgb_to_lab(rgb[:, :, rows])
        result[:, :, rows] = lab_to_rgb(lightness, torch.zeros_like(ab))
    return result


def is_neutral(rgb: Tensor) -> bool:
    """Whether the channels of (B, 3, H, W) are equal, so that there is no colour at all."""
    return torch.equal(rgb[:, 0], rgb[:, 1]) and torch.equal(rgb[:, 0], rgb[:, 2])


GAMUT_TOLERANCE = 1e-3  # a quarter of an 8-bit level
_BISECTIONS = 8  # leaves chroma within 1/256 of the most that fits


def _unclipped(lightness: Tensor, ab: Tensor) -> Tensor:
    return _lab_to_rgb(torch.cat([lightness, ab], 1), clip=False)


def _shrink_chroma(lightness: Tensor, ab: Tensor) -> Tensor:
    """Bisect for the largest chroma that fits: (N, 1) and (N, 2) to RGB (N, 3)."""
    lightness, ab = lightness.T[None, :, :, None], ab.T[None, :, :, None]  # (1, C, N, 1)
    fits, too_much = torch.zeros_like(lightness), torch.ones_like(lightness)
    for _ in range(_BISECTIONS):
        scale = (fits + too_much) / 2
        rgb = _unclipped(lightness, ab * scale)
        inside = (rgb.amin(1, keepdim=True) >= 0) & (rgb.amax(1, keepdim=True) <= 1)
        fits, too_much = torch.where(inside, scale, fits), torch.where(inside, too_much, scale)
    return _unclipped(lightness, ab * fits)[0, :, :, 0].T
