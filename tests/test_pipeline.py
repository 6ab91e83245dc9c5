"""What holds for every network, trained or not: sizes, modes, tiles, turns, strength, lightness, hints, progress."""

import copy
import io
import re
import threading
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image
from skimage.restoration import estimate_sigma as reference_sigma
from torch import Generator, Tensor

from restore import pipeline
from restore.color import lab_to_rgb, rgb_to_lab
from restore.images import ImageError, open_picture
from restore.models.colorizer import Colorizer
from restore.models.denoiser import Denoiser
from restore.models.hub import WeightsError
from restore.noise import camera
from restore.pipeline import (
    colorize,
    colorize_tensor,
    denoise,
    denoise_tensor,
    estimate_sigma,
    is_colourless,
    restore,
    working_size,
)
from restore.precision import fast_precision
from restore.tiling import TURNS, Turn
from train.data import decode

EIGHT_BIT = 0.5 / 255


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    """Not trained: its estimate is as wrong as can be, but the same for tile and whole. Its halo is 24 pixels."""
    torch.manual_seed(1)
    return Denoiser(widths=(4, 8), depths=(1, 1)).eval()


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    """Not trained; its large weights give it strong colours."""
    torch.manual_seed(1)
    model = Colorizer(widths=(8, 8, 16), depths=(1, 1, 1), shuffle=2, work_size=32).eval()
    torch.nn.init.normal_(model.tail.weight, std=3.0)
    return model


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of three halos a side, strips of one row."""
    monkeypatch.setattr(pipeline, "TILE_PIXELS", 1)
    monkeypatch.setattr(pipeline, "STRIP_PIXELS", 1)


@pytest.fixture
def noisy(generator: Generator) -> Tensor:
    return torch.rand(1, 3, 101, 203, generator=generator)


def as_image(rgb: Tensor) -> Image.Image:
    return Image.fromarray((rgb[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy())


def as_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float() / 255


def assert_same_levels(first: Image.Image, second: Image.Image) -> None:
    """Equal but for the rounding of a float."""
    assert np.abs(np.array(first, dtype=int) - np.array(second, dtype=int)).max() <= 1


@pytest.fixture
def photo(photos: Tensor) -> Image.Image:
    """80 x 96 pixels, in colour."""
    return as_image(photos[:1])


# Denoising


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("size", [(1, 1), (3, 2500), (2500, 3), (101, 203), (160, 160)])
def test_tiles_equal_the_whole(denoiser: Denoiser, size: tuple[int, int], generator: Generator) -> None:
    noisy = torch.rand(2, 3, *size, generator=generator)
    with torch.inference_mode(), fast_precision(noisy.device):
        whole = denoiser(noisy)
    torch.testing.assert_close(denoise_tensor(noisy, denoiser), whole, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("small_tiles")
def test_what_is_done_in_place_is_the_same(denoiser: Denoiser, noisy: Tensor) -> None:
    expected = denoise_tensor(noisy, denoiser, strength=0.7)
    result = denoise_tensor(noisy, denoiser, strength=0.7, out=noisy)
    assert result is noisy
    assert torch.equal(result, expected)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.5])
def test_strength_scales_what_is_removed(denoiser: Denoiser, noisy: Tensor, strength: float) -> None:
    removed = noisy - denoise_tensor(noisy, denoiser)
    result = denoise_tensor(noisy, denoiser, strength=strength)
    torch.testing.assert_close(result, noisy - strength * removed, atol=1e-5, rtol=0)


def test_strength_zero_gives_the_picture_back(denoiser: Denoiser, photo: Image.Image) -> None:
    assert np.array_equal(np.array(denoise(photo, denoiser, strength=0)), np.array(photo))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("turn", TURNS)
def test_the_ensemble_of_a_turned_picture_is_the_turned_ensemble(denoiser: Denoiser, turn: Turn, generator: Generator) -> None:
    noisy = torch.rand(1, 3, 61, 83, generator=generator)
    expected = turn.apply(denoise_tensor(noisy, denoiser, self_ensemble=True))
    torch.testing.assert_close(denoise_tensor(turn.apply(noisy), denoiser, self_ensemble=True), expected, atol=1e-5, rtol=0)


def test_the_ensemble_is_the_mean_over_the_turns(denoiser: Denoiser, generator: Generator) -> None:
    noisy = torch.rand(1, 3, 21, 13, generator=generator)
    with torch.inference_mode(), fast_precision(noisy.device):
        mean = torch.stack([turn.undo(denoiser(turn.apply(noisy))) for turn in TURNS]).mean(0)
    torch.testing.assert_close(denoise_tensor(noisy, denoiser, self_ensemble=True), mean, atol=1e-5, rtol=0)


def test_the_model_comes_back_as_it_was(noisy: Tensor) -> None:
    model = Denoiser(widths=(4, 4), depths=(1, 1), norm="batch").train()
    model.encoder.eval()  # frozen, as one does
    before = {name: value.clone() for name, value in model.state_dict().items()}
    denoise_tensor(noisy, model)
    assert model.training
    assert not any(module.training for module in model.encoder.modules())
    assert all(module.training for module in model.decoder.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("self_ensemble", [False, True])
def test_what_the_place_of_the_result_held_is_of_no_account(denoiser: Denoiser, noisy: Tensor, self_ensemble: bool) -> None:
    expected = denoise_tensor(noisy, denoiser, self_ensemble=self_ensemble)
    out = torch.full_like(noisy, float("nan"))
    assert torch.equal(denoise_tensor(noisy, denoiser, self_ensemble=self_ensemble, out=out), expected)


def test_a_place_that_cannot_take_the_result_is_refused(denoiser: Denoiser, colorizer: Colorizer, noisy: Tensor) -> None:
    larger = noisy.new_empty(1, 3, 110, 210)
    for run in (partial(denoise_tensor, noisy, denoiser), partial(colorize_tensor, noisy, colorizer)):
        with pytest.raises(ValueError, match=r"\(1, 3, 101, 203\) of floating point, not \(1, 3, 110, 210\) of torch.float32"):
            run(out=larger)
        with pytest.raises(ValueError, match=r"of floating point, not .* of torch\.uint8"):
            run(out=torch.empty_like(noisy, dtype=torch.uint8))
        with pytest.raises(ValueError, match="out is a tensor, not ndarray"):
            run(out=noisy.numpy())
    with pytest.raises(ValueError, match="with self_ensemble"):
        denoise_tensor(noisy, denoiser, self_ensemble=True, out=noisy)


def test_a_place_of_another_precision_is_filled(denoiser: Denoiser, colorizer: Colorizer, noisy: Tensor) -> None:
    for self_ensemble in (False, True):
        out = torch.empty_like(noisy, dtype=torch.float64)
        denoise_tensor(noisy, denoiser, self_ensemble=self_ensemble, out=out)
        torch.testing.assert_close(out.float(), denoise_tensor(noisy, denoiser, self_ensemble=self_ensemble))
    out = torch.empty_like(noisy, dtype=torch.float64)
    torch.testing.assert_close(colorize_tensor(noisy, colorizer, out=out).float(), colorize_tensor(noisy, colorizer))


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_a_tensor_of_another_precision_is_taken(
    kind: torch.dtype, denoiser: Denoiser, colorizer: Colorizer, noisy: Tensor
) -> None:
    for result, single in (
        (denoise_tensor(noisy.to(kind), denoiser), denoise_tensor(noisy, denoiser)),
        (colorize_tensor(noisy.to(kind), colorizer), colorize_tensor(noisy, colorizer)),
    ):
        assert result.dtype == kind
        torch.testing.assert_close(result.float(), single, rtol=0, atol=0.15)  # the colorizer's weights are large


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_a_network_of_another_precision_is_taken(
    kind: torch.dtype, denoiser: Denoiser, colorizer: Colorizer, noisy: Tensor
) -> None:
    singles = [denoise_tensor(noisy, denoiser), colorize_tensor(noisy, colorizer, hints=[(1, 1, (200, 40, 40))])]
    denoiser, colorizer = copy.deepcopy(denoiser).to(kind), copy.deepcopy(colorizer).to(kind)
    others = [denoise_tensor(noisy, denoiser), colorize_tensor(noisy, colorizer, hints=[(1, 1, (200, 40, 40))])]
    for single, other in zip(singles, others, strict=True):
        assert other.dtype == single.dtype
        assert (other - single).abs().mean() < 0.02
    assert estimate_sigma(noisy.to(kind), denoiser) == pytest.approx(estimate_sigma(noisy, denoiser), rel=0.05, abs=1e-3)


def test_a_network_that_gives_the_picture_itself_does_not_round_it(noisy: Tensor) -> None:
    network = Denoiser(widths=(4, 8), depths=(1, 1), residual=False).eval()
    torch.testing.assert_close(denoise_tensor(noisy, network), network(noisy), rtol=0, atol=1e-5)


@pytest.fixture(params=[torch.float64, torch.bfloat16])
def _another_default(request: pytest.FixtureRequest) -> Iterator[None]:
    """Another precision of what a program makes without saying which."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(usual)


@pytest.mark.usefixtures("_another_default")
def test_what_a_program_has_made_the_default_changes_nothing(photos: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray((photos[0] * 255).round().byte().permute(1, 2, 0).numpy())
    hints = [(30, 40, (200, 40, 40))]
    results = []
    for kind in (torch.get_default_dtype(), torch.float32):
        torch.set_default_dtype(kind)
        monkeypatch.setattr(pipeline, "_loaded", {})
        results.append((denoise(image, "denoiser-cifar10"), colorize(image, "colorizer-cifar10", hints=hints)))
    others, usual = results
    assert [np.abs(np.subtract(*map(np.int16, pair))).max() for pair in zip(others, usual, strict=True)] == [0, 0]


def test_hints_of_a_batch_are_colours_in_half_precision_too(photos: Tensor, colorizer: Colorizer) -> None:
    """Each picture's dab covers other cells, since it covers what is as light as its middle."""
    half = copy.deepcopy(colorizer).half()
    assert colorize_tensor(photos, half, hints=[(30, 40, (200, 40, 40))]).isfinite().all()


def test_a_batch_is_done_in_parts(
    photos: Tensor, denoiser: Denoiser, colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, tasks = photos.repeat(3, 1, 1, 1), ((denoise_tensor, denoiser), (colorize_tensor, colorizer))
    wholes = [task(batch, network) for task, network in tasks]
    for name in ("TILE_PIXELS", "STRIP_PIXELS"):
        monkeypatch.setattr(pipeline, name, 2 * photos[0, 0].numel())
    for (task, network), whole in zip(tasks, wholes, strict=True):
        most: list[int] = []
        handle = network.tail.register_forward_pre_hook(lambda _, inputs, most=most: most.append(len(inputs[0])))
        fractions: list[float] = []
        torch.testing.assert_close(task(batch, network, progress=fractions.append), whole, atol=1e-5, rtol=0)
        handle.remove()
        assert max(most) <= 4 < len(batch)  # the colorizer looks at each in the mirror too
        assert fractions == sorted(fractions)
        assert (fractions[0], fractions[-1]) == (0, 1)


def test_threads_may_share_a_network_that_was_in_training() -> None:
    network = Denoiser(widths=(4, 8), depths=(1, 1), norm="batch")
    first, second = pipeline._evaluating(network), pipeline._evaluating(network)
    first.__enter__()
    with second:
        first.__exit__(None, None, None)
        assert not any(module.training for module in network.modules())
    assert all(module.training for module in network.modules())


def test_a_network_that_was_first_used_without_gradients_can_be_trained(denoiser: Denoiser, tmp_path: Path) -> None:
    denoiser.save_pretrained(tmp_path)
    with torch.inference_mode():
        denoise_tensor(torch.rand(1, 3, 8, 8), tmp_path)
    pipeline.load(Denoiser, tmp_path)(torch.rand(1, 3, 8, 8)).sum().backward()


@pytest.mark.parametrize(
    "rgb",
    [
        torch.rand(3, 8, 8),
        torch.rand(1, 4, 8, 8),
        torch.rand(0, 3, 8, 8),
        torch.ones(1, 3, 8, 8).byte(),
        255 * torch.ones(1, 3, 8, 8),
        torch.linspace(-127, 1, 192).reshape(1, 3, 8, 8),
        torch.full((1, 3, 8, 8), torch.nan),
    ],
)
def test_what_is_no_batch_of_pictures_is_refused(rgb: Tensor, denoiser: Denoiser, colorizer: Colorizer) -> None:
    with pytest.raises(ValueError, match="pictures are"):
        denoise_tensor(rgb, denoiser)
    with pytest.raises(ValueError, match="pictures are"):
        colorize_tensor(rgb, colorizer)


@pytest.mark.parametrize("strength", ["1", None, float("nan"), -0.1, 1.6])
def test_a_strength_that_is_none_is_refused(strength: Any, denoiser: Denoiser, noisy: Tensor) -> None:
    with pytest.raises(ValueError, match=r"strength must be from 0 to 1\.5"):
        denoise_tensor(noisy, denoiser, strength=strength)


def test_a_wrong_colorizer_is_told_before_the_long_part_begins(denoiser: Denoiser, noisy: Tensor) -> None:
    for picture, hints in ((as_image(noisy).convert("L"), None), (as_image(noisy), [(1, 1, (0, 0, 255))])):
        steps: list[float] = []
        with pytest.raises(ValueError, match="neither a bundled name"):
            restore(picture, denoiser, "colorizer-foto", hints=hints, progress=steps.append)
        assert not steps


def test_hints_for_a_colorizer_without_them_are_refused_before_the_long_part_begins(denoiser: Denoiser, noisy: Tensor) -> None:
    picture, steps = as_image(noisy), list[float]()
    with pytest.raises(ValueError, match="built without hints"):
        restore(picture, denoiser, Colorizer(hints=False), hints=[(1, 1, (0, 0, 255))], progress=steps.append)
    assert not steps


def test_a_hub_that_does_not_give_the_weights_is_a_value_error(monkeypatch: pytest.MonkeyPatch, noisy: Tensor) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise LocalEntryNotFoundError("no network,\nand nothing in the cache")

    monkeypatch.setattr(Denoiser, "from_pretrained", fail)
    with pytest.raises(
        WeightsError, match="someone/denoiser: no network, and nothing in the cache; and there is no folder of that name"
    ):
        denoise_tensor(noisy, "someone/denoiser")


def test_results_can_be_trained_on(denoiser: Denoiser, noisy: Tensor) -> None:
    clean = denoise_tensor(noisy, denoiser)
    weight = torch.ones(1, requires_grad=True)
    (weight * clean).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("strength", [-0.1, 1.6, float("nan")])
def test_strength_out_of_range_is_refused(denoiser: Denoiser, photo: Image.Image, strength: float) -> None:
    with pytest.raises(ValueError, match=r"strength must be from 0 to 1\.5"):
        denoise(photo, denoiser, strength=strength)


# Pictures


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 5), (33, 64)])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_size_and_mode_stay(denoiser: Denoiser, colorizer: Colorizer, mode: str, size: tuple[int, int]) -> None:
    picture = Image.new(mode, size, 90)
    assert (denoise(picture, denoiser).size, denoise(picture, denoiser).mode) == (size, mode)
    colored = colorize(picture, colorizer)
    assert (colored.size, colored.mode) == (size, "RGBA" if mode.endswith("A") else "RGB")


def test_alpha_stays(denoiser: Denoiser, colorizer: Colorizer, photo: Image.Image) -> None:
    alpha = Image.linear_gradient("L").resize(photo.size)
    photo.putalpha(alpha)
    for result in (denoise(photo, denoiser), colorize(photo, colorizer), restore(photo, denoiser, colorizer)):
        assert result.getchannel("A").tobytes() == alpha.tobytes()


def test_a_path_its_bytes_and_the_image_give_the_same(denoiser: Denoiser, photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "photo.png")
    sources = (photo, tmp_path / "photo.png", (tmp_path / "photo.png").read_bytes(), open_picture(photo))
    first, *others = (denoise(source, denoiser).tobytes() for source in sources)
    assert all(other == first for other in others)


def test_an_opened_picture_is_only_overwritten_in_place(denoiser: Denoiser, colorizer: Colorizer, photo: Image.Image) -> None:
    picture = open_picture(photo)
    before = picture.rgb.clone()
    kept = [
        denoise(picture, denoiser),
        colorize(picture, colorizer),
        restore(picture, denoiser, colorizer, hints=[(0, 0, (9, 9, 9))]),
    ]
    assert torch.equal(picture.rgb, before)
    again = [
        denoise(open_picture(photo), denoiser, in_place=True),
        colorize(open_picture(photo), colorizer, in_place=True),
        restore(open_picture(photo), denoiser, colorizer, hints=[(0, 0, (9, 9, 9))], in_place=True),
    ]
    assert [image.tobytes() for image in again] == [image.tobytes() for image in kept]


def test_equal_channels_stay_equal(denoiser: Denoiser, photo: Image.Image) -> None:
    red, green, blue = denoise(photo.convert("L").convert("RGB"), denoiser).split()
    assert red.tobytes() == green.tobytes() == blue.tobytes()


def test_what_is_no_picture_is_refused(denoiser: Denoiser) -> None:
    with pytest.raises(ImageError):
        denoise(b"not a picture", denoiser)


# Colorizing


def test_lightness_stays(colorizer: Colorizer, photo: Image.Image) -> None:
    """Within 1.0 at 8 bits, for colours that sRGB can show or that were brought back to what it can show."""
    before, _ = rgb_to_lab(as_tensor(photo))
    after, ab = rgb_to_lab(as_tensor(colorize(photo, colorizer, vividness=2.0)))
    assert ab.norm(dim=1).mean() > 5  # there is colour
    assert (after - before).abs().max() <= 1.0


def test_strips_equal_the_whole(colorizer: Colorizer, photos: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = colorize_tensor(photos, colorizer)
    monkeypatch.setattr(pipeline, "STRIP_PIXELS", 700)
    torch.testing.assert_close(colorize_tensor(photos, colorizer), whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(colorize_tensor(photos.clone(), colorizer, out=photos), whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(photos, whole, atol=1e-4, rtol=0)


def test_only_the_lightness_is_looked_at(colorizer: Colorizer, photos: Tensor) -> None:
    photos = photos[:, :, :32, :32]  # seen as it is: where colours are averaged first, lightness depends on them a little
    grey = lab_to_rgb(rgb_to_lab(photos)[0], torch.zeros(len(photos), 2, 32, 32))
    torch.testing.assert_close(colorize_tensor(grey, colorizer), colorize_tensor(photos, colorizer), atol=EIGHT_BIT, rtol=0)


def test_vividness_reaches_the_network(colorizer: Colorizer, photos: Tensor) -> None:
    assert not torch.equal(colorize_tensor(photos, colorizer, 0.0), colorize_tensor(photos, colorizer, 2.0))


@pytest.mark.parametrize("vividness", [-1, 2.1])
def test_vividness_out_of_range_is_refused(colorizer: Colorizer, photo: Image.Image, vividness: float) -> None:
    with pytest.raises(ValueError, match="vividness must be from 0 to 2"):
        colorize(photo, colorizer, vividness)


class Recorder(Colorizer):
    """Remembers the lightness and the hints that it was given."""

    def predict_both_ways(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        self.lightness, self.seen = lightness, hints
        return super().predict_both_ways(lightness, hints)


def test_a_photograph_is_seen_as_small_as_in_training_and_no_softer(photo: Image.Image) -> None:
    recorder = Recorder(widths=(4, 4), depths=(1, 1), shuffle=2, work_size=32).eval()
    colorize(photo, recorder)
    contents = io.BytesIO()
    photo.convert("RGB").save(contents, "PNG")
    in_training = decode({"bytes": contents.getvalue(), "path": None}, resize=32)
    lightness, _ = rgb_to_lab(as_tensor(Image.fromarray(in_training)))
    torch.testing.assert_close(recorder.lightness, lightness, atol=1.0, rtol=0)


def test_hints_arrive_where_they_were_put(photos: Tensor) -> None:
    """Red in the upper left corner and blue in the lower right one, of a picture three times the work size."""
    recorder = Recorder(widths=(4, 4), depths=(1, 1), shuffle=2, work_size=32).eval()
    colorize_tensor(photos[:1, :, :, :72], recorder, hints=[(0, 0, (255, 0, 0)), (71, 95, (0, 0, 255))])
    assert recorder.seen is not None
    _, red = rgb_to_lab(torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1))
    _, blue = rgb_to_lab(torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1))
    torch.testing.assert_close(recorder.seen[0, :, 0, 0], torch.tensor([*red.flatten(), 1.0]))
    torch.testing.assert_close(recorder.seen[0, :, -1, -1], torch.tensor([*blue.flatten(), 1.0]))
    assert bool((recorder.seen[:, :2] * (1 - recorder.seen[:, 2:]) == 0).all())


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, Fraction])
def test_numbers_of_any_kind_are_as_good(photos: Tensor, denoiser: Denoiser, kind: Any) -> None:
    seen = []
    for number in (int, kind):
        recorder = Recorder(widths=(4, 8), depths=(1, 1), shuffle=2, work_size=64)
        colorize_tensor(photos[:1], recorder, kind(1), hints=[(number(70), number(50), tuple(map(number, (200, 30, 30))))])
        seen.append(recorder.seen)
    assert torch.equal(*seen)
    assert torch.equal(denoise_tensor(photos, denoiser, kind(1)), denoise_tensor(photos, denoiser, 1.0))


def test_a_hint_is_a_dab_that_stops_at_the_edge_of_its_object() -> None:
    recorder = Recorder(widths=(4, 4), depths=(1, 1), shuffle=2, work_size=64).eval()
    wall_and_door = torch.full((1, 3, 64, 64), 0.2)
    wall_and_door[..., 32:] = 0.8
    colorize_tensor(wall_and_door, recorder, hints=[(30, 20, (200, 60, 60))])
    assert recorder.seen is not None
    rows, columns = recorder.seen[0, 2].nonzero().T
    assert (rows.min(), rows.max()) == (17, 23)
    assert (columns.min(), columns.max()) == (27, 31)


@pytest.mark.parametrize(
    ("hint", "cause"),
    [
        ((80, 0, (1, 2, 3)), "outside the picture of 80 x 96"),
        ((0, -1, (1, 2, 3)), "outside the picture"),
        ((float("nan"), 0, (1, 2, 3)), "outside the picture"),
        ((0, 0, (1, 2, 256)), "from 0 to 255"),
        ((0, 0, (1, 2)), "a hint is"),
        ((0, 0, "red"), "five numbers"),
        ("here", "a hint is"),
        (7, "a hint is"),
    ],
)
def test_bad_hints_are_refused(colorizer: Colorizer, denoiser: Denoiser, photo: Image.Image, hint: Any, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        colorize(photo, colorizer, hints=[hint])
    with pytest.raises(ValueError, match=cause):
        restore(photo, denoiser, colorizer, hints=[(0, 0, (0, 0, 0)), hint])


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1200, 1600), (128, 172)), ((100, 50), (100, 48)), ((16, 16), (16, 16)), ((1, 1), (4, 4)), ((50, 10_000), (4, 512))],
)
def test_the_working_size_bounds_both_sides(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert working_size(*size, short_side=128, multiple=4) == expected


# Restoring


def test_grey_gets_colour_and_colour_stays(denoiser: Denoiser, colorizer: Colorizer, photo: Image.Image) -> None:
    still = denoise(photo, denoiser, strength=0)
    assert restore(photo, denoiser, colorizer, strength=0).tobytes() == still.tobytes()
    grey = photo.convert("L")
    assert_same_levels(restore(grey, denoiser, colorizer, strength=0), colorize(grey, colorizer))


def test_hints_ask_for_colour(denoiser: Denoiser, colorizer: Colorizer, photo: Image.Image) -> None:
    hints = [(3, 4, (200, 30, 30))]
    assert (
        restore(photo, denoiser, colorizer, strength=0, hints=hints).tobytes()
        == colorize(photo, colorizer, hints=hints).tobytes()
    )


def toned(photos: Tensor, dark: list[float], light: list[float]) -> Tensor:
    """Print in one ink on one paper."""
    grey = photos.mean(1, keepdim=True)
    return torch.lerp(torch.tensor(dark)[:, None, None], torch.tensor(light)[:, None, None], grey)


def test_colourless_is_a_matter_of_chroma(photos: Tensor, generator: Generator) -> None:
    for photo in photos.split(1):
        grey = photo.mean(1, keepdim=True).expand_as(photo)
        assert not is_colourless(photo)
        assert is_colourless(grey)
        assert is_colourless(torch.lerp(grey, photo, 0.05))  # faded
        assert is_colourless(toned(photo, [0.12, 0.08, 0.04], [1.0, 0.94, 0.8]))  # sepia
        assert not is_colourless(toned(photo, [0.04, 0.08, 0.3], [0.7, 0.9, 1.0]))  # as strong, but blue, as a sky is
        for side in (12, 24):  # a skier in the snow, a neon sign in the night: 2 or 8 % of the picture
            accent = grey.clone()
            accent[..., :side, :side] = torch.tensor([0.8, 0.2, 0.15])[:, None, None]
            assert not is_colourless(accent)
    assert is_colourless(torch.rand(1, 1, 2, 2, generator=generator).expand(1, 3, 2, 2))
    assert not is_colourless(torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8) * torch.tensor([0.0, 1.0] * 4))


# The level of noise


@pytest.mark.parametrize("sigma", [5 / 255, 15 / 255, 50 / 255])
def test_the_estimate_of_white_noise_is_about_as_good_as_that_of_scikit_image(
    photos: Tensor, sigma: float, generator: Generator
) -> None:
    """A denoiser leaves some noise that passes for texture; the wavelets take some texture for noise."""
    noisy = photos[:1] + sigma * torch.randn(photos[:1].shape, generator=generator)
    reference = reference_sigma(noisy[0].numpy(), average_sigmas=True, channel_axis=0)
    assert reference == pytest.approx(sigma, rel=0.2)
    assert estimate_sigma(noisy) == pytest.approx(sigma, rel=0.2)


def test_the_estimate_sees_a_cameras_noise_too(photos: Tensor, generator: Generator) -> None:
    """Which is correlated, so that estimates from the finest detail alone are far too low."""
    noisy = camera(photos[:1], 0.02, 0.02, generator, smoothing=0.8, color_smoothing=2.0)
    deviation = (noisy - photos[:1]).std().item()
    assert reference_sigma(noisy[0].numpy(), average_sigmas=True, channel_axis=0) < 0.5 * deviation
    assert estimate_sigma(noisy) == pytest.approx(deviation, rel=0.25)


def test_the_estimate_of_a_batch_does_not_depend_on_its_parts(
    denoiser: Denoiser, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy = torch.rand(5, 3, 40, 40, generator=generator)
    whole = estimate_sigma(noisy, denoiser)
    monkeypatch.setattr(pipeline, "SAMPLED_PIXELS", 2 * 40 * 40)
    assert estimate_sigma(noisy, denoiser) == pytest.approx(whole, rel=1e-5)


def test_a_large_picture_is_sampled_all_over(generator: Generator) -> None:
    noisy = torch.full((1, 3, 1200, 1500), 0.5)
    noisy[..., 500:700, 600:900] += 0.1 * torch.randn(1, 3, 200, 300, generator=generator)
    assert estimate_sigma(noisy) == pytest.approx(0.1 / 3, rel=0.1)  # in one of nine places


@pytest.mark.parametrize("size", [(1, 1), (3, 100), (4, 4), (64, 64)])
@pytest.mark.parametrize("level", [0.0, 0.3, 0.5, 1.0])
def test_a_flat_picture_has_no_noise(size: tuple[int, int], level: float) -> None:
    assert estimate_sigma(torch.full((1, 3, *size), level)) < 1 / 255


# Progress and models


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("grey", [True, False])
def test_progress_rises_from_0_to_1(denoiser: Denoiser, colorizer: Colorizer, photo: Image.Image, grey: bool) -> None:
    fractions: list[float] = []
    restore(photo.convert("L") if grey else photo, denoiser, colorizer, self_ensemble=True, progress=fractions.append)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert fractions == sorted(fractions)
    assert len(fractions) > 2 * len(TURNS)


class CancelledError(Exception):
    pass


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("task", [denoise_tensor, colorize_tensor])
def test_what_progress_raises_ends_the_job(task: Any, denoiser: Denoiser, colorizer: Colorizer, noisy: Tensor) -> None:
    calls = []

    def cancel_at_the_third(fraction: float) -> None:
        calls.append(fraction)
        if len(calls) == 3:
            raise CancelledError

    with pytest.raises(CancelledError):
        task(noisy, denoiser if task is denoise_tensor else colorizer, progress=cancel_at_the_third)
    assert len(calls) == 3


def test_a_model_named_is_loaded_once_whichever_thread_asks(
    denoiser: Denoiser, photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoiser.save_pretrained(tmp_path)
    expected, loads = denoise(photo, denoiser).tobytes(), list[Path]()
    load = Denoiser.from_pretrained

    def counting(name: Path, **options: Any) -> Denoiser:
        loads.append(name)
        return load(name, **options)

    monkeypatch.setattr(Denoiser, "from_pretrained", counting)
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(denoise(photo, tmp_path).tobytes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4
    assert len(loads) == 1


def test_a_folder_is_read_again_when_its_weights_are_new(
    denoiser: Denoiser, photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Denoiser(widths=(4,), depths=(1,))
    results = []
    for place, network in (("here", denoiser), ("here", other), ("elsewhere", denoiser)):
        network.save_pretrained(tmp_path / place / "mine")
        monkeypatch.chdir(tmp_path / place)
        results.append(denoise(photo, "mine").tobytes() == denoise(photo, network).tobytes())
    assert results == [True] * 3


def test_a_compiled_network_serves(denoiser: Denoiser, photo: Image.Image) -> None:
    assert denoise(photo, torch.compile(denoiser, backend="eager")).tobytes() == denoise(photo, denoiser).tobytes()


@pytest.mark.parametrize("wrong", [{}, Denoiser, Colorizer(widths=(4,), depths=(1,)), None])
def test_what_is_no_model_is_named(wrong: Any, photo: Image.Image) -> None:
    with pytest.raises(ValueError, match=f"expected a Denoiser, not a {type(wrong).__name__}"):
        denoise(photo, wrong)


def test_the_python_of_the_readme_runs(photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("album").mkdir()
    large = photo.resize((160, 120))
    large.save("noisy.jpg")
    for name in ("grey.jpg", "album/1931.jpg"):
        large.convert("L").save(name)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)  # noqa: S102  # our own text
    assert Image.open("clean.jpg").size == large.size
    assert names["colour"].shape == names["noisy"].shape == (1, 3, 120, 160)
    assert names["ab"].shape == (1, 2, 120, 160)


def test_an_array_is_no_tensor(denoiser: Denoiser) -> None:
    with pytest.raises(ValueError, match="not ndarray"):
        denoise_tensor(np.zeros((1, 3, 8, 8), np.float32), denoiser)


def test_what_the_owner_should_know_is_a_warning(denoiser: Denoiser, photo: Image.Image) -> None:
    file = io.BytesIO()
    photo.save(file, "GIF", save_all=True, append_images=[photo.transpose(Image.Transpose.ROTATE_180)])
    with pytest.warns(UserWarning, match="first of several frames") as caught:
        denoise(file.getvalue(), denoiser)
    assert caught[0].filename == __file__
