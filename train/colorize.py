"""Train a colorizer: `accelerate launch train/colorize.py --recipe photo --dataset FOLDER`."""

import dataclasses
import sys
from pathlib import Path
from typing import Any, ClassVar, Literal

import timm
import torch
import torch.nn.functional as F
from accelerate.utils import set_seed
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Generator, Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # `accelerate launch train/colorize.py` puts only train/ on the path

from restore.color import grey, lab_to_rgb, rgb_to_lab
from restore.metrics import mse, psnr_of_mse
from restore.models.blocks import pad_to_multiple
from restore.models.colorizer import AB_SCALE, Backbone, Colorizer
from train.augment import some_on_film
from train.data import open_pictures
from train.grow import grow
from train.loop import config_of, fit
from train.losses import bin_cross_entropy, paper_color
from train.recipe import Recipe, TrainingError, initial, run


@dataclasses.dataclass(frozen=True)
class ColorizeRecipe(Recipe):
    """Train a network that gives grey photographs colour."""

    script: ClassVar[str] = "train/colorize.py"

    network: Literal["small", "photo", "thumbnail", "paper"] = "thumbnail"  # thumbnail is for sides up to 64
    encoder_weights: str = ""  # safetensors file with the backbone's weights; empty: timm fetches them from the Hub
    train_encoder: bool = True  # False keeps a pretrained backbone as it is
    mean_weight: float = 1.0  # weight of the squared error of the distribution's mean, beside the cross-entropy of the bins
    hint_share: float = 0.1  # share of the pictures with hints: more, and colour is not learned without; 0 shows none
    film_share: float = 0.0  # share of the pictures that is seen as on old prints: other film, soft, toned, grainy
    out: str = "runs/colorizer"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_shares("hint_share", "film_share")
        if not self.mean_weight >= 0:
            raise TrainingError(f"--mean_weight must be 0 or more, not {self.mean_weight}")


PHOTO: dict[str, Any] = {
    "encoder": "tf_efficientnet_lite0",
    "widths": (64, 96, 128, 160),
    "depths": (1, 3, 3, 1),
    "work_size": 128,
}
NETWORKS: dict[str, dict[str, Any]] = {
    "small": {"widths": (48, 96, 192), "depths": (1, 2, 2), "shuffle": 2, "work_size": 64},
    "photo": PHOTO,
    "thumbnail": PHOTO | {"depths": (1, 1, 1, 1), "zoom": 2, "work_size": 64},
    "paper": {
        "widths": (64, 128, 256),
        "depths": (1, 1, 1),
        "stem_kernel": 7,
        "norm": "batch",
        "down": "max",
        "up": "nearest",
        "skips": False,
        "bins": False,
        "hints": False,
    },
}
MEAN_SCALE = 20.0  # Lab units: the error of the mean that weighs as much as a nat of cross-entropy
CIFAR10 = ColorizeRecipe()
RECIPES = {
    "cifar10": CIFAR10,
    "imagenet64": dataclasses.replace(CIFAR10, dataset="benjamin-paine/imagenet-1k-64x64", batch_size=64),
    "photo": dataclasses.replace(
        CIFAR10, network="photo", dataset="", resize=128, patch=128, batch_size=32, steps=200_000, film_share=0.5
    ),
    "paper": dataclasses.replace(
        CIFAR10, network="paper", optimizer="adam", schedule="exponential", warmup=0, clip_norm=0, ema=0, hint_share=0
    ),
}
RECIPES = {name: dataclasses.replace(recipe, out=f"runs/colorizer-{name}") for name, recipe in RECIPES.items()}


class ColorizeTask:
    """Take the colour away, give it back, compare with the grey picture."""

    def __init__(self, recipe: ColorizeRecipe, network: Colorizer):
        self.network, self.hint_share, self.mean_weight = network, recipe.hint_share, recipe.mean_weight
        self.film_share = recipe.film_share

    def loss(self, model: nn.Module, rgb: Tensor, generator: Generator) -> Tensor:
        lightness, ab = rgb_to_lab(rgb)
        hints = random_hints(ab, self.hint_share, generator) if self.hint_share else None
        if self.film_share:
            lightness = some_on_film(rgb, self.film_share, generator)
        return color_loss(self.network, model(lightness, hints, None), ab, self.mean_weight)

    def measure(self, model: nn.Module, rgb: Tensor, generator: Generator) -> tuple[dict[str, float], Tensor]:  # noqa: ARG002  # a Task's
        lightness, _ = rgb_to_lab(rgb)
        colour, baseline = lab_to_rgb(lightness, model(lightness)), grey(rgb)
        numbers = {"mse": mse(colour, rgb).item(), "grey_mse": mse(baseline, rgb).item()}
        return numbers, torch.cat([baseline, colour, rgb], dim=3)

    def summarize(self, measures: list[dict[str, float]]) -> dict[str, float]:
        """PSNR in dB of the safest colour, and its gain over the grey picture: mean of per-image PSNR, and pooled MSE."""
        ours, baseline = (torch.tensor([numbers[key] for numbers in measures]).clamp_min(1e-10) for key in ("mse", "grey_mse"))
        return {
            "psnr": psnr_of_mse(ours).mean().item(),
            "gain": (psnr_of_mse(ours) - psnr_of_mse(baseline)).mean().item(),
            "pooled_gain": (psnr_of_mse(ours.mean()) - psnr_of_mse(baseline.mean())).item(),
        }


def main(recipe: ColorizeRecipe) -> None:
    set_seed(recipe.seed)
    pictures, validation = open_pictures(recipe, colour=True)
    network = build(recipe)
    fit(recipe, network, pictures, validation, ColorizeTask(recipe, network))


def build(recipe: ColorizeRecipe) -> Colorizer:
    """The recipe's network with the weights of `init`, or new, with a pretrained backbone where it has one.

    It is as large as that of `init` unless it is to grow, and takes hints if it is to see some, or `init` does. Raises
    TrainingError where `init` holds another network.
    """
    if recipe.hint_share and not NETWORKS[recipe.network].get("hints", True):
        raise TrainingError(f"--network {recipe.network} takes no hints: give --hint_share 0")
    network = NETWORKS[recipe.network]
    if recipe.init:
        start = initial(Colorizer, recipe)
        size = {} if recipe.grow else {key: config_of(start)[key] for key in ("widths", "depths")}
        try:
            model = Colorizer(**network | size | {"hints": bool(recipe.hint_share) or start.hint_copy is not None})
        except ValueError as error:
            raise TrainingError(f"--network {recipe.network} cannot begin as {recipe.init}: {error}") from error
        grow(model, start)
    else:
        model = Colorizer(**network | {"hints": bool(recipe.hint_share)})
    if isinstance(model.encoder, Backbone):
        body = model.encoder.body
        if not recipe.init:
            body.load_state_dict(pretrained(recipe, body))
        body.requires_grad_(recipe.train_encoder)
    if model.hint_copy is not None and not recipe.hint_share:
        for unreached in (model.hint_copy.none, model.hint_copy.log_slope):
            unreached.requires_grad_(False)  # since several processes wait for every gradient
    return model


def pretrained(recipe: ColorizeRecipe, body: nn.Module) -> dict[str, Tensor]:
    """ImageNet's weights for a backbone, without the layers that it leaves out. Raises TrainingError where there are none."""
    name = NETWORKS[recipe.network]["encoder"]
    try:
        if recipe.encoder_weights:
            source = load_file(recipe.encoder_weights)
        else:
            source = timm.create_model(name, pretrained=True).state_dict()
        return {key: source[key] for key in body.state_dict()}
    except (OSError, HfHubHTTPError, SafetensorError) as error:
        where = recipe.encoder_weights or "the Hub"
        raise TrainingError(f"no weights of {name} from {where} ({error}): give --encoder_weights or --init") from error
    except KeyError as error:
        raise TrainingError(f"{recipe.encoder_weights} does not hold the weights of {name}: {error} is missing") from error


def color_loss(network: Colorizer, prediction: Tensor, ab: Tensor, mean_weight: float) -> Tensor:
    """The loss of a prediction (B, C, h, w) against the true ab (B, 2, H, W) in Lab units, at the prediction's resolution."""
    ab = F.avg_pool2d(pad_to_multiple(ab, network.size_multiple), network.stride)
    if len(network.bin_centers) == 0:
        return paper_color(torch.tanh(prediction), ab / AB_SCALE)
    entropy = bin_cross_entropy(prediction, ab, network.bin_centers)
    return entropy + mean_weight * F.mse_loss(network.ab_of(prediction) / MEAN_SCALE, ab / MEAN_SCALE)


def random_hints(ab: Tensor, share: float, generator: Generator) -> Tensor:
    """Show the true ab (B, 2, H, W) at a few points, after Zhang et al. (2017): hints (B, 3, H, W), as Colorizer takes them.

    A `share` of the pictures gets 1 to 128 points, few being likelier, each 1 to 7 pixels wide.
    """
    batch, _, height, width = ab.shape
    device = generator.device
    uniform = torch.rand(batch, 2, 1, 1, 1, generator=generator, device=device)
    count = torch.where(uniform[:, 0] < share, 2 ** (7 * uniform[:, 1]), 0)
    points = torch.rand(batch, 1, height, width, generator=generator, device=device) < count / (height * width)
    reach = int(torch.randint(4, (), generator=generator, device=device))
    mask = F.max_pool2d(points.to(ab), 2 * reach + 1, stride=1, padding=reach)
    return torch.cat([ab * mask, mask], dim=1)


if __name__ == "__main__":
    run(main, RECIPES)
