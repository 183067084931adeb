"""A stand-in for Anthropic's API: a real HTTP server on loopback that sends what it is given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """A response.

    Attributes:
        portions: Its body, in the pieces in which it is sent.
        status: Its status.
        content_type: What it says that it is.
        headers: Further headers.
        stays_open: Do not end the response after the last piece.
    """

    portions: Sequence[bytes]
    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    stays_open: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A request that arrived; names of headers are in lower case."""

    line: str
    headers: Mapping[str, str]
    body: Any


@dataclass(slots=True)
class AnthropicServer:
    """Sends the same reply to every request.

    Attributes:
        reply: What it sends.
        url: Its address.
        requests: What has arrived.
    """

    reply: Reply
    url: str = ""
    requests: list[Request] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        try:
            while await self._answer_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left
        finally:
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer a request; return whether another may follow."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(": ") for line in head[1:] if line)
        headers = {name.lower(): value for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(Request(head[0], headers, json.loads(body or b"null")))
        told = {"content-type": self.reply.content_type, **self.reply.headers, "transfer-encoding": "chunked"}
        lines = [f"HTTP/1.1 {self.reply.status} -", *(f"{name}: {value}" for name, value in told.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for portion in self.reply.portions:
            writer.write(b"%x\r\n%b\r\n" % (len(portion), portion))
            await writer.drain()
        if self.reply.stays_open:
            await reader.read()  # until the client leaves
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


@asynccontextmanager
async def anthropic_server(reply: Reply) -> AsyncIterator[AnthropicServer]:
    """Serve on loopback while the block runs."""
    standin = AnthropicServer(reply)
    server = await asyncio.start_server(standin.answer, "127.0.0.1", 0)
    standin.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield standin
