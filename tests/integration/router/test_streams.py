"""Streams that the router passes on, message by message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from tests.support.backend import SERVED_BY, Context, FakeBackend, Held, refuse, serving
from tests.support.polling import LONG_ENOUGH_SECONDS, until
from tests.support.routing import read_all, routed
from tests.support.stubs import LIMIT_SECONDS

CHAT = "/inglenook.chat.v1.ChatService/Chat"


async def test_each_message_of_a_stream_arrives_before_the_next_is_made(tmp_path: Path) -> None:
    """The router holds nothing back: tokens are seen while the rest is still being thought of."""
    held = Held()
    async with (
        serving(FakeBackend(stream=held.stream)) as fake,
        routed(tmp_path, {"chat": [fake.address]}) as router,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        call = router.raw_stream(CHAT)(b"hello")
        assert await call.read() == b"hello"
        held.released.set()
        assert await call.read() == b"hello"
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


async def test_a_stream_tells_who_served_it(tmp_path: Path) -> None:
    """`inglenook-served-by` of the backend comes with the end of the stream."""

    async def answer(content: bytes, context: Context) -> AsyncIterator[bytes]:
        yield content
        context.set_trailing_metadata((("inglenook-served-by", SERVED_BY),))

    async with (
        serving(FakeBackend(stream=answer)) as fake,
        routed(tmp_path, {"chat": [fake.address]}) as router,
    ):
        call = router.raw_stream(CHAT)(b"hello", timeout=LIMIT_SECONDS)
        assert [message async for message in call] == [b"hello"]
        assert dict(await call.trailing_metadata())["inglenook-served-by"] == SERVED_BY


async def test_an_explained_error_after_some_messages_follows_them(tmp_path: Path) -> None:
    """What came before the error is delivered; then the status is the backend's, with its details."""

    async def answer(content: bytes, context: Context) -> AsyncIterator[bytes]:
        yield content
        yield content
        await refuse(context, grpc.StatusCode.INTERNAL, "INFERENCE_FAILED")

    async with (
        serving(FakeBackend(stream=answer)) as fake,
        routed(tmp_path, {"chat": [fake.address]}) as router,
    ):
        call = router.raw_stream(CHAT)(b"x", timeout=LIMIT_SECONDS)
        received, told = await read_all(call)
    assert received == [b"x", b"x"]
    assert told is not None
    assert (told.code, told.reason) == (grpc.StatusCode.INTERNAL, "INFERENCE_FAILED")
    assert told.trailing == {"inglenook-served-by": SERVED_BY}
    assert len(fake.methods) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE])
async def test_a_stream_that_its_backend_drops_is_never_a_success(
    tmp_path: Path, code: grpc.StatusCode
) -> None:
    """A stream that ends early without details ends with NO_BACKEND, and is not begun again."""

    async def answer(content: bytes, context: Context) -> AsyncIterator[bytes]:
        yield content
        await context.abort(code)

    async with (
        serving(FakeBackend(stream=answer)) as fake,
        routed(tmp_path, {"chat": [fake.address]}) as router,
    ):
        call = router.raw_stream(CHAT)(b"x", timeout=LIMIT_SECONDS)
        received, told = await read_all(call)
    assert received == [b"x"]
    assert told is not None
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "NO_BACKEND")
    assert len(fake.methods) == 1


async def test_a_caller_that_leaves_a_stream_is_gone_for_the_backend_too(tmp_path: Path) -> None:
    """Cancelling in the middle stops the backend's work."""
    held = Held()
    async with (
        serving(FakeBackend(stream=held.stream)) as fake,
        routed(tmp_path, {"chat": [fake.address]}) as router,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        call = router.raw_stream(CHAT)(b"x")
        assert await call.read() == b"x"
        await held.arrived.wait()
        call.cancel()
        await held.left.wait()


async def test_a_deadline_that_passes_in_a_stream_ends_it_on_both_sides(tmp_path: Path) -> None:
    """The caller gets DEADLINE_EXCEEDED and the backend is told to stop."""
    held = Held()
    async with (
        serving(FakeBackend(stream=held.stream)) as fake,
        routed(tmp_path, {"chat": [fake.address]}) as router,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        received, told = await read_all(router.raw_stream(CHAT)(b"x", timeout=LONG_ENOUGH_SECONDS))
        await held.left.wait()
    assert received == [b"x"]
    assert told is not None
    assert told.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0 < (fake.remaining[0] or 0) < LONG_ENOUGH_SECONDS + 0.5


async def test_a_caller_that_leaves_without_reading_is_gone_for_the_backend_too(tmp_path: Path) -> None:
    """A stream that stands still because nobody reads it ends at the backend when its caller leaves."""
    left, made = asyncio.Event(), 0

    async def endless(content: bytes, context: Context) -> AsyncIterator[bytes]:
        nonlocal made
        try:
            while True:
                made += 1
                yield content
        finally:
            left.set()

    async def standing_still() -> bool:
        before = made
        await asyncio.sleep(0.05)
        return made == before > 0

    async with (
        serving(FakeBackend(stream=endless)) as fake,
        routed(tmp_path, {"chat": [fake.address]}) as router,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        call = router.raw_stream(CHAT)(bytes(100_000))
        await call.read()
        await until(standing_still)
        call.cancel()
        await left.wait()
