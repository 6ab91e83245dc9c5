"""One job at a time: the lock over all endpoints, cancelling, time limits, and errors that a visitor can read."""

import asyncio
import html
import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import gradio as gr

from web import gpu
from web.choices import Report, TooSlowError

logger = logging.getLogger(__name__)

QUEUE_SIZE = 30  # visitors waiting, a minute or so with photos of a megapixel; the next is told to try again
MAX_JOB_SECONDS = 600

T = TypeVar("T")

_turn = threading.Lock()  # gradio frees its slot on a cancel while the thread goes on; this one is free when the work has ended


class StoppedError(Exception):
    """The visitor has cancelled or left."""


class Visitors:
    """The running jobs of each session, so that a closed page stops its own jobs and no other's."""

    def __init__(self) -> None:
        self._stops: dict[str, set[threading.Event]] = {}
        self._lock = threading.Lock()

    def enter(self, session: str, stop: threading.Event) -> None:
        with self._lock:
            self._stops.setdefault(session, set()).add(stop)

    def leave(self, session: str, stop: threading.Event) -> None:
        with self._lock:
            self._stops[session].discard(stop)
            if not self._stops[session]:
                del self._stops[session]

    def stop(self, session: str) -> None:
        with self._lock:
            for stop in self._stops.get(session, ()):
                stop.set()


visitors = Visitors()


def stop_jobs(request: gr.Request) -> None:
    """Stop what this visitor has running; called when the page is closed."""
    visitors.stop(str(request.session_hash))


def run_alone(work: Callable[[], None]) -> None:
    """Do something of the server's own, such as loading the networks, as if it were a job."""
    with _turn:
        work()


async def run_job(work: Callable[[Report], T], request: gr.Request, progress: gr.Progress) -> T:
    """Run `work(report)` in a thread when its turn comes; cancelling the coroutine, as gradio does, stops the thread too."""
    stop, session = threading.Event(), str(request.session_hash)
    visitors.enter(session, stop)
    try:
        return await asyncio.to_thread(_take_turn, work, stop, progress)
    except asyncio.CancelledError:
        stop.set()
        raise
    finally:
        visitors.leave(session, stop)


def _take_turn(work: Callable[[Report], T], stop: threading.Event, progress: gr.Progress) -> T:
    """Do the work under the lock, and turn whatever goes wrong into words for the page, which takes them for HTML."""
    progress(0, desc="Waiting for your turn")
    with _turn:
        try:
            report = _reporter(stop, progress)
            report(0.0)
            return gpu.run(work, report)
        except StoppedError:
            raise _told("Stopped, as you asked.") from None
        except TooSlowError as error:
            raise _told(f"Stopped after {error.limit}. Try a smaller picture, or turn Self-ensemble off.") from None
        except gr.Error:  # of ZeroGPU, which has its own words for a quota that is used up
            raise
        except ValueError as error:  # an ImageError, or a setting that does not fit the picture
            raise in_words(error) from None
        except Exception:
            logger.exception("a job failed")
            raise _told("Something broke on our side. Your picture is unharmed; please try again.") from None


def in_words(error: ValueError) -> gr.Error:
    """What the visitor can mend, as the page tells it."""
    return _told(html.escape(str(error)[:1].upper() + str(error)[1:], quote=False))


def _told(message: str) -> gr.Error:
    return gr.Error(message, duration=None, print_exception=False)  # stays until it is closed; two would share one's time


def _reporter(stop: threading.Event, progress: gr.Progress) -> Report:
    start = time.monotonic()

    def report(fraction: float) -> None:
        elapsed = time.monotonic() - start
        if stop.is_set():
            raise StoppedError
        if elapsed > MAX_JOB_SECONDS and fraction < 1:  # what is done needs only saving
            raise TooSlowError(MAX_JOB_SECONDS)
        progress(fraction, desc=_time_left(fraction, elapsed))

    return report


def _time_left(fraction: float, elapsed: float) -> str:
    if fraction >= 1:
        return "Measuring and saving"
    if elapsed < 1 or fraction <= 0:
        return "Working"
    seconds = elapsed / fraction * (1 - fraction)
    return f"About {seconds:.0f} s left" if seconds < 90 else f"About {seconds / 60:.0f} min left"
