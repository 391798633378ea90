"""A local, in-memory server of the parts of the Hugging Face Hub's API that clients use.

    with Hub() as hub:
        hub.commit("user/model", {"config.json": b"{}"})
        connect(hub, tmp_path, monkeypatch)  # this process; or `client`, another one

Models, and Spaces under the name spaces/user/name. Files whose names end in one of `LFS` are large
files with their sha256 as ETag; others have git's blob id. Reading needs no token, writing one of
`hub.tokens`. `hub.cut_off` and `hub.damage` make downloads fail; `hub.uploads_until`,
`hub.before_commit` and `hub.card_faults` make uploads fail. `hub.requests` lists all requests,
`hub.written` those that change something.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub
import huggingface_hub.hf_api  # loaded lazily otherwise
import pytest

from helpers.paths import ROOT

LFS = (".bin", ".safetensors", ".pth", ".pt", ".ckpt", ".onnx", ".flac")


class HTTPError(Exception):
    """An error response: its status, the Hub's error code and the message."""

    def __init__(self, status: int, code: str = "", message: str = ""):
        self.status, self.code, self.message = status, code, message or code


def is_large(path: str, content: bytes) -> bool:
    return path.endswith(LFS) and len(content) > 0


def etag(path: str, content: bytes) -> str:
    if is_large(path, content):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repo:
    """Commits by id, each path -> content; branches and tags by name."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def add(self, files: dict[str, bytes], message: str, branch: str = "main") -> str:
        seed = f"{len(self.commits)} {branch} {message} {sorted(files)}"
        commit = hashlib.sha1(seed.encode()).hexdigest()
        self.commits[commit], self.branches[branch] = files, commit
        self.messages.append(message)
        return commit

    def id_of(self, revision: str) -> str:
        for names in (self.branches, self.tags, {commit: commit for commit in self.commits}):
            if revision in names:
                return names[revision]
        raise HTTPError(404, "RevisionNotFound")


class Hub:
    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}  # sha256 -> large file
        self.files: dict[str, bytes] = {}  # files at other URLs: "/path" -> content
        self.tokens = {"hf_test": "user", "hf_reader": "user", "hf_fine": "user"}
        self.roles = {"hf_test": "write", "hf_reader": "read", "hf_fine": "fineGrained"}
        self.orgs = {"band": "write", "museum": "read"}  # name -> role of all users
        self.card_faults: list[str] = []  # errors for the next model cards
        self.uploads_until: int | None = None  # number of large files before `stuck`
        self.stuck: Callable[[], object] = threading.Event().wait  # called during the next upload
        self.held = threading.Event()  # set before `stuck` is called
        self.disconnected = False  # close all connections without an answer
        self.before_commit: Callable[[], object] = lambda: None  # called before each commit
        self.requests: list[str] = []
        self.cut_off = 0  # number of next downloads to interrupt half-way
        self.damage = False  # flip a bit in large files
        handler = type("Handler", (Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.storage = f"http://localhost:{self.server.server_port}"  # another host for clients

    def __enter__(self) -> Hub:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def client(self, home: Path, token: str = "") -> dict[str, str]:
        """Return the environment of a client of this Hub, with its caches in `home`."""
        caches = {name: str(home / name) for name in ("HF_HOME", "ASTEROID_CACHE", "TORCH_HOME")}
        settings = {"HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*", "HF_TOKEN": token}
        return {"HF_ENDPOINT": self.url, **caches, **settings}

    @property
    def written(self) -> list[str]:
        """All requests that change something if permitted."""
        read_only = ("GET", "HEAD", "POST /api/validate-yaml")
        return [each for each in self.requests if not each.startswith(read_only)]

    def commit(self, name: str, files: dict[str, bytes], tag: str | None = None) -> str:
        """Add files to a model without a client; create the model if it is new."""
        repo = self.repos.setdefault(name, Repo())
        before = repo.commits[repo.branches["main"]] if repo.branches else {}
        commit = repo.add({**before, **files}, "files")
        self.objects.update({etag(p, c): c for p, c in files.items() if is_large(p, c)})
        if tag is not None:
            repo.tags[tag] = commit
        return commit


def connect(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process a client of the Hub, without a token and with caches below `home`."""
    for name, value in hub.client(home).items():
        monkeypatch.setenv(name, value)
    settings = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        "HF_URL_HOSTS": frozenset({"127.0.0.1"}),
        "HF_HUB_CACHE": str(home / "HF_HOME" / "hub"),
        "HF_TOKEN_PATH": str(home / "HF_HOME" / "token"),
        "HF_HUB_DISABLE_XET": True,
    }
    set_client_constants(monkeypatch, **settings)
    close_session()


def close_session() -> None:
    """Close the client's session, which keeps its proxy settings and, if old, its offline mode."""
    close = "close_session" if hasattr(huggingface_hub.utils, "close_session") else "reset_sessions"
    getattr(huggingface_hub.utils, close)()


def set_client_constants(monkeypatch: pytest.MonkeyPatch, **constants: object) -> None:
    """Change the client's constants, which it read from the environment when it was imported.

    Old clients import them by name, so each loaded module is changed.
    """
    for module in [sys.modules[name] for name in sys.modules if name.startswith("huggingface_hub")]:
        for name, value in constants.items():
            if name in vars(module):
                monkeypatch.setattr(module, name, value)


def client(hub: Hub, home: Path, code: str, *words: str, **environment: str) -> subprocess.Popen:
    """Start Python code as a client of this Hub, with `home` as working directory."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": path, **hub.client(home), **environment},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Handler(BaseHTTPRequestHandler):
    """Answer each request with the first of `ROUTES` that matches."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.body = b"".join(self.read_body())
        if self.hub.disconnected or len(self.body) < int(self.headers.get("Content-Length", 0)):
            return self.disconnect()
        path = urlsplit(self.path).path
        self.hub.requests.append(f"{self.command} {path}")
        try:
            for methods, pattern, answer in ROUTES:
                found = re.fullmatch(pattern, path)
                if found and self.command in methods.split():
                    return answer(self, **{k: unquote(v) for k, v in found.groupdict().items()})
            raise HTTPError(404, "", f"no route for {self.command} {path}")
        except HTTPError as reason:
            headers = {"X-Error-Code": reason.code, "X-Error-Message": reason.message}
            self.json(
                {"error": reason.message}, reason.status, {k: v for k, v in headers.items() if v}
            )

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def disconnect(self) -> None:
        """Close the connection without an answer."""
        self.close_connection = True

    def read_body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") != "chunked":
            yield self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def send(self, status: int, content: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            half = 0 if status == 206 else len(content) // 2
            self.wfile.write(content[:half] if cut else content)
        self.close_connection |= cut

    def json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(value).encode()
        self.send(status, content, {"Content-Type": "application/json", **(headers or {})})

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    @property
    def user(self) -> str | None:
        return self.hub.tokens.get(self.token)

    def may_write(self, name: str) -> bool:
        writable = {self.user, *(org for org, role in self.hub.orgs.items() if role == "write")}
        return (
            self.hub.roles[self.token] == "write"
            and name.removeprefix("spaces/").split("/")[0] in writable
        )

    def repo(self, name: str, write: bool = False) -> Repo:
        repo = self.hub.repos.get(name)
        if write and self.user is None:
            raise HTTPError(401, "", "Invalid username or password.")
        if repo is None or (repo.private and self.user is None):
            raise HTTPError(404, "RepoNotFound", "Repository not found")
        if write and not self.may_write(name):
            raise HTTPError(403, "", f"You have no right to write to {name}")
        return repo

    def whoami(self) -> None:
        if self.user is None:
            raise HTTPError(401, "", "Invalid username or password.")
        access = {"accessToken": {"displayName": "test", "role": self.hub.roles[self.token]}}
        orgs = [{"name": name, "roleInOrg": role} for name, role in self.hub.orgs.items()]
        self.json({"type": "user", "name": self.user, "orgs": orgs, "auth": access})

    def create(self) -> None:
        options = json.loads(self.body)
        if self.user is None:
            raise HTTPError(401, "", "Invalid username or password.")
        name = f"{options.get('organization') or self.user}/{options['name']}"
        if options.get("type") == "space":
            if options.get("sdk") != "static":
                raise HTTPError(400, "", "a Space needs an sdk")
            name = f"spaces/{name}"
        if not self.may_write(name):
            raise HTTPError(403, "", f"You have no right to create {name}")
        exists = name in self.hub.repos
        if not exists:
            private = options.get("private") or options.get("visibility") == "private"
            repo = self.hub.repos[name] = Repo(private=bool(private))
            repo.add({".gitattributes": b""}, "initial commit")
        self.json(
            {"url": f"{self.hub.url}/{name}", "id": name, "name": name}, 409 if exists else 200
        )

    def validate_card(self) -> None:
        errors = [{"message": self.hub.card_faults.pop()}] if self.hub.card_faults else []
        self.json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def preupload(self, name: str, revision: str) -> None:
        repo = self.repo(name, write=True)
        stored = repo.commits[repo.id_of(revision)]
        answers = []
        for file in json.loads(self.body)["files"]:
            path, mode = file["path"], "lfs" if file["path"].endswith(LFS) else "regular"
            oid = etag(path, stored[path]) if path in stored else None
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.json({"files": answers})

    def lfs_batch(self, name: str) -> None:
        self.repo(name, write=True)
        objects = json.loads(self.body)["objects"]
        for each in objects:
            if each["oid"] not in self.hub.objects:
                each["actions"] = {"upload": {"href": f"{self.hub.storage}/lfs/{each['oid']}"}}
        self.json({"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise HTTPError(400, "", "the content has another sha256")
        if len(self.hub.objects) == self.hub.uploads_until:
            self.hub.held.set()
            self.hub.stuck()
        if self.hub.disconnected:
            return self.disconnect()
        self.hub.objects[oid] = self.body
        self.send(200, b"", {})

    def add_commit(self, name: str, revision: str) -> None:
        repo = self.repo(name, write=True)
        self.hub.before_commit()
        parent = repo.branches.get(revision)
        if parent is None:
            raise HTTPError(404, "RevisionNotFound")
        files, header = dict(repo.commits[parent]), {}
        for line in self.body.splitlines():
            item = json.loads(line)
            kind, value = item["key"], item["value"]
            if kind == "header":
                header = value
            elif kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif kind == "deletedFile":
                del files[value["path"]]
            else:
                folder = value["path"].rstrip("/") + "/"
                files = {path: c for path, c in files.items() if not path.startswith(folder)}
        if header.get("parentCommit", parent) != parent:
            raise HTTPError(412, "", "A commit has happened since. Please refresh and try again.")
        commit = repo.add(files, header["summary"], revision)
        self.json({"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit})

    def list_files(self, repo: Repo, commit: str) -> list[dict]:
        return [
            {
                "type": "file",
                "path": path,
                "rfilename": path,
                "size": len(content),
                "oid": etag(path, content),
                "blobId": etag(path, content),
                **({"lfs": _pointer(path, content)} if is_large(path, content) else {}),
            }
            for path, content in sorted(repo.commits[commit].items())
        ]

    def model_info(self, name: str, revision: str = "main") -> None:
        repo = self.repo(name)
        commit = repo.id_of(revision)
        identity = {
            "_id": name,
            "id": name,
            "modelId": name,
            "sha": commit,
            "private": repo.private,
        }
        counts = {"tags": [], "downloads": 0, "likes": 0}
        self.json({**identity, **counts, "siblings": self.list_files(repo, commit)})

    def tree(self, name: str, revision: str) -> None:
        repo = self.repo(name)
        self.json(self.list_files(repo, repo.id_of(revision)))

    def paths_info(self, name: str, revision: str) -> None:
        repo = self.repo(name)
        paths = parse_qs(self.body.decode())["paths"]
        files = self.list_files(repo, repo.id_of(revision))
        self.json([each for each in files if each["path"] in paths])

    def models(self) -> None:
        names = [name for name, repo in self.hub.repos.items() if not repo.private]
        self.json([{"_id": name, "id": name, "modelId": name, "tags": []} for name in names])

    def refs(self, name: str) -> None:
        repo = self.repo(name)
        kinds = {"branches": ("heads", repo.branches), "tags": ("tags", repo.tags)}
        answer: dict[str, list] = {"converts": []}
        for kind, (folder, names) in kinds.items():
            answer[kind] = [
                {"name": ref, "ref": f"refs/{folder}/{ref}", "targetCommit": commit}
                for ref, commit in names.items()
            ]
        self.json(answer)

    def add_tag(self, name: str, revision: str) -> None:
        repo, tag = self.repo(name, write=True), json.loads(self.body)["tag"]
        if tag in repo.tags:
            raise HTTPError(409, "", f"Tag reference exists already: {tag}")
        repo.tags[tag] = repo.id_of(revision)
        self.send(200, b"", {})

    def remove_tag(self, name: str, revision: str) -> None:
        self.repo(name, write=True).tags.pop(revision)
        self.send(200, b"", {})

    def resolve(self, name: str, revision: str, path: str) -> None:
        repo = self.repo(name)
        commit = repo.id_of(revision)
        if path not in repo.commits[commit]:
            headers = {"X-Repo-Commit": commit, "X-Error-Code": "EntryNotFound"}
            return self.json({"error": "Entry not found"}, 404, headers)
        content = repo.commits[commit][path]
        tag = etag(path, content)
        headers = {"X-Repo-Commit": commit, "ETag": f'"{tag}"'}
        if not is_large(path, content):
            return self.send(200, content, headers)
        headers |= {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": str(len(content))}
        return self.send(302, b"", {**headers, "Location": f"{self.hub.storage}/lfs/{tag}"})

    def lfs_get(self, oid: str) -> None:
        content = self.hub.objects[oid]
        if self.hub.damage:
            content = content[:-1] + bytes([content[-1] ^ 1])
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if found is None:
            return self.download(200, content, {})
        start, end = int(found[1]), len(content)
        self.download(206, content[start:], {"Content-Range": f"bytes {start}-{end - 1}/{end}"})

    def other_file(self) -> None:
        path = urlsplit(self.path).path
        if path not in self.hub.files:
            raise HTTPError(404, "", f"nothing at {path}")
        content = self.hub.files[path]
        self.download(200, content, {"Content-Type": "text/html"} if content[:1] == b"<" else {})

    def download(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        cut = self.command == "GET" and self.hub.cut_off > 0
        self.hub.cut_off -= cut
        self.send(status, content, {"Accept-Ranges": "bytes", **headers}, cut)


def _pointer(path: str, content: bytes) -> dict:
    oid = etag(path, content)
    return {"oid": oid, "sha256": oid, "size": len(content), "pointerSize": 134}


NAME, REVISION = r"(?P<name>(?:spaces/)?[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
MODEL = rf"/api/(?:models/)?{NAME}"

ROUTES: tuple[tuple[str, str, Callable], ...] = (
    ("GET", "/api/whoami-v2", Handler.whoami),
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", Handler.validate_card),
    ("GET", "/api/models", Handler.models),
    ("GET", MODEL, Handler.model_info),
    ("GET", rf"{MODEL}/revision/{REVISION}", Handler.model_info),
    ("GET", rf"{MODEL}/tree/{REVISION}", Handler.tree),
    ("POST", rf"{MODEL}/paths-info/{REVISION}", Handler.paths_info),
    ("GET", rf"{MODEL}/refs", Handler.refs),
    ("POST", rf"{MODEL}/preupload/{REVISION}", Handler.preupload),
    ("POST", rf"{MODEL}/commit/{REVISION}", Handler.add_commit),
    ("POST", rf"{MODEL}/tag/{REVISION}", Handler.add_tag),
    ("DELETE", rf"{MODEL}/tag/{REVISION}", Handler.remove_tag),
    ("POST", rf"/{NAME}\.git/info/lfs/objects/batch", Handler.lfs_batch),
    ("PUT", r"/lfs/(?P<oid>\w+)", Handler.lfs_put),
    ("GET HEAD", r"/lfs/(?P<oid>\w+)", Handler.lfs_get),
    ("GET HEAD", rf"/{NAME}/resolve/{REVISION}/(?P<path>.+)", Handler.resolve),
    ("GET HEAD", r"/.*", Handler.other_file),
)
