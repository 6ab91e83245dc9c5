"""Which colorizer to train: encoders and losses against sepia, each trained for the same wall-clock time on the same photographs.

`python -m benchmarks.colours --dataset FOLDER --photo FOLDER --minutes 4` prints a Markdown table: the gain over the grey picture
and the colourfulness on `--photo`. Every candidate but one starts from the encoder's ImageNet weights.
"""

import argparse
import dataclasses
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from benchmarks.trials import Trial, train_in_turns, training_batches
from restore.color import grey, lab_to_rgb, rgb_to_lab
from restore.metrics import colorfulness
from restore.models.colorizer import Colorizer
from train.colorize import NETWORKS, RECIPES, ColorizeRecipe, build, color_loss
from train.data import Pictures, View, open_splits
from train.evaluate import Errors, colour_batches, to_8_bit
from train.losses import bin_cross_entropy, soft_bins

Loss = Callable[[nn.Module, Tensor, Generator], Tensor]
RARITY_MIX = 0.5  # of the uniform distribution in the colours' frequencies, as in Zhang et al. (2016)


def shipped_loss(network: Colorizer, mean_weight: float) -> Loss:
    """The loss of the recipe without hints; the paper's for a network without bins."""

    def loss(model: nn.Module, rgb: Tensor, _: Generator) -> Tensor:
        lightness, ab = rgb_to_lab(rgb)
        return color_loss(network, model(lightness, vividness=None), ab, mean_weight)

    return loss


def rebalanced_loss(network: Colorizer, rarity: Tensor) -> Loss:
    """Cross-entropy in which a rare colour weighs more (Zhang et al., 2016)."""

    def loss(model: nn.Module, rgb: Tensor, _: Generator) -> Tensor:
        lightness, ab = rgb_to_lab(rgb)
        ab = nn.functional.avg_pool2d(ab, network.stride)
        return bin_cross_entropy(model(lightness, vividness=None), ab, network.bin_centers, rarity)

    return loss


def rarity_of_colours(batches: list[Tensor], centers: Tensor) -> Tensor:
    """Weights (Q,) of the bins: the inverse of their smoothed frequency in batches (B, 3, H, W), one on average."""
    count = torch.zeros(len(centers))
    for rgb in batches:
        weight, index = soft_bins(nn.functional.avg_pool2d(rgb_to_lab(rgb)[1], 4), centers)
        count.index_add_(0, index.flatten(), weight.flatten())
    frequency = count / count.sum()
    rarity = 1 / ((1 - RARITY_MIX) * frequency + RARITY_MIX / len(centers))
    return rarity / (frequency * rarity).sum()


def candidates(recipe: ColorizeRecipe, batches: list[Tensor]) -> dict[str, tuple[Colorizer, Loss]]:
    """Networks and their losses by name; the recipe says where the encoder's weights are."""
    trained, even, rebalanced = (build(recipe) for _ in range(3))
    frozen = build(dataclasses.replace(recipe, train_encoder=False))
    tanh = Colorizer(**NETWORKS["photo"] | {"bins": False, "hints": False})
    tanh.encoder.load_state_dict(trained.encoder.state_dict())
    scratch = build(dataclasses.replace(recipe, network="small"))
    weight = recipe.mean_weight
    return {
        "EfficientNet-Lite0 trained; bins and their mean (shipped)": (trained, shipped_loss(trained, weight)),
        "EfficientNet-Lite0 frozen; bins and their mean": (frozen, shipped_loss(frozen, weight)),
        "a U-Net from scratch; bins and their mean": (scratch, shipped_loss(scratch, weight)),
        "EfficientNet-Lite0 trained; bins alone": (even, shipped_loss(even, 0.0)),
        "EfficientNet-Lite0 trained; bins, rebalanced": (
            rebalanced,
            rebalanced_loss(rebalanced, rarity_of_colours(batches, rebalanced.bin_centers)),
        ),
        "EfficientNet-Lite0 trained; the paper's loss on tanh": (tanh, shipped_loss(tanh, weight)),
    }


@torch.inference_mode()
def row(model: Colorizer, dataset: str, limit: int) -> str:
    """Gain over the grey picture in dB, mean per image and pooled, and the colourfulness at vividness 0 and 1."""
    baseline, ours = Errors(), Errors()
    colour: dict[str, list[Tensor]] = {"truth": [], "safest": [], "default": []}
    for rgb in colour_batches(dataset, limit):
        lightness, _ = rgb_to_lab(rgb)
        safest, default = (to_8_bit(lab_to_rgb(lightness, model(lightness, vividness=vividness))) for vividness in (0.0, 1.0))
        baseline.add(to_8_bit(grey(rgb)), rgb)
        ours.add(safest, rgb)
        for name, picture in (("truth", rgb), ("safest", safest), ("default", default)):
            colour[name].append(colorfulness(picture))
    shares = [100 * torch.cat(colour[name]).mean() / torch.cat(colour["truth"]).mean() for name in ("safest", "default")]
    gains = ours.per_image() - baseline.per_image(), ours.pooled() - baseline.pooled()
    return f"{gains[0]:+.2f} / {gains[1]:+.2f} | {shares[0]:.0f} / {shares[1]:.0f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="photographs to train on")
    parser.add_argument("--photo", required=True, help="Hub id or folder of photographs to measure on")
    parser.add_argument("--limit", type=int, default=300, help="of them")
    parser.add_argument("--minutes", type=float, default=4, help="of training for each network")
    parser.add_argument("--encoder-weights", default="", help="safetensors file; timm fetches them from the Hub otherwise")
    options = parser.parse_args()
    recipe = dataclasses.replace(RECIPES["photo"], encoder_weights=options.encoder_weights, hint_share=0.0)
    train, _ = open_splits(options.dataset)
    pictures = Pictures(train, View(patch=recipe.patch, resize=recipe.resize))
    for_rarity = training_batches(pictures, recipe.batch_size)
    trials = [
        Trial(name, model, loss, training_batches(pictures, recipe.batch_size), options.minutes)
        for name, (model, loss) in candidates(recipe, [next(for_rarity) for _ in range(30)]).items()
    ]
    lines = ["| network; loss | steps | over grey, per image / pooled | colourfulness, vividness 0 / 1 |", "| --- " * 4 + "|"]
    for trial, model in zip(trials, train_in_turns(trials), strict=True):
        lines.append(f"| {trial.name} | {trial.steps} | {row(model, options.photo, options.limit)} |")
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
