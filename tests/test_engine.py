"""Pictures among processes: whoever dies, each picture is done once or its end is told, and signals are heard all the while."""

import _thread
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image

from restore import engine
from restore.engine import Done, Task
from restore.images import Picture, open_picture

DEADLY = -1.0  # an item that kills the process it comes to


@dataclass(frozen=True)
class Nap(Task[float, int]):
    """Reading takes as many seconds as the item says; the result is who has done it."""

    def read(self, item: float) -> Picture:
        if item == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(item)
        return open_picture(Image.new("L", (8, 8)))

    def write(self, image: Image.Image, item: float) -> int:  # noqa: ARG002
        return os.getpid()


def unchanged(picture: Picture, progress: Callable[[float], object], in_place: bool) -> Image.Image:  # noqa: ARG001
    return picture.to_pil(picture.rgb)


TASK = Nap(unchanged, max_pixels=100, keep_gps=False)


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    """Let what hangs fail."""
    watch = threading.Timer(60, _thread.interrupt_main)
    watch.start()
    yield
    watch.cancel()


def test_what_fails_leaves_nothing_in_memory() -> None:
    """Not even until the next picture is in the network."""
    pictures: list[weakref.ref[Picture]] = []
    kept: list[bool] = []

    def work(picture: Picture, progress: Callable[[float], object], in_place: bool) -> Image.Image:  # noqa: ARG001
        kept.extend(known() is not None for known in pictures)
        pictures.append(weakref.ref(picture))
        error = ValueError("broken")
        raise error from error

    failed: list[float] = []

    def settle(item: float, outcome: Callable[[], Done[int]]) -> None:
        with pytest.raises(ValueError, match="broken"):
            outcome()
        failed.append(item)

    engine.run([0.0, 0.01, 0.02], Nap(work, max_pixels=100, keep_gps=False), settle, lambda _: None, 1)
    assert failed == [0.0, 0.01, 0.02]
    assert not any(kept)


def run(items: list[float], on_result: Callable[[int], None] = lambda _: None) -> dict[float, str]:
    """What became of each item in two processes: "done", or the error."""
    outcomes: dict[float, str] = {}

    def settle(item: float, outcome: Callable[[], Done[int]]) -> None:
        assert item not in outcomes
        try:
            process = outcome().result
        except RuntimeError as error:
            outcomes[item] = str(error)
        else:
            outcomes[item] = "done"
            on_result(process)

    engine.run(items, TASK, settle, lambda _: None, processes=2)
    return outcomes


def test_a_picture_that_kills_its_process_costs_no_other() -> None:
    outcomes = run([0.0, 0.1, DEADLY, 0.2, 0.3])
    assert "its process was killed" in outcomes.pop(DEADLY)
    assert set(outcomes.values()) == {"done"}
    assert len(outcomes) == 4


@pytest.mark.parametrize("number", [1, 2])
def test_an_idle_process_that_is_killed_holds_nobody_up(number: int) -> None:
    """It may wait for work under a lock, which nobody gets any more."""
    seen: list[int] = []

    def kill_one(process: int) -> None:
        seen.append(process)
        if len(seen) == number:
            time.sleep(0.2)  # by then it waits
            os.kill(process, signal.SIGKILL)

    assert run([0.7, 1.4], kill_one) == {0.7: "done", 1.4: "done"}
    assert len(seen) >= number


def test_signals_are_heard_while_processes_start(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = []
    submit = ProcessPoolExecutor.submit

    def listening(*arguments: Any) -> Any:
        handlers.extend(signal.getsignal(number) for number in engine.STOPS)
        return submit(*arguments)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", listening)
    run([0.0])
    assert handlers
    assert signal.SIG_IGN not in handlers
