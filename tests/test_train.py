"""The scripts as a user runs them, and the recipes' promises: gradients, rates, flags, cards."""

import dataclasses
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from huggingface_hub import ModelCard
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from small_training import RECIPE, SIDE, TINY, StoppedError, train, write_folder
from torch import Generator, Tensor, nn

from restore.models.colorizer import AB_SCALE, Colorizer
from restore.models.denoiser import Denoiser
from train import checkpoint, colorize, denoise, loop
from train.card import CARD, Training, command, eval_results, history, portable, save_card
from train.grow import grow
from train.loop import Ema, config_of, learning_rate, seed_of, steps_of
from train.recipe import Recipe, TrainingError, comments, parse, run
from train.results import Table

ROOT = Path(__file__).parents[1]
SHORT = ["--steps", "2", "--batch_size", "2", "--validation_pictures", "3", "--warmup", "0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "pictures", train=8, validation=3)


@pytest.mark.parametrize(
    ("launch", "script", "kind", "flags"),
    [
        ([], "denoise", Denoiser, []),
        (["--dynamo_backend", "eager"], "denoise", Denoiser, []),  # compiled, but for what needs a compiler
        ([], "denoise", Denoiser, ["--init", "denoiser-photo", "--recipe", "photo", "--patch", "16"]),
        ([], "colorize", Colorizer, ["--init", "colorizer-cifar10"]),
    ],
)
def test_a_script_trains_as_a_user_runs_it(
    launch: list[str], script: str, kind: type[nn.Module], flags: list[str], folder: Path, tmp_path: Path
) -> None:
    accelerate = str(Path(sys.executable).parent / "accelerate")
    arguments = [f"train/{script}.py", "--dataset", str(folder), *SHORT, *flags, "--out", str(tmp_path)]
    settings = {"HF_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(  # noqa: S603
        [accelerate, "launch", *launch, *arguments],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "step       2  psnr" in done.stdout
    model = kind.from_pretrained(tmp_path / "final")
    set_seed(0)  # the recipe's
    start = kind.from_pretrained(flags[1]) if flags else kind(**model._hub_mixin_config)
    assert not torch.equal(model.tail.bias, start.tail.bias)
    assert f"accelerate launch train/{script}.py --dataset pictures " in (tmp_path / "final" / CARD).read_text()


@pytest.mark.parametrize("script", [denoise, colorize])
def test_the_paper_recipe_trains_the_paper_network(script: Any, folder: Path, tmp_path: Path) -> None:
    script.main(parse(script.RECIPES, ["--recipe", "paper", "--dataset", str(folder), *SHORT, "--out", str(tmp_path)]))
    weights = load_file(tmp_path / "final/model.safetensors")
    assert weights["encoder.stem.weight"].shape[-2:] == (7, 7)
    assert {len(weights[f"encoder.stages.{level}.0.conv1.weight"]) for level in range(3)} == {64, 128, 256}
    assert "encoder.stages.0.0.norm1.running_mean" in weights
    found = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert found[1]["recipe"]["optimizer"] == "adam"
    assert found[1]["step"] == 2


@pytest.mark.parametrize(
    ("network", "hint_share"), [("small", 0.0), ("small", 0.5), ("photo", 0.0), ("thumbnail", 0.5), ("paper", 0.0)]
)
def test_every_trained_weight_of_a_colorizer_gets_a_gradient(
    network: str, hint_share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colorize.timm, "create_model", create_without_download(colorize.timm.create_model))
    assert not without_gradient(colorize.ColorizeRecipe(network=network, hint_share=hint_share))


def test_what_knows_hints_and_is_to_see_none_trains_all_but_the_mixing(tmp_path: Path) -> None:
    recipe = colorize.ColorizeRecipe(network="small", hint_share=0.5)
    colorize.build(recipe).save_pretrained(tmp_path)
    recipe = dataclasses.replace(recipe, hint_share=0, init=str(tmp_path))
    assert not without_gradient(recipe)
    fixed = {name for name, weight in colorize.build(recipe).named_parameters() if not weight.requires_grad}
    assert fixed == {"hint_copy.none.weight", "hint_copy.none.bias", "hint_copy.log_slope"}


def without_gradient(recipe: colorize.ColorizeRecipe) -> list[str]:
    """The weights that are to be trained and are not."""
    model = colorize.build(recipe).train()
    task = colorize.ColorizeTask(recipe, model)
    task.loss(model, torch.rand(2, 3, 64, 64, generator=Generator().manual_seed(0)), Generator().manual_seed(0)).backward()
    return [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]


def test_a_colorizer_that_is_to_see_no_hints_takes_none(tmp_path: Path) -> None:
    recipe = colorize.ColorizeRecipe(network="small", hint_share=0.0)
    colorize.build(recipe).save_pretrained(tmp_path)
    assert colorize.build(dataclasses.replace(recipe, init=str(tmp_path))).hint_copy is None
    assert colorize.build(dataclasses.replace(recipe, hint_share=0.1)).hint_copy is not None
    with pytest.raises(TrainingError, match="--network paper takes no hints: give --hint_share 0"):
        colorize.build(dataclasses.replace(recipe, network="paper", hint_share=0.1))


@pytest.mark.parametrize("side", [32, 33, 50])
def test_a_colour_that_is_right_everywhere_has_no_error_whatever_the_size(side: int) -> None:
    network = Colorizer(widths=(8, 16, 32), depths=(1, 1, 1), bins=False, hints=False, shuffle=2)
    lightness = torch.full((1, 1, side, side), 50.0)
    prediction = torch.full_like(network(lightness, vividness=None), 0.3)
    right = AB_SCALE * prediction[:1, :, :1, :1].tanh().expand(1, 2, side, side)
    assert colorize.color_loss(network, prediction, right, 1.0).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("script", [colorize, denoise])
def test_weights_that_cannot_be_had_end_in_one_line(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "--init", "denoiser-phto"])
    with pytest.raises(SystemExit, match="error: --init: denoiser-phto is neither a bundled name"):
        run(lambda recipe: script.build(recipe), script.RECIPES)


def test_only_what_gets_the_noise_of_a_camera_is_made_soft(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = torch.rand(8, 3, 32, 32, generator=Generator().manual_seed(0))
    kinds = ["camera", "gaussian"] * 4
    monkeypatch.setattr(denoise, "photo_kinds", lambda *_: kinds)
    targets: list[Tensor] = []
    task = denoise.task_of(denoise.DenoiseRecipe(noise="photo", soft_share=1.0))
    task.criterion = lambda _, target: targets.append(target)
    task.loss(torch.nn.Identity(), clean, Generator().manual_seed(0))
    is_changed = (targets[0] != clean).flatten(1).any(1).tolist()
    assert is_changed == [kind == "camera" for kind in kinds]


def test_half_of_the_prints_are_of_grey_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ["dither", "gaussian"] * 200
    monkeypatch.setattr(denoise, "photo_kinds", lambda *_: kinds)
    task = denoise.task_of(denoise.DenoiseRecipe(noise="photo"))
    generator = Generator().manual_seed(0)
    _, clean = task.example(torch.rand(400, 3, 8, 8, generator=generator), generator)
    is_grey = (clean == clean[:, :1]).flatten(1).all(1)
    assert not is_grey[1::2].any()
    assert 80 <= is_grey[::2].sum() <= 120  # four standard deviations


def test_a_picture_on_film_has_the_same_colours_to_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = torch.rand(4, 3, 32, 32, generator=Generator().manual_seed(0))
    seen: list[Tensor] = []
    learned: list[Tensor] = []
    for share in (0.0, 1.0):
        task = colorize.ColorizeTask(colorize.ColorizeRecipe(hint_share=0, film_share=share), colorize.Colorizer())
        model = lambda lightness, *_: seen.append(lightness)  # noqa: E731  # a network that only looks
        monkeypatch.setattr(colorize, "color_loss", lambda _network, _prediction, ab, _weight: learned.append(ab))
        task.loss(model, rgb, Generator().manual_seed(0))
    assert not torch.equal(*seen)
    assert torch.equal(*learned)


def test_init_holds_the_network_that_is_asked_for(tmp_path: Path) -> None:
    Denoiser(widths=(8, 16), depths=(1, 1)).save_pretrained(tmp_path)
    with pytest.raises(TrainingError, match="does not hold the paper network"):
        denoise.build(denoise.DenoiseRecipe(init=str(tmp_path), network="paper"))
    paper = Denoiser(**denoise.NETWORKS["paper"])
    paper.save_pretrained(tmp_path)
    model = denoise.build(denoise.DenoiseRecipe(init=str(tmp_path), network="paper"))
    assert torch.equal(model.tail.weight, paper.tail.weight)


def create_without_download(create: Any) -> Any:
    """timm's factory, with random weights in place of the Hub's."""
    return lambda name, **options: create(name, **options | {"pretrained": False})


@pytest.mark.parametrize(("network", "name"), [("photo", "photo"), ("thumbnail", "cifar10"), ("thumbnail", "imagenet64")])
def test_the_colorizers_of_the_recipes_are_those_that_are_shipped(network: str, name: str) -> None:
    shipped = Colorizer.from_pretrained(f"colorizer-{name}")
    assert config_of(Colorizer(**colorize.NETWORKS[network])) == config_of(shipped)


@pytest.mark.parametrize(
    ("network", "cause"), [("paper", "hints need bins"), ("photo", "nor a smaller one of its kind, by its encoder")]
)
def test_a_colorizer_does_not_begin_as_another(network: str, cause: str, tmp_path: Path) -> None:
    Colorizer(**colorize.NETWORKS["small"]).save_pretrained(tmp_path)
    recipe = colorize.ColorizeRecipe(network=network, init=str(tmp_path), hint_share=0)
    with pytest.raises(TrainingError, match=cause):
        colorize.build(recipe)


def test_a_colorizer_starts_from_weights_at_another_zoom(tmp_path: Path) -> None:
    photo = Colorizer(**colorize.NETWORKS["photo"])
    photo.save_pretrained(tmp_path)
    model = colorize.build(colorize.ColorizeRecipe(network="thumbnail", init=str(tmp_path)))
    assert model.stride == photo.stride // 2
    assert all(torch.equal(weight, photo.state_dict()[name]) for name, weight in model.state_dict().items())
    with pytest.raises(TrainingError, match="neither this one nor a smaller one of its kind"):
        colorize.build(colorize.ColorizeRecipe(network="small", init=str(tmp_path)))


@pytest.mark.parametrize("size", [{"depths": (1, 0)}, {"widths": (32, 96)}, {"depths": (2, 0), "widths": (40, 8)}])
def test_a_denoiser_grows_from_a_smaller_one(size: dict[str, Any], tmp_path: Path, generator: Generator) -> None:
    small = Denoiser(**size).eval()
    small.save_pretrained(tmp_path)
    model = denoise.build(denoise.DenoiseRecipe(init=str(tmp_path), grow=True)).eval()
    noisy = torch.rand(1, 3, 24, 32, generator=generator)
    torch.testing.assert_close(model(noisy), small(noisy))


def test_what_a_denoiser_has_grown_learns(generator: Generator) -> None:
    small, model = Denoiser(widths=(4, 8), depths=(1, 1)), Denoiser(widths=(6, 12), depths=(2, 1))
    grow(model, small)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(6):  # what listens to new channels moves first, then what they say
        noisy = torch.rand(1, 3, 16, 16, generator=generator)
        optimizer.zero_grad()
        model(noisy).square().mean().backward()
        optimizer.step()
    known = {name: tensor.shape for name, tensor in small.state_dict().items()}
    for name, parameter in model.named_parameters():
        is_new = torch.ones_like(parameter, dtype=torch.bool)
        is_new[tuple(slice(side) for side in known.get(name, ()))] = name not in known
        if is_new.any():
            assert (parameter.detach() != before[name])[is_new].any(), name


def test_a_denoiser_grows_from_the_finest_scales_of_another(generator: Generator) -> None:
    start = Denoiser(widths=(8, 16, 24), depths=(1, 2, 1)).eval()
    model = Denoiser(widths=(8, 20), depths=(2, 5)).eval()
    grow(model, denoise.finest_scales(start, 2))
    for parameter in start.decoder.ups[1].parameters():  # what comes from the coarser scales
        torch.nn.init.zeros_(parameter)
    noisy = torch.rand(1, 3, 24, 32, generator=generator)
    torch.testing.assert_close(model(noisy), start(noisy))
    with pytest.raises(TrainingError, match="nor a smaller one"):
        grow(Denoiser(widths=(8, 16), depths=(1, 3)), denoise.finest_scales(start, 2))


def test_a_network_with_norms_grows_in_depth(generator: Generator) -> None:
    small = Denoiser(widths=(8, 16), depths=(1, 1), norm="batch").eval()
    model = Denoiser(widths=(8, 16), depths=(2, 3), norm="batch").eval()
    grow(model, small)
    noisy = torch.rand(1, 3, 16, 16, generator=generator)
    torch.testing.assert_close(model(noisy), small(noisy))
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.1)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for _ in range(3):  # the new norm moves first, then what it scales
        optimizer.zero_grad()
        model(noisy).square().mean().backward()
        optimizer.step()
    assert not [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    with pytest.raises(TrainingError, match="nor a smaller one of its kind, by its widths"):
        grow(Denoiser(widths=(12, 16), depths=(2, 3), norm="batch"), small)


@pytest.mark.parametrize(
    "other", [{"widths": (48,), "depths": (1,)}, {"widths": (256, 96)}, {"depths": (9, 1)}, {"up": "nearest"}]
)
def test_a_denoiser_does_not_grow_from_what_is_no_smaller(other: dict[str, Any], tmp_path: Path) -> None:
    Denoiser(**other).save_pretrained(tmp_path)
    with pytest.raises(TrainingError, match="nor a smaller one"):
        denoise.build(denoise.DenoiseRecipe(init=str(tmp_path), grow=True))


@pytest.mark.parametrize("kind", [denoise.DenoiseRecipe, colorize.ColorizeRecipe])
def test_a_network_needs_something_to_grow_from(kind: type[Recipe]) -> None:
    with pytest.raises(TrainingError, match="--init"):
        kind(grow=True)


def test_a_smaller_colorizer_grows_or_stays_as_it_is(tmp_path: Path, generator: Generator) -> None:
    small = Colorizer(**colorize.NETWORKS["small"] | {"depths": (1, 1, 2), "widths": (24, 96, 192)}).eval()
    small.save_pretrained(tmp_path)
    recipe = colorize.ColorizeRecipe(network="small", init=str(tmp_path))
    stays, grown = (colorize.build(dataclasses.replace(recipe, grow=grow)).eval() for grow in (False, True))
    sizes = [{key: config_of(model)[key] for key in ("widths", "depths")} for model in (small, stays, grown)]
    assert sizes[0] == sizes[1] != sizes[2]
    lightness, hints = 100 * torch.rand(1, 1, 32, 48, generator=generator), torch.zeros(1, 3, 32, 48)
    hints[..., 8:16, 8:16] = torch.tensor([40.0, -20.0, 1.0]).view(3, 1, 1)
    for model in (stays, grown):
        torch.testing.assert_close(model(lightness), small(lightness))
        torch.testing.assert_close(model(lightness, hints), small(lightness, hints))


def test_encoder_weights_that_cannot_be_had_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, pretrained: bool, **options: Any) -> nn.Module:
        if pretrained:
            raise LocalEntryNotFoundError("no network")
        return create("tf_efficientnet_lite0", pretrained=False, **options)

    create = colorize.timm.create_model
    monkeypatch.setattr(colorize.timm, "create_model", fail)
    with pytest.raises(TrainingError, match=r"from the Hub \(no network\): give --encoder_weights or --init"):
        colorize.build(colorize.RECIPES["photo"])
    (tmp_path / "text.safetensors").write_text("no weights")
    save_file({"another": torch.zeros(1)}, tmp_path / "other.safetensors")
    for file, cause in {"none": "No such file", "text": "text.safetensors", "other": "does not hold the weights"}.items():
        recipe = dataclasses.replace(colorize.RECIPES["photo"], encoder_weights=str(tmp_path / f"{file}.safetensors"))
        with pytest.raises(TrainingError, match=cause):
            colorize.build(recipe)


def test_a_frozen_encoder_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colorize.timm, "create_model", create_without_download(colorize.timm.create_model))
    model = colorize.build(colorize.ColorizeRecipe(network="photo", train_encoder=False))
    assert not any(weight.requires_grad for weight in model.encoder.body.parameters())
    assert all(weight.requires_grad for weight in model.decoder.parameters())


def test_rates_follow_the_paper_and_the_cosine() -> None:
    paper = Recipe(schedule="exponential", warmup=0, lr=1e-3, beta=0.05)
    assert learning_rate(paper, 300, 1000, 100) == pytest.approx(1e-3 * math.exp(-0.05 * 3))
    cosine = Recipe(schedule="cosine", warmup=10, lr=1.0)
    rates = [learning_rate(cosine, step, 100, 50) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[50] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_steps_count_epochs_over_all_processes() -> None:
    assert steps_of(Recipe(epochs=3, batch_size=10, accumulate=2), 1000, processes=5) == (30, 10)
    assert steps_of(Recipe(steps=7), None, processes=1) == (7, math.inf)
    with pytest.raises(TrainingError, match="--steps"):
        steps_of(Recipe(), None, processes=1)


@pytest.mark.parametrize(("steps", "share"), [((100, 101), 0.75), ((0,), 0.9), ((0, 1), 1 - 0.1 * 2 / 11)])
def test_the_average_follows_its_formula(steps: tuple[int, ...], share: float) -> None:
    model = Denoiser(widths=(8, 16), depths=(1, 1))
    start = model.tail.bias.detach().clone()
    ema = Ema(model, 0.5)
    with torch.no_grad():
        model.tail.bias += 1
    for step in steps:
        ema.update(model, step)
    torch.testing.assert_close(ema.state["tail.bias"], start + share)


@pytest.mark.parametrize(("clip_norm", "moves"), [(0.0, True), (1e-12, False)])
def test_a_clipped_gradient_moves_no_further_than_its_norm(clip_norm: float, moves: bool, tmp_path: Path) -> None:
    """Adam divides by the gradient's own size and by 1e-8 at least, which rules where the norm is far below that."""
    model = train(tmp_path, optimizer="adam", clip_norm=clip_norm, steps=2, ema=0)
    set_seed(RECIPE.seed)
    moved = (model.tail.bias - Denoiser(**TINY).tail.bias).abs().max().item()
    assert (moved > 1e-5) == moves


@pytest.fixture
def _another_precision() -> Iterator[None]:
    """Accelerate keeps to the precision that a process began with."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.mark.usefixtures("_another_precision")
def test_float16_is_refused_on_a_cpu_where_accelerate_would_ignore_it(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="fp16 needs a GPU"):
        train(tmp_path, mixed_precision="fp16")


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", -5), ("training_pictures", -3), ("seed", -1), ("lr", 0), ("lr", float("nan")), ("epochs", 0), ("ema", 1)],
)
def test_numbers_that_train_nothing_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(TrainingError, match=f"--{name} must be "):
        denoise.DenoiseRecipe(**{name: value})


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (colorize.ColorizeRecipe, "hint_share", -0.5),
        (colorize.ColorizeRecipe, "film_share", math.nan),
        (colorize.ColorizeRecipe, "mean_weight", -1.0),
        (denoise.DenoiseRecipe, "grey_share", 5.0),
        (denoise.DenoiseRecipe, "soft_share", -0.1),
    ],
)
def test_shares_and_weights_that_cannot_be_are_refused(kind: type[Recipe], name: str, value: float) -> None:
    with pytest.raises(TrainingError, match=f"--{name} must be "):
        kind(**{name: value})


def test_processes_that_would_each_train_alone_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # of a launcher, where no GPU is to be seen
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    with pytest.raises(TrainingError, match="set ACCELERATE_USE_CPU=true"):
        train(tmp_path)


@pytest.mark.parametrize("name", ["batch_size", "accumulate", "validation_pictures", "validate_every"])
def test_numbers_that_would_fail_late_are_refused_at_once(name: str) -> None:
    with pytest.raises(TrainingError, match=f"--{name} must be 1 or more, not 0"):
        denoise.DenoiseRecipe(**{name: 0})


@pytest.mark.usefixtures("_another_precision")
@pytest.mark.parametrize(("precision", "is_spared"), [("bf16", True), ("no", False)])
def test_bfloat16_spares_depthwise_convolutions(
    precision: str, is_spared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spared: list[nn.Module] = []
    monkeypatch.setattr(loop, "keep_depthwise_in_float32", spared.append)
    train(tmp_path, mixed_precision=precision, steps=1)
    assert bool(spared) == is_spared


@pytest.mark.usefixtures("_another_precision")
def test_bfloat16_trains_weights_of_float32_and_resumes_to_the_bit(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", mixed_precision="bf16")
    with pytest.raises(StoppedError):
        train(tmp_path / "parts", mixed_precision="bf16", stop_at=5)
    parts = train(tmp_path / "parts", mixed_precision="bf16", resume=True)
    AcceleratorState._reset_state()
    full = train(tmp_path / "full")
    for name, weight in whole.state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, parts.state_dict()[name])
        torch.testing.assert_close(weight, full.state_dict()[name], rtol=0, atol=0.01)
    assert not torch.equal(whole.tail.weight, full.tail.weight)


def test_seeds_of_neighbours_differ() -> None:
    assert len({seed_of(seed, batch) for seed in range(20) for batch in range(20)}) == 400


def test_a_flag_overrides_its_recipe_and_no_flag_changes_it() -> None:
    for recipes in (denoise.RECIPES, colorize.RECIPES):
        for name, recipe in recipes.items():
            assert parse(recipes, ["--recipe", name]) == recipe
    assert parse(denoise.RECIPES, ["--recipe", "paper", "--lr", "0.5", "--resume"]) == dataclasses.replace(
        denoise.RECIPES["paper"], lr=0.5, resume=True
    )


def test_every_flag_has_its_help() -> None:
    for kind in (denoise.DenoiseRecipe, colorize.ColorizeRecipe):
        assert comments(kind).keys() >= {field.name for field in dataclasses.fields(kind)}
    assert comments(denoise.DenoiseRecipe)["batch_size"] == "pictures per process and step"


def test_the_command_of_a_card_trains_by_the_same_recipe() -> None:
    recipe = dataclasses.replace(colorize.RECIPES["photo"], dataset="photos", train_encoder=False, lr=0.5)
    start, _, flags = command(recipe).partition(" train/colorize.py ")
    assert start == "accelerate launch"
    plain = colorize.ColorizeRecipe()
    assert parse({"plain": plain}, flags.split()) == dataclasses.replace(recipe, out=plain.out)  # where is each one's own affair


def test_a_card_tells_the_runs_that_led_to_its_start(tmp_path: Path) -> None:
    model = Denoiser(widths=(8,), depths=(1,))
    init = ""
    for step in (1000, 2000, 3000):
        folder = tmp_path / str(step)
        model.save_pretrained(folder)
        recipe = denoise.DenoiseRecipe(init=init)
        save_card(folder, "denoiser", Training.of(recipe, model, step, {}, history(recipe)))
        init = str(folder)
    card = (folder / CARD).read_text()
    places = [card.index(steps) for steps in ("3,000 steps", "1,000 steps", "2,000 steps")]
    assert places == sorted(places)
    assert card.count("accelerate launch train/denoise.py") == 3


@pytest.mark.parametrize("dataset", ["photos/", "data/photos", "./photos"])
def test_a_card_takes_no_folder_for_a_data_set_of_the_hub(dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(dataset).mkdir(parents=True)
    model = Denoiser(widths=(8,), depths=(1,))
    model.save_pretrained("final")
    save_card(Path("final"), "denoiser", Training.of(denoise.DenoiseRecipe(dataset=dataset), model, 1, {"psnr": 30.0}, []))
    data = ModelCard.load("final/README.md").data
    assert data.get("datasets") is None
    assert data.eval_results[0].dataset_type == "photos"


def test_a_card_says_which_weights_were_kept_and_how_many_processes_trained(tmp_path: Path) -> None:
    model = Denoiser(widths=(8,), depths=(1,))
    model.save_pretrained(tmp_path)
    training = Training.of(denoise.RECIPES["paper"], model, 50_046, {"psnr": 30.0}, [], processes=8)
    save_card(tmp_path, "denoiser", training)
    card = (tmp_path / CARD).read_text()
    assert "50,046 steps on `uoft-cs/cifar10` in 8 processes, with the last weights kept, by" in card
    assert "| last | 30.00 |" in card


def test_a_card_of_new_weights_has_no_figures_of_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.card.WEIGHTS", tmp_path)
    folder = tmp_path / "denoiser-cifar10"
    model = Denoiser(widths=(8,), depths=(1,))
    model.save_pretrained(folder)
    save_card(folder, folder.name, Training.of(denoise.DenoiseRecipe(), model, 2, {"psnr": 11.5}, []))
    assert [result.metric_value for result in ModelCard.load(folder / CARD).data.eval_results] == [11.5]


def test_the_card_of_a_run_loads_its_weights_from_where_they_are(tmp_path: Path) -> None:
    train(tmp_path / "elsewhere", steps=1)
    call = re.search(r'Denoiser.from_pretrained\("(.*)"\)', (tmp_path / "elsewhere/final" / CARD).read_text())
    assert call is not None
    Denoiser.from_pretrained(call[1])


def test_a_card_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    assert portable(str(tmp_path / "photos")) == "photos"
    assert portable("uoft-cs/cifar10") == "uoft-cs/cifar10"


def test_the_model_index_holds_what_was_measured_of_the_network_alone() -> None:
    rows = (("noisy", 17.0), ("denoiser-x", 25.123), ("the paper, as printed", 22.78))
    results = eval_results([Table("set", "denoiser-x", "user/set", "Table I", ("method", "PSNR, mean per image"), rows)])
    assert [(result.metric_value, result.metric_name) for result in results] == [(25.12, "PSNR, mean per image")]


def test_the_model_index_tells_the_rows_of_a_table_apart() -> None:
    rows = (("0", 25.0), ("20", 30.0))
    results = eval_results([Table("set-hints", "colorizer-x", "user/set", "Table III", ("hints", "PSNR, pooled"), rows)])
    assert [result.metric_name for result in results] == ["PSNR, pooled, hints 0", "PSNR, pooled, hints 20"]
    assert {result.dataset_type for result in results} == {"user/set"}


def test_what_cannot_be_trained_on_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for dataset in ("", str(tmp_path / "empty")):
        with pytest.raises(TrainingError) as caught:
            denoise.main(parse(denoise.RECIPES, ["--dataset", dataset, "--out", str(tmp_path)]))
        assert "\n" not in str(caught.value)


def test_a_patch_larger_than_every_picture_is_an_error(folder: Path, tmp_path: Path) -> None:
    assert denoise.RECIPES["photo"].patch > SIDE
    recipe = parse(denoise.RECIPES, ["--recipe", "photo", "--dataset", str(folder), "--out", str(tmp_path / "run")])
    with pytest.raises(TrainingError, match=f"8 smaller than {recipe.patch} pixels"):
        denoise.main(recipe)
