"""What every training run is told; each field is a flag, and a named recipe is a set of defaults."""

import argparse
import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeVar, get_type_hints

from huggingface_hub.errors import HfHubHTTPError

from restore.models.hub import HubModel, WeightsError


class TrainingError(RuntimeError):
    """What stops a run for a reason that its user can mend; the message is one line and names it."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training run. A subclass adds what only its task knows."""

    script: ClassVar[str]  # what trains by this recipe

    dataset: str = "uoft-cs/cifar10"  # Hub id or local folder
    training_pictures: int = 0  # the first so many of the training split; 0 takes all
    streaming: bool = False  # read the data set as training goes, for one that does not fit the disk
    patch: int = 0  # side of random crops in pixels; 0 trains on whole pictures, all of one size
    resize: int = 0  # short side in pixels that larger pictures are reduced to before the crop; 0 keeps them
    batch_size: int = 128  # pictures per process and step
    accumulate: int = 1  # batches per optimizer step
    epochs: float = 20  # passes over the training split; ignored where steps is given
    steps: int = 0  # optimizer steps
    optimizer: Literal["adam", "adamw", "muon"] = "adamw"  # the last two decay the weights, by a hundredth of the rate
    lr: float = 1e-3  # learning rate at its peak
    schedule: Literal["cosine", "exponential"] = "cosine"  # falls to zero, or is lr * exp(-beta * epoch), equation 5 of the paper
    beta: float = 0.05  # decay an epoch of the exponential schedule
    warmup: int = 200  # steps of linear warm-up
    clip_norm: float = 1.0  # norm that a larger gradient is reduced to; 0 for none
    ema: float = 0.999  # decay of the averaged weights, which are the ones saved; 0 for none
    mixed_precision: Literal["", "no", "fp16", "bf16"] = ""  # empty: what accelerate was configured with
    workers: int = 0  # loader processes
    seed: int = 0  # seed of the weights, the order of the pictures, their crops and their noise
    validation_pictures: int = 500  # of the validation split, always the same; a stream's first
    validate_every: int = 1000  # steps between validations
    checkpoint_minutes: float = 5.0  # between checkpoints, the most that a crash loses
    init: str = ""  # start from these weights: a bundled name, folder or Hub id
    grow: bool = False  # train --network, beginning as the smaller one of --init; otherwise one of its size is trained
    resume: bool = False  # go on from the newest checkpoint in out
    out: str = "runs/model"  # checkpoints, logs and the finished weights
    push_to: str = ""  # "user/repo"; empty keeps the weights local
    private: bool = False  # keep the repository of push_to from the public

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulate", "validation_pictures", "validate_every"):
            if getattr(self, name) < 1:
                raise TrainingError(f"--{name} must be 1 or more, not {getattr(self, name)}")
        for name in (
            "steps",
            "training_pictures",
            "patch",
            "resize",
            "warmup",
            "clip_norm",
            "workers",
            "seed",
            "checkpoint_minutes",
        ):
            if getattr(self, name) < 0:
                raise TrainingError(f"--{name} must be 0 or more, not {getattr(self, name)}")
        for name in ("lr", "epochs"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"--{name} must be more than 0, not {getattr(self, name)}")
        if self.grow and not self.init:
            raise TrainingError("--grow needs the weights to grow from: --init")
        if not 0 <= self.ema < 1:
            raise TrainingError(f"--ema must be from 0 to below 1, not {self.ema}")

    def _check_shares(self, *names: str) -> None:
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(f"--{name} must be from 0 to 1, not {getattr(self, name)}")


R = TypeVar("R", bound=Recipe)
M = TypeVar("M", bound=HubModel)


def initial(kind: type[M], recipe: Recipe) -> M:
    """The network with the weights of the recipe's `init`. Raises TrainingError where they cannot be had."""
    try:
        return kind.from_pretrained(recipe.init)
    except (WeightsError, HfHubHTTPError, OSError) as error:
        raise TrainingError(f"--init: {' '.join(str(error).split())}") from error


def parse(named: Mapping[str, R], argv: list[str] | None = None) -> R:
    """Read `--recipe NAME` and a flag for any field of it."""
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--recipe", choices=list(named), default=next(iter(named)), help="the defaults of the other flags")
    chosen = named[first.parse_known_args(argv)[0].recipe]

    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(parents=[first], description=type(chosen).__doc__, formatter_class=formatter)
    notes, kinds = comments(type(chosen)), get_type_hints(type(chosen))
    for field in dataclasses.fields(chosen):
        flag, kind = "--" + field.name, kinds[field.name]
        told: dict[str, Any] = {"default": getattr(chosen, field.name), "help": notes.get(field.name)}
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, **told)
        elif hasattr(kind, "__args__"):
            parser.add_argument(flag, choices=kind.__args__, **told)
        else:
            parser.add_argument(flag, type=kind, **told)
    values = vars(parser.parse_args(argv))
    del values["recipe"]
    return type(chosen)(**values)


def comments(recipe: type[Recipe]) -> dict[str, str]:
    """The comment behind each field of a recipe, which is its help as well."""
    lines = (line for kind in reversed(recipe.__mro__[:-1]) for line in inspect.getsource(kind).splitlines())
    found = (re.match(r" {4}(\w+): .*?  # (.+)", line) for line in lines)
    return {match[1]: match[2].replace("%", "%%") for match in found if match}


def run(main: Callable[[R], None], named: Mapping[str, R]) -> None:
    """Train as the command line says; a TrainingError ends the program with its one line."""
    try:
        main(parse(named))
    except TrainingError as error:
        line = str(error).splitlines()[-1]  # a loader's worker puts its traceback before it
        raise SystemExit(f"error: {line}") from None
