"""Colour goes there and back; what sRGB cannot show keeps its lightness and hue."""

import kornia.color
import pytest
import torch
from skimage.color import rgb2lab
from torch import Generator, Tensor

from restore import color
from restore.color import grey, is_neutral, lab_to_rgb, rgb_to_lab


def cube(levels: int) -> Tensor:
    """Every colour of so many levels a channel, as a picture (1, 3, levels ** 2, levels)."""
    level = torch.linspace(0, 1, levels)
    return torch.cartesian_prod(level, level, level).T.reshape(1, 3, levels**2, levels)


def any_lab(generator: Generator) -> tuple[Tensor, Tensor]:
    """Lightness and ab at random, most of them outside sRGB."""
    lightness = torch.rand(2, 1, 40, 50, generator=generator) * 100
    return lightness, torch.rand(2, 2, 40, 50, generator=generator) * 300 - 150


def test_there_and_back() -> None:
    rgb = cube(33)
    assert torch.allclose(lab_to_rgb(*rgb_to_lab(rgb)), rgb, rtol=0, atol=1e-4)


def test_agrees_with_scikit_image() -> None:
    rgb = cube(17)
    ours = torch.cat(rgb_to_lab(rgb), 1)[0].permute(1, 2, 0)
    assert torch.allclose(ours.double(), torch.from_numpy(rgb2lab(rgb[0].permute(1, 2, 0).double())), rtol=0, atol=0.02)


def test_grey_is_grey_and_keeps_lightness(photos: Tensor) -> None:
    result = grey(photos)
    assert (result - result.mean(1, keepdim=True)).abs().max() < 1e-4
    assert torch.allclose(rgb_to_lab(result)[0], rgb_to_lab(photos)[0], rtol=0, atol=0.01)
    assert torch.allclose(grey(result), result, rtol=0, atol=1e-4)


def test_grey_by_strips_is_grey_at_once(photos: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = grey(photos)
    monkeypatch.setattr(color, "STRIP_PIXELS", 7 * photos.shape[-1])
    torch.testing.assert_close(grey(photos), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("channel", range(3))
def test_neutral_has_no_channel_that_differs(photos: Tensor, channel: int) -> None:
    assert not is_neutral(photos)
    neutral = photos[:, :1].repeat(1, 3, 1, 1)
    assert is_neutral(neutral)
    neutral[-1, channel, -1, -1] += 1 / 255
    assert not is_neutral(neutral)


def test_a_colour_outside_srgb_keeps_lightness_and_hue(generator: Generator) -> None:
    lightness, ab = any_lab(generator)
    rgb = lab_to_rgb(lightness, ab)
    assert ((rgb >= 0) & (rgb <= 1)).all()
    shown_lightness, shown_ab = rgb_to_lab(rgb)
    assert torch.allclose(shown_lightness, lightness, rtol=0, atol=0.05)
    across = (ab[:, 0] * shown_ab[:, 1] - ab[:, 1] * shown_ab[:, 0]) / ab.norm(dim=1)  # how far it lies off the line of its hue
    assert across.abs().max() < 0.1
    assert ((ab * shown_ab).sum(1) > -0.01 * ab.norm(dim=1)).all()


def test_a_colour_outside_srgb_keeps_all_the_chroma_that_fits(generator: Generator) -> None:
    lightness, ab = any_lab(generator)
    _, shown_ab = rgb_to_lab(lab_to_rgb(lightness, ab))
    one_more = shown_ab + ab / ab.norm(dim=1, keepdim=True)
    fits = ((kornia.color.lab_to_rgb(torch.cat([lightness, one_more], 1), clip=False) - 0.5).abs() < 0.5).all(1)
    shrunk = (ab - shown_ab).norm(dim=1) > 1
    assert shrunk.float().mean() > 0.5
    assert not (fits & shrunk).any()


@pytest.mark.parametrize("lightness", [-5.0, 0.0, 50.0, 100.0, 130.0])
@pytest.mark.parametrize("chroma", [0.0, 1e-6, 1e2, 1e4])
def test_extremes_stay_finite_and_in_range(lightness: float, chroma: float) -> None:
    rgb = lab_to_rgb(torch.full((1, 1, 1, 3), lightness), torch.tensor([[1.0, 0, -1], [0.5, -1, 0]])[None, :, None] * chroma)
    assert rgb.shape == (1, 3, 1, 3)
    assert ((rgb >= 0) & (rgb <= 1)).all()
