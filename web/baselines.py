"""What one would use without a network, to compare with: OpenCV's median and non-local means, on 8-bit levels."""

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

STRENGTH = 0.6  # of non-local means, its h over sigma: the best of 0.4 to 1 on photographs with sigma 15 to 50
PATCH, SEARCH = 7, 21  # sides in pixels; OpenCV's own defaults


def median(noisy: Tensor) -> Tensor:
    """The median of each pixel's 3x3 neighbourhood, channel by channel; (1, 3, H, W) in [0, 1]."""
    return _from_levels(cv2.medianBlur(_to_levels(noisy), 3))


def non_local_means(noisy: Tensor, sigma: float) -> Tensor:
    """Average the pixels whose patches look alike (Buades et al., 2005), for noise of known `sigma`; (1, 3, H, W) in [0, 1]."""
    strength = max(1.0, 255 * sigma * STRENGTH)
    return _from_levels(cv2.fastNlMeansDenoisingColored(_to_levels(noisy), None, strength, strength, PATCH, SEARCH))


def _to_levels(picture: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return (picture[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).contiguous().numpy()


def _from_levels(levels: Any) -> Tensor:
    return torch.from_numpy(levels).permute(2, 0, 1)[None].float() / 255
