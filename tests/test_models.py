"""Networks of one family: any size in and out, a bounded reach, and weights that load to the last key or not at all."""

import io
import json
import os
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from kornia.filters import gaussian_blur2d
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Generator, nn

from restore.color import lab_to_rgb, rgb_to_lab
from restore.models import hub
from restore.models.blocks import ResidualBlock, normalization, pad_to_multiple
from restore.models.colorizer import BIN_SIZE, Colorizer, ab_bins
from restore.models.denoiser import Denoiser
from restore.models.hints import HintCopy, pool_hints
from restore.models.hub import HubModel, WeightsError
from train import bundle
from train.loop import config_of

PAPER: dict[str, Any] = {"stem_kernel": 7, "norm": "batch", "down": "max", "up": "nearest", "skips": False}
DENOISERS: dict[str, dict[str, Any]] = {
    "shipped": {"widths": (8, 16)},
    "three scales": {"widths": (8, 16, 24), "depths": (2, 2, 3)},
    "paper": {"widths": (8, 16, 24), "depths": (1, 1, 1), "shuffle": 1, "residual": False, **PAPER},
    "one scale": {"widths": (8,), "depths": (1,), "shuffle": 1},
    "deep": {"widths": (8, 8), "depths": (1, 3), "shuffle": 4, "up": "nearest"},
    "pooled": {"widths": (8, 16), "depths": (2, 0), "shuffle": 3, "down": "max"},
}
COLORIZERS: dict[str, dict[str, Any]] = {
    "small": {"widths": (8, 16, 24), "depths": (1, 1, 1), "shuffle": 2},
    "paper": {"widths": (8, 16, 24), "depths": (1, 1, 1), "bins": False, "hints": False, **PAPER},
    "bins without hints": {"widths": (8, 16), "depths": (1, 1), "hints": False},
    "tanh": {"widths": (8, 16), "depths": (1, 1), "bins": False, "hints": False},
    "backbone": {"encoder": "tf_efficientnet_lite0", "widths": (8, 8, 12, 16), "depths": (1, 1, 1, 1)},
    "zoomed": {"encoder": "tf_efficientnet_lite0", "widths": (8, 8, 12, 16), "depths": (1, 1, 1, 1), "zoom": 4},
}
SIZES = [(1, 1), (1, 9), (7, 2), (16, 16), (33, 20)]


def build(kind: type[HubModel], arguments: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return kind(**arguments).eval()


# Blocks


@pytest.mark.parametrize(("size", "multiple"), [((5, 8), 4), ((9, 13), 8), ((16, 16), 16), ((1, 1), 6), ((3, 40), 32)])
def test_padding_reflects_and_repeats_where_it_cannot(size: tuple[int, int], multiple: int, generator: Generator) -> None:
    x = torch.rand(2, 3, *size, generator=generator)
    expected = x.numpy()
    for axis in (2, 3):
        missing = -expected.shape[axis] % multiple
        mode = "reflect" if missing < expected.shape[axis] else "edge"
        expected = np.pad(expected, [(0, missing if a == axis else 0) for a in range(4)], mode=mode)
    assert torch.equal(pad_to_multiple(x, multiple), torch.from_numpy(expected))


@pytest.mark.parametrize(("channels", "groups"), [(8, 1), (48, 6), (64, 8), (256, 32), (4, 1), (20, 2)])
def test_groups_have_eight_channels_or_more(channels: int, groups: int) -> None:
    norm = normalization("group", channels)
    assert isinstance(norm, nn.GroupNorm)
    assert norm.num_groups == groups


@pytest.mark.parametrize("norm", ["none", "batch", "group"])
def test_a_residual_block_adds_to_its_input(norm: str, generator: Generator) -> None:
    block = ResidualBlock(8, norm).eval()
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    x = torch.rand(1, 8, 5, 4, generator=generator)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("argument", ["norm", "down", "up"])
def test_a_misspelt_argument_is_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument} must be .* not 'btach'"):
        Denoiser(**{argument: "btach"})


# Denoiser


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("arguments", [*DENOISERS.values(), {"widths": (8, 16), "depths": (1, 1), "norm": "group"}])
def test_a_denoiser_keeps_any_size(arguments: dict[str, Any], size: tuple[int, int], generator: Generator) -> None:
    noisy = torch.rand(2, 3, *size, generator=generator)
    clean = build(Denoiser, arguments)(noisy)
    assert clean.shape == noisy.shape
    assert clean.isfinite().all()


def is_marked(model: Denoiser, beyond: int) -> tuple[bool, bool]:
    """Whether what lies farther than `beyond` pixels above, or below, a part on the grid changes it, however faintly."""
    start = 2 * model.halo
    stop = start + 3 * model.size_multiple
    above, below = torch.zeros(2, 1, 3, stop + 2 * model.halo, 2 * model.size_multiple)
    above[..., : start - beyond, :] = torch.nan
    below[..., stop + beyond :, :] = torch.nan
    marked_above, marked_below = (bool(model(marked)[..., start:stop, :].isnan().any()) for marked in (above, below))
    return marked_above, marked_below


@pytest.mark.parametrize("arguments", DENOISERS.values(), ids=DENOISERS)
def test_the_halo_is_all_that_a_part_depends_on(arguments: dict[str, Any]) -> None:
    model = build(Denoiser, arguments)
    assert is_marked(model, model.halo) == (False, False)
    assert is_marked(model, model.halo * 3 // 4) == (True, True)  # and not a wasteful bound


@pytest.mark.parametrize("arguments", DENOISERS.values(), ids=DENOISERS)
def test_outside_the_halo_nothing_changes_to_the_bit(arguments: dict[str, Any], generator: Generator) -> None:
    model = build(Denoiser, arguments)
    first = model.size_multiple + model.halo
    noisy = torch.rand(1, 3, first + 40, 24, generator=generator)
    changed = noisy.clone()
    changed[..., : model.size_multiple, :] = 1 - changed[..., : model.size_multiple, :]
    before, after = model(noisy), model(changed)
    assert torch.equal(before[..., first:, :], after[..., first:, :])
    below = slice(model.size_multiple, model.size_multiple + 3)
    assert not torch.equal(before[..., below, :], after[..., below, :])


PARTS = [((0, 16), (48, 64)), ((48, 72), (0, 150)), ((96, 139), (48, 999)), ((None, None), (None, -7))]


@pytest.mark.parametrize(("rows", "columns"), PARTS)
@pytest.mark.parametrize("arguments", DENOISERS.values(), ids=DENOISERS)
def test_a_part_is_what_it_is_in_the_whole(
    arguments: dict[str, Any], rows: tuple[int | None, ...], columns: tuple[int | None, ...], generator: Generator
) -> None:
    model = build(Denoiser, arguments)
    noisy = torch.rand(2, 3, 139, 150, generator=generator)
    part = slice(*rows), slice(*columns)
    torch.testing.assert_close(model(noisy, part), model(noisy)[..., *part], atol=1e-5, rtol=0)


@pytest.mark.parametrize("arguments", DENOISERS.values(), ids=DENOISERS)
def test_the_decoder_computes_little_more_than_the_part(arguments: dict[str, Any], generator: Generator) -> None:
    model = build(Denoiser, arguments)
    sides: list[tuple[int, int]] = []
    for stage in model.decoder.stages:
        stage.register_forward_hook(lambda _module, _inputs, out: sides.append(tuple(out.shape[-2:])))
    part = slice(2 * model.halo, 2 * model.halo + 48)
    side = part.stop + 2 * model.halo
    model(torch.rand(1, 3, side, side, generator=generator), (part, part))
    levels = reversed(range(len(sides)))
    assert all(48 <= side * model.shuffle * 2**level <= 48 + model.halo for level, (side, _) in zip(levels, sides, strict=True))
    assert all(height == width for height, width in sides)


@pytest.mark.parametrize("part", [slice(6, 16), slice(-6, None), slice(8, 8), slice(20, 24), slice(0, 8, 2)])
def test_a_part_that_is_none_or_off_the_grid_is_refused(part: slice) -> None:
    model = Denoiser(widths=(4, 4), depths=(1, 1))
    with pytest.raises(ValueError, match="a part starts at multiples of 4 and ends beyond; not"):
        model(torch.rand(1, 3, 16, 16), (slice(0, 16), part))


@pytest.mark.parametrize("residual", [True, False])
def test_a_residual_denoiser_subtracts(residual: bool, generator: Generator) -> None:
    model = build(Denoiser, {"widths": (8, 16), "depths": (1, 1), "residual": residual})
    nn.init.zeros_(model.tail.weight)
    nn.init.zeros_(model.tail.bias)
    noisy = torch.rand(1, 3, 9, 6, generator=generator)
    assert torch.equal(model(noisy), noisy if residual else torch.zeros_like(noisy))


# Colorizer


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("arguments", COLORIZERS.values(), ids=COLORIZERS)
def test_a_colorizer_keeps_any_size(arguments: dict[str, Any], size: tuple[int, int], generator: Generator) -> None:
    lightness = 100 * torch.rand(2, 1, *size, generator=generator)
    ab = build(Colorizer, arguments)(lightness)
    assert ab.shape == (2, 2, *size)
    assert ab.abs().max() <= 110


def test_the_bins_cover_srgb(generator: Generator) -> None:
    centers = ab_bins()
    assert len(centers) == 260  # the bundled weights depend on it
    assert torch.equal(centers % BIN_SIZE, torch.zeros_like(centers))
    rgb = lab_to_rgb(100 * torch.rand(1, 1, 100, 100, generator=generator), 60 * torch.randn(1, 2, 100, 100, generator=generator))
    _, ab = rgb_to_lab(rgb)
    assert torch.cdist(ab.flatten(2)[0].T, centers, p=float("inf")).min(1).values.max() < BIN_SIZE / 2 + 0.1


@pytest.mark.parametrize("name", ["small", "backbone", "zoomed"])
def test_a_mirrored_picture_has_mirrored_colours(name: str, generator: Generator) -> None:
    model = build(Colorizer, COLORIZERS[name])
    lightness = 100 * torch.rand(1, 1, 64, 64, generator=generator)
    hints = torch.zeros(1, 3, 64, 64)
    hints[0, :, 8:12, 40:44] = torch.tensor([60.0, 40.0, 1.0])[:, None, None]
    for known in (None, hints):
        mirrored = model(lightness.flip(-1), None if known is None else known.flip(-1))
        torch.testing.assert_close(mirrored.flip(-1), model(lightness, known), atol=1e-3, rtol=1e-4)
        assert not torch.allclose(model.predict(lightness.flip(-1)).flip(-1), model.predict(lightness), atol=1e-3, rtol=1e-4)


def test_zoom_divides_the_stride_of_the_backbone(generator: Generator) -> None:
    model = build(Colorizer, COLORIZERS["zoomed"])
    assert (model.stride, build(Colorizer, COLORIZERS["backbone"]).stride) == (1, 4)
    assert model.predict(100 * torch.rand(1, 1, 24, 32, generator=generator)).shape[2:] == (24, 32)
    with pytest.raises(ValueError, match="zoom must divide"):
        Colorizer(**COLORIZERS["backbone"], zoom=3)


# Hints


@pytest.mark.parametrize("name", ["small", "backbone", "zoomed"])
def test_a_hint_changes_the_colour_around_it_and_no_other_picture(name: str, generator: Generator) -> None:
    model = build(Colorizer, COLORIZERS[name])
    lightness = 100 * torch.rand(2, 1, 64, 64, generator=generator)
    hints = torch.zeros(2, 3, 64, 64)
    assert torch.equal(model(lightness, hints), model(lightness))  # no hint is no hint
    hints[0, :, 8:12, 8:12] = torch.tensor([60.0, 40.0, 1.0])[:, None, None]
    change = (model(lightness, hints) - model(lightness)).abs().sum(1)
    assert change[0, 4:16, 4:16].mean() > 2 * change[0, 48:, 48:].mean()
    assert change[0, 8:12, 8:12].min() > 0
    assert torch.equal(change[1], torch.zeros(64, 64))


def test_hints_and_prediction_share_one_distribution(generator: Generator) -> None:
    centers = ab_bins()
    copy, logits = HintCopy([8]).eval(), torch.randn(1, len(centers), 6, 5, generator=generator)
    hints = torch.zeros(1, 3, 12, 10)
    hints[0, :, 2, 3] = torch.tensor([30.0, -20.0, 1.0])
    looks = copy.look([torch.randn(1, 8, 3, 5, generator=generator)], (6, 5))
    mixture = copy(logits, looks, hints, centers).exp()
    torch.testing.assert_close(mixture.sum(1), torch.ones(1, 6, 5), atol=1e-4, rtol=0)


def test_cells_copy_the_hint_that_is_nearest_among_equals() -> None:
    """Where all cells look the same and none keeps its own colour, each takes that of the nearer hint."""
    centers = ab_bins()
    copy = HintCopy([4]).eval()
    nn.init.constant_(copy.none.bias, -100.0)
    nn.init.constant_(copy.log_slope, 2.0)
    hints = torch.zeros(1, 3, 4, 16)
    hints[0, :, 1, 1], hints[0, :, 2, 14] = torch.tensor([50.0, 40.0, 1.0]), torch.tensor([-40.0, 30.0, 1.0])
    looks = copy.look([torch.zeros(1, 4, 4, 16)], (4, 16))
    mixture = copy(torch.zeros(1, len(centers), 4, 16), looks, hints, centers).exp()
    ab = torch.einsum("bqhw,qc->bchw", mixture, centers)[0]
    torch.testing.assert_close(ab[:, :, :7], torch.tensor([50.0, 40.0])[:, None, None].expand(2, 4, 7), atol=1.0, rtol=0)
    torch.testing.assert_close(ab[:, :, 9:], torch.tensor([-40.0, 30.0])[:, None, None].expand(2, 4, 7), atol=1.0, rtol=0)


def test_cells_that_are_alike_share_one_colour_and_others_keep_theirs(generator: Generator) -> None:
    copy = HintCopy([2], channels=2).eval()
    for linear in (copy.merge[0], copy.query, copy.key):
        nn.init.zeros_(linear.bias)
        linear.weight.data = 10 * torch.eye(2)[..., None, None]
    is_left = torch.arange(8).expand(1, 1, 6, 8) < 4
    looks = copy.look([torch.cat([is_left, ~is_left], dim=1).float()], (6, 8))
    logits = torch.randn(1, 5, 6, 8, generator=generator)
    left, right = copy.share(logits, looks).split(4, dim=3)
    for shared, own in zip((left, right), logits.log_softmax(1).split(4, dim=3), strict=True):
        torch.testing.assert_close(shared, own.mean((2, 3), keepdim=True).expand_as(shared))


def test_likeness_serves_in_training_as_in_use(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    model, lightness = build(Colorizer, COLORIZERS["small"]), 100 * torch.rand(1, 1, 32, 32, generator=generator)
    learned, shared = model.train().predict(lightness), model.eval().predict(lightness)
    torch.testing.assert_close(learned, shared)
    monkeypatch.setattr(HintCopy, "share", lambda _self, logits, _looks: logits)
    assert not torch.allclose(model.predict(lightness), shared)


def test_pooled_hints_are_the_mean_of_the_hints_alone() -> None:
    hints = torch.zeros(1, 3, 4, 4)
    hints[0, :, 0, 0] = torch.tensor([55.0, -110.0, 1.0])
    hints[0, :, 1, 1] = torch.tensor([11.0, 0.0, 1.0])
    ab, known = pool_hints(hints, (2, 2))
    assert known.tolist() == [[True, False, False, False]]
    torch.testing.assert_close(ab[0, 0], torch.tensor([33.0, -55.0]))


def test_hints_need_bins_to_fall_into() -> None:
    with pytest.raises(ValueError, match="hints need bins"):
        Colorizer(bins=False)


def test_a_colorizer_without_hints_refuses_them() -> None:
    with pytest.raises(ValueError, match="without hints"):
        build(Colorizer, COLORIZERS["paper"])(torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8))


def test_without_vividness_the_colour_is_the_mean_of_the_distribution(generator: Generator) -> None:
    model = build(Colorizer, COLORIZERS["small"])
    logits = torch.randn(1, len(model.bin_centers), 3, 4, generator=generator)
    mean = torch.einsum("bqhw,qc->bchw", logits.softmax(1), model.bin_centers)
    assert torch.allclose(model.ab_of(logits, 0.0), mean, atol=1e-4)


def test_vividness_sets_uncertain_colours_apart_more_than_it_deepens_a_cast() -> None:
    model = build(Colorizer, COLORIZERS["small"])
    red, green, grey = (model.bin_centers.tolist().index(colour) for colour in ([50, 40], [-40, 20], [0, 0]))
    logits = torch.full((1, len(model.bin_centers), 1, 2), -30.0)
    logits[0, [red, green, grey], 0, 0] = torch.tensor([0.5, 0.3, 0.2]).log()
    logits[0, [red, green, grey], 0, 1] = torch.tensor([0.3, 0.5, 0.2]).log()
    ab = torch.cat([model.ab_of(logits, vividness) for vividness in (0.0, 0.5, 1.0, 1.5, 2.0)])
    distance = (ab[..., 0] - ab[..., 1]).norm(dim=1).flatten()
    cast = ab.mean((2, 3)).norm(dim=1)
    assert (distance.diff() > 1).all()
    assert distance[-1] / distance[0] > 1.5 * cast[-1] / cast[0]


def test_a_colour_that_is_sure_stays_at_any_vividness() -> None:
    model = build(Colorizer, COLORIZERS["small"])
    colours = torch.randperm(len(model.bin_centers), generator=torch.Generator().manual_seed(0))[:12]
    logits = torch.full((len(model.bin_centers), 12), -30.0)
    logits[colours, torch.arange(12)] = 0.0
    ab = model.ab_of(logits.reshape(1, -1, 3, 4), vividness=2.0)
    torch.testing.assert_close(ab[0].flatten(1).T, model.bin_centers[colours], atol=0.01, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 4, 8, 8), (3, 8, 8)])
def test_a_denoiser_refuses_what_is_no_colour_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"expected noisy \(B, 3, H, W\), not {re.escape(str(shape))}"):
        build(Denoiser, DENOISERS["shipped"])(torch.rand(shape))


def test_a_colorizer_refuses_what_is_no_lightness() -> None:
    model = build(Colorizer, COLORIZERS["small"])
    with pytest.raises(ValueError, match=r"expected lightness \(B, 1, H, W\), not \(2, 3, 8, 8\)"):
        model(torch.rand(2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"expected lightness \(B, 1, H, W\), not \(1, 8, 8\)"):
        model(torch.rand(1, 8, 8))
    with pytest.raises(ValueError, match=r"expected hints \(2, 3, 8, 8\), not \(2, 3, 8, 9\)"):
        model(torch.rand(2, 1, 8, 8), torch.zeros(2, 3, 8, 9))


@pytest.mark.parametrize(("name", "side"), [("photo", 128), ("imagenet64", 64), ("cifar10", 32)])
def test_an_old_print_gets_the_colours_of_a_new_one_from_the_shipped_colorizer(name: str, side: int) -> None:
    """Old prints are soft, faded and grainy. The safest colour moves by less than half of what it is."""
    model = Colorizer.from_pretrained(f"colorizer-{name}").eval()
    examples = [Image.open(path).convert("RGB") for path in sorted((Path(__file__).parents[1] / "examples").glob("*.png"))]
    small = np.stack([np.asarray(example.resize((side, side), Image.Resampling.LANCZOS)) for example in examples])
    lightness, _ = rgb_to_lab(torch.from_numpy(small).permute(0, 3, 1, 2) / 255)
    noise = torch.randn(lightness.shape, generator=torch.Generator().manual_seed(0))
    prints = {
        "soft": gaussian_blur2d(lightness, (7, 7), (1.0, 1.0)),
        "faded": 55 + 0.5 * (lightness - 55),
        "grainy": (lightness + 3 * noise).clamp(0, 100),
    }
    with torch.inference_mode():
        new = model(lightness)
        moved = {how: ((model(old) - new).norm(dim=1).mean() / new.norm(dim=1).mean()).item() for how, old in prints.items()}
    assert max(moved.values()) < 0.45, moved


# Training


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        *((Denoiser, arguments) for arguments in DENOISERS.values()),
        *((Colorizer, arguments) for arguments in COLORIZERS.values()),
    ],
)
def test_every_parameter_learns(kind: type[HubModel], arguments: dict[str, Any], generator: Generator) -> None:
    model = build(kind, arguments).train()
    x = torch.rand(2, 3 if kind is Denoiser else 1, 48, 48, generator=generator) * (1 if kind is Denoiser else 100)
    hints = [torch.rand(2, 3, 48, 48, generator=generator)] if getattr(model, "hint_copy", None) is not None else []
    model(x, *hints).square().mean().backward()
    still = [
        name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all() or p.grad.abs().max() == 0
    ]
    assert not still


# Saving and loading


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with a small denoiser as `save_pretrained` leaves it."""
    build(Denoiser, {"widths": (4, 8), "depths": (1, 1)}).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (Denoiser, DENOISERS["shipped"]),
        (Denoiser, DENOISERS["paper"]),
        (Colorizer, COLORIZERS["small"]),
        (Colorizer, COLORIZERS["paper"]),
        (Colorizer, COLORIZERS["backbone"]),
    ],
)
def test_saved_and_loaded_to_the_bit(kind: type[HubModel], arguments: dict[str, Any], tmp_path: Path) -> None:
    model = build(kind, arguments)
    for buffer in model.buffers():  # batch statistics other than the initial ones
        if buffer.is_floating_point():
            buffer.mul_(1.1).add_(0.1)
    model.save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path)
    assert not loaded.training
    expected, state = model.state_dict(), loaded.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], expected[name]) for name in state)
    x = torch.rand(1, 3 if kind is Denoiser else 1, 20, 20, generator=Generator().manual_seed(0))
    assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_who_may_read_a_folder_may_read_the_weights_saved_there(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        build(Denoiser, DENOISERS["one scale"]).save_pretrained(tmp_path)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("README.md", "config.json", "model.safetensors"), 0o666 & ~umask)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_file_that_may_not_be_read_is_not_called_missing(file: str, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = io.open

    def refuse(path: Any, *arguments: Any, **named: Any) -> Any:  # as root one may read all
        if Path(path).name == file:
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **named)

    monkeypatch.setattr(io, "open", refuse)
    with pytest.raises(WeightsError, match=rf"{file} cannot be read: Permission denied"):
        Denoiser.from_pretrained(saved)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (Denoiser, {"widths": [np.int64(8)], "depths": (1,)}),
        (Denoiser, {"widths": np.array([8]), "depths": (1,)}),
        (Denoiser, {"widths": range(8, 9), "depths": (1,)}),
        (Colorizer, {"work_size": np.int64(256)}),
    ],
)
def test_an_argument_that_config_json_cannot_hold_is_refused(kind: type[HubModel], arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"{next(iter(arguments))} must be plain, as config.json holds it"):
        kind(**arguments)


def test_a_torchvision_that_does_not_fit_is_not_taken_for_broken_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"do torch and torchvision fit each other.*nms"):
        Colorizer.from_pretrained("colorizer-cifar10")


def test_half_precision_weights_load_as_single(saved: Path) -> None:
    single = Denoiser.from_pretrained(saved)
    Denoiser.from_pretrained(saved).half().save_pretrained(saved)
    loaded = Denoiser.from_pretrained(saved)
    assert {tensor.dtype for tensor in load_file(saved / "model.safetensors").values()} == {torch.float16}
    assert all(tensor.dtype == torch.float32 for tensor in loaded.state_dict().values())
    assert all(torch.equal(a, b.half().float()) for a, b in zip(loaded.parameters(), single.parameters(), strict=True))


def edit_weights(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def edit_config(folder: Path, change: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 123456\n"
DAMAGE: dict[str, tuple[Any, str]] = {
    "missing key": (lambda f: edit_weights(f, lambda t: t.pop("tail.bias")), "model.safetensors does not fit.*tail.bias"),
    "extra key": (lambda f: edit_weights(f, lambda t: t.update(extra=torch.zeros(1))), "model.safetensors does not fit.*extra"),
    "shape": (lambda f: edit_weights(f, lambda t: t.update({"tail.bias": torch.zeros(3)})), "model.safetensors does not fit"),
    "truncated": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-100]),
        "model.safetensors is",
    ),
    "empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "model.safetensors is not a whole safetensors file"),
    "LFS pointer": (
        lambda f: (f / "model.safetensors").write_text(LFS_POINTER),
        "model.safetensors is not a whole safetensors file",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{widths"), "config.json is not JSON"),
    "config is binary": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "config.json is not JSON"),
    "config is a list": (lambda f: (f / "config.json").write_text("[1]"), "config.json does not describe a Denoiser"),
    "unknown config key": (
        lambda f: edit_config(f, lambda c: c.update(width=3)),
        "config.json does not describe a Denoiser.*width",
    ),
    "odd value": (lambda f: edit_config(f, lambda c: c.update(norm="layer")), "config.json does not describe a Denoiser.*norm"),
    "no widths": (lambda f: edit_config(f, lambda c: c.update(widths=[], depths=[])), "config.json does not describe a Denoiser"),
    "negative widths": (lambda f: edit_config(f, lambda c: c.update(widths=[-4, 8])), "config.json does not describe a Denoiser"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights_are_refused_by_name(damage: str, saved: Path) -> None:
    inflict, message = DAMAGE[damage]
    inflict(saved)
    with pytest.raises(WeightsError, match=f"(?s){message}"):
        Denoiser.from_pretrained(saved)


def test_the_weights_of_another_class_are_refused(saved: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json does not describe a Colorizer"):
        Colorizer.from_pretrained(saved)


@pytest.mark.parametrize("name", ["denoiser-foto", "/no/such/folder", "./nowhere/near", "a/b/c", "", "a" * 300])
def test_a_name_that_can_be_nothing_is_refused(name: str) -> None:
    with pytest.raises(WeightsError, match="neither a bundled name"):
        Denoiser.from_pretrained(name)


def test_the_defaults_are_the_network_that_is_shipped() -> None:
    assert config_of(Denoiser()) == config_of(Denoiser.from_pretrained("denoiser-photo"))


def test_a_path_is_never_taken_for_a_hub_id() -> None:
    with pytest.raises(WeightsError, match="there is no folder someone/denoiser"):
        Denoiser.from_pretrained(Path("someone/denoiser"))


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_bundled_files_are_checked_against_their_sums(file: str, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (hub, bundle):
        monkeypatch.setattr(module, "WEIGHTS", saved.parent)
    bundle.write_checksums()
    assert hub.bundled() == ["saved"]
    Denoiser.from_pretrained("saved")

    content = bytearray((saved / file).read_bytes())
    last = len(content) - 1 if file.endswith(".safetensors") else content.index(b"2")  # the "shuffle" of the config
    content[last] ^= 1  # neither safetensors nor JSON notices
    (saved / file).write_bytes(content)
    with pytest.raises(WeightsError, match=f"{file} is damaged"):
        Denoiser.from_pretrained("saved")


@pytest.mark.parametrize("name", hub.bundled())
def test_what_is_bundled_is_whole_and_needs_no_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: Any) -> None:
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    kind = Denoiser if name.startswith("denoiser") else Colorizer
    assert kind.from_pretrained(name).state_dict()


def test_a_hub_id_is_downloaded_at_its_revision(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    snapshot = saved.parent / "snapshots" / "c0ffee"
    shutil.copytree(saved, snapshot)

    def download(repo_id: str, filename: str, **options: Any) -> str:
        asked.append((repo_id, filename, options))
        return str(snapshot / filename)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    others = {"token": "hf_1", "cache_dir": "cache", "force_download": True, "local_files_only": True}
    Denoiser.from_pretrained("someone/denoiser", revision="v2", **others)
    assert asked == [  # the weights at the config's commit, lest a push come between
        ("someone/denoiser", "config.json", {"revision": "v2", **others}),
        ("someone/denoiser", "model.safetensors", {"revision": "c0ffee", **others}),
    ]


def test_what_is_here_has_no_revision(saved: Path) -> None:
    for name in ("denoiser-photo", str(saved)):
        with pytest.raises(WeightsError, match="no revision v2"):
            Denoiser.from_pretrained(name, revision="v2")


def test_a_path_is_a_folder_even_if_it_is_named_like_what_is_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Denoiser(widths=(8, 16), depths=(1, 1))
    own.save_pretrained(tmp_path / "denoiser-photo")
    monkeypatch.chdir(tmp_path)
    assert torch.equal(Denoiser.from_pretrained(Path("denoiser-photo")).tail.weight, own.tail.weight)
    assert not torch.equal(Denoiser.from_pretrained("denoiser-photo").tail.bias, own.tail.bias)


def test_loading_draws_nothing_from_the_seed(saved: Path) -> None:
    before = torch.get_rng_state()
    Denoiser.from_pretrained(saved)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", [httpx2.ReadError, RuntimeError])
def test_a_download_that_breaks_off_is_a_lost_connection(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(*_: Any, **__: Any) -> None:
        raise kind("connection reset\nby peer")

    monkeypatch.setattr(hub, "hf_hub_download", break_off)
    with pytest.raises(ConnectionError, match="no connection to the Hub: connection reset by peer"):
        Denoiser.from_pretrained("someone/denoiser")


def test_a_file_that_the_hub_lacks_is_named_and_a_lost_network_is_not_blamed_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_with(error: Exception) -> None:
        def download(*_: Any, **__: Any) -> str:
            raise error

        monkeypatch.setattr(hub, "hf_hub_download", download)

    fail_with(EntryNotFoundError("404"))
    with pytest.raises(WeightsError, match=r"someone/denoiser on the Hub has no config\.json"):
        Denoiser.from_pretrained("someone/denoiser")
    fail_with(LocalEntryNotFoundError("no network"))
    with pytest.raises(LocalEntryNotFoundError):
        Denoiser.from_pretrained("someone/denoiser")
