"""Small networks, pictures and processes for the tests of folders and data sets."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from restore.models.denoiser import Denoiser


def save_network(folder: Path) -> str:
    """A small denoiser, not trained."""
    torch.manual_seed(1)
    Denoiser(widths=(4, 8), depths=(1, 1)).save_pretrained(folder)
    return str(folder)


def save_pictures(folder: Path, count: int, side: int = 24) -> list[Path]:
    """Pictures that differ, half of them in a folder below."""
    paths = [folder / ("more" if number % 2 else ".") / f"{number:02d}.png" for number in range(count)]
    draw = np.random.default_rng(0)
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (side, side + 8, 3), dtype=np.uint8)).save(path)
    return paths


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its name, temporary ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def start(*arguments: str, rank: int = 0, world_size: int = 1) -> "subprocess.Popen[str]":
    """`python -m restore`, as one of the processes that torchrun would start; the leader of a group, as a terminal makes it."""
    environment = os.environ | {"RANK": str(rank), "WORLD_SIZE": str(world_size)}
    command = [sys.executable, "-m", "restore", *arguments]
    return subprocess.Popen(  # noqa: S603  # our own words
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
