"""A small server that answers the hub's client as a hub does, and misbehaves on demand.

Large files are served by a second server on a port of its own, as a hub leaves them to a CDN.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.hub_repository import Repository

HTML = b"<!doctype html><title>Sign in</title>"
JSON = "application/json"
PIECE = 16_384
TRICKLE_SECONDS = 0.01


@dataclass
class Fault:
    """What goes wrong with requests.

    Attributes:
        where: Part of their path.
        times: How many of them it happens to.
        status: Answer with this status.
        headers: Sent with that status.
        drop_after: Break the connection after so many bytes of content.
        stall_after: Say no more after so many bytes of content, until the server is closed.
        trickle_after: Send one byte now and then after so many bytes of content, until the server is closed.
        silent: Say nothing until the server is closed.
        html: Answer with a page for people.
        json: Answer with this instead.
        whole: Ignore the range that was asked for.
    """

    where: str
    times: int = 1_000_000
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    drop_after: int | None = None
    stall_after: int | None = None
    trickle_after: int | None = None
    silent: bool = False
    html: bool = False
    json: bytes = b""
    whole: bool = False


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    cdn: bool

    @property
    def range(self) -> str | None:
        """The range of bytes that was asked for."""
        return self.headers.get("range")

    @property
    def token(self) -> str | None:
        """The token that came with it."""
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None


@dataclass
class HubServer:
    """A hub.

    Attributes:
        repositories: What it has, by name.
        faults: What goes wrong; the first that fits a request happens to it.
        seen: All requests, in the order of arrival.
        url: Its address.
        cdn: Address of the server with the large files.
        left: Set when a client leaves before all of a file that trickles has arrived.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    url: str = ""
    cdn: str = ""
    closing: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)

    @property
    def host(self) -> str:
        """Host and port of its address."""
        return urlsplit(self.url).netloc

    def fetched(self) -> list[str]:
        """Return the names of the files whose content was asked for, in order, each once."""
        found = [
            re.search(r"/resolve/[0-9a-f]+/([^?]+)$", one.path) for one in self.seen if one.method == "GET"
        ]
        return list(dict.fromkeys(match[1] for match in found if match))

    def ranges(self) -> list[str | None]:
        """Return the ranges that the CDN was asked for."""
        return [one.range for one in self.seen if one.cdn]

    def fault(self, path: str) -> Fault | None:
        """Return what goes wrong with a request now, if anything."""
        for one in self.faults:
            if one.where in path and one.times > 0:
                one.times -= 1
                return one
        return None


@contextmanager
def serving(**repositories: Repository) -> Iterator[HubServer]:
    """Run a hub that has these repositories, under `org/` each."""
    hub = HubServer({f"org/{name}": repository for name, repository in repositories.items()})
    servers = [_start(hub, cdn=cdn) for cdn in (False, True)]
    hub.url, hub.cdn = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    try:
        yield hub
    finally:
        hub.closing.set()
        for server in servers:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that have left."""


def _start(hub: HubServer, *, cdn: bool) -> ThreadingHTTPServer:
    handler = type("Handler", (_Handler,), {"hub": hub, "cdn": cdn})
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer
    cdn: bool
    fault: Fault | None

    def do_HEAD(self) -> None:
        """Answer with headers only."""
        self._answer()

    def do_GET(self) -> None:
        """Answer."""
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.seen.append(Seen(self.command, path, headers, self.cdn))
        self.fault = self.hub.fault(path)
        if self.fault and self.fault.silent:
            self.hub.closing.wait()
            self.close_connection = True
        elif self.fault and self.fault.status:
            self._send(self.fault.status, b"{}", {"Content-Type": JSON, **self.fault.headers})
        elif self.fault and self.fault.html:
            self._send(200, HTML, {"Content-Type": "text/html"})
        elif self.fault and self.fault.json:
            self._send(200, self.fault.json, {"Content-Type": JSON})
        elif self.cdn:
            self._content(path.removeprefix("/"))
        else:
            self._hub(path)

    def _hub(self, path: str) -> None:
        api = re.fullmatch(r"/api/models/(.+)/(revision|tree)/([^/]+)/?", path)
        file = re.fullmatch(r"/(.+)/resolve/([^/]+)/(.+)", path)
        asked = api or file
        repository = self.hub.repositories.get(asked[1]) if asked else None
        if asked is None or repository is None or not self._may_see(repository):
            self._refuse(401, "RepoNotFound")
        elif (api[3] if api else asked[2]) not in (repository.commit, "main"):
            self._refuse(404, "RevisionNotFound")
        elif api:
            self._listing(api[1], repository, tree=api[2] == "tree")
        elif repository.gated:
            self._refuse(403, "GatedRepo")
        elif asked[3] not in repository.files:
            self._refuse(404, "EntryNotFound", {"X-Repo-Commit": repository.commit})
        else:
            self._resolve(repository, asked[3])

    def _may_see(self, repository: Repository) -> bool:
        return repository.token in (None, self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _listing(self, name: str, repository: Repository, *, tree: bool) -> None:
        sha = repository.answers_with or repository.commit
        model = {"id": name, "sha": sha, "siblings": repository.siblings()}
        told: Any = repository.tree() if tree else model
        self._send(200, json.dumps(told).encode(), {"Content-Type": JSON})

    def _resolve(self, repository: Repository, name: str) -> None:
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{repository.etag(name)}"'}
        if not repository.is_large(name):
            self._send(200, repository.files[name], headers)
            return
        headers |= {
            "X-Linked-Etag": f'"{repository.sha256(name)}"',
            "X-Linked-Size": str(repository.size(name)),
            "Location": f"{self.hub.cdn}/{repository.sha256(name)}",
        }
        self._send(302, b"", headers)

    def _content(self, sha256: str) -> None:
        for repository in self.hub.repositories.values():
            for name, content in repository.files.items():
                if repository.sha256(name) == sha256:
                    self._range(content)
                    return
        self._send(404, b"", {})

    def _range(self, content: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked is None or (self.fault and self.fault.whole):
            self._send(200, content, {})
            return
        begin, size = int(asked[1]), len(content)
        if begin >= size:
            self._send(416, b"", {"Content-Range": f"bytes */{size}"})
            return
        self._send(206, content[begin:], {"Content-Range": f"bytes {begin}-{size - 1}/{size}"})

    def _refuse(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, b"", {"X-Error-Code": code, **(headers or {})})

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        fault = self.fault or Fault("")
        limits = (fault.stall_after, fault.trickle_after, fault.drop_after)
        limit = next((one for one in limits if one is not None), None)
        for begin in range(0, len(content[:limit]), PIECE):
            self.wfile.write(content[:limit][begin : begin + PIECE])
        if fault.stall_after is not None:
            self.hub.closing.wait()
        if fault.trickle_after is not None:
            self._trickle(content[limit:])
        if limit is not None:
            self.close_connection = True

    def _trickle(self, content: bytes) -> None:
        """Send less than all of something, a byte at a time."""
        try:
            for byte in content[:-1]:
                if self.hub.closing.wait(TRICKLE_SECONDS):
                    return
                self.wfile.write(bytes([byte]))
            self.hub.closing.wait()
        except OSError:
            self.hub.left.set()
