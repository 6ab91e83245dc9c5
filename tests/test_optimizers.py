"""The optimizer of our own beside PyTorch's two that it is made of."""

from pathlib import Path

import pytest
import torch
from accelerate.utils import set_seed
from small_training import RECIPE, TINY, train
from torch import Generator, nn

from restore.models.denoiser import Denoiser
from train.optimizers import Muon, make_state

LR = 0.01


def network(generator: Generator) -> nn.Sequential:
    """A convolution, a depthwise one, a transposed one; every parameter with a gradient."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.ConvTranspose2d(8, 4, 2, stride=2))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    set_gradients(model, generator)
    return model


def set_gradients(model: nn.Module, generator: Generator) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_kernels_move_as_pytorchs_muon_moves_matrices(generator: Generator) -> None:
    model = network(generator)
    kernels = [model[0].weight, model[2].weight]
    matrices = [nn.Parameter(kernel.detach().flatten(1).clone()) for kernel in kernels]
    reference = torch.optim.Muon(matrices, LR, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    optimizer = Muon(model.parameters(), LR)
    for _ in range(3):
        set_gradients(model, generator)
        for kernel, matrix in zip(kernels, matrices, strict=True):
            matrix.grad = kernel.grad.flatten(1)
        optimizer.step()
        reference.step()
    for kernel, matrix in zip(kernels, matrices, strict=True):
        torch.testing.assert_close(kernel.flatten(1), matrix)


def test_a_second_group_is_refused(generator: Generator) -> None:
    model = network(generator)
    with pytest.raises(ValueError, match="one group"):
        Muon(model[:2].parameters(), LR).add_param_group({"params": model[2].parameters()})


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_there_may_be_kernels_alone_or_none(part: str, generator: Generator) -> None:
    parameter = getattr(network(generator)[0], part)
    before = parameter.detach().clone()
    Muon([parameter], LR).step()
    assert not parameter.equal(before)


def test_a_closure_gives_gradients_and_loss(generator: Generator) -> None:
    model, loss = network(generator)[0], torch.tensor(3.0)
    before = model.weight.detach().clone()
    model.zero_grad()

    def closure() -> torch.Tensor:
        model(torch.rand(1, 3, 8, 8, generator=generator)).sum().backward()
        return loss

    assert Muon(model.parameters(), LR).step(closure) is loss
    assert not model.weight.equal(before)


def test_all_else_moves_as_adamw_moves_it(generator: Generator) -> None:
    model = network(generator)
    others = [model[0].bias, model[1].weight, model[1].bias, model[2].bias]
    copies = [nn.Parameter(other.detach().clone()) for other in others]
    reference = torch.optim.AdamW(copies, LR)
    optimizer = Muon(model.parameters(), LR)
    for _ in range(3):
        set_gradients(model, generator)
        for other, copy in zip(others, copies, strict=True):
            copy.grad = other.grad.clone()
        optimizer.step()
        reference.step()
    for other, copy in zip(others, copies, strict=True):
        torch.testing.assert_close(other, copy)


def test_the_memory_layout_changes_nothing(generator: Generator) -> None:
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = network(generator.manual_seed(1)).to(memory_format=layout)
        Muon(model.parameters(), LR).step()
        results.append([parameter.detach() for parameter in model.parameters()])
    assert all(torch.equal(plain, channels_last) for plain, channels_last in zip(*results, strict=True))


def test_the_rate_is_that_of_the_group(generator: Generator) -> None:
    model = network(generator)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = Muon(model.parameters(), LR)
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_what_has_no_gradient_stays(generator: Generator) -> None:
    model = network(generator)
    before = [parameter.detach().clone() for parameter in model[0].parameters()]
    for parameter in model[0].parameters():
        parameter.grad = None
    Muon(model.parameters(), LR).step()
    assert all(torch.equal(old, new) for old, new in zip(before, model[0].parameters(), strict=True))


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, Muon])
def test_the_state_made_ahead_is_what_the_first_step_would_make(kind: type[torch.optim.Optimizer], generator: Generator) -> None:
    results = []
    for ahead in (False, True):
        model = network(generator.manual_seed(1))
        optimizer = kind(model.parameters(), lr=LR)
        if ahead:
            make_state(optimizer)
        optimizer.step()
        results.append((model, optimizer))
    for plain, made in zip(*(model.parameters() for model, _ in results), strict=True):
        torch.testing.assert_close(plain, made)
        states = [optimizer.state[parameter] for parameter, (_, optimizer) in zip((plain, made), results, strict=True)]
        assert states[0].keys() == states[1].keys()
        for key, tensor in states[0].items():
            torch.testing.assert_close(tensor, states[1][key])


def test_a_run_with_muon_trains_every_parameter(tmp_path: Path) -> None:
    trained = train(tmp_path, optimizer="muon", steps=3, ema=0).state_dict()
    set_seed(RECIPE.seed)
    start = Denoiser(**TINY).state_dict()
    assert all(not torch.equal(trained[name], start[name]) for name in start)
