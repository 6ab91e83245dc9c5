"""The losses are their formulas."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import correlate
from torch import Generator, Tensor

from restore.metrics import psnr
from restore.models.colorizer import ab_bins
from train.losses import bin_cross_entropy, charbonnier, edge, log_mse, paper_color, soft_bins


@pytest.fixture
def pair(generator: Generator) -> tuple[Tensor, Tensor]:
    """Two pictures of ab in [-1, 1], (2, 2, 9, 7)."""
    a, b = torch.rand(2, 2, 2, 9, 7, generator=generator) * 2 - 1
    return a, b


@pytest.fixture
def colours(generator: Generator) -> Tensor:
    """Colours (2, 2, 4, 5) in Lab units, well within sRGB."""
    return torch.rand(2, 2, 4, 5, generator=generator) * 50 - 25


def sobel_difference(a: Tensor, b: Tensor) -> float:
    kernel = np.outer([1, 2, 1], [-1, 0, 1])[None, None] / 8
    maps = [correlate((a - b).double().numpy(), k, mode="nearest") for k in (kernel, kernel.swapaxes(2, 3))]
    return float(np.mean(np.square(maps)))


def test_charbonnier_is_epsilon_at_zero_and_l1_far_away(pair: tuple[Tensor, Tensor]) -> None:
    a, b = pair
    assert charbonnier(a, a).item() == pytest.approx(1e-3)
    assert charbonnier(100 * a, 100 * b).item() == pytest.approx(100 * F.l1_loss(a, b).item(), rel=1e-5)


def test_log_mse_falls_as_psnr_rises(pair: tuple[Tensor, Tensor]) -> None:
    a, b = pair
    mean_psnr = psnr(a, b).mean().item()
    assert log_mse(a, b, epsilon=0).item() == pytest.approx(-mean_psnr * math.log(10) / 10, rel=1e-5)
    assert log_mse(a, a).item() == pytest.approx(math.log(1e-4))


def test_edge_is_the_squared_difference_of_sobel_maps(pair: tuple[Tensor, Tensor]) -> None:
    a, b = pair
    assert edge(a, b).item() == pytest.approx(sobel_difference(a, b), rel=1e-5)
    assert edge(a, a + 0.3).item() == pytest.approx(0, abs=1e-10)


def test_the_papers_loss_is_its_weighted_sum(pair: tuple[Tensor, Tensor]) -> None:
    a, b = pair
    difference = (a - b).double().numpy()
    expected = 0.5 * np.abs(difference).mean() + 0.3 * np.square(difference).mean() + 0.2 * sobel_difference(a, b)
    assert paper_color(a, b).item() == pytest.approx(expected, rel=1e-5)


def test_soft_bins_share_a_colour_among_its_nearest_bins(colours: Tensor) -> None:
    centers = ab_bins()
    weight, index = soft_bins(colours, centers)
    assert weight.shape == index.shape == (2, 5, 4, 5)
    assert torch.allclose(weight.sum(1), torch.ones(2, 4, 5))
    distance = (centers[index] - colours.permute(0, 2, 3, 1)[:, None]).norm(dim=-1)  # (2, 5, 4, 5)
    others = torch.cdist(colours.permute(0, 2, 3, 1).reshape(-1, 2), centers).sort().values[:, :5]
    assert torch.allclose(distance.permute(0, 2, 3, 1).reshape(-1, 5), others, atol=1e-3)
    assert torch.allclose(weight[:, 0] / weight[:, 1], torch.exp((distance[:, 1] ** 2 - distance[:, 0] ** 2) / 50), rtol=1e-3)


def test_the_mean_of_soft_bins_is_near_the_colour(colours: Tensor) -> None:
    centers = ab_bins()
    weight, index = soft_bins(colours, centers)
    mean = (weight[..., None] * centers[index]).sum(1).permute(0, 3, 1, 2)
    assert (mean - colours).norm(dim=1).max() < 5  # half a bin


def test_bin_cross_entropy_agrees_with_torch(colours: Tensor, generator: Generator) -> None:
    centers = ab_bins()
    logits = torch.randn(2, len(centers), 4, 5, generator=generator)
    weight, index = soft_bins(colours, centers)
    target = torch.zeros_like(logits).scatter_(1, index, weight)
    assert bin_cross_entropy(logits, colours, centers).item() == pytest.approx(F.cross_entropy(logits, target).item(), rel=1e-5)


def test_rarity_weighs_pixels(colours: Tensor, generator: Generator) -> None:
    centers = ab_bins()
    logits = torch.randn(2, len(centers), 4, 5, generator=generator)
    plain = bin_cross_entropy(logits, colours, centers)
    assert torch.allclose(bin_cross_entropy(logits, colours, centers, torch.full((len(centers),), 3.0)), 3 * plain)

    rare = torch.zeros(len(centers))
    rare[soft_bins(colours[:1], centers)[1].unique()] = 1  # nothing counts but the colours of the first picture
    first = bin_cross_entropy(logits[:1], colours[:1], centers)
    assert bin_cross_entropy(
        logits, torch.cat([colours[:1], torch.full_like(colours[:1], 60)]), centers, rare
    ).item() == pytest.approx(first.item() / 2, rel=1e-5)
