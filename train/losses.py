"""The losses of the paper and of the shipped recipes; each gives one number for a batch."""

import torch
import torch.nn.functional as F
from kornia.filters import spatial_gradient
from torch import Tensor


def charbonnier(estimate: Tensor, clean: Tensor, epsilon: float = 1e-3) -> Tensor:
    """A smooth L1 (Charbonnier et al., 1994): the mean of sqrt((estimate - clean)^2 + epsilon^2)."""
    return ((estimate - clean).square() + epsilon**2).sqrt().mean()


def log_mse(estimate: Tensor, clean: Tensor, epsilon: float = 1e-4) -> Tensor:
    """The mean over pictures of log(MSE + epsilon): PSNR as a loss (HINet, Chen et al., 2021), flat beyond 40 dB."""
    return ((estimate - clean).square().mean((1, 2, 3)) + epsilon).log().mean()


def edge(ab: Tensor, true_ab: Tensor) -> Tensor:
    """Mean squared difference of the Sobel maps of ab (B, 2, H, W); the paper's edge term."""
    return F.mse_loss(spatial_gradient(ab, mode="sobel"), spatial_gradient(true_ab, mode="sobel"))


def paper_color(ab: Tensor, true_ab: Tensor) -> Tensor:
    """0.5 MAE + 0.3 MSE + 0.2 edge on ab scaled to [-1, 1] (equations 6 to 8 of the paper)."""
    return 0.5 * F.l1_loss(ab, true_ab) + 0.3 * F.mse_loss(ab, true_ab) + 0.2 * edge(ab, true_ab)


def soft_bins(ab: Tensor, centers: Tensor, sigma: float = 5.0, neighbours: int = 5) -> tuple[Tensor, Tensor]:
    """Share each colour among its nearest bins by a Gaussian, after Zhang et al. (2016).

    Maps ab (B, 2, H, W) and centers (Q, 2), both in Lab units, to weights and bin indices, both (B, K, H, W).
    """
    batch, _, height, width = ab.shape
    distance = torch.cdist(ab.permute(0, 2, 3, 1).reshape(-1, 2), centers)
    nearest, index = distance.topk(neighbours, largest=False)
    weight = (-0.5 * (nearest / sigma) ** 2).softmax(1)
    shape = (batch, height, width, neighbours)
    return weight.reshape(shape).permute(0, 3, 1, 2), index.reshape(shape).permute(0, 3, 1, 2)


def bin_cross_entropy(logits: Tensor, true_ab: Tensor, centers: Tensor, rarity: Tensor | None = None) -> Tensor:
    """Cross-entropy of logits (B, Q, H, W) with softly encoded ab (B, 2, H, W), weighted by the `rarity` (Q,) of each colour."""
    weight, index = soft_bins(true_ab, centers)
    entropy = -(weight * logits.log_softmax(1).gather(1, index)).sum(1)  # (B, H, W)
    return entropy.mean() if rarity is None else (entropy * (rarity[index] * weight).sum(1)).mean()
