"""Mixed precision in training: what is kept in float32 is, and nothing else."""

import pytest
import torch
from torch import Generator, nn

from train.precision import keep_depthwise_in_float32


@pytest.fixture
def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 2, 1))


def test_only_depthwise_convolutions_are_computed_in_float32(network: nn.Sequential, generator: Generator) -> None:
    mixing, depthwise, _ = network
    x, y = torch.rand(2, 3, 9, 7, generator=generator), torch.rand(2, 8, 9, 7, generator=generator)
    exact = depthwise(y)
    keep_depthwise_in_float32(network)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(depthwise(y), exact)
        assert depthwise(y.bfloat16()).dtype == torch.bfloat16
        assert mixing(x).dtype == torch.bfloat16
        assert network(x).isfinite().all()


def test_gradients_are_those_of_float32_and_the_weights_keep_their_names(network: nn.Sequential, generator: Generator) -> None:
    names, x = list(network.state_dict()), torch.rand(2, 8, 9, 7, generator=generator)
    depthwise = network[1]
    truth = torch.autograd.grad(depthwise(x).square().sum(), list(depthwise.parameters()))
    keep_depthwise_in_float32(network)
    with torch.autocast("cpu", torch.bfloat16):
        gradients = torch.autograd.grad(depthwise(x).square().sum(), list(depthwise.parameters()))
    assert all(torch.equal(*pair) for pair in zip(truth, gradients, strict=True))
    assert list(network.state_dict()) == names
