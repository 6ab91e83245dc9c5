"""A Hub for the tests: what huggingface_hub and datasets ask of one, kept in memory, over HTTP on this machine.

Repositories with commits, branches and tags, regular files, LFS and Xet, ranges, tokens, private repositories, typed 404s.
"""

import base64
import contextlib
import hashlib
import json
import re
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from huggingface_hub import ModelCard
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

LARGE = (".safetensors", ".parquet", ".bin")  # go to LFS or Xet
OWNER, WRITER, READER = "tester", "hf_writer", "hf_reader"  # the one user, and tokens
DATASET_ID = re.compile(r"([\w-][\w.-]*/)?[\w-][\w.-]*")
ENTRY_MISSING, REPO_MISSING, REVISION_MISSING = "EntryNotFound", "RepoNotFound", "RevisionNotFound"


@dataclass(frozen=True)
class File:
    """A file of a commit; large ones are known by their SHA-256 and kept elsewhere."""

    oid: str  # of git
    size: int
    content: bytes = b""
    sha256: str = ""
    xet: str = ""

    @classmethod
    def regular(cls, content: bytes) -> "File":
        return cls(git_oid(content), len(content), content)

    @classmethod
    def large(cls, sha256: str, size: int, xet: str) -> "File":
        return cls(git_oid(pointer(sha256, size)), size, sha256=sha256, xet=xet)

    def described(self, path: str) -> dict[str, Any]:
        """As the Hub's tree lists it."""
        entry: dict[str, Any] = {"type": "file", "oid": self.oid, "size": self.size, "path": path}
        if self.sha256:
            entry["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": len(pointer(self.sha256, self.size))}
        return entry | ({"xetHash": self.xet} if self.xet else {})


@dataclass
class Repository:
    """Commits by their hash, and what the branches and tags point to."""

    private: bool = False
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, File], ref: str = "main") -> str:
        sha = hashlib.sha1(uuid.uuid4().bytes, usedforsecurity=False).hexdigest()
        self.commits[sha], self.refs[ref] = files, sha
        return sha

    def at(self, revision: str) -> tuple[str, dict[str, File]]:
        sha = self.refs.get(revision, revision)
        if sha not in self.commits:
            raise failure(404, f"Invalid rev id: {revision}", REVISION_MISSING)
        return sha, self.commits[sha]


class Hub:
    """The repositories, and the handlers of the routes below; with `xet`, large files go to a Xet store in that folder."""

    def __init__(self, xet: Path | None = None):
        self.xet = xet
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[str] = []  # "METHOD /path"
        self.conflicts = 0  # so many commits more come just after another's

    def add(self, kind: str, name: str, files: dict[str, bytes]) -> Repository:
        """A repository with one commit; kind is "model", "dataset" or "space"."""
        repository = self.repositories[kind, name] = Repository()
        repository.commit({path: File.regular(content) for path, content in files.items()})
        return repository

    def repository(self, request: Request) -> tuple[str, str, Repository]:
        """The kind, name and repository that a path names; a private one is hidden from whoever has no token."""
        parts = request.path_params
        kind, name = parts.get("kind", "models").removesuffix("s"), f"{parts['owner']}/{parts['name']}"
        repository = self.repositories.get((kind, name))
        if repository is None or (repository.private and not token_of(request)):
            raise failure(404, "Repository not found", REPO_MISSING)
        return kind, name, repository

    async def whoami(self, request: Request) -> Response:
        role = {WRITER: "write", READER: "read"}.get(token_of(request))
        if role is None:
            raise failure(401, "Invalid user token.")
        return JSONResponse({"type": "user", "name": OWNER, "orgs": [], "auth": {"accessToken": {"role": role}}})

    async def create(self, request: Request) -> Response:
        must_write(request)
        wish = await request.json()
        kind, name = wish.get("type", "model"), f"{wish.get('organization') or OWNER}/{wish['name']}"
        if not name.startswith(f"{OWNER}/"):
            raise failure(403, "You don't have the rights to create a model under this namespace")
        url = f"{request.base_url}{'' if kind == 'model' else kind + 's/'}{name}"
        if (kind, name) in self.repositories:
            return JSONResponse({"error": "You already created this repo", "url": url}, 409)
        self.add(kind, name, {}).private = wish.get("visibility") == "private" or wish.get("private") is True
        return JSONResponse({"url": url, "name": name, "id": uuid.uuid4().hex})

    async def auth_check(self, request: Request) -> Response:
        self.repository(request)
        must_write(request)
        return Response()

    async def preupload(self, request: Request) -> Response:
        must_write(request)
        _, _, repository = self.repository(request)
        _, files = repository.at(request.path_params["revision"])
        answers = []
        for wanted in (await request.json())["files"]:
            known = files.get(wanted["path"])
            mode = "lfs" if wanted["path"].endswith(LARGE) else "regular"
            answer = {"path": wanted["path"], "uploadMode": mode, "shouldIgnore": False}
            answers.append(answer | ({"oid": known.sha256 or known.oid} if known else {}))
        return JSONResponse({"files": answers})

    async def lfs_batch(self, request: Request) -> Response:
        must_write(request)
        answers = []
        for wanted in (await request.json())["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.blobs:
                upload, verify = (f"{request.base_url}_lfs/{last}" for last in (wanted["oid"], "verify"))
                answer["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
            answers.append(answer)
        return JSONResponse({"transfer": "basic", "objects": answers}, media_type="application/vnd.git-lfs+json")

    async def lfs_upload(self, request: Request) -> Response:
        content, oid = await request.body(), request.path_params["oid"]
        if hashlib.sha256(content).hexdigest() != oid:
            return Response(status_code=422)
        self.blobs[oid] = content
        return Response()

    async def lfs_verify(self, request: Request) -> Response:
        wanted = await request.json()
        return Response(status_code=200 if len(self.blobs.get(wanted["oid"], b"")) == wanted["size"] else 404)

    async def commit(self, request: Request) -> Response:
        must_write(request)
        _, name, repository = self.repository(request)
        if self.conflicts:
            self.conflicts -= 1
            raise failure(412, "A commit has happened since. Please refresh and try again.")
        revision = request.path_params["revision"]
        files = dict(repository.at(revision)[1])
        for line in (await request.body()).splitlines():
            item = json.loads(line)
            self._apply(item["key"], item["value"], files)
        sha = repository.commit(files, revision)
        return JSONResponse({"success": True, "commitOid": sha, "commitUrl": f"{request.base_url}{name}/commit/{sha}"})

    def _apply(self, key: str, value: dict[str, Any], files: dict[str, File]) -> None:
        """One line of a commit."""
        if key == "file":
            files[value["path"]] = File.regular(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if self.xet is None and value["oid"] not in self.blobs:
                raise failure(400, "LFS pointer to a missing object")
            xet = "" if self.xet is None else xet_hash(self.xet, value["oid"])
            files[value["path"]] = File.large(value["oid"], value["size"], xet)
        elif key == "deletedFile":
            del files[value["path"]]
        elif key != "header":
            raise failure(400, f"{key} is not known here")

    async def info(self, request: Request) -> Response:
        _, name, repository = self.repository(request)
        sha, files = repository.at(request.path_params.get("revision", "main"))
        siblings = [{"rfilename": path} for path in files]
        described = {"_id": "0", "id": name, "modelId": name, "sha": sha, "private": repository.private, "siblings": siblings}
        return JSONResponse(described | {"gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0})

    async def tree(self, request: Request) -> Response:
        _, _, repository = self.repository(request)
        _, files = repository.at(request.path_params["revision"])
        folder = request.path_params.get("path", "").strip("/")
        prefix = f"{folder}/" if folder else ""
        below = {path: file for path, file in files.items() if path.startswith(prefix)}
        if folder and not below:
            raise failure(404, f"{folder} does not exist", ENTRY_MISSING)
        depth = prefix.count("/") + 1
        everything = request.query_params.get("recursive", "").lower() in ("true", "1")
        folders = {"/".join(path.split("/")[:end]) for path in below for end in range(depth, path.count("/") + 1)}
        shown = [path for path in sorted(folders) if everything or path.count("/") < depth]
        described = [file.described(path) for path, file in below.items() if everything or path.count("/") < depth]
        return JSONResponse([*(directory(path) for path in shown), *described])

    async def paths_info(self, request: Request) -> Response:
        _, _, repository = self.repository(request)
        _, files = repository.at(request.path_params["revision"])
        is_json = "json" in request.headers.get("content-type", "")
        wanted = (await request.json())["paths"] if is_json else (await request.form()).getlist("paths")
        wanted = [str(path) for path in wanted]
        found = [files[path].described(path) for path in wanted if path in files]
        folders = [directory(path) for path in wanted if any(other.startswith(f"{path}/") for other in files)]
        return JSONResponse(found + folders)

    async def references(self, request: Request) -> Response:
        _, _, repository = self.repository(request)
        branches = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha} for name, sha in repository.refs.items()]
        return JSONResponse({"branches": branches, "tags": [], "converts": []})

    async def tag(self, request: Request) -> Response:
        must_write(request)
        _, _, repository = self.repository(request)
        repository.refs[(await request.json())["tag"]] = repository.at(request.path_params["revision"])[0]
        return Response()

    async def resolve(self, request: Request) -> Response:
        kind, name, repository = self.repository(request)
        sha, files = repository.at(request.path_params["revision"])
        file = files.get(request.path_params["path"])
        if file is None:
            raise failure(404, "Entry not found", ENTRY_MISSING, {"X-Repo-Commit": sha})
        headers = {"X-Repo-Commit": sha, "ETag": f'"{file.sha256 or file.oid}"', "Accept-Ranges": "bytes"}
        if file.sha256:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
        if file.xet:
            route = f"{request.base_url}api/{kind}s/{name}/xet-read-token/{sha}"
            headers |= {"X-Xet-Hash": file.xet, "X-Xet-Refresh-Route": route}
        content = self.blobs.get(file.sha256, b"") if file.sha256 else file.content
        if request.method == "GET" and (wanted := request.headers.get("range")):
            start, _, stop = wanted.removeprefix("bytes=").partition("-")
            first, last = int(start or 0), min(int(stop or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            return Response(content[first : last + 1], 206, headers)
        return Response(content, headers=headers)

    async def xet_token(self, request: Request) -> Response:
        self.repository(request)
        if self.xet is None:
            raise failure(404, "no Xet here")
        if request.path_params["mode"] == "write":
            must_write(request)
        url, token, expiry = f"local://{self.xet}", "token", int(time.time()) + 3600
        headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(expiry)}
        return JSONResponse({"casUrl": url, "accessToken": token, "exp": expiry}, headers=headers)

    async def validate_card(self, request: Request) -> Response:
        """As strict as the Hub with the names of data sets."""
        card = (await request.json())["content"]
        names = ModelCard(card).data.to_dict().get("datasets", [])
        errors = [{"message": f'"datasets" with value "{name}" is not valid'} for name in names if not DATASET_ID.fullmatch(name)]
        return JSONResponse({"errors": errors, "warnings": []}, 400 if errors else 200)

    def app(self) -> Starlette:
        repository, file = "/api/{kind}/{owner}/{name}", "{owner}/{name}/resolve/{revision}/{path:path}"
        git = "{owner}/{name}.git/info/lfs/objects/batch"
        post, get = ["POST"], ["GET", "HEAD"]
        routes = [
            Route("/api/whoami-v2", self.whoami),
            Route("/api/repos/create", self.create, methods=post),
            Route("/api/validate-yaml", self.validate_card, methods=post),
            Route(f"{repository}/preupload/{{revision}}", self.preupload, methods=post),
            Route(f"{repository}/commit/{{revision}}", self.commit, methods=post),
            Route(f"{repository}/tag/{{revision}}", self.tag, methods=post),
            Route(f"{repository}/paths-info/{{revision}}", self.paths_info, methods=post),
            Route(f"{repository}/tree/{{revision}}", self.tree),
            Route(f"{repository}/tree/{{revision}}/{{path:path}}", self.tree),
            Route(f"{repository}/auth-check/write", self.auth_check),
            Route(f"{repository}/refs", self.references),
            Route(f"{repository}/xet-{{mode}}-token/{{revision}}", self.xet_token),
            Route(f"{repository}/revision/{{revision}}", self.info),
            Route(repository, self.info),
            Route("/_lfs/verify", self.lfs_verify, methods=post),
            Route("/_lfs/{oid}", self.lfs_upload, methods=["PUT"]),
            *(Route(f"{start}{git}", self.lfs_batch, methods=post) for start in ("/", "/{kind}/")),
            *(Route(f"{start}{file}", self.resolve, methods=get) for start in ("/{kind}/", "/")),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: told})


def failure(status: int, message: str, code: str = "", headers: dict[str, str] | None = None) -> HTTPException:
    """An error as the Hub types it: by the header X-Error-Code."""
    typed = {"X-Error-Code": code} if code else {}
    return HTTPException(status, message, {"X-Error-Message": message, **typed, **(headers or {})})


async def told(request: Request, error: Exception) -> Response:  # noqa: ARG001  # a handler's
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def token_of(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def must_write(request: Request) -> None:
    if token_of(request) not in (WRITER, READER):
        raise failure(401, "Invalid username or password.")
    if token_of(request) == READER:
        raise failure(403, "This token has no write permission")


def directory(path: str) -> dict[str, Any]:
    return {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """What git keeps in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def xet_hash(store: Path, sha256: str) -> str:
    """The Xet hash of a file by its SHA-256, from the shards that the client wrote to the store.

    A shard has a header of 48 bytes, then for each file its hash, flags and a number of segments, 48 bytes a segment, as many for
    their verification if flagged, and the file's SHA-256 if flagged; hashes are kept as four little-endian numbers of 64 bits.
    """
    for shard in store.rglob("*.mdb"):
        content, place = shard.read_bytes(), 48
        while place + 48 <= len(content) and content[place : place + 32] != b"\xff" * 32:
            file_hash, (flags, segments) = content[place : place + 32], struct.unpack_from("<II", content, place + 32)
            place += 48 + 48 * segments * (2 if flags & 0x80000000 else 1)
            if flags & 0x40000000:
                if swapped(content[place : place + 32]) == sha256:
                    return swapped(file_hash)
                place += 48
    raise failure(400, "no such file in the Xet store")


def swapped(hash_: bytes) -> str:
    return b"".join(hash_[start : start + 8][::-1] for start in range(0, 32, 8)).hex()


class Counted:
    """An ASGI application that notes its requests."""

    def __init__(self, hub: Hub):
        self.hub, self.app = hub, hub.app()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.hub.requests.append(f"{scope['method']} {scope['path']}")
        await self.app(scope, receive, send)


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """Serve the hub from a thread; gives its address."""
    server = uvicorn.Server(uvicorn.Config(Counted(hub), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
