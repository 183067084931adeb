"""Streams of events, byte by byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from services.router.http.sse import PING, EventStream, event
from tests.support.polling import LIMIT_SECONDS

SOON = 0.01


class Reader:
    """Takes what is sent, when it likes.

    Attributes:
        parts: What it took.
        reads: Whether it reads; sending waits while it does not.
    """

    def __init__(self) -> None:
        self.parts: list[MutableMapping[str, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.took = asyncio.Event()

    async def send(self, part: MutableMapping[str, Any]) -> None:
        """Take one part."""
        await self.reads.wait()
        self.parts.append(part)
        self.took.set()

    async def take(self, count: int) -> list[bytes]:
        """Wait for so many parts of a body."""
        async with asyncio.timeout(LIMIT_SECONDS):
            while len(self.bodies()) < count:
                self.took.clear()
                await self.took.wait()
        return self.bodies()

    def bodies(self) -> list[bytes]:
        """Return what it took of the body."""
        return [part["body"] for part in self.parts if part["type"] == "http.response.body"]


async def test_nothing_is_sent_before_the_first_event() -> None:
    """Until then the response can still be an error."""
    reader = Reader()
    async with EventStream(reader.send, SOON) as stream:
        await asyncio.sleep(3 * SOON)
        assert (reader.parts, stream.begun) == ([], False)
        await stream.write(b"data: 1\n\n", {"x-a": "b"})
        assert reader.parts[0]["status"] == 200
        assert (b"x-a", b"b") in reader.parts[0]["headers"]
        await stream.end(b"")


async def test_a_stream_that_is_silent_for_long_begins_with_a_comment() -> None:
    """A proxy would otherwise end it. What comes later follows the headers that are gone already."""
    reader = Reader()
    async with EventStream(reader.send, silent_seconds=SOON) as stream:
        assert await reader.take(1) == [PING]
        assert stream.begun
        await stream.write(b"data: 1\n\n", {"x-a": "b"})
        await stream.end(b"data: 2\n\n")
    assert [part["type"] for part in reader.parts].count("http.response.start") == 1
    assert reader.bodies() == [PING, b"data: 1\n\n", b"data: 2\n\n"]


async def test_a_quiet_stream_is_kept_alive_by_comments() -> None:
    """Lines of their own that end no event; none comes after the end."""
    reader = Reader()
    async with EventStream(reader.send, SOON) as stream:
        await stream.write(b"data: 1\n\n", {})
        assert (await reader.take(3))[1:3] == [PING, PING]
        await stream.end(b"data: 2\n\n")
        told = len(reader.parts)
        await asyncio.sleep(3 * SOON)
        assert len(reader.parts) == told
    assert PING == b": ping\n"


async def test_no_comment_is_sent_once_the_stream_is_left() -> None:
    """However it is left: nothing goes on by itself."""
    reader = Reader()
    with pytest.raises(ZeroDivisionError):
        async with EventStream(reader.send, SOON, SOON):
            raise ZeroDivisionError
    await asyncio.sleep(3 * SOON)
    assert reader.parts == []


async def test_a_reader_who_does_not_read_gets_no_comments() -> None:
    """They would only add to what waits."""
    reader = Reader()
    async with EventStream(reader.send, SOON) as stream:
        await stream.write(b"data: 1\n\n", {})
        reader.reads.clear()
        writing = asyncio.create_task(stream.write(b"data: 2\n\n", {}))
        await asyncio.sleep(5 * SOON)
        reader.reads.set()
        await writing
        await stream.end(b"")
    assert reader.bodies()[-2:] == [b"data: 2\n\n", b""]


@pytest.mark.parametrize("text", ["a\nb\r\n", "Grüße 👋", "a\u2028b\u2029c\x85d", ": ping", "data: x\n\n"])
def test_an_event_is_one_line_however_lines_are_cut(text: str) -> None:
    """Some clients cut at every line end that Unicode knows."""
    content = event({"text": text})
    assert len(content.decode().removesuffix("\n\n").splitlines()) == 1
    assert json.loads(content.removeprefix(b"data: ")) == {"text": text}
