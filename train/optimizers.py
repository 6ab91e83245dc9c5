"""The optimizers that a recipe can name."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer


class Muon(Optimizer):
    """Muon (Jordan et al., 2024) for the kernels of convolutions, and AdamW for the rest.

    A kernel is taken as a matrix of its first dimension, the outputs unless it is transposed, by all others. Muon's updates are
    scaled to the size of AdamW's (Liu et al., 2025), so that both share one learning rate. A depthwise kernel reads one channel;
    there is nothing to make orthogonal, and it is left to AdamW.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.01):
        super().__init__(parameters, {"lr": lr})
        everything: list[nn.Parameter] = self.param_groups[0]["params"]
        self._kernels = [parameter for parameter in everything if is_mixing(parameter)]
        self._matrices = [nn.Parameter(kernel.detach().flatten(1).clone()) for kernel in self._kernels]
        self._others = [parameter for parameter in everything if not is_mixing(parameter)]
        self._inner: list[Optimizer] = []  # one for the matrices and one for the others, as far as there are any
        if self._matrices:
            self._inner.append(torch.optim.Muon(self._matrices, lr, weight_decay, adjust_lr_fn="match_rms_adamw"))
        if self._others:
            self._inner.append(AdamW(self._others, lr, weight_decay=weight_decay))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Raise ValueError for a second group: all parameters share one rate."""
        if self.param_groups:
            raise ValueError("Muon takes one group of parameters")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step with the gradients at hand, or those of `closure`; all state is in `state`, by parameter."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
            matrix.copy_(kernel.flatten(1))
            matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
            self._inner[0].state[matrix] = self.state[kernel]
        for parameter in self._others:
            self._inner[-1].state[parameter] = self.state[parameter]
        for optimizer in self._inner:
            optimizer.param_groups[0]["lr"] = self.param_groups[0]["lr"]
            optimizer.step()
        for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
            kernel.copy_(matrix.view_as(kernel))
        return loss


OPTIMIZERS = {"adam": Adam, "adamw": AdamW, "muon": Muon}


def is_mixing(parameter: Tensor) -> bool:
    """Whether a parameter is the kernel of a convolution that reads more than one channel."""
    return parameter.ndim == 4 and parameter.shape[1] > 1


def make_state(optimizer: Optimizer) -> None:
    """Make what comes with the first step, which a scaler may put off: so each checkpoint has it, and it can be copied into."""
    for parameter in optimizer.param_groups[0]["params"]:
        if isinstance(optimizer, Muon) and is_mixing(parameter):
            optimizer.state[parameter] = {"momentum_buffer": torch.zeros_like(parameter).flatten(1)}
        elif parameter.requires_grad:
            moments = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
            optimizer.state[parameter] = {"step": torch.zeros(()), **moments}
