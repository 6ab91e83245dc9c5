"""Half precision is taken where the hardware has it, and costs less than the eye or a stored picture can tell."""

import pytest
import torch
from torch import Generator, Tensor, nn

from restore.models.denoiser import Denoiser
from restore.noise import gaussian
from restore.precision import fast_precision, multiplies_bfloat16
from train.precision import keep_depthwise_in_float32

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16"])
def test_bfloat16_is_for_processors_that_multiply_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = torch.nn.Conv2d(3, 3, 1), torch.rand(1, 3, 4, 4)
    for capabilities, dtype in (({name: True}, torch.bfloat16), ({name: False}, torch.float32), ({}, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)
        with fast_precision(CPU):
            assert layer(x).dtype == dtype


def test_a_pytorch_that_cannot_tell_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not multiplies_bfloat16()


def test_bfloat16_moves_a_denoised_picture_by_less_than_a_level(photos: Tensor, generator: Generator) -> None:
    model = Denoiser.from_pretrained("denoiser-photo")
    noisy = gaussian(photos, 25 / 255, generator)
    with torch.inference_mode():
        exact = model(noisy)
        with torch.autocast("cpu", torch.bfloat16):
            fast = model(noisy)
    assert fast.dtype == torch.float32
    assert 0 < (fast - exact).square().mean().sqrt() < 0.5 / 255


# In training


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
