"""Freed memory stays within the process during a job, and goes back to the system after it."""

import os
import platform
from concurrent.futures import Executor
from pathlib import Path

import pytest
import torch

from restore import memory
from restore.memory import trim, warm_pages

glibc_only = pytest.mark.skipif(
    platform.system() != "Linux" or platform.libc_ver()[0] != "glibc", reason="only glibc gives blocks back at once"
)
MEGABYTES = 192  # more than glibc ever keeps by itself


def resident() -> float:
    """Megabytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def fill_and_free() -> None:
    torch.ones(MEGABYTES << 18)


def fill_and_fail() -> None:
    fill_and_free()
    raise RuntimeError("stop")


def check_nested_users() -> None:
    before = resident()
    with warm_pages():
        with warm_pages():
            fill_and_free()
        assert resident() - before > MEGABYTES / 2
    assert resident() - before < MEGABYTES / 2


def check_trim() -> None:
    before = resident()
    with warm_pages():
        fill_and_free()
        trim()
        assert resident() - before < MEGABYTES / 2


def check_error() -> None:
    before = resident()
    with pytest.raises(RuntimeError, match="stop"), warm_pages():
        fill_and_fail()
    assert resident() - before < MEGABYTES / 2


def test_only_linux_is_asked_for_its_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: pytest.fail("it would read the interpreter's file"))
    for system in ("win32", "darwin"):
        monkeypatch.setattr(memory.sys, "platform", system)
        assert memory._glibc() is None


def test_an_older_glibc_gets_a_threshold_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []

    class Older:
        def mallopt(self, option: int, size: int) -> int:
            calls.append((option, size))
            return int(size <= memory._USUAL)

    monkeypatch.setattr(memory, "_libc", Older())
    memory._set_thresholds(memory._KEEP)
    assert calls == [
        (memory._M_MMAP_THRESHOLD, memory._KEEP),
        (memory._M_MMAP_THRESHOLD, memory._USUAL),
        (memory._M_TRIM_THRESHOLD, memory._KEEP),
    ]


@glibc_only
def test_freed_pages_stay_until_the_last_user_leaves(new_process: Executor) -> None:
    new_process.submit(check_nested_users).result()


@glibc_only
def test_a_long_job_can_give_them_back_in_between(new_process: Executor) -> None:
    new_process.submit(check_trim).result()


@glibc_only
def test_an_error_gives_the_pages_back_too(new_process: Executor) -> None:
    new_process.submit(check_error).result()
