"""Bundle the averaged weights of a run's newest checkpoint: `python -m train.bundle runs/denoiser-photo denoiser-photo`.

Writes restore/weights/NAME with the weights in half precision, their config and card, and the checksums that loading compares.
With `--mean NETWORK ...` they are the mean of the run's and of these, bundled or in folders (Model soups, Wortsman et al., 2022).
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub.errors import HfHubHTTPError

from restore.models.colorizer import Colorizer
from restore.models.denoiser import Denoiser
from restore.models.hub import CHECKSUMS, CONFIG, SAFETENSORS, WEIGHTS, HubModel, WeightsError, checksum
from train import checkpoint
from train.card import Training, recorded, save_card
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
    processes = numbers.get("processes", 1)
    return model.eval(), Training.of(recipe, model, numbers["step"], numbers["measures"], numbers["before"], processes)


def bundle(run: Path, name: str, others: Sequence[str] = ()) -> Path:
    """Write the weights of `run`, or their mean with those of `others`, to restore/weights/`name`."""
    model, training = averaged_model(run)
    set_to_mean(model, [type(model).from_pretrained(other) for other in others])
    training = dataclasses.replace(training, mean_with=[stage for other in others for stage in stages(other)])
    size = sum(tensor.numel() for tensor in model.state_dict().values()) * torch.float16.itemsize
    if size > LARGEST:
        raise SystemExit(f"{name} would have {size:,} bytes, over {LARGEST:,}")
    folder = WEIGHTS / name
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.float16).save_pretrained(folder)
    write_checksums()
    save_card(folder, name, training)
    return folder


def set_to_mean(model: HubModel, others: Sequence[HubModel]) -> None:
    """Give a network the mean of its own weights and those of others, which must have gone on from a common start.

    Raises WeightsError where they are of another shape.
    """
    states = [network.float().state_dict() for network in (model, *others)]
    shapes, *other_shapes = ({name: tensor.shape for name, tensor in state.items()} for state in states)
    if any(shapes != other for other in other_shapes):
        raise WeightsError("a mean needs networks of one shape: one of these has more blocks or channels than another")
    names = [name for name, tensor in states[0].items() if tensor.is_floating_point()]
    means = {name: torch.stack([state[name] for state in states]).mean(0) for name in names}
    model.load_state_dict(states[0] | means)


def stages(name: str) -> list[str]:
    """The run that a network comes from, a line each if it is a mean; none where no record is at hand."""
    training = recorded(name)
    return [training.stage, *training.mean_with] if training else []


def write_checksums() -> None:
    """SHA-256 of every bundled file that loading reads, in the format of sha256sum."""
    sums = [
        f"{checksum(path)}  {path.relative_to(WEIGHTS).as_posix()}"
        for path in sorted((*WEIGHTS.glob(f"*/{CONFIG}"), *WEIGHTS.glob(f"*/{SAFETENSORS}")))
    ]
    (WEIGHTS / CHECKSUMS).write_text("\n".join(sums) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--mean", nargs="+", default=[], help="names or folders of networks from the same start")
    options = parser.parse_args()
    try:
        print(bundle(options.run, options.name, options.mean))
    except (checkpoint.CheckpointError, WeightsError, HfHubHTTPError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
