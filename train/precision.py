"""What mixed precision leaves in float32 here, beside what PyTorch's autocast does."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def keep_depthwise_in_float32(network: nn.Module) -> None:
    """Take the depthwise convolutions of a network out of autocast on a CPU, where bfloat16 makes their gradients slow.

    Those of a backbone take up to thirty times as long in it; all other layers are as fast or faster.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            layer.forward = in_float32(layer.forward)  # type: ignore[assignment, method-assign]  # of this layer alone


def in_float32(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same function computed in float32, its result in the precision of what it is given."""

    def run(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float()).to(x.dtype)

    return run
