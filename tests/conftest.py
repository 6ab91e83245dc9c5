"""One thread a worker, and what several test files draw from."""

import atexit
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

# Before those who read it are imported: nothing goes to the user's own caches, and a GPU would round otherwise.
TEMPORARY = os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="photo-restorer-tests-")
os.environ["HF_DATASETS_CACHE"] = f"{TEMPORARY}/datasets"
os.environ["ACCELERATE_USE_CPU"] = "true"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, Tensor

atexit.register(shutil.rmtree, TEMPORARY, ignore_errors=True)
torch.set_num_threads(1)  # the workers of pytest-xdist share the cores

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def generator() -> Generator:
    return Generator().manual_seed(0)


@pytest.fixture  # for each test anew: a test may write into its own
def photos() -> Tensor:
    """Three crops of the example photographs, (3, 3, 96, 80)."""
    crops = [
        np.asarray(Image.open(EXAMPLES / f"{name}.png").convert("RGB"))[80:176, 90:170] for name in ("balloon", "dish", "egret")
    ]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255


@pytest.fixture
def new_process() -> Iterator[Executor]:
    """Runs a function in a process of its own, whose heap no other test has left holes in."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool
