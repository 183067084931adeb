"""Sends bytes to an HTTP server over connections of their own, and judges what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from tests.fuzz.campaign import TRACES, Outcome
from tests.fuzz.dice import CANARY
from tests.fuzz.requests import Raw

CONNECTIONS: Final = 32
LIMIT_SECONDS: Final = 25.0
"""For an answer to a request that is whole, or that its sender has given up."""
KNOWN: Final = frozenset(str(code.value) for code in HTTPStatus)
READ_BYTES: Final = 64 * 1024
"""A larger body may still be on its way when it is refused; the end of the connection can then overtake the
answer."""
IDENTIFIED: Final = b"under this id: "


async def send_all(address: str, contents: Iterable[Raw], outcome: Outcome) -> None:
    """Send all of it, some at a time."""
    waiting: Iterator[Raw] = iter(contents)

    async def keep_sending() -> None:
        for request in waiting:
            await _send(address, request, outcome)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(keep_sending())


async def _send(address: str, request: Raw, outcome: Outcome) -> None:
    host, _, port = address.rpartition(":")
    began = time.monotonic()
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                answer = await _exchange(reader, writer, request)
            finally:
                writer.transport.abort()
    except TimeoutError:
        outcome.codes["HANG"] += 1
        outcome.complain("the request hangs", request.content)
        return
    except ConnectionRefusedError:
        outcome.codes["REFUSED"] += 1
        outcome.complain("nobody listens", request.content)
        return
    outcome.slowest_seconds = max(outcome.slowest_seconds, time.monotonic() - began)
    _judge(answer, request, outcome)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Raw) -> bytes:
    """Send a request and return all that comes back; one that is not whole is ended where it breaks off."""
    with suppress(ConnectionError):
        writer.write(request.content)
        await writer.drain()
        if not request.whole:
            writer.write_eof()
    try:
        return await reader.read(-1)
    except ConnectionError:
        return b""


def _judge(answer: bytes, request: Raw, outcome: Outcome) -> None:
    status = answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.") else ""
    outcome.codes[status or "closed without an answer"] += 1
    if not status and request.whole and len(request.content) < READ_BYTES:
        outcome.complain("no answer to a whole request", request.content)
    if status and status not in KNOWN:
        outcome.complain(f"status {status}", request.content)
    if status == "500" and IDENTIFIED not in answer:
        outcome.complain(f"500 without an id: {answer[-300:]!r}", request.content)
    elif status == "500":
        outcome.complain(f"500, a bug: {answer[-300:]!r}", request.content)
    text = answer.decode("utf-8", errors="replace")
    if any(trace in text for trace in TRACES):
        outcome.complain(f"{status} tells of the program: {text[-300:]}", request.content)
    if CANARY in text and not status.startswith("2"):
        outcome.complain(f"{status} repeats what was sent: {text[-300:]}", request.content)
