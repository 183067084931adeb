"""A provider's stand-in: a real HTTP/1.1 server on loopback that does to each request what a script says.

It speaks Chat Completions at `/v1/chat/completions` and Ollama's API at `/api/chat`, so that any provider can
be put in front of it. What it is asked about its models it answers by itself. It keeps of every request when
it came, what was in it, how much of the answer could be sent, and when the client left.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from tests.support.fault_speech import DOCUMENTS, OTHERWISE, SPEECHES, Speech

HEAD_LIMIT: Final = 1024 * 1024
SEND_BUFFER_BYTES: Final = 64 * 1024
"""Little, so that what the kernel holds says little about what the reader took."""


@dataclass(eq=False)
class Received:
    """One request for an answer.

    Attributes:
        number: Its position among them, from 0.
        path, headers, content: What came; names of headers in lower case.
        connection: Number of the connection that it came over, from 0.
        arrived_at: When it was here whole, by `time.monotonic`.
        sent: Bytes of the response that the kernel has taken over.
        closed_at: When the client closed the connection; None as long as it has not.
        closed: Set when it has.
    """

    number: int
    path: str
    headers: dict[str, str]
    content: bytes
    connection: int
    arrived_at: float
    sent: int = 0
    closed_at: float | None = None
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def body(self) -> Any:
        """The JSON value that was sent."""
        return json.loads(self.content)


Action: TypeAlias = "Callable[[Wire], Awaitable[None]]"
"""One step of a response. See `fault_actions`."""

Script: TypeAlias = Sequence[Action]
"""What is done to one request. A response that it leaves incomplete is cut off: the connection is closed."""

Scripts: TypeAlias = Sequence[Script] | Callable[[Received], Script]
"""A script for each request for an answer, the last one for all that follow; or what chooses one."""


class Wire:
    """The response to one request, as actions see it.

    Attributes:
        received: The request.
        speech: The language of its path.
        complete: The response is whole, and the connection may be used again.
        chunked: The body is sent in chunks.
        piece_bytes: Body is sent in chunks of this size; None sends it as it comes.
        compress: What is done to the body on its way.
    """

    def __init__(self, received: Received, speech: Speech, streams: _Streams) -> None:
        self.received = received
        self.speech = speech
        self.complete = False
        self.chunked = False
        self.piece_bytes: int | None = None
        self.compress: Callable[[bytes], bytes] = bytes
        self._streams = streams

    async def put(self, content: bytes) -> None:
        """Send bytes as they are."""
        self._streams.writer.write(content)
        await self._streams.writer.drain()
        self.received.sent += len(content)

    async def send(self, content: bytes) -> None:
        """Send bytes of the body, framed as the head said."""
        content = self.compress(content)
        size = self.piece_bytes or max(1, len(content))
        for start in range(0, len(content), size):
            piece = content[start : start + size]
            await self.put(b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece)

    def reset(self) -> None:
        """Break the connection: the client sees a reset."""
        opened = self._streams.writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._streams.writer.transport.abort()

    def half_close(self) -> None:
        """Send nothing more, but go on listening."""
        self._streams.writer.write_eof()


class _Streams(asyncio.StreamReaderProtocol):
    """One connection, which tells at once when the client leaves."""

    def __init__(self, serve: Callable[[_Streams], None], number: int) -> None:
        self.reader = asyncio.StreamReader(limit=HEAD_LIMIT)
        super().__init__(self.reader, self._connected)
        self._serve = serve
        self.number = number
        self.writer: asyncio.StreamWriter = None  # type: ignore[assignment]  # set when connected
        self.current: Received | None = None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        self.writer = writer
        opened = writer.get_extra_info("socket")
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        writer.transport.set_write_buffer_limits(high=0)
        self._serve(self)

    def eof_received(self) -> bool:
        """Take the client's FIN."""
        self._left()
        return bool(super().eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the client's RST, or the end of the connection."""
        self._left()
        super().connection_lost(exc)

    def _left(self) -> None:
        if self.current is not None and self.current.closed_at is None:
            self.current.closed_at = time.monotonic()
            self.current.closed.set()


class FaultServer:
    """The stand-in. Use `serving` to run one.

    Attributes:
        received: Requests for answers so far, in the order of their arrival.
        asked: Paths of all other requests.
        open_connections: Connections that are open now.
        connections: How many there ever were.
    """

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts
        self.received: list[Received] = []
        self.asked: list[str] = []
        self.open_connections = 0
        self.connections = 0
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Address without a path, for an Ollama."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        """Address of the Chat Completions API."""
        return f"{self.url}/v1"

    def streams(self) -> asyncio.BaseProtocol:
        """Return what serves one more connection."""
        self.connections += 1
        return _Streams(self._begin, self.connections - 1)

    async def stop(self) -> None:
        """End all scripts and connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, streams: _Streams) -> None:
        task = asyncio.create_task(self._serve(streams), name=f"stand-in-{streams.number}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, streams: _Streams) -> None:
        self.open_connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer(streams):
                    pass
        finally:
            self.open_connections -= 1
            streams.writer.close()

    async def _answer(self, streams: _Streams) -> bool:
        """Answer one request; say whether another may follow."""
        head = (await streams.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split(" ")[1]
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
        }
        content = await streams.reader.readexactly(int(headers.get("content-length", "0")))
        if path in DOCUMENTS:
            self.asked.append(path)
            streams.writer.write(_document(path))
            await streams.writer.drain()
            return True
        received = Received(
            len(self.received), path, headers, content, streams.number, arrived_at=time.monotonic()
        )
        self.received.append(received)
        streams.current = received
        wire = Wire(received, SPEECHES.get(path, OTHERWISE), streams)
        for action in self._script(received):
            await action(wire)
        streams.current = None if wire.complete else received
        return wire.complete

    def _script(self, received: Received) -> Script:
        if callable(self.scripts):
            return self.scripts(received)
        return self.scripts[min(received.number, len(self.scripts) - 1)]


def _document(path: str) -> bytes:
    """Return the response to a question about models."""
    body = json.dumps(DOCUMENTS[path]).encode()
    return (
        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        + body
    )


@asynccontextmanager
async def serving(scripts: Scripts) -> AsyncIterator[FaultServer]:
    """Run a stand-in on a free port."""
    server = FaultServer(scripts)
    listening = await asyncio.get_running_loop().create_server(server.streams, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await server.stop()
        await listening.wait_closed()
