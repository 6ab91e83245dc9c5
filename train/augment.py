"""Changes to a random share of the training pictures."""

import torch
from kornia.filters import gaussian_blur2d
from torch import Generator, Tensor


def some_grey(pictures: Tensor, share: float, generator: Generator) -> Tensor:
    """Make a `share` of the pictures (B, 3, H, W) grey."""
    return torch.where(_picks(pictures, share, generator), pictures.mean(1, keepdim=True), pictures)


def some_soft(pictures: Tensor, share: float, generator: Generator) -> Tensor:
    """Blur a `share` of the pictures (B, C, H, W) with Gaussians of 0.3 to 1.6 pixels."""
    radii = 0.3 + 1.3 * torch.rand(len(pictures), 1, generator=generator, device=generator.device)
    soft = gaussian_blur2d(pictures, 11, radii.expand(-1, 2).to(pictures.device))
    return torch.where(_picks(pictures, share, generator), soft, pictures)


def _picks(pictures: Tensor, share: float, generator: Generator) -> Tensor:
    """Which pictures (B, 1, 1, 1) belong to a random `share`."""
    return (torch.rand(len(pictures), 1, 1, 1, generator=generator, device=generator.device) < share).to(pictures.device)
