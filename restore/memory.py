"""Keep the memory of big tensors between one layer and the next, where glibc would give it back and fetch it anew.

glibc returns every large freed block to the system, so each activation of a large tile is paid for again, page by page: a U-Net
took a quarter to a half longer for it on tiles of two to four megapixels, on two cores. Other C libraries are left as they are.
"""

import ctypes
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEEP = 1 << 30  # blocks up to a gigabyte stay in the heap
_USUAL = 32 << 20  # the largest threshold that glibc chooses by itself on 64-bit systems

_lock = threading.Lock()
_users = 0


@contextmanager
def warm_pages() -> Iterator[None]:
    """Keep freed memory within the process; the last one to leave gives it back to the system.

    Threads share the effect, which is the process's. A thread's own heap holds blocks of up to 64 MB, so in threads other than
    the first only smaller ones gain; with MALLOC_ARENA_MAX=1 in the environment all do.
    """
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _set_thresholds(_KEEP)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _set_thresholds(_USUAL)
                trim()


def trim() -> None:
    """Give all free memory back now: blocks of ever new sizes leave holes, and a long job grows by them."""
    if _libc is not None:
        _libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":  # where asking would read the interpreter's own file, which may not be there to read
        return None
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


_libc = _glibc()


def _set_thresholds(size: int) -> None:
    if _libc is not None:
        if not _libc.mallopt(_M_MMAP_THRESHOLD, size):  # glibc before 2.35 takes no more than it would choose itself
            _libc.mallopt(_M_MMAP_THRESHOLD, _USUAL)
        _libc.mallopt(_M_TRIM_THRESHOLD, size)
