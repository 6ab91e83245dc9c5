"""The rulers of the benchmarks measure what they say."""

import sys
from concurrent.futures import Executor
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmarks import measure


def test_the_arithmetic_of_a_convolution_is_its_formula() -> None:
    model = nn.Conv2d(3, 8, 5, padding=2, bias=False)
    assert measure.flops_a_pixel(model, side=32) == pytest.approx(2 * 3 * 8 * 5 * 5)


def hold(*megabytes: int) -> None:
    for size in megabytes:
        held = torch.ones(size * 250_000)  # 4 bytes each
        del held


def peaks() -> list[float]:
    return [measure.peak_megabytes(partial(hold, *sizes)) for sizes in ((200, 400, 200), (100,))]


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is Linux's")
def test_the_peak_is_the_most_that_is_held_at_once(new_process: Executor) -> None:
    several, one = new_process.submit(peaks).result()
    assert several == pytest.approx(400, abs=30)
    assert one == pytest.approx(100, abs=30)  # not that of the work before


def test_stages_are_timed_and_put_back() -> None:
    room = SimpleNamespace(step=lambda x: x + 1)
    original = room.step
    with measure.stage_seconds([(room, "step")]) as spent:
        assert room.step(1) == 2
        assert room.step(x=2) == 3
    assert room.step is original
    assert spent["step"] > 0


def test_work_is_done_in_turn_and_the_first_round_is_for_warming_up() -> None:
    calls: list[str] = []
    seconds = measure.seconds_in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert [len(times) for times in seconds.values()] == [2, 2]
