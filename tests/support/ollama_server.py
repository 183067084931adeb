"""A small server on loopback that answers as an Ollama does, with what a test tells its models to say.

    async with OllamaServer(ServedModel("gemma3n:e2b", says("Hello", " there."))) as ollama:
        ...  # ollama.url

It refuses what an Ollama refuses: models that it does not have, tools and thinking for models without. It
pulls nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from tests.support.ollama_models import (
    CREATED,
    Line,
    Reply,
    ServedModel,
    embedded,
    in_one_piece,
    listed,
    reply_of,
    shown,
)

VERSION: Final = "0.13.0"
NDJSON: Final = "application/x-ndjson"
JSON: Final = "application/json; charset=utf-8"

CHAT: Final = "/api/chat"
SHOW: Final = "/api/show"
OF_MODELS: Final = frozenset({CHAT, SHOW, "/api/embed"})
TAGS: Final = "/api/tags"
RELEASE: Final = "/api/version"
LISTS: Final = frozenset({TAGS, "/api/ps", RELEASE})


@dataclass(frozen=True)
class Seen:
    """A request that arrived. `left` is set when the client leaves in the middle of the answer."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    left: asyncio.Event = field(default_factory=asyncio.Event)


class OllamaServer:
    """The server. Enter it to start it on a free port.

    Attributes:
        requests: What arrived, in order.
        models: What it has, by name; tests may change it.
    """

    def __init__(self, *models: ServedModel) -> None:
        self.models = {model.name: model for model in models}
        self.requests: list[Seen] = []
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Its address."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    def seen(self, path: str) -> list[Seen]:
        """Return the requests for a path."""
        return [request for request in self.requests if request.path == path]

    async def __aenter__(self) -> Self:
        """Start."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections and stop."""
        assert self._server is not None
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.create_task(self._serve(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request after the other until the client leaves."""
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer(await _request(reader), reader, writer):
                    pass
        finally:
            writer.close()

    async def _answer(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer a request; return whether the connection can be used again."""
        self.requests.append(seen)
        path, body = seen.path, seen.body
        model = self.models.get(str(body.get("model"))) or self.models.get(f"{body.get('model')}:latest")
        if seen.method == "GET" and path in LISTS:
            return await _send(writer, 200, self._list(path))
        if path not in OF_MODELS:
            return await _send(writer, 404, b"404 page not found", "text/plain")
        if model is None:
            return await _send(writer, 404, {"error": f"model '{body.get('model')}' not found"})
        if path == CHAT:
            return await self._chat(reply_of(model, body), seen, reader, writer)
        return await _send(writer, 200, shown(model) if path == SHOW else embedded(model, body))

    async def _chat(
        self, reply: Reply, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if reply.status != 200:
            return await _send(writer, reply.status, reply.lines[0])
        lines = [{"model": seen.body["model"], "created_at": CREATED, **line} for line in reply.lines]
        if seen.body.get("stream") is False:
            return await _send(writer, 200, in_one_piece(lines))
        return await _stream(reply, _paused(lines, reply, seen, reader), writer)

    def _list(self, path: str) -> Line:
        if path == RELEASE:
            return {"version": VERSION}
        models = self.models.values()
        return {"models": [listed(model) for model in models if path == TAGS or model.loaded]}


async def _request(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
    method, path, _ = head[0].split(" ")
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Seen(method, path, headers, json.loads(body) if body else {})


async def _send(writer: asyncio.StreamWriter, status: int, body: Line | bytes, kind: str = JSON) -> bool:
    content = body if isinstance(body, bytes) else _encoded(body)
    head = f"HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    await writer.drain()
    return True


async def _stream(reply: Reply, lines: AsyncIterator[Line], writer: asyncio.StreamWriter) -> bool:
    writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {NDJSON}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    async for line in lines:
        content = _encoded(line) + b"\n"
        writer.write(b"%x\r\n%b\r\n" % (len(content), content))
        await writer.drain()
    if reply.reset:
        writer.transport.abort()
        return False
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


async def _paused(
    lines: Sequence[Line], reply: Reply, seen: Seen, reader: asyncio.StreamReader
) -> AsyncIterator[Line]:
    """Yield lines, with the pause that is asked for."""
    for number, line in enumerate(lines):
        if number == reply.hold_after:
            await _held(reply, seen, reader)
        yield line


async def _held(reply: Reply, seen: Seen, reader: asyncio.StreamReader) -> None:
    leaving = asyncio.create_task(reader.read(1))
    going_on = asyncio.create_task(reply.go_on.wait())
    try:
        await asyncio.wait({leaving, going_on}, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            seen.left.set()
            raise ConnectionResetError
    finally:
        for waiting in (leaving, going_on):
            waiting.cancel()
        await asyncio.gather(leaving, going_on, return_exceptions=True)


def _encoded(value: Line) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
