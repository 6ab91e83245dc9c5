"""The app on a free port of this machine, for the tests of its endpoints and of its page."""

import atexit
import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator

TEMPORARY = os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="photo-restorer-tests-")  # before gradio is imported

import app

atexit.register(shutil.rmtree, TEMPORARY, ignore_errors=True)


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
