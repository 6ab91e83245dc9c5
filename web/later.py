"""The modules that need torch, imported when they are first asked for, as `later.work` and so on.

Torch and its company take as long to import as everything else together. So the page is served first, and a thread asks for these
while the visitor looks for a photo; a job that comes sooner waits for them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from web.choices import Report

MODULES = ("work", "brush", "batch", "compare")


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(name)
    return import_module(f"web.{name}")


@dataclass(frozen=True)
class Job:
    """A call to be made later, maybe in another process: a function by its dotted name, and its arguments."""

    name: str
    arguments: tuple[Any, ...]

    def __call__(self, report: Report) -> Any:
        module, function = self.name.split(".")
        return getattr(__getattr__(module), function)(*self.arguments, report)


def job(name: str, *arguments: Any) -> Callable[[Report], Any]:
    """`job("work.add_noise", a, b)(report)` is `later.work.add_noise(a, b, report)`."""
    return Job(name, arguments)
