"""ZeroGPU: on that hardware a Space is lent a GPU for each job, which runs in a process of its own; elsewhere nothing changes."""

import os
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from web.choices import Report, TooSlowError

T = TypeVar("T")
IS_LENT = bool(os.environ.get("SPACES_ZERO_GPU"))  # set by the Hub on that hardware, which brings the package `spaces`
LONGEST = 120  # seconds that many pictures ask for a GPU; the Hub ends the job after them
BRIEF = 60  # that one picture asks for: a job begins only where as much is left of the visitor's quota
WITHOUT_NETWORKS = ("brush.open_canvas",)  # jobs that need no GPU
MARGIN = 10  # seconds of them in which the last picture is saved


def run(work: Callable[[Report], T], report: Report) -> T:
    """Do the work here, or where the lent GPU is: there it cannot report, and goes and returns by pickle."""
    if not IS_LENT or getattr(work, "name", "") in WITHOUT_NETWORKS:
        return work(report)
    result, error = _on_lent_gpu(work)
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]  # what comes back from another process


def seconds_for(work: Callable[[Report], Any]) -> int:
    """How long a GPU is asked for: for as long as may be where there are many pictures."""
    return LONGEST if getattr(work, "name", "").startswith(("batch.", "compare.")) else BRIEF


def _away(work: Callable[[Report], Any]) -> tuple[Any, Exception | None]:
    """The result, or the error that the visitor can mend, which the package would put into words of its own."""
    start, limit = time.monotonic(), seconds_for(work)

    def report(fraction: float) -> None:  # it cannot leave the process
        if time.monotonic() - start > limit - MARGIN and fraction < 1:
            raise TooSlowError(limit - MARGIN)

    try:
        return work(report), None
    except (ValueError, TooSlowError) as error:
        return None, error


_on_lent_gpu = import_module("spaces").GPU(_away, duration=seconds_for) if IS_LENT else _away
