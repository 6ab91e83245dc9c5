"""What a user of the Hub does, in a process of its own, since the Hub's address is read at import: `hub_client.py TASK FOLDER`.

Prints what happened as JSON; test_hub.py judges it.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset
from huggingface_hub import HfApi, ModelCard, hf_hub_download
from small_training import TINY
from torch import Generator

from restore.models.denoiser import Denoiser
from train import denoise
from train.publish import claim, publish
from train.recipe import TrainingError, parse

DATASET, REPOSITORY, PRIVATE = "uoft-cs/cifar10", "tester/small", "tester/hidden"


def output(name: str | Path, **options: Any) -> list[float]:
    """What a denoiser makes of a fixed picture."""
    noisy = torch.rand(1, 3, 9, 7, generator=Generator().manual_seed(0))
    with torch.inference_mode():
        result: list[float] = Denoiser.from_pretrained(name, **options)(noisy).flatten().tolist()
    return result


def train(folder: Path, *flags: str) -> str:
    """Train for two steps on the Hub's data set; what it said, or its error."""
    start = folder / "start"
    Denoiser(**TINY).save_pretrained(start)
    arguments = ["--dataset", DATASET, "--init", str(start), "--steps", "2", "--batch_size", "4", "--validation_pictures", "4"]
    return outcome(denoise.main, parse(denoise.RECIPES, [*arguments, *flags]))


def outcome(function: Callable[..., Any], *arguments: Any) -> str:
    """The line of a TrainingError, the name of another error, or nothing."""
    try:
        function(*arguments)
    except TrainingError as error:
        return f"error: {error}"
    except (ValueError, OSError) as error:
        return type(error).__name__
    return ""


def round_trip(folder: Path) -> dict[str, Any]:
    """Train from the Hub, push to it, load from it, at two revisions."""
    said = train(folder, "--out", str(folder / "run"), "--push_to", REPOSITORY)
    HfApi().create_tag(REPOSITORY, tag="v1")
    Denoiser(**TINY).save_pretrained(folder / "run/final")
    publish(folder / "run/final", REPOSITORY)
    by_mixin = Denoiser(**TINY)
    by_mixin.push_to_hub("tester/by-mixin")
    by_mixin.save_pretrained(folder / "by-mixin")
    return {
        "said": said,
        "trained": output(folder / "run/final"),
        "main": output(REPOSITORY),
        "v1": output(REPOSITORY, revision="v1"),
        "pushed by mixin": output(folder / "by-mixin"),
        "by mixin": output("tester/by-mixin"),
        "streamed": len(list(load_dataset(DATASET, split="test", streaming=True))),
        "card": ModelCard.load(REPOSITORY).content,
        "metrics": [result.metric_value for result in ModelCard.load(REPOSITORY).data.eval_results],
        "no repository": outcome(output, "tester/nothing"),
        "no revision": outcome(lambda: output(REPOSITORY, revision="v2")),
        "no file": outcome(hf_hub_download, REPOSITORY, "nothing.json"),
        "no weights": outcome(output, "tester/empty"),
    }


def run_module(name: str, *arguments: str) -> None:
    """As the README has it: python -m NAME."""
    subprocess.run([sys.executable, "-m", name, *arguments], stdout=subprocess.DEVNULL, check=True)  # noqa: S603


def refusal(name: str, *arguments: str) -> str:
    """What such a command says to that."""
    done = subprocess.run([sys.executable, "-m", name, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    return done.stderr.strip()


def private(folder: Path) -> dict[str, Any]:
    """Publish bundled weights to a private repository, and what goes wrong."""
    run_module("train.publish", "denoiser-cifar10", PRIVATE, "--private")
    Denoiser(**TINY).save_pretrained(folder / "by-hand")
    return {
        "same": output(PRIVATE) == output("denoiser-cifar10"),
        "card": ModelCard.load(PRIVATE).content,
        "again": outcome(claim, PRIVATE, True),
        "without a token": outcome(lambda: output(PRIVATE, token=False, cache_dir=folder / "a stranger's")),
        "public already": outcome(claim, "tester/empty", True),
        "not mine": outcome(claim, "other/repo", False),
        "no such weights": outcome(publish, folder / "nothing", PRIVATE),
        "without a record": refusal("train.publish", str(folder / "by-hand"), "tester/unmade"),
    }


def torn(folder: Path) -> dict[str, Any]:
    """Train and push where the Hub refuses the upload, then do as the error says."""
    run = folder / "torn"
    return {
        "said": train(folder, "--out", str(run), "--push_to", "tester/torn"),
        "sent again": outcome(publish, run / "final", "tester/torn"),
        "trained": output(run / "final"),
        "main": output("tester/torn"),
    }


def refused(folder: Path) -> dict[str, Any]:
    """With a token that may only read."""
    return {
        "claimed": outcome(claim, "tester/new", False),
        "claimed again": outcome(claim, "tester/empty", False),
        "published": outcome(publish, "denoiser-cifar10", "tester/empty"),
        "trained": train(folder, "--out", str(folder / "refused"), "--push_to", "tester/new"),
    }


def alone(folder: Path) -> dict[str, Any]:
    """With the server gone."""
    return {
        "v1": output(REPOSITORY, revision="v1"),
        "main": output(REPOSITORY),
        "published": outcome(publish, folder / "run/final", REPOSITORY),
        "pictures": train(folder, "--out", str(folder / "alone")),
    }


if __name__ == "__main__":
    result = {task.__name__: task for task in (round_trip, private, torn, refused, alone)}[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps(result))
