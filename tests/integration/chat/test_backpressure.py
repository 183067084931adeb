"""A caller that reads slowly holds its provider back: what nobody has read yet is held in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from inglenook.chat.v1 import ChatRequest

from tests.support.fault_actions import done, end, finish, flood, head, opening
from tests.support.fault_chat import LIMIT_SECONDS, Plot, Seen, Stage, chat, complete, question, staged
from tests.support.polling import until

MEBIBYTE: Final = 1024 * 1024
TEXT: Final = "x" * 1000
COUNT: Final = 100_000
WHOLE_BYTES: Final = COUNT * len(TEXT)
MOST_HELD_BYTES: Final = 16 * MEBIBYTE
"""Most that a provider may get rid of while nobody reads: what is read ahead here, gRPC's windows, and the
buffers of the kernel on both connections, which are the most of it."""

FLOOD: Final = (head(), opening, flood(TEXT, COUNT), finish(output_tokens=COUNT), done, end)
SHORT: Final = (head(), opening, flood("y", 3), finish(), done, end)


async def begun(stage: Stage, stack: AsyncExitStack) -> Any:
    """Begin a call, read its first two events and no more; it is cancelled in the end."""
    call = stage.stub.Chat(ChatRequest(**question()), timeout=10 * LIMIT_SECONDS)
    stack.callback(call.cancel)
    for _ in range(2):
        await call.read()
    return call


def settled(stage: Stage, count: int) -> Callable[[], Awaitable[bool]]:
    """Return what says whether the provider has not got rid of anything more for a while."""

    async def look() -> bool:
        before = [one.sent for one in stage.primary.received]
        await asyncio.sleep(0.2)
        return len(before) == count and before == [one.sent for one in stage.primary.received]

    return look


@pytest.mark.parametrize("kind", ["openai-compatible", "ollama"])
async def test_slow_reader_holds_the_provider_back(kind: str, tmp_path: Path) -> None:
    """A hundred megabytes stay where they are until they are read, and then all of them arrive."""
    async with staged(tmp_path, Plot((FLOOD,), kind=kind)) as stage, AsyncExitStack() as stack:
        await begun(stage, stack)
        await until(settled(stage, 1))
        assert stage.primary.received[0].sent < MOST_HELD_BYTES < WHOLE_BYTES


async def test_what_was_held_back_arrives_whole(tmp_path: Path) -> None:
    """Nothing is dropped or told twice on the way."""
    script = (head(), opening, flood(TEXT, 20_000), finish(output_tokens=20_000), done, end)
    async with staged(tmp_path, Plot((script,))) as stage, AsyncExitStack() as stack:
        call = stage.stub.Chat(ChatRequest(**question()), timeout=LIMIT_SECONDS)
        stack.callback(call.cancel)
        await until(settled(stage, 1))
        assert stage.primary.received[0].sent < MOST_HELD_BYTES
        seen = Seen()
        async for event in call:
            seen.take(event)
    assert (len(seen.text), seen.is_complete) == (20_000 * len(TEXT), True)


async def test_slow_readers_do_not_hold_up_others(tmp_path: Path) -> None:
    """Calls that stand still cost memory and nothing else."""
    scripts = [*[FLOOD] * 8, SHORT]
    async with staged(tmp_path, Plot(scripts)) as stage, AsyncExitStack() as stack:
        for _ in range(8):
            await begun(stage, stack)
        await until(settled(stage, 8))
        assert all(one.sent < MOST_HELD_BYTES for one in stage.primary.received)
        seen = await chat(stage.stub)
    assert (seen.text, seen.failure) == ("yyy", None)
    assert seen.seconds < 2.0


async def test_slow_reader_that_leaves_closes_the_connection_upstream(tmp_path: Path) -> None:
    """The service stands at a write then, not at a read."""
    async with staged(tmp_path, Plot((FLOOD,))) as stage, AsyncExitStack() as stack:
        call = await begun(stage, stack)
        await until(settled(stage, 1))
        call.cancel()
        async with asyncio.timeout(0.5):
            await stage.primary.received[0].closed.wait()


async def test_answer_that_has_no_end_is_not_put_together(tmp_path: Path) -> None:
    """Complete holds what it has; more than allowed ends the call and closes the connection."""
    plot = Plot((FLOOD,), (SHORT,), chat=f"max_answer_bytes = {MEBIBYTE}")
    async with staged(tmp_path, plot) as stage:
        seen = await complete(stage.stub)
        async with asyncio.timeout(LIMIT_SECONDS):
            await stage.primary.received[0].closed.wait()
        assert stage.primary.received[0].sent < MOST_HELD_BYTES
    assert seen.failure is not None
    assert (seen.failure.code, seen.failure.reason) == (grpc.StatusCode.INTERNAL, "INVALID_OUTPUT")
