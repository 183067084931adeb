"""The connections of a provider: used again where they can be, closed where they must be, never too many."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest

from services.chat.answer import TextPiece
from services.chat.providers.failure import FailureKind
from services.chat.providers.provider import Provider
from tests.support.fault_actions import (
    answer,
    done,
    end,
    finish,
    flood,
    head,
    opening,
    refuse,
    respond,
    stall,
    tokens,
    wait,
)
from tests.support.fault_exchange import PATIENT, ask, outcome, provider_at
from tests.support.fault_server import FaultServer, Script, Scripts, serving
from tests.support.polling import until

WORDS: Final = ("one ", "two ", "three ")
TEXT: Final = "".join(WORDS)
SLACK_SECONDS: Final = 0.7
"""How much later than at once something may be noticed on a busy machine."""
MEBIBYTE: Final = 1024 * 1024

BEGUN: Final[Script] = (head(), opening, tokens(WORDS))


@asynccontextmanager
async def faulty(*scripts: Script, **more: object) -> AsyncIterator[tuple[FaultServer, Provider]]:
    """Run a stand-in with these scripts and a provider in front of it."""
    async with serving(scripts) as server, provider_at(server.openai_url, **more) as provider:
        yield server, provider


async def test_connection_is_used_again_after_a_complete_answer_and_only_then() -> None:
    """One connection for all answers that were read to their end; a broken one is not touched again."""
    scripts: Scripts = [answer(WORDS), (*BEGUN, finish(), done, wait(0.01), end), BEGUN, answer(WORDS)]
    async with serving(scripts) as server, provider_at(server.openai_url) as provider:
        for _ in range(4):
            await outcome(provider)
        assert [one.connection for one in server.received] == [0, 0, 0, 1]


async def test_connection_is_used_again_after_a_refusal() -> None:
    """Refusals come often when a provider is busy; a new handshake each time would make it worse."""
    async with faulty((refuse(429, "slow down"),)) as (server, provider):
        await outcome(provider)
        await outcome(provider)
        assert [one.connection for one in server.received] == [0, 0]


async def test_redirect_is_not_followed_and_takes_no_key_along() -> None:
    """Whoever can redirect would otherwise be sent the key and the conversation."""
    async with serving([answer(WORDS)]) as elsewhere:
        to = {"location": f"{elsewhere.openai_url}/chat/completions"}
        for status in (301, 302, 307, 308):
            async with faulty((respond(status, headers=to),)) as (_, provider):
                found = await outcome(provider)
            assert found.failure is not None
            assert (found.failure.kind, found.failure.told.status) == (FailureKind.UNAVAILABLE, status)
            assert not found.failure.may_retry
        assert (elsewhere.received, elsewhere.asked, elsewhere.connections) == ([], [], 0)


async def test_nobody_listening_is_told_as_no_connection() -> None:
    """The most frequent failure of a local model: its server does not run."""
    async with serving([()]) as server:
        url = server.openai_url
    async with provider_at(url) as provider:
        found = await outcome(provider)
    assert found.failure is not None
    assert found.failure.kind is FailureKind.UNAVAILABLE
    assert "check that it runs" in str(found.failure)


@pytest.mark.parametrize(
    "script", [(stall,), (head(), stall), (*BEGUN, stall)], ids=["head", "first", "middle"]
)
async def test_cancelled_reader_closes_the_connection_and_stays_cancelled(script: Script) -> None:
    """The cancellation is neither swallowed nor late, and the turn is free for the next one."""
    async with faulty(script, max_concurrent_requests=1) as (server, provider):
        for number in range(3):
            task = asyncio.create_task(outcome(provider))
            await until(_arrived(server, number + 1))
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            async with asyncio.timeout(SLACK_SECONDS):
                await server.received[number].closed.wait()


def _arrived(server: FaultServer, count: int) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return len(server.received) >= count

    return look


async def test_cancellation_while_the_answer_is_being_closed_is_not_swallowed() -> None:
    """A caller may be cancelled at any moment, the one in which it already leaves included."""
    async with faulty((*BEGUN, stall)) as (server, provider):

        async def leave() -> None:
            async with provider.exchange(ask(), PATIENT, str) as exchange:
                await anext(aiter(exchange))
                current = asyncio.current_task()
                assert current is not None
                asyncio.get_running_loop().call_soon(current.cancel)

        task = asyncio.create_task(leave())
        await asyncio.wait([task])
        assert task.cancelled()
        async with asyncio.timeout(SLACK_SECONDS):
            await server.received[0].closed.wait()


async def test_reader_that_breaks_off_leaves_no_task_behind() -> None:
    """Breaking out of the loop closes the connection when the block is left, not when memory is tidied up."""
    gc.collect()
    async with faulty((*BEGUN, stall)) as (server, provider):
        before = set(asyncio.all_tasks())
        async with provider.exchange(ask(), PATIENT, str) as exchange:
            async for pieces in exchange:
                assert any(isinstance(piece, TextPiece) for piece in pieces)
                break
        # What is left is the stand-in's own task for the connection, which ends when it sees it closed.
        async with asyncio.timeout(SLACK_SECONDS):
            await server.received[0].closed.wait()
        assert {task.get_name() for task in set(asyncio.all_tasks()) - before}.isdisjoint({"read-answer"})


async def test_cancelled_turns_are_given_back() -> None:
    """However callers come and go while they wait, as many as allowed get their turn in the end."""
    async with faulty(answer(WORDS, interval=0.002), max_concurrent_requests=2) as (server, provider):
        tasks = [asyncio.create_task(outcome(provider)) for _ in range(60)]
        for step, task in enumerate(tasks):
            if step % 3:
                await asyncio.sleep(0.001)
                task.cancel()
        await asyncio.wait(tasks)
        async with asyncio.timeout(5.0):
            found = await asyncio.gather(*(outcome(provider) for _ in range(4)))
        assert [one.text for one in found] == [TEXT] * 4
        assert server.open_connections <= 2


async def test_more_than_may_wait_are_turned_away() -> None:
    """Whoever finds the queue full is told at once, and those in it are answered."""
    limits = {"max_concurrent_requests": 1, "max_waiting_requests": 1}
    async with faulty(answer(WORDS, before=0.1), **limits) as (server, provider):
        found = await asyncio.gather(*(outcome(provider) for _ in range(4)))
        kinds = [one.failure.kind if one.failure else None for one in found]
        assert kinds == [None, None, FailureKind.BUSY, FailureKind.BUSY]
        assert len(server.received) == 2


async def test_slow_consumer_holds_the_provider_back() -> None:
    """No more is read ahead than the limit and what the kernel holds; nothing is lost by it."""
    text, count = "x" * 1000, 40_000
    async with (
        faulty((head(), flood(text, count), finish(), done, end)) as (server, provider),
        provider.exchange(ask(), PATIENT, str) as exchange,
    ):
        portions = aiter(exchange)
        first = await anext(portions)

        async def settled() -> bool:
            before = server.received[0].sent
            await asyncio.sleep(0.1)
            return server.received[0].sent == before

        await until(settled)
        held = server.received[0].sent
        size = sum(len(piece.text) for piece in first if isinstance(piece, TextPiece))
        async for pieces in portions:
            size += sum(len(piece.text) for piece in pieces if isinstance(piece, TextPiece))
    assert held < 12 * MEBIBYTE < count * len(text)
    assert size == count * len(text)
