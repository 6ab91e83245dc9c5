"""Guards around the server: what it lets in, what it keeps on disk, and for how long."""

import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web import examples

USER = getattr(os, "getuid", int)()  # whose folder it is where users share one for temporary files; Windows has one for each
TEMPORARY = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())  # a process of ours finds the folder itself there
FOLDER = TEMPORARY if TEMPORARY.name == f"photo-restorer-{USER}" else TEMPORARY / f"photo-restorer-{USER}"
"""Everything that visitors send or receive lies here, and nothing else, since it is swept."""
os.environ["GRADIO_TEMP_DIR"] = str(FOLDER)  # before gradio is imported, which reads it then

MAX_UPLOAD_BYTES = 100 << 20  # of one request with files
MAX_BODY_BYTES = 1 << 20  # of any other request: clicks and sliders
MIN_FREE_BYTES = 1 << 30  # of the disk: below it nothing is taken in, so that the jobs that are under way can end
MAX_ADDRESS = 4096  # bytes; gradio keeps some parts of it
MAX_SESSION_NAME = 64  # characters; gradio keeps thousands, and they are the visitor's to choose
KEEP_SECONDS = 55 * 60  # with the sweep's rhythm, everything is gone within the hour
SWEEP_SECONDS = 60

UPLOAD = "/gradio_api/upload"
RESULTS = "/gradio_api/queue/data"
RESULTS_OF_A_CALL = re.compile(r"/gradio_api/call/(?:v2/)?[^/]+/([^/]+)")  # whose event is its session too
OWN_FILE = re.compile(r"https?://[^?#]+?/gradio_api/file=(/.+)")  # whatever host and path a proxy gives it; never fetched
OURS = tuple(  # no link in there leads out
    f"{normal(folder)}{os.sep}" for folder in (FOLDER, examples.FOLDER) for normal in (os.path.abspath, os.path.realpath)
)
CLOSED = (  # parts of gradio that this app does not use, and that fetch, record or write for whoever asks
    "/gradio_api/file=http",
    "/gradio_api/file/http",
    "/gradio_api/proxy=",
    "/gradio_api/component_server",
    "/gradio_api/process_recording",
    "/gradio_api/deep_link",
    "/gradio_api/vibe",
    "/gradio_api/undo-vibe",
    "/monitoring",
)


class Guard:
    """ASGI middleware: caps bodies, refuses files that are not ours, closes unused doors, and forbids browsers to guess types.

    It calls `left` with the session whose results can no longer be brought, since the connection that waits for them is gone.
    """

    def __init__(self, app: ASGIApp, left: Callable[[str], None]) -> None:
        self.app, self.left = app, left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if path.startswith(CLOSED):
            await PlainTextResponse("This app does not offer that.", 403)(scope, receive, send)
            return
        if len(path) + len(scope["query_string"]) > MAX_ADDRESS:
            await PlainTextResponse("The address is too long.", 414)(scope, receive, send)
            return
        limit = MAX_UPLOAD_BYTES if path.rstrip("/") == UPLOAD else MAX_BODY_BYTES
        if int(Headers(scope=scope).get("content-length", "0")) > limit:
            await _too_large(limit)(scope, receive, send)
        elif scope["method"] == "GET" and (session := _session_of(scope)):
            await self._pass_results(session, scope, receive, send)
        elif scope["method"] != "POST":
            await self.app(scope, receive, _marked(send))
        elif limit == MAX_UPLOAD_BYTES and shutil.disk_usage(_make_folder()).free < MIN_FREE_BYTES:
            await PlainTextResponse("There is no room for uploads. Please try again within the hour.", 503)(scope, receive, send)
        elif limit == MAX_UPLOAD_BYTES:
            await self._pass_upload(scope, receive, send)
        else:
            await self._pass_body(scope, receive, send)

    async def _pass_results(self, session: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Watch the stream that results come by. Gradio itself hears of a closed page by another, which it does not reopen."""
        has_ended = False

        async def watched() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and not has_ended:
                self.left(session)
            return message

        async def sent(message: Message) -> None:
            nonlocal has_ended
            has_ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        await self.app(scope, watched, _marked(sent))

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
        body = bytearray()
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
            checked = _with_own_files(bytes(body))
        except _RefusedError as error:
            await JSONResponse({"detail": str(error)}, 400)(scope, receive, send)
            return
        unread = True

        async def replay() -> Message:
            nonlocal unread
            if unread:
                unread = False
                return {"type": "http.request", "body": checked, "more_body": False}
            return await receive()

        await self.app(scope, replay, _marked(send))


def _session_of(scope: Scope) -> str:
    """The session whose results come by this stream; "" where it is another."""
    if scope["path"] == RESULTS:
        return str(QueryParams(scope["query_string"]).get("session_hash"))
    found = RESULTS_OF_A_CALL.fullmatch(scope["path"])
    return found[1] if found else ""


class _TooLargeError(Exception):
    """A body outgrew its limit while it was read."""


class _RefusedError(Exception):
    """What is wrong with a body, in words for its sender."""


def _too_large(limit: int) -> Response:
    """The page shows the text of a refused upload, and of all else the "detail"."""
    if limit == MAX_UPLOAD_BYTES:
        return PlainTextResponse(f"Up to {limit >> 20} MB can be sent at once. Please send fewer photos, or smaller ones.", 413)
    return JSONResponse({"detail": f"This asks for too much at once, over {limit >> 20} MB. Please choose fewer photos."}, 413)


def _marked(send: Send) -> Send:
    """Tell browsers to take types as declared, and never to run what a visitor has uploaded."""

    async def send_marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("X-Content-Type-Options", "nosniff")
            MutableHeaders(scope=message).setdefault("Referrer-Policy", "same-origin")
        await send(message)

    return send_marked


def _with_own_files(body: bytes) -> bytes:
    """A JSON body whose files are all ours. Where one is named by its address, as MCP clients do, its path stands instead.

    Nor does it ask gradio to tell an MCP client of progress.

    Gradio itself decodes data:, downloads http, and looks only at files that carry its mark, which is the sender's to leave out.

    Raises:
        _RefusedError: It is no JSON, names another file, or has an endless name for its session.
    """
    if not body:
        return body
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise _RefusedError("This is not JSON.") from None  # of another parser it might be
    if isinstance(content, dict) and len(str(content.get("session_hash", ""))) > MAX_SESSION_NAME:
        raise _RefusedError(f"The limit of a session's name is {MAX_SESSION_NAME} characters.")
    if any(_is_address(value) and not OWN_FILE.fullmatch(value) for value in _values(_tool_arguments(content))):
        raise _RefusedError(NOT_OURS)
    changed = _stop_telling_progress(content)
    for file in (value for value in _values(content) if isinstance(value, dict)):
        if isinstance(path := file.get("path"), str) and path:
            if found := OWN_FILE.fullmatch(path):
                path = unquote(found[1])
                file |= {"path": path, "url": None}
                changed = True
            if not _is_ours(path) or _is_address(file.get("url"), ("data:",)):
                raise _RefusedError(NOT_OURS)
    return json.dumps(content).encode() if changed else body


NOT_OURS = "Upload the picture: no other file is read here, nor data: or http addresses."


def _tool_arguments(content: Any) -> Any:
    """What an MCP client calls a tool with: files stand there as plain text."""
    match content:
        case {"params": {"arguments": arguments}}:
            return arguments
    return None


def _stop_telling_progress(content: Any) -> bool:
    """Take out the mark by which an MCP client asks for progress: gradio then sends whole pictures, encoded while all wait."""
    match content:
        case {"params": {"_meta": {"progressToken": _} as meta}}:
            del meta["progressToken"]
            return True
    return False


def _values(content: Any) -> Iterator[Any]:
    """All values within a JSON value; without recursion, since how deep they lie is the sender's to choose."""
    rest = [content]
    while rest:
        yield (value := rest.pop())
        rest += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _is_address(value: Any, schemes: tuple[str, ...] = ("http:", "https:", "data:", "ftp:")) -> bool:
    return isinstance(value, str) and value[:MAX_ADDRESS].strip().lower().startswith(schemes)


def _is_ours(path: str) -> bool:
    """Whether a path leads to what a visitor has sent or received, or to an example."""
    return len(path) <= MAX_ADDRESS and os.path.abspath(path).startswith(OURS)


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


def _make_folder() -> Path:
    """Our folder, made anew where a cleaner of temporary files has taken it; no other user may look in, nor have made it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    FOLDER.chmod(0o700)
    return FOLDER


def forget_what_is_gone(known: Iterable[set[str]]) -> None:
    """Take paths that lead nowhere out of gradio's sets, where it would keep for ever what it has not deleted itself."""
    for paths in known:
        paths.difference_update([path for path in list(paths) if not os.path.exists(path)])


def sweep_for_ever(known: Sequence[set[str]]) -> None:
    """Sweep now and every minute, in a thread that ends with the process; also the sets of paths that gradio keeps."""

    def run() -> None:
        while True:
            sweep()
            forget_what_is_gone(known)
            time.sleep(SWEEP_SECONDS)

    _make_folder()
    threading.Thread(target=run, name="sweep", daemon=True).start()
