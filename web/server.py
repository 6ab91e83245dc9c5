"""Guards around the server: what it lets in, what it keeps on disk, and for how long."""

import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOLDER = Path(os.environ.setdefault("GRADIO_TEMP_DIR", str(Path(tempfile.gettempdir()) / "photo-restorer")))
"""Everything that visitors send or receive lies here; set before gradio is imported, which reads it then."""

MAX_UPLOAD_BYTES = 100 << 20  # of one request with files
MAX_BODY_BYTES = 1 << 20  # of any other request: clicks and sliders
KEEP_SECONDS = 55 * 60  # with the sweep's rhythm, everything is gone within the hour
SWEEP_SECONDS = 60

UPLOAD = "/gradio_api/upload"
OWN_FILE = re.compile(r"https?://[^/]+/gradio_api/file=(/.+)")  # whatever the host: behind a proxy it is another; never fetched
CLOSED = (  # parts of gradio that this app does not use, and that fetch, record or write for whoever asks
    "/gradio_api/file=http",
    "/gradio_api/file/http",
    "/gradio_api/proxy=",
    "/gradio_api/component_server",
    "/gradio_api/process_recording",
    "/gradio_api/deep_link",
    "/gradio_api/vibe",
    "/monitoring",
)


class Guard:
    """ASGI middleware: caps every body, refuses pictures by address, closes unused doors, and forbids browsers to guess types."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if path.startswith(CLOSED):
            await PlainTextResponse("This app does not offer that.", 403)(scope, receive, send)
            return
        limit = MAX_UPLOAD_BYTES if path.rstrip("/") == UPLOAD else MAX_BODY_BYTES
        if int(Headers(scope=scope).get("content-length", "0")) > limit:
            await _too_large(limit)(scope, receive, send)
        elif scope["method"] != "POST":
            await self.app(scope, receive, _marked(send))
        elif limit == MAX_UPLOAD_BYTES:
            await self._pass_upload(scope, receive, send)
        else:
            await self._pass_body(scope, receive, send)

    async def _pass_upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count an upload while it streams, since a chunked one does not announce its size."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_UPLOAD_BYTES:
                raise _TooLargeError
            return message

        try:
            await self.app(scope, counted, _marked(send))
        except _TooLargeError:
            await _too_large(MAX_UPLOAD_BYTES)(scope, receive, send)

    async def _pass_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a small body whole, look into it, and hand it on."""
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BODY_BYTES:
                await _too_large(MAX_BODY_BYTES)(scope, receive, send)
                return
        try:
            body = _with_own_files(body)
        except _RemoteFileError:
            await PlainTextResponse("Upload the picture: data: and http addresses are not read here.", 400)(scope, receive, send)
            return
        unread = True

        async def replay() -> Message:
            nonlocal unread
            if unread:
                unread = False
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        await self.app(scope, replay, _marked(send))


class _TooLargeError(Exception):
    """A body outgrew its limit while it was read."""


class _RemoteFileError(Exception):
    """A body names a file that is not here."""


def _too_large(limit: int) -> PlainTextResponse:
    return PlainTextResponse(f"The limit of a request here is {limit >> 20} MB.", 413)


def _marked(send: Send) -> Send:
    """Tell browsers to take types as declared, and never to run what a visitor has uploaded."""

    async def send_marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("X-Content-Type-Options", "nosniff")
            MutableHeaders(scope=message).setdefault("Referrer-Policy", "same-origin")
        await send(message)

    return send_marked


def _with_own_files(body: bytes) -> bytes:
    """A JSON body in which the address of a file of this app, which is how MCP clients name an upload, stands as its path.

    Raises _RemoteFileError for a file by any other data: or http address, which gradio would decode or download unchecked.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return body  # gradio refuses what is not JSON
    own = False
    for file in (value for value in _walk(content) if isinstance(value, dict)):
        if isinstance(path := file.get("path"), str) and (found := OWN_FILE.fullmatch(path)):
            file |= {"path": unquote(found[1]), "url": None}
            own = True
        if _starts(file.get("path"), ("http:", "https:", "data:", "ftp:")) or _starts(file.get("url"), ("data:",)):
            raise _RemoteFileError
    return json.dumps(content).encode() if own else body


def _walk(value: Any) -> Iterator[Any]:
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _walk(child)


def _starts(value: Any, prefixes: tuple[str, ...]) -> bool:
    return isinstance(value, str) and value.strip().lower().startswith(prefixes)


def sweep(folder: Path = FOLDER, keep_seconds: float = KEEP_SECONDS) -> None:
    """Delete files and empty folders untouched for `keep_seconds`, also those of a process that was killed."""
    oldest = time.time() - keep_seconds
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in files:
            _remove_if_older(Path(parent, name), oldest)
        for name in folders:
            _remove_if_older(Path(parent, name), oldest)


def _remove_if_older(path: Path, oldest: float) -> None:
    try:
        if path.lstat().st_mtime < oldest:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError:
        return  # not empty, or another sweep was faster


def sweep_for_ever() -> None:
    """Sweep now and every minute, in a thread that ends with the process."""

    def run() -> None:
        while True:
            sweep()
            time.sleep(SWEEP_SECONDS)

    FOLDER.mkdir(parents=True, exist_ok=True)
    threading.Thread(target=run, name="sweep", daemon=True).start()
