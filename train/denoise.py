"""Train a denoiser: `accelerate launch train/denoise.py --recipe photo --dataset FOLDER`."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean as mean
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from accelerate.utils import set_seed
from torch import Generator, Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # `accelerate launch train/denoise.py` puts only train/ on the path

from restore.metrics import psnr
from restore.models.denoiser import Denoiser
from restore.noise import MIXTURES, PRINTS, gaussian, photo_kinds, photo_mixture
from train.augment import some_grey, some_soft
from train.data import open_pictures
from train.grow import grow
from train.loop import config_of, fit
from train.losses import charbonnier, log_mse
from train.recipe import Recipe, TrainingError, initial, run


@dataclasses.dataclass(frozen=True)
class DenoiseRecipe(Recipe):
    """Train a network that removes noise."""

    script: ClassVar[str] = "train/denoise.py"

    noise: Literal["paper-cifar10", "paper-imagenet64", "photo"] = "paper-cifar10"  # that training pictures get
    network: Literal["shipped", "paper"] = "shipped"  # the bundled photo denoiser's or the paper's
    loss: Literal["charbonnier", "log_mse", "mse"] = "charbonnier"  # between the result and the clean picture
    grey_share: float = 0.0  # share of the pictures that is made grey before it gets noise
    soft_share: float = 0.0  # share of those with a camera's noise that is made as soft as its photographs are at full size
    out: str = "runs/denoiser"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_shares("grey_share", "soft_share")


NETWORKS: dict[str, dict[str, Any]] = {
    "shipped": {},
    "paper": {
        "widths": (64, 128, 256),
        "depths": (1, 1, 1),
        "shuffle": 1,
        "stem_kernel": 7,
        "norm": "batch",
        "down": "max",
        "up": "nearest",
        "skips": False,
        "residual": False,
    },
}
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"charbonnier": charbonnier, "log_mse": log_mse, "mse": F.mse_loss}
CIFAR10 = DenoiseRecipe()
RECIPES = {
    "cifar10": CIFAR10,
    "imagenet64": dataclasses.replace(
        CIFAR10, dataset="benjamin-paine/imagenet-1k-64x64", noise="paper-imagenet64", batch_size=64
    ),
    "photo": dataclasses.replace(
        CIFAR10,
        dataset="",
        noise="photo",
        loss="log_mse",
        grey_share=0.05,
        soft_share=0.9,
        patch=128,
        batch_size=8,
        optimizer="muon",
        lr=7e-4,
        steps=200_000,
    ),
    "paper": dataclasses.replace(
        CIFAR10, network="paper", loss="mse", optimizer="adam", schedule="exponential", warmup=0, clip_norm=0, ema=0
    ),
}
RECIPES = {name: dataclasses.replace(recipe, out=f"runs/denoiser-{name}") for name, recipe in RECIPES.items()}


class DenoiseTask:
    """Degrade, restore, compare."""

    def __init__(self, recipe: DenoiseRecipe):
        self.mixture, self.criterion, self.grey_share = MIXTURES[recipe.noise], LOSSES[recipe.loss], recipe.grey_share

    def loss(self, model: nn.Module, clean: Tensor, generator: Generator) -> Tensor:
        noisy, clean = self.example(some_grey(clean, self.grey_share, generator), generator)
        return self.criterion(model(noisy), clean)

    def example(self, clean: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """What the network is given in training, and what it should make of it."""
        return self.mixture(clean, generator), clean

    def unseen(self, clean: Tensor, generator: Generator) -> Tensor:
        """What it is given in validation."""
        return self.mixture(clean, generator)

    def measure(self, model: nn.Module, clean: Tensor, generator: Generator) -> tuple[dict[str, float], Tensor]:
        noisy = self.unseen(clean, generator)
        estimate = model(noisy).clamp(0, 1)
        return {"psnr": psnr(estimate, clean).item()}, torch.cat([noisy, estimate, clean], dim=3)

    def summarize(self, measures: list[dict[str, float]]) -> dict[str, float]:
        return {"psnr": mean(numbers["psnr"] for numbers in measures)}


class PhotoTask(DenoiseTask):
    """Train on the mixture for photographs, those with a camera's noise made soft, half of those in print grey.

    Validate on white noise of sigma 25.
    """

    def __init__(self, recipe: DenoiseRecipe):
        super().__init__(recipe)
        self.soft_share = recipe.soft_share

    def example(self, clean: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        kinds = photo_kinds(len(clean), generator)
        clean = torch.where(is_any(kinds, ("camera",), clean), some_soft(clean, self.soft_share, generator), clean)
        clean = torch.where(is_any(kinds, PRINTS, clean), some_grey(clean, 0.5, generator), clean)
        return photo_mixture(clean, generator, kinds), clean

    def unseen(self, clean: Tensor, generator: Generator) -> Tensor:
        return gaussian(clean, 25 / 255, generator)


def is_any(kinds: list[str], wanted: tuple[str, ...], pictures: Tensor) -> Tensor:
    """Which of the pictures have one of the `wanted` kinds, (B, 1, 1, 1) on their device."""
    return torch.tensor([kind in wanted for kind in kinds], device=pictures.device).view(-1, 1, 1, 1)


def main(recipe: DenoiseRecipe) -> None:
    set_seed(recipe.seed)
    pictures, validation = open_pictures(recipe, turns=True)
    fit(recipe, build(recipe), pictures, validation, task_of(recipe))


def task_of(recipe: DenoiseRecipe) -> DenoiseTask:
    return PhotoTask(recipe) if recipe.noise == "photo" else DenoiseTask(recipe)


def build(recipe: DenoiseRecipe) -> Denoiser:
    """The recipe's network, new, or else that of `init`; where it is to grow, the former with the weights of the latter."""
    model = Denoiser(**NETWORKS[recipe.network])
    if not recipe.init:
        return model
    start = initial(Denoiser, recipe)
    if recipe.grow:
        grow(model, finest_scales(start, len(config_of(model)["widths"])))
        return model
    if recipe.network != "shipped" and config_of(start) != config_of(model):
        raise TrainingError(f"{recipe.init} does not hold the {recipe.network} network")
    return start


def finest_scales(model: Denoiser, count: int) -> Denoiser:
    """The network with its `count` finest scales at most; at the last that stays, the decoder's blocks follow the encoder's."""
    config, last = config_of(model), count - 1
    if count >= len(config["widths"]):
        return model
    depths = [*config["depths"][:last], 2 * config["depths"][last]]
    finest = Denoiser(**config | {"widths": config["widths"][:count], "depths": depths})
    finest.encoder.stem, finest.tail = model.encoder.stem, model.tail
    finest.encoder.downs, finest.decoder.ups = model.encoder.downs[:last], model.decoder.ups[:last]
    finest.encoder.stages, finest.decoder.stages = model.encoder.stages[:count], model.decoder.stages[:last]
    blocks = (*model.encoder.stages[last].children(), *model.decoder.stages[last].children())
    finest.encoder.stages[last] = nn.Sequential(*blocks)
    return finest


if __name__ == "__main__":
    run(main, RECIPES)
