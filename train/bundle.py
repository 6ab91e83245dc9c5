"""Bundle the averaged weights of a run's newest checkpoint: `python -m train.bundle runs/denoiser-photo denoiser-photo`.

Writes restore/weights/NAME with the weights in half precision, their config and card, and the checksums that loading compares.
"""

import argparse
from pathlib import Path

import torch

from restore.models.colorizer import Colorizer
from restore.models.denoiser import Denoiser
from restore.models.hub import CHECKSUMS, CONFIG, SAFETENSORS, WEIGHTS, HubModel, checksum
from train import checkpoint
from train.card import Training, save_card
from train.colorize import ColorizeRecipe
from train.denoise import DenoiseRecipe

LARGEST = 10_000_000  # bytes of a weights file


def averaged_model(run: Path) -> tuple[HubModel, Training]:
    """The averaged weights of the newest whole checkpoint of a run, and how they came about."""
    found = checkpoint.load_newest(run)
    if found is None:
        raise SystemExit(f"{run} holds no whole checkpoint")
    tensors, numbers = found
    is_denoiser = "noise" in numbers["recipe"]
    recipe = (DenoiseRecipe if is_denoiser else ColorizeRecipe)(**numbers["recipe"])
    model = (Denoiser if is_denoiser else Colorizer)(**numbers["config"])
    prefix = "ema." if recipe.ema else "model."
    model.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)})
    return model.eval(), Training.of(recipe, model, numbers["step"], numbers["measures"], numbers["before"])


def bundle(run: Path, name: str) -> Path:
    """Write the weights of `run` to restore/weights/`name`."""
    model, training = averaged_model(run)
    size = sum(tensor.numel() for tensor in model.state_dict().values()) * torch.float16.itemsize
    if size > LARGEST:
        raise SystemExit(f"{name} would have {size:,} bytes, over {LARGEST:,}")
    folder = WEIGHTS / name
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.float16).save_pretrained(folder)
    (folder / SAFETENSORS).chmod(0o644)  # safetensors makes its files private
    write_checksums()
    save_card(folder, name, training)
    return folder


def write_checksums() -> None:
    """SHA-256 of every bundled file that loading reads, in the format of sha256sum."""
    sums = [
        f"{checksum(path)}  {path.relative_to(WEIGHTS).as_posix()}"
        for path in sorted((*WEIGHTS.glob(f"*/{CONFIG}"), *WEIGHTS.glob(f"*/{SAFETENSORS}")))
    ]
    (WEIGHTS / CHECKSUMS).write_text("\n".join(sums) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    options = parser.parse_args()
    print(bundle(options.run, options.name))
