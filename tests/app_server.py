"""The app on a free port of this machine, for the tests of its endpoints and of its page."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import app


class Endless:
    """A denoising that goes on until it is stopped."""

    def __init__(self) -> None:
        self.started, self.stopped = threading.Event(), threading.Event()

    def __call__(self, *_: Any, progress: Any, **__: Any) -> None:
        self.started.set()
        try:
            while True:
                progress(0.5)
                time.sleep(0.02)
        finally:
            self.stopped.set()


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """Start the app in this process; gives its address, and stops it in the end."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    page = app.build()
    address = app.launch(page, server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True)
    try:
        yield address.rstrip("/")
    finally:
        page.close(verbose=False)
