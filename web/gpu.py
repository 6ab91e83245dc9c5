"""ZeroGPU: on that hardware a Space is lent a GPU for each job, which runs in a process of its own; elsewhere nothing changes."""

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from web.choices import Report

T = TypeVar("T")
IS_LENT = bool(os.environ.get("SPACES_ZERO_GPU"))  # set by the Hub on that hardware, which brings the package `spaces`
LONGEST = 120  # seconds that a GPU is asked for; the Hub ends the job after them


def run(work: Callable[[Report], T], report: Report) -> T:
    """Do the work here, or where the lent GPU is: there it cannot report, and goes and returns by pickle."""
    if not IS_LENT:
        return work(report)
    result, error = _on_lent_gpu(work)
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]  # what comes back from another process


def _away(work: Callable[[Report], Any]) -> tuple[Any, ValueError | None]:
    """The result, or the error that the visitor can mend, which the package would put into words of its own."""
    try:
        return work(_unheard), None
    except ValueError as error:
        return None, error


def _unheard(fraction: float) -> None:
    """Take a report that cannot leave the process."""


_on_lent_gpu = import_module("spaces").GPU(_away, duration=LONGEST) if IS_LENT else _away
