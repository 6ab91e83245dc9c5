"""A training run of a few seconds: a tiny denoiser on pictures made here; also a program, for several processes."""

import dataclasses
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch.utils.tensorboard  # noqa: F401  # here, so that a fork need not: it takes as long as the run itself
from accelerate.utils import set_seed
from datasets import Dataset, Features, Image
from PIL import Image as PILImage
from torch import Generator, Tensor, nn

from restore.models.denoiser import Denoiser
from restore.models.hub import HubModel
from train.data import Pictures, PictureStream, View
from train.denoise import DenoiseRecipe, DenoiseTask
from train.loop import fit
from train.recipe import run

SIDE = 16  # of the pictures
RECIPE = DenoiseRecipe(
    batch_size=3, steps=9, warmup=2, noise="photo", validation_pictures=5, validate_every=4, checkpoint_minutes=0, seed=1
)
TINY: dict[str, Any] = {"widths": (8, 16), "depths": (1, 1)}
KILL_AT = "SMALL_TRAINING_KILL_AT"  # "RANK:BATCH": the rank dies in that batch of its own


def picture(seed: int, side: int = SIDE) -> PILImage.Image:
    """A smooth coloured picture."""
    colours = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return PILImage.fromarray(colours).resize((side, side), PILImage.Resampling.BICUBIC)


def png(seed: int, side: int = SIDE) -> bytes:
    buffer = io.BytesIO()
    picture(seed, side).save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(folder: Path, train: int = 20, validation: int = 5) -> Path:
    """A folder of pictures as a user has it: FOLDER/train and FOLDER/validation."""
    for name, seeds in (("train", range(train)), ("validation", range(1000, 1000 + validation))):
        (folder / name).mkdir(parents=True)
        for seed in seeds:
            (folder / name / f"{seed:04d}.png").write_bytes(png(seed))
    return folder


def split(files: list[bytes]) -> Dataset:
    rows = {"image": [{"bytes": file, "path": None} for file in files]}
    return Dataset.from_dict(rows, Features({"image": Image(decode=False)}))


TRAIN, VALIDATION = (split([png(seed) for seed in seeds]) for seeds in (range(20), range(1000, 1005)))


class StoppedError(Exception):
    """The run was stopped on purpose."""


def stop() -> None:
    raise StoppedError


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class StoppingTask(DenoiseTask):
    """A denoiser's task that does something else first in a chosen batch."""

    def __init__(self, recipe: DenoiseRecipe, stop_at: int, act: Callable[[], None]):
        super().__init__(recipe)
        self.batch, self.stop_at, self.act = 0, stop_at, act

    def loss(self, model: nn.Module, clean: Tensor, generator: Generator) -> Tensor:
        self.batch += 1
        if self.batch == self.stop_at:
            self.act()
        return super().loss(model, clean, generator)


def train(
    out: Path,
    *,
    stop_at: int = 0,
    act: Callable[[], None] = stop,
    network: dict[str, Any] = TINY,
    data: tuple[Pictures | PictureStream, Any] | None = None,
    **changes: Any,
) -> HubModel:
    """Train as RECIPE says but for `changes`; in the batch `stop_at` comes an end, or another `act`."""
    recipe = dataclasses.replace(RECIPE, out=str(out), **changes)
    rank, _, batch = os.environ.get(KILL_AT, "-1:0").partition(":")
    if os.environ.get("RANK") == rank:
        stop_at, act = int(batch), die
    task = StoppingTask(recipe, stop_at, act)
    set_seed(recipe.seed)
    pictures, validation = data or (Pictures(TRAIN, View(turns=True, seed=recipe.seed)), VALIDATION)
    return fit(recipe, Denoiser(**network), pictures, validation, task)


def main(recipe: DenoiseRecipe) -> None:
    changes = {name: value for name, value in dataclasses.asdict(recipe).items() if value != getattr(RECIPE, name)}
    train(Path(changes.pop("out")), **changes)
    names = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    if any("gloo" in name for name in names):
        raise RuntimeError(f"the process group outlives the run, so that its threads may abort the exit: {names}")


if __name__ == "__main__":
    run(main, {"small": RECIPE})
