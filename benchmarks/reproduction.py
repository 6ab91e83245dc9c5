"""The paper's four tables at reduced scale: its own recipe, and the shipped one at equal images and epochs.

    python -m benchmarks.reproduction --cifar10 uoft-cs/cifar10 --imagenet64 benjamin-paine/imagenet-1k-64x64

The paper trains on all images of a set, hours on a GPU; here a run sees the first few hundred or thousand of them, as often as
the paper does, and both recipes see the same in the same batches. PSNR is the mean per image on 500 of the validation split,
always the same. The grey picture's is the baseline of colour; the shipped colorizer is measured at its safest vividness, and its
encoder starts from ImageNet's weights, which the paper's network never saw.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from train import colorize, denoise
from train.card import TRAINING
from train.data import open_splits
from train.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """A table of the paper: PSNR in dB after so many epochs."""

    title: str
    script: Any  # train.denoise or train.colorize
    dataset: str  # the option that names it
    shipped: str  # the recipe compared with
    settings: dict[str, Any]  # of the paper's recipe, where the set asks for them
    printed: dict[int, float]


TABLES = {
    "I": PaperTable("CIFAR-10 denoising", denoise, "cifar10", "cifar10", {}, {5: 22.26, 10: 22.71, 15: 22.72, 20: 22.78}),
    "II": PaperTable(
        "ImageNet 64x64 denoising",
        denoise,
        "imagenet64",
        "imagenet64",
        {"noise": "paper-imagenet64"},
        {5: 25.63, 10: 26.67, 15: 26.88, 20: 26.98},
    ),
    "III": PaperTable("CIFAR-10 colour", colorize, "cifar10", "cifar10", {}, {10: 24.44, 25: 24.70, 50: 25.02}),
    "IV": PaperTable(
        "ImageNet 64x64 colour",
        colorize,
        "imagenet64",
        "imagenet64",
        {},
        {10: 23.12, 25: 24.02, 50: 24.86, 100: 26.84},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", required=True, help="Hub id or folder")
    parser.add_argument("--imagenet64", required=True, help="Hub id or folder")
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--pictures", type=int, default=2000, help="of the training split")
    parser.add_argument("--epochs", type=int, default=20, help="at most; the tables' rows up to it are shown")
    parser.add_argument("--batch-size", type=int, default=32, help="small, so that few pictures make many steps")
    parser.add_argument(
        "--mixed-precision", choices=["no", "fp16", "bf16"], default="no", help="of both recipes; the paper's is fp16"
    )
    parser.add_argument("--encoder-weights", default="", help="safetensors file; timm fetches them from the Hub otherwise")
    parser.add_argument("--out", type=Path, default=Path("runs/reproduction"), help="runs already there are taken as they are")
    options = parser.parse_args()
    shown = {name: [epoch for epoch in TABLES[name].printed if epoch <= options.epochs] for name in options.tables}
    if empty := [name for name, epochs in shown.items() if not epochs]:
        parser.error(f"table {empty[0]} begins at {min(TABLES[empty[0]].printed)} epochs")
    for name, epochs in shown.items():
        table = TABLES[name]
        measured = {}
        dataset = getattr(options, table.dataset)
        pictures = min(options.pictures, len(open_splits(dataset)[0]))
        shared: dict[str, Any] = {
            "dataset": dataset,
            "training_pictures": pictures,
            "batch_size": options.batch_size,
            "epochs": max(epochs),
            "mixed_precision": options.mixed_precision,
            "validate_every": round(5 * pictures / options.batch_size),  # the tables' epochs are multiples of five
        }
        if table.script is colorize:
            shared["encoder_weights"] = options.encoder_weights
        for kind, recipe in recipes(table, shared).items():
            size = f"{Path(dataset).name}-{pictures}x{max(epochs)}-{options.batch_size}-{options.mixed_precision}"
            folder = options.out / f"{name}-{kind}-{size}"
            if not (folder / "final" / TRAINING).exists():
                table.script.main(dataclasses.replace(recipe, out=str(folder), resume=True))
            measured[kind] = psnr_by_step(folder)
        print(markdown(name, table, epochs, measured, pictures), flush=True)


def recipes(table: PaperTable, shared: dict[str, Any]) -> dict[str, Recipe]:
    """The paper's recipe and the shipped one, with what they have in common."""
    paper, shipped = table.script.RECIPES["paper"], table.script.RECIPES[table.shipped]
    return {
        "paper": dataclasses.replace(paper, **table.settings, **shared),
        "shipped": dataclasses.replace(shipped, **shared),
    }


def psnr_by_step(folder: Path) -> list[tuple[int, float, float]]:
    """Step, PSNR in dB, and its gain over the grey picture (0 for a denoiser), of each validation of a run."""
    events = EventAccumulator(str(folder / "logs"))
    events.Reload()
    gains = {event.step: event.value for event in events.Scalars("gain")} if "gain" in events.Tags()["scalars"] else {}
    return [(event.step, event.value, gains.get(event.step, 0.0)) for event in events.Scalars("psnr")]


def markdown(
    name: str, table: PaperTable, epochs: list[int], measured: dict[str, list[tuple[int, float, float]]], pictures: int
) -> str:
    """The paper's figures beside ours; colour with the grey picture's."""
    is_colour = table.script is colorize
    columns = [
        "epochs",
        "the paper, as printed",
        "its recipe here",
        "the shipped recipe" + (", encoder pretrained" if is_colour else ""),
        *(["grey picture"] if is_colour else []),
    ]
    lines = [
        f"Table {name}: {table.title}, {pictures} training pictures",
        "",
        f"| {' | '.join(columns)} |",
        "| --- " * len(columns) + "|",
    ]
    for epoch in epochs:
        cells = [str(epoch), f"{table.printed[epoch]:.2f}"]
        found = [at_epoch(measured[kind], epoch, max(epochs)) for kind in ("paper", "shipped")]
        cells += [f"{psnr:.2f}" for psnr, _ in found]
        cells += [f"{found[0][0] - found[0][1]:.2f}"] if is_colour else []
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def at_epoch(measured: list[tuple[int, float, float]], epoch: int, epochs: int) -> tuple[float, float]:
    """The PSNR and gain of the validation nearest to an epoch of a finished run."""
    last = measured[-1][0]
    _, psnr, gain = min(measured, key=lambda found: abs(found[0] - last * epoch / epochs))
    return psnr, gain


if __name__ == "__main__":
    main()
