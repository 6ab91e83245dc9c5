"""The modules that need torch, imported when they are first asked for, as `later.work` and so on.

Torch and its company take as long to import as everything else together. So the page is served first, and a thread asks for these
while the visitor looks for a photo; a job that comes sooner waits for them.
"""

from importlib import import_module
from typing import Any

MODULES = ("work", "brush", "batch", "compare")


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(name)
    return import_module(f"web.{name}")
