"""Colour is laid over the full size as bilinear interpolation would, only sharper where the lightness is."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from restore.color import rgb_to_lab
from restore.guided import GuidedColor


def test_strips_equal_the_whole_to_the_bit(generator: Generator) -> None:
    lightness, ab = 100 * torch.rand(1, 1, 6, 5, generator=generator), 50 * torch.randn(1, 2, 6, 5, generator=generator)
    full = 100 * torch.rand(1, 1, 41, 37, generator=generator)
    color = GuidedColor(lightness, ab, (41, 37))
    strips = [color.rows(full[:, :, top : top + 9], slice(top, min(top + 9, 41))) for top in range(0, 41, 9)]
    assert torch.equal(torch.cat(strips, 2), color.rows(full, slice(0, 41)))


def test_under_a_flat_lightness_it_is_bilinear_interpolation(generator: Generator) -> None:
    ab = 50 * torch.randn(2, 2, 6, 5, generator=generator)
    color = GuidedColor(torch.full((2, 1, 6, 5), 40.0), ab, (41, 37))
    expected = F.interpolate(ab, (41, 37), mode="bilinear")
    torch.testing.assert_close(color.rows(torch.full((2, 1, 41, 37), 40.0), slice(0, 41)), expected, atol=1e-4, rtol=0)


def test_colour_does_not_bleed_over_an_edge() -> None:
    """Left dark and blue, right bright and yellow, with the edge inside a low-resolution pixel."""
    side = torch.arange(64) >= 29
    lightness = torch.where(side, 80.0, 20.0).expand(1, 1, 64, 64)
    ab = torch.stack([torch.zeros(64), torch.where(side, 40.0, -40.0)])[None, :, None].expand(1, 2, 64, 64)
    low_l, low_ab = F.avg_pool2d(lightness, 8), F.avg_pool2d(ab, 8)
    guided = GuidedColor(low_l, low_ab, (64, 64)).rows(lightness, slice(0, 64))
    plain = F.interpolate(low_ab, (64, 64), mode="bilinear")
    assert (guided - ab).abs().mean() < 0.35 * (plain - ab).abs().mean()


def test_it_beats_bilinear_interpolation_on_photographs(photos: Tensor) -> None:
    lightness, ab = rgb_to_lab(photos)
    low_ab = F.avg_pool2d(ab, 8)
    guided = GuidedColor(F.avg_pool2d(lightness, 8), low_ab, (96, 80)).rows(lightness, slice(0, 96))
    plain = F.interpolate(low_ab, (96, 80), mode="bilinear")
    assert (guided - ab).square().mean() < 0.95 * (plain - ab).square().mean()


def test_one_pixel_is_enough() -> None:
    ab = torch.tensor([3.0, -4.0]).reshape(1, 2, 1, 1)
    color = GuidedColor(torch.full((1, 1, 1, 1), 50.0), ab, (1, 1))
    assert torch.equal(color.rows(torch.full((1, 1, 1, 1), 50.0), slice(0, 1)), ab)
