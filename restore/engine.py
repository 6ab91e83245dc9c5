"""Many pictures, one after the other, that the cores never wait: shares for machines, processes for cores, threads beside a GPU.

On a CPU each process restores pictures of its own on one thread, since two threads in one network wait for each other: a sixth of
their time on two cores. Thus a result does not depend on how many share the work. With one process, as on a GPU, the next picture
is decoded and the last encoded while one is in the network. Either way few are in memory: one a process, or three.
"""

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any, Generic, NoReturn, TypeVar

import torch
from PIL import Image
from tqdm import tqdm

from restore.images import Picture
from restore.pipeline import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[..., Image.Image]  # picture, progress, in_place

FAILURES = (ValueError, OSError, MemoryError, RuntimeError)  # that one picture may cause; torch's lack of memory is the last
STOPS = (signal.SIGINT, signal.SIGTERM)
# A fork loses the threads that run already, of OpenMP for one: only a server without any may fork, which imports once for all.
START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


@dataclass(frozen=True)
class Share:
    """The part of the work that is this process's, of those that one command started, here and on other machines."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"RANK is {self.index}, which must be from 0 to WORLD_SIZE - 1, {self.count - 1}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Share":
        """What torchrun, accelerate and their like tell each process: RANK and WORLD_SIZE; all the work if nothing does."""
        return cls(int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1")))

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every `count`-th item, so that shares are alike and do not depend on what is done already."""
        return items[self.index :: self.count]


@dataclass(frozen=True)
class Task(ABC, Generic[Item, Result]):
    """What is done to each picture. It is sent to processes, so `work` names its networks instead of holding them."""

    work: Work
    max_pixels: int
    keep_gps: bool

    @abstractmethod
    def read(self, item: Item) -> Picture:
        """Decode a picture."""

    @abstractmethod
    def write(self, image: Image.Image, item: Item) -> Result:
        """Encode what has become of it."""


@dataclass(frozen=True)
class Done(Generic[Result]):
    """What became of a picture, and what the user should know about it."""

    result: Result
    notes: tuple[str, ...]


Settle = Callable[[Item, Callable[[], Done[Result]]], object]


@dataclass
class Tally:
    """What is done and what failed, shown as it comes. The names are those under which the user knows the pictures."""

    total: int | None  # None: not known
    skipped: int = 0
    quiet: bool = False  # show no bar: another process does
    done: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)  # picture and cause

    def __post_init__(self) -> None:
        form = "{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left" if self.total else "{n:.0f} done, {elapsed}, {rate_fmt}"
        self.bar: tqdm[NoReturn] = tqdm(total=self.total, bar_format=form, disable=self.quiet or None)

    def settle(self, name: str, outcome: Callable[[], "Done[Result]"]) -> tuple[Result | None, str]:
        """Count a picture: its result and "" if it is done, None and the cause if it failed, of which one line is said."""
        try:
            done = outcome()
        except FAILURES as error:
            result, cause = None, str(error) or type(error).__name__
            self.failures.append((name, cause))
            say(f"error: {name}: {cause}")
        else:
            result, cause = done.result, ""
            self.done += 1
            for note in done.notes:
                say(f"note: {name}: {note}")
        self.advance(0.0)
        return result, cause

    def advance(self, fraction: float) -> None:
        """Show that a picture is done up to a fraction, beside those that are counted."""
        self.bar.update(max(0.0, self.done + len(self.failures) + fraction - self.bar.n))

    def close(self, stopped: bool = False) -> int:
        """Say how it ended, and give the exit code: 0 all done, 1 a part failed, 2 all failed, 130 stopped."""
        self.bar.close()
        failed = len(self.failures)
        if stopped:
            say(f"stopped: {self.done}{f' of {self.total}' if self.total else ''} done")
            return 130
        if self.done + failed + self.skipped > 1 or self.skipped:
            say(f"{self.done} done, {self.skipped} skipped, {failed} failed")
        if not failed:
            return 0
        return 1 if self.done + self.skipped else 2


def say(line: str) -> None:
    """Write one line to stderr, above the progress bar."""
    tqdm.write("".join(char if char.isprintable() else " " for char in line), file=sys.stderr)


def start_server(modules: Sequence[str] = ()) -> None:
    """Let the server that processes are forked from import `modules` while this process does what it has to do first.

    It and its processes do not hear what stops this one, since they end when they are told to; one that runs is left as it is.
    """
    if START == "forkserver":
        multiprocessing.get_context(START).set_forkserver_preload(list(modules))
        with _ignored(STOPS):
            forkserver.ensure_running()


def run(
    items: Iterable[Item],
    task: Task[Item, Result],
    settle: Settle[Item, Result],
    advance: Progress,
    processes: int,
) -> None:
    """Restore pictures, in any order.

    Args:
        items: Taken one by one, as there is room.
        settle: Called with each item and with what gives its result, or raises what went wrong; from this thread alone.
        advance: Called with the fraction done of the picture in the network, if that is in this process.
        processes: How many; 1 is this one.

    Raises:
        KeyboardInterrupt: It was stopped; what was being written is whole and settled, and the rest has left nothing.
    """
    if processes == 1:
        _run_here(items, task, settle, advance)
        return
    rest = iter(items)
    while suspects := _run_in_processes(rest, task, settle, processes):
        for item in suspects:  # each alone, since any of them may be what a process died of
            if _run_in_processes(iter([item]), task, settle, 1):
                settle(item, _killed)


def _killed() -> NoReturn:
    raise RuntimeError("its process was killed, perhaps for want of memory")


def _run_here(items: Iterable[Item], task: Task[Item, Result], settle: Settle[Item, Result], advance: Progress) -> None:
    """One picture in the network, the next being decoded and the last being encoded."""
    behind: deque[tuple[Item, Future[Done[Result]]]] = deque()

    def catch_up() -> None:
        while behind:
            item, writing = behind.popleft()
            settle(item, writing.result)
            _forget_frames(writing.exception())

    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        readings = ((item, reader.submit(task.read, item)) for item in items)
        ahead = deque(itertools.islice(readings, 1))
        try:
            while ahead:
                item, reading = ahead.popleft()
                ahead.extend(itertools.islice(readings, 1))
                finishing: Future[Done[Result]] = Future()
                try:
                    image, notes = _work(task, reading, advance)
                except FAILURES as error:
                    _forget_frames(error)
                    finishing.set_exception(error)
                del reading  # else the memory of the picture would be kept beside the next
                catch_up()
                if not finishing.done():
                    finishing = writer.submit(_finish, task, image, item, notes)
                    del image
                behind.append((item, finishing))
        finally:
            catch_up()


def _work(task: Task[Item, Result], reading: Future[Picture], advance: Progress) -> tuple[Image.Image, tuple[str, ...]]:
    picture = reading.result()
    return task.work(picture, progress=advance, in_place=True), picture.notes


def _forget_frames(error: BaseException | None) -> None:
    """Let go of what was at hand where an exception came from, such as the picture that failed."""
    known: set[int] = set()
    while error is not None and id(error) not in known:  # one may be its own cause
        known.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _finish(task: Task[Item, Result], image: Image.Image, item: Item, notes: tuple[str, ...]) -> Done[Result]:
    return Done(task.write(image, item), notes)


def _run_in_processes(
    items: Iterator[Item], task: Task[Item, Result], settle: Settle[Item, Result], processes: int
) -> list[Item]:
    """Each process with pictures of its own. If one dies, all end, and the items that they had are given back."""
    context = multiprocessing.get_context(START)
    start_server()
    stop = context.Event()
    life, end_of_life = context.Pipe(duplex=False)
    pending: dict[Future[Done[Result]], Item] = {}
    suspects: list[Item] = []

    def settle_all(futures: Iterable[Future[Done[Result]]]) -> None:
        for future in futures:
            item, error = pending.pop(future), future.exception()
            if isinstance(error, BrokenProcessPool):
                suspects.append(item)
            elif not isinstance(error, KeyboardInterrupt):
                settle(item, future.result)

    try:
        with life, end_of_life, ProcessPoolExecutor(processes, context, _start, (task, stop, life)) as pool:
            try:
                for item in items:
                    try:
                        pending[pool.submit(_perform, item)] = item
                    except BrokenProcessPool:
                        suspects.append(item)
                        break
                    if len(pending) > processes:  # one waits, so that no process has to
                        settle_all(wait(pending, return_when=FIRST_COMPLETED).done)
                    if suspects:
                        break
                settle_all(wait(pending).done)
            except BaseException:
                stop.set()
                settle_all(wait(pending).done)
                raise
            finally:
                end_of_life.close()  # the pool waits for its processes, and they may wait for a lock that a dead one held
    finally:
        settle_all(list(pending))
    return suspects


@contextlib.contextmanager
def _ignored(signals: Sequence[signal.Signals]) -> Iterator[None]:
    handlers = [signal.signal(number, signal.SIG_IGN) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, handlers, strict=True):
            signal.signal(number, handler or signal.SIG_DFL)  # none that Python knows of


# In a process of the pool


_at_work: tuple[Task[Any, Any], Event]


def _start(task: Task[Any, Any], stop: Event, life: Connection) -> None:
    global _at_work
    _at_work = task, stop
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=[life], daemon=True).start()


def _end_with(life: Connection) -> None:
    """End as soon as the process that gives the work closes its end of a pipe or is gone, perhaps killed without a chance to."""
    if (parent := multiprocessing.parent_process()) is not None:
        connection.wait([parent.sentinel, life])
        os._exit(1)


def _perform(item: Any) -> Done[Any]:
    task, stop = _at_work

    def go_on(fraction: float) -> None:  # noqa: ARG001
        if stop.is_set():
            raise KeyboardInterrupt

    go_on(0.0)
    picture = task.read(item)
    image = task.work(picture, progress=go_on, in_place=True)
    return _finish(task, image, item, picture.notes)
