"""Asking a router over HTTP: with OpenAI's own client, and byte by byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx2
from openai import AsyncOpenAI

from services.router.http.door import HttpDoor
from tests.support.backend import FakeBackend
from tests.support.routing import Routed, routed
from tests.support.stubs import LIMIT_SECONDS

ANY_PORT = "127.0.0.1:0"
QUESTION: list[Any] = [{"role": "user", "content": "How warm is it?"}]
COMPLETIONS = "/v1/chat/completions"


class Backend(FakeBackend):
    """A backend that answers the calls of the test and no others: it has no `ModelService`."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a call."""
        if handler_call_details.method.startswith("/inglenook.model."):
            return None
        return super().service(handler_call_details)


@dataclass(frozen=True)
class HttpSide:
    """A router that listens for HTTP.

    Attributes:
        address: Where.
        openai: OpenAI's client, which asks once.
        plain: A client that knows nothing of it.
    """

    address: str
    openai: AsyncOpenAI
    plain: httpx2.AsyncClient

    async def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """Send JSON."""
        return await self.plain.post(path, json=body, headers=headers)

    async def metric(self, name: str, routed: Routed) -> float:
        """Return the sum of a metric of the router's process."""
        metrics = await self.plain.get(f"http://{routed.process.metrics_address}/metrics")
        lines = (line for line in metrics.text.splitlines() if line.startswith(name))
        return sum(float(line.rpartition(" ")[2]) for line in lines)


@asynccontextmanager
async def asking(address: str) -> AsyncIterator[HttpSide]:
    """Connect clients to a router."""
    url = f"http://{address}"
    async with (
        AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=LIMIT_SECONDS) as openai,
        httpx2.AsyncClient(base_url=url, timeout=LIMIT_SECONDS) as plain,
    ):
        yield HttpSide(address, openai, plain)


@dataclass(frozen=True)
class RoutedHttp(HttpSide):
    """A router inside the test's event loop that listens for HTTP."""

    router: Routed


@asynccontextmanager
async def routed_http(
    folder: Path, routes: Mapping[str, Sequence[str]], *, more: str = "", metrics: bool = False
) -> AsyncIterator[RoutedHttp]:
    """Run a router inside this event loop."""
    async with (
        routed(folder, routes, more=more, metrics=metrics, http=ANY_PORT) as router,
        asking(door_of(router).address) as side,
    ):
        yield RoutedHttp(side.address, side.openai, side.plain, router)


def door_of(router: Routed) -> HttpDoor:
    """Return the door of a router."""
    (door,) = router.process.doors
    assert isinstance(door, HttpDoor)
    return door


@asynccontextmanager
async def posted(address: str, path: str, body: Any) -> AsyncIterator[asyncio.StreamReader]:
    """Send a request over a connection of its own, and yield what comes back; leave at the end."""
    host, _, port = address.rpartition(":")
    content = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    head = f"POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
    await writer.drain()
    try:
        yield reader
    finally:
        writer.transport.abort()
