"""Which denoiser to train: several networks, each trained for the same wall-clock time on the same photographs.

`python -m benchmarks.architectures --dataset FOLDER --minutes 8` trains them in turns of some seconds, so that a busy machine
slows all alike, and prints a Markdown table: PSNR on held-out photographs, and seconds per megapixel.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from benchmarks.trials import Trial, train_in_turns, training_batches
from restore.memory import warm_pages
from restore.metrics import psnr
from restore.models.denoiser import Denoiser
from restore.noise import gaussian
from train.data import Pictures, View, decode, open_splits
from train.denoise import RECIPES, task_of

SIGMAS = (15, 25, 50)  # on the 0 to 255 scale
VALIDATION_SIDE = 256


class GatedBlock(nn.Module):
    """The block of NAFNet (Chen et al., 2022) without its channel attention, whose mean over the picture would break tiling."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.widen1, self.widen2 = nn.Conv2d(channels, 2 * channels, 1), nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.narrow1, self.narrow2 = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        self.scale1 = nn.Parameter(torch.full((1, channels, 1, 1), 1e-2))
        self.scale2 = nn.Parameter(torch.full((1, channels, 1, 1), 1e-2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        left, right = self.depthwise(self.widen1(_over_channels(self.norm1, x))).chunk(2, 1)
        x = x + self.narrow1(left * right) * self.scale1
        left, right = self.widen2(_over_channels(self.norm2, x)).chunk(2, 1)
        out: Tensor = x + self.narrow2(left * right) * self.scale2
        return out


def _over_channels(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    normed: Tensor = norm(x.permute(0, 2, 3, 1))
    return normed.permute(0, 3, 1, 2)


def gated(widths: Sequence[int], depths: Sequence[int]) -> Denoiser:
    """The U-Net with gated blocks in place of the residual ones."""
    model = Denoiser(widths=widths, depths=depths)
    for part, counts in ((model.encoder, depths), (model.decoder, depths[:-1])):
        part.stages = nn.ModuleList(
            nn.Sequential(*(GatedBlock(channels) for _ in range(count))) for channels, count in zip(widths, counts, strict=False)
        )
    return model


CANDIDATES: dict[str, Callable[[], Denoiser]] = {
    "U-Net 48/96/192, 1/2/2 blocks": lambda: Denoiser(widths=(48, 96, 192), depths=(1, 2, 2)),
    "U-Net 32/64/128, 2/2/2 blocks": lambda: Denoiser(widths=(32, 64, 128), depths=(2, 2, 2)),
    "U-Net 32/64/128/256, 2/2/2/2 blocks": lambda: Denoiser(widths=(32, 64, 128, 256), depths=(2, 2, 2, 2)),
    "one scale of 64, 6 blocks": lambda: Denoiser(widths=(64,), depths=(6,)),
    "gated U-Net 48/96/192, 2/4/6 blocks": lambda: gated((48, 96, 192), (2, 4, 6)),
}


@torch.inference_mode()
def quality(model: Denoiser, photos: list[Tensor]) -> list[float]:
    """Mean PSNR in dB at each of SIGMAS."""
    scores = []
    for sigma in SIGMAS:
        generator = Generator().manual_seed(0)
        scores.append(statistics.fmean(psnr(model(gaussian(x, sigma / 255, generator)).clamp(0, 1), x).item() for x in photos))
    return scores


@torch.inference_mode()
def seconds_per_megapixel(models: list[Denoiser], rounds: int = 5) -> list[float]:
    """The median over rounds in which every network runs once."""
    picture = torch.rand(1, 3, 768, 1024).contiguous(memory_format=torch.channels_last)
    times: list[list[float]] = [[] for _ in models]
    with warm_pages():
        for _ in range(rounds + 1):
            for model, taken in zip(models, times, strict=True):
                start = time.perf_counter()
                model(picture)
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken[1:]) / (picture[0, 0].numel() / 1e6) for taken in times]


def macs_per_pixel(model: Denoiser, side: int = 64) -> float:
    """Multiplications of all convolutions for one pixel of the picture, in thousands."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.ConvTranspose2d):
            total += layer.weight[0].numel() * inputs[0].numel()
        elif isinstance(layer, nn.Conv2d):
            total += layer.weight[0].numel() * output.numel()

    hooks = [layer.register_forward_hook(count) for layer in model.modules()]
    with torch.inference_mode():
        model(torch.rand(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return total / side**2 / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="photographs; a twentieth is held out")
    parser.add_argument("--minutes", type=float, default=8, help="of training for each network")
    options = parser.parse_args()
    recipe = RECIPES["photo"]
    train, validation = open_splits(options.dataset)
    pictures = Pictures(train, View(patch=recipe.patch, turns=True))
    photos = [
        torch.from_numpy(decode(record)[:VALIDATION_SIDE, :VALIDATION_SIDE].copy()).permute(2, 0, 1)[None].float() / 255
        for record in validation["image"]
    ]
    task = task_of(recipe)
    trials = [
        Trial(name, build(), task.loss, training_batches(pictures, recipe.batch_size), options.minutes)
        for name, build in CANDIDATES.items()
    ]
    models = train_in_turns(trials)
    lines = ["| network | thousand MAC a pixel | seconds per megapixel | steps | PSNR, sigma 15 / 25 / 50 |", "| --- " * 5 + "|"]
    for trial, seconds in zip(trials, seconds_per_megapixel(models), strict=True):
        scores = " / ".join(f"{score:.2f}" for score in quality(trial.model, photos))
        lines.append(f"| {trial.name} | {macs_per_pixel(trial.model):.0f} | {seconds:.2f} | {trial.steps} | {scores} |")
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
