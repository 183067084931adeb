"""The HTTP side without a socket: a request goes in, the parts of the response come out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from services.chassis.local import LocalCallFailed, LocalCalls, LocalContext, Metadata
from services.chassis.pipeline.translate import status_of
from services.config import Limits
from services.router.http.metrics import HttpMetrics
from services.router.http.openapi import document
from services.router.http.site import build_site
from services.router.http.status_page import page

document()  # as a door does before it opens
page()

JSON_HEADERS = {"content-type": "application/json"}


@dataclass(frozen=True)
class Told:
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """Return what the content means."""
        return json.loads(self.content)

    @property
    def error(self) -> Any:
        """Return what it says went wrong."""
        return self.body["error"]


class Calls(LocalCalls):
    """Answers every call with `response`, or with what `answers` has for its method, or fails with `error`.

    Attributes:
        requests: Method and content of the calls that were made.
        metadata: What came with each of them.
    """

    def __init__(
        self,
        response: bytes = b"",
        error: Exception | None = None,
        answers: Mapping[str, bytes] | None = None,
    ) -> None:
        self.requests: list[tuple[str, bytes]] = []
        self.metadata: list[Metadata] = []
        self._response = response
        self._answers = answers or {}
        self._error = error

    async def call(self, method: str, content: bytes, context: LocalContext) -> bytes:
        """Answer one call."""
        self.requests.append((method, content))
        self.metadata.append(context.invocation_metadata())
        if self._error is not None:
            raise LocalCallFailed(status_of(self._error, method)) from self._error
        return self._answers.get(method.rpartition("/")[2], self._response)


async def ask(
    calls: LocalCalls,
    path: str,
    content: bytes = b"",
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    registry: CollectorRegistry | None = None,
) -> Told:
    """Send one request."""
    registry = registry or CollectorRegistry()
    site = build_site(calls, limits or Limits(), registry, HttpMetrics(registry))
    parts: list[MutableMapping[str, Any]] = []
    waiting = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if not waiting:
            await asyncio.Event().wait()  # the caller stays
        return waiting.pop()

    async def send(part: MutableMapping[str, Any]) -> None:
        parts.append(part)

    given = headers if headers is not None else JSON_HEADERS
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "scheme": "http",
        "http_version": "1.1",
        "root_path": "",
    }
    await site(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in parts[0]["headers"]}
    return Told(parts[0]["status"], found, b"".join(part.get("body", b"") for part in parts[1:]))
