"""What one would use without a network, to compare with: the median and non-local means."""

import torch
import torch.nn.functional as F
from kornia.filters import median_blur
from torch import Tensor

SEARCH = 5  # pixels to each side where similar patches are looked for
PATCH = 5  # side of a patch
STRENGTH = 0.5  # the filter's h over sigma; between 0.35 and 0.55 in Buades et al. (2011), smaller for stronger noise


def median(noisy: Tensor) -> Tensor:
    """The median of each pixel's 3x3 neighbourhood, channel by channel; (1, 3, H, W)."""
    return median_blur(noisy, 3)


def non_local_means(noisy: Tensor, sigma: float) -> Tensor:
    """Average the pixels whose 5x5 patches look alike (Buades et al., 2005), for noise of known `sigma`; (1, 3, H, W)."""
    padded = F.pad(noisy, (SEARCH,) * 4, mode="replicate")
    height, width = noisy.shape[-2:]
    total, weights = torch.zeros_like(noisy), torch.zeros_like(noisy[:, :1])
    for top in range(2 * SEARCH + 1):
        for left in range(2 * SEARCH + 1):
            shifted = padded[..., top : top + height, left : left + width]
            difference = (shifted - noisy).square().mean(1, keepdim=True)  # (1, 1, H, W)
            distance = F.avg_pool2d(difference, PATCH, stride=1, padding=PATCH // 2, count_include_pad=False)
            weight = torch.exp(-(distance - 2 * sigma**2).clamp_min(0) / (STRENGTH * sigma) ** 2)
            total += weight * shifted
            weights += weight
    return total / weights
