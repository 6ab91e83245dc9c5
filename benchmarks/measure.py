"""Seconds, memory and arithmetic of a piece of work, on Linux."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from restore.memory import trim

Work = Callable[[], Any]


def seconds_of(work: Work) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def seconds_in_turn(works: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Seconds of each piece of work in each round, in turn, so that a busy machine slows all; a first round is not counted."""
    found = [{name: seconds_of(work) for name, work in works.items()} for _ in range(rounds + 1)]
    return {name: [times[name] for times in found[1:]] for name in works}


def peak_megabytes(work: Work) -> float:
    """By how much the process grew, at most, while it worked."""
    trim()
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew; see proc(5)
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / 1e3


def _status(key: str) -> int:
    """A line of /proc/self/status in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


@contextmanager
def stage_seconds(stages: Sequence[tuple[Any, str]]) -> Iterator[dict[str, float]]:
    """The seconds spent within some functions, each given by its module or class and its name."""
    spent = {name: 0.0 for _, name in stages}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                spent[name] += time.perf_counter() - start

        return run

    patches = [patch.object(owner, name, timed(name, getattr(owner, name))) for owner, name in stages]
    for each in patches:
        each.start()
    try:
        yield spent
    finally:
        for each in patches:
            each.stop()


def flops_a_pixel(model: nn.Module, side: int = 512) -> float:
    """Multiplications and additions of a network for each pixel of a picture."""
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        model(torch.rand(1, 3, side, side))
    total: int = counter.get_total_flops()
    return total / side**2


def matmul_gflops(dtype: torch.dtype, sizes: Sequence[int] = (1024, 2048, 4096), repeats: int = 5) -> float:
    """The machine's peak at multiplying matrices of `dtype`, with which the networks' arithmetic can be compared."""

    def rate(size: int) -> float:
        a, b = torch.rand(size, size).to(dtype), torch.rand(size, size).to(dtype)
        seconds = min(seconds_of(lambda: _multiply(a, b)) for _ in range(repeats))
        return 2 * size**3 / seconds / 1e9

    return max(rate(size) for size in sizes)


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    return a @ b
