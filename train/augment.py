"""Changes to a random share of the training pictures."""

import torch
from kornia.filters import gaussian_blur2d
from torch import Generator, Tensor

from restore.color import rgb_to_lab
from restore.noise import linear_to_srgb, srgb_to_linear


def some_grey(pictures: Tensor, share: float, generator: Generator) -> Tensor:
    """Make a `share` of the pictures (B, 3, H, W) grey."""
    return torch.where(_picks(pictures, share, generator), pictures.mean(1, keepdim=True), pictures)


def some_soft(pictures: Tensor, share: float, generator: Generator) -> Tensor:
    """Blur a `share` of the pictures (B, C, H, W) with Gaussians of 0.3 to 1.6 pixels."""
    return torch.where(_picks(pictures, share, generator), _blurred(pictures, 0.3, 1.6, generator), pictures)


def some_on_film(rgb: Tensor, share: float, generator: Generator) -> Tensor:
    """The lightness (B, 1, H, W) of pictures (B, 3, H, W), a `share` of them as old prints show the world.

    Each of these is by chance of a half the case: a film that sees red, green and blue in shares of its own, a soft lens, another
    contrast and curve, grain.
    """
    film = rgb_to_lab(some_on_other_film(rgb, 0.5, generator))[0]
    film = some_soft(film, 0.5, generator)
    film = some_toned(film, 0.5, generator)
    film = some_grainy(film, 0.5, generator)
    return torch.where(_picks(rgb, share, generator), film, rgb_to_lab(rgb)[0])


def some_on_other_film(rgb: Tensor, share: float, generator: Generator) -> Tensor:
    """Make a `share` of the pictures (B, 3, H, W) grey by random shares of red, green and blue light, all equally likely."""
    shares = -torch.rand(len(rgb), 3, 1, 1, generator=generator, device=generator.device).clamp_min(1e-6).log()
    shares = (shares / shares.sum(1, keepdim=True)).to(rgb.device)
    seen = linear_to_srgb((srgb_to_linear(rgb) * shares).sum(1, keepdim=True))
    return torch.where(_picks(rgb, share, generator), seen, rgb)


def some_toned(lightness: Tensor, share: float, generator: Generator) -> Tensor:
    """Give a `share` of the pictures (B, 1, H, W) 0.5 to 1.3 times the contrast around some grey, and a gamma of 0.7 to 1.4."""
    contrast = _each(lightness, 0.5, 1.3, generator)
    pivot = _each(lightness, 30, 70, generator)
    gamma = torch.exp2(_each(lightness, -0.5, 0.5, generator))
    toned = 100 * ((pivot + contrast * (lightness - pivot)).clamp(0, 100) / 100) ** gamma
    return torch.where(_picks(lightness, share, generator), toned, lightness)


def some_grainy(lightness: Tensor, share: float, generator: Generator) -> Tensor:
    """Add grain with a standard deviation up to 5 in lightness, fine or coarse, to a `share` of the pictures (B, 1, H, W)."""
    grain = torch.randn(lightness.shape, generator=generator, device=generator.device).to(lightness)
    grain = _blurred(grain, 0.2, 1.2, generator)
    grain = grain / grain.std((1, 2, 3), keepdim=True) * _each(lightness, 0, 5, generator)
    return torch.where(_picks(lightness, share, generator), (lightness + grain).clamp(0, 100), lightness)


def _blurred(pictures: Tensor, least: float, most: float, generator: Generator) -> Tensor:
    radii = _each(pictures, least, most, generator).flatten(1)
    return gaussian_blur2d(pictures, 11, radii.expand(-1, 2))


def _each(pictures: Tensor, low: float, high: float, generator: Generator) -> Tensor:
    """A random number (B, 1, 1, 1) for each picture."""
    return low + (high - low) * torch.rand(len(pictures), 1, 1, 1, generator=generator, device=generator.device).to(
        pictures.device
    )


def _picks(pictures: Tensor, share: float, generator: Generator) -> Tensor:
    """Which pictures (B, 1, 1, 1) belong to a random `share`."""
    return _each(pictures, 0, 1, generator) < share
