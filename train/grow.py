"""A larger network that begins as a smaller one (Net2Net, Chen et al., 2016)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from restore.models.blocks import ResidualBlock
from restore.models.hub import HubModel
from train.loop import config_of
from train.recipe import TrainingError

SEEING = {"zoom", "work_size"}  # how a network sees a picture, whatever its weights


@torch.no_grad()
def grow(model: HubModel, start: HubModel) -> None:
    """Make `model` compute what `start` does, the same network or a smaller one, and train on from there.

    New blocks begin as the identity; new channels begin at random, but nothing that `start` knows listens to them yet. Raises
    TrainingError where `start` is not such a network.
    """
    if other := differences(config_of(start), config_of(model)):
        raise TrainingError(
            f"the network of --init is neither this one nor a smaller one of its kind, by its {' and '.join(other)}"
        )
    weights = start.state_dict()
    for name, block in model.named_modules():
        if isinstance(block, ResidualBlock) and f"{name}.conv1.weight" not in weights:
            block.become_identity()
            weights |= {f"{name}.{key}": tensor for key, tensor in block.state_dict().items()}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            weights |= {f"{name}.{key}": tensor for key, tensor in widened(layer, weights, name).items()}
    model.load_state_dict(weights)


def differences(config: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """In what a network is not the same as another of as many scales, but for depths and widths that are at most the other's."""
    sizes = {"depths"} if config["norm"] != "none" else {"depths", "widths"}  # new channels would change a group's statistics
    return [
        key
        for key in sorted(other.keys() - SEEING)
        if config[key] != other[key] and not (key in sizes and is_at_most(config[key], other[key]))
    ]


def is_at_most(sizes: list[int], others: list[int]) -> bool:
    return len(sizes) == len(others) and all(size <= other for size, other in zip(sizes, others, strict=True))


def widened(layer: nn.Conv2d | nn.ConvTranspose2d, weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The state of `layer` with the `weights` of the narrower layer `name` in its first channels, which hear no others."""
    state = {key: tensor.clone() for key, tensor in layer.state_dict().items()}
    kernel, wide = weights[f"{name}.weight"], state["weight"]
    if isinstance(layer, nn.ConvTranspose2d):
        kernel, wide = kernel.transpose(0, 1), wide.transpose(0, 1)  # to output, input
    outputs, inputs = kernel.shape[:2]
    wide[:outputs] = 0
    wide[:outputs, :inputs].copy_(kernel)
    if layer.bias is not None:
        state["bias"][:outputs] = weights[f"{name}.bias"]
    return state
