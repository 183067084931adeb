"""Steps out of which scripts for `fault_server` are made, and the scripts that are used most."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from tests.support.fault_server import Action, Script, Wire

GZIP_WINDOW: Final = 31
"""What makes zlib write the gzip format."""


def head(
    *,
    status: int = HTTPStatus.OK,
    content_type: str | None = None,
    headers: Mapping[str, str] | None = None,
    gzip: bool = False,
    slowly: float = 0.0,
) -> Action:
    """Begin a response whose length is not known.

    Args:
        status: HTTP status.
        content_type: Default: that of a streamed answer.
        headers: Further headers.
        gzip: Compress the body, and flush after every piece.
        slowly: Seconds between two bytes of the head.
    """

    async def act(wire: Wire) -> None:
        fields = {"content-type": content_type or wire.speech.content_type, "transfer-encoding": "chunked"}
        fields |= {"content-encoding": "gzip"} if gzip else {}
        content = _head(status, fields | dict(headers or {}))
        if gzip:
            _compress(wire)
        wire.chunked = True
        if not slowly:
            await wire.put(content)
            return
        for byte in content:
            await wire.put(bytes([byte]))
            await asyncio.sleep(slowly)

    return act


def _compress(wire: Wire) -> None:
    packer = zlib.compressobj(wbits=GZIP_WINDOW)
    wire.compress = lambda content: packer.compress(content) + packer.flush(zlib.Z_SYNC_FLUSH)


def respond(
    status: int,
    body: bytes = b"",
    *,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Action:
    """Send a whole response; head and body in one write."""

    async def act(wire: Wire) -> None:
        fields = {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}
        await wire.put(_head(status, fields) + body)
        wire.complete = True

    return act


def refuse(status: int, message: str, code: str = "", headers: Mapping[str, str] | None = None) -> Action:
    """Send a whole response with an error, as the API words it."""

    async def act(wire: Wire) -> None:
        await respond(status, wire.speech.error(message, code), headers=headers)(wire)

    return act


def _head(status: int, fields: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase if status in set(HTTPStatus) else 'Odd'}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def wait(seconds: float) -> Action:
    """Do nothing for so long."""

    async def act(wire: Wire) -> None:
        del wire
        await asyncio.sleep(seconds)

    return act


async def stall(wire: Wire) -> None:
    """Do nothing until the client leaves."""
    await wire.received.closed.wait()


def until(event: asyncio.Event) -> Action:
    """Do nothing until the test says so."""

    async def act(wire: Wire) -> None:
        del wire
        await event.wait()

    return act


async def opening(wire: Wire) -> None:
    """Send what comes before the first content."""
    await wire.send(wire.speech.opening())


def tokens(texts: Sequence[str], interval: float = 0.0) -> Action:
    """Send a piece of text after another."""

    async def act(wire: Wire) -> None:
        for text in texts:
            await wire.send(wire.speech.token(text))
            if interval:
                await asyncio.sleep(interval)

    return act


def flood(text: str, count: int) -> Action:
    """Send a piece of text many times as fast as the client takes it."""

    async def act(wire: Wire) -> None:
        content = wire.speech.token(text)
        for _ in range(count):
            await wire.send(content)

    return act


def keep_alives(count: int, interval: float) -> Action:
    """Say nothing, often."""

    async def act(wire: Wire) -> None:
        for _ in range(count):
            await wire.send(wire.speech.keep_alive())
            await asyncio.sleep(interval)

    return act


def finish(reason: str = "stop", output_tokens: int = 3) -> Action:
    """Send why the answer ends, and the usage."""

    async def act(wire: Wire) -> None:
        await wire.send(wire.speech.finish(reason, output_tokens))

    return act


async def done(wire: Wire) -> None:
    """Send what comes after everything."""
    await wire.send(wire.speech.done())


async def end(wire: Wire) -> None:
    """End the body as HTTP wants it."""
    await wire.put(b"0\r\n\r\n")
    wire.complete = True


def body(content: bytes) -> Action:
    """Send bytes of the body."""

    async def act(wire: Wire) -> None:
        await wire.send(content)

    return act


def raw(content: bytes) -> Action:
    """Send bytes past all framing."""

    async def act(wire: Wire) -> None:
        await wire.put(content)

    return act


def problem(message: str) -> Action:
    """Report an error inside of the stream."""

    async def act(wire: Wire) -> None:
        await wire.send(wire.speech.problem(message))

    return act


def pieces_of(size: int) -> Action:
    """Cut everything that follows into chunks of so many bytes."""

    async def act(wire: Wire) -> None:
        wire.piece_bytes = size

    return act


async def reset(wire: Wire) -> None:
    """Break the connection with a reset."""
    wire.reset()


async def half_close(wire: Wire) -> None:
    """Send nothing more, and keep listening until the client leaves."""
    wire.half_close()
    await wire.received.closed.wait()


def answer(texts: Sequence[str], *, interval: float = 0.0, before: float = 0.0) -> Script:
    """Return the script of a complete answer.

    Args:
        texts: Its pieces.
        interval: Seconds between two of them.
        before: Seconds between the head and the first of them.
    """
    waiting = [wait(before)] if before else []
    said = tokens(texts, interval)
    return [head(), opening, *waiting, said, finish(output_tokens=len(texts)), done, end]
