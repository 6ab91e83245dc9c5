"""Half precision is taken where the hardware has it, and costs less than the eye or a stored picture can tell."""

import pytest
import torch
from torch import Generator, Tensor

from restore.models.denoiser import Denoiser
from restore.noise import gaussian
from restore.precision import fast_precision, multiplies_bfloat16

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
