"""A caller that leaves is felt upstream at once, whatever was being waited for, and nobody is asked then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from inglenook.chat.v1 import ChatRequest, CompleteRequest

from tests.support.fault_actions import answer, head, opening, refuse, stall, tokens
from tests.support.fault_blackhole import Blackhole, blackhole
from tests.support.fault_chat import LIMIT_SECONDS, Plot, Stage, chat, question, staged
from tests.support.fault_server import Script
from tests.support.lag import measured_lag
from tests.support.polling import until

FELT_SECONDS: Final = 0.25
"""How long after the caller has left the connection upstream may stay open."""

DEADLINE_SECONDS: Final = 1.0
WORDS: Final = ("one ", "two ", "three ")
METHODS: Final = ("Chat", "Complete")

PHASES: Final[dict[str, Script]] = {
    "waiting for headers": (stall,),
    "waiting for the first token": (head(), opening, stall),
    "in the middle": (head(), opening, tokens(WORDS), stall),
    "while tokens come": (head(), opening, tokens(["on "] * 10_000, 0.01)),
}


def begin(stage: Stage, method: str, **options: Any) -> Any:
    """Begin a call and have it run by itself."""
    options = {"timeout": LIMIT_SECONDS, **options}
    if method == "Complete":
        return stage.stub.Complete(CompleteRequest(**question()), **options)
    return stage.stub.Chat(ChatRequest(**question()), **options)


async def ended(call: Any) -> grpc.StatusCode:
    """Return the code that a call ends with; what arrives before that is read."""
    with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        if isinstance(call, grpc.aio.UnaryStreamCall):
            async for _ in call:
                pass
        else:
            await call
    code: grpc.StatusCode = await call.code()
    return code


def handling(stage: Stage, count: int) -> Callable[[], Awaitable[bool]]:
    """Return what says whether the service handles so many calls now."""

    async def look() -> bool:
        return stage.in_flight == count

    return look


def reached(stage: Stage, script: Script) -> Callable[[], Awaitable[bool]]:
    """Return what says whether the first target has been asked and has sent what comes before the silence."""

    async def look() -> bool:
        return bool(stage.primary.received) and (script == (stall,) or stage.primary.received[0].sent > 200)

    return look


async def closed_at(stage: Stage) -> float:
    """Return when the connection to the first target was closed."""
    received = stage.primary.received[0]
    await asyncio.wait_for(received.closed.wait(), LIMIT_SECONDS)
    assert received.closed_at is not None
    return received.closed_at


async def assert_nobody_is_asked_any_more(stage: Stage, primary: int) -> None:
    """The call is over inside the service, and no further attempt was made until then."""
    await until(handling(stage, 0))
    assert (len(stage.primary.received), len(stage.fallback.received)) == (primary, 0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("kind", ["openai-compatible", "ollama"])
async def test_cancelled_call_closes_the_connection_upstream(
    phase: str, method: str, kind: str, tmp_path: Path
) -> None:
    """In every phase of an attempt; the model stops working for nobody."""
    script = PHASES[phase]
    async with staged(tmp_path, Plot((script,), (answer(WORDS),), kind=kind)) as stage:
        call = begin(stage, method)
        await until(reached(stage, script))
        async with measured_lag() as lag:
            left_at = time.monotonic()
            call.cancel()
            assert await closed_at(stage) - left_at < FELT_SECONDS + lag.seconds
        await assert_nobody_is_asked_any_more(stage, 1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("phase", PHASES)
async def test_passed_deadline_closes_the_connection_upstream(
    phase: str, method: str, tmp_path: Path
) -> None:
    """The caller's deadline holds for the attempt, too, and no other target is asked after it."""
    async with staged(tmp_path, Plot((PHASES[phase],), (answer(WORDS),))) as stage:
        async with measured_lag() as lag:
            began_at = time.monotonic()
            call = begin(stage, method, timeout=DEADLINE_SECONDS)
            assert await ended(call) is grpc.StatusCode.DEADLINE_EXCEEDED
            assert await closed_at(stage) - began_at < DEADLINE_SECONDS + FELT_SECONDS + lag.seconds
        await assert_nobody_is_asked_any_more(stage, 1)


@pytest.mark.parametrize("method", METHODS)
async def test_total_time_of_a_model_ends_a_call_like_a_deadline(method: str, tmp_path: Path) -> None:
    """Tokens that keep coming do not make a call longer than the configuration allows."""
    plot = Plot((PHASES["while tokens come"],), model="total_timeout_seconds = 0.5")
    async with staged(tmp_path, plot) as stage:
        wanted = grpc.StatusCode.DATA_LOSS if method == "Chat" else grpc.StatusCode.UNAVAILABLE
        async with measured_lag() as lag:
            began_at = time.monotonic()
            assert await ended(begin(stage, method)) is wanted
            assert await closed_at(stage) - began_at < 0.5 + FELT_SECONDS + lag.seconds


@pytest.mark.parametrize("by", ["cancel", "deadline"])
@pytest.mark.parametrize("method", METHODS)
async def test_call_that_leaves_the_queue_is_never_sent(method: str, by: str, tmp_path: Path) -> None:
    """A turn that becomes free goes to nobody who has left, and is not lost either."""
    plot = Plot(((stall,), answer(WORDS)), (answer(WORDS),), provider="max_concurrent_requests = 1")
    async with staged(tmp_path, plot) as stage:
        before = begin(stage, "Chat")
        await until(reached(stage, (stall,)))
        waiting = begin(stage, method, timeout=DEADLINE_SECONDS if by == "deadline" else LIMIT_SECONDS)
        await until(handling(stage, 2))
        if by == "cancel":
            waiting.cancel()
        await ended(waiting)
        await until(handling(stage, 1))
        before.cancel()
        await assert_nobody_is_asked_any_more(stage, 1)
        assert (await chat(stage.stub)).provider == "primary"


@pytest.fixture
def nowhere() -> Iterator[Blackhole]:
    """Return an address that swallows attempts to connect."""
    with blackhole() as found:
        yield found


@pytest.mark.parametrize("by", ["cancel", "deadline"])
@pytest.mark.parametrize("method", METHODS)
async def test_call_that_leaves_gives_up_connecting(
    method: str, by: str, nowhere: Blackhole, tmp_path: Path
) -> None:
    """The socket is closed in time, and the other target is not asked."""
    async with staged(tmp_path, Plot((), (answer(WORDS),), url=nowhere.url)) as stage, measured_lag() as lag:
        began_at = time.monotonic()
        call = begin(stage, method, timeout=DEADLINE_SECONDS if by == "deadline" else LIMIT_SECONDS)
        await until(connecting(nowhere))
        if by == "cancel":
            began_at = time.monotonic() - DEADLINE_SECONDS
            call.cancel()
        await ended(call)
        await until(connecting(nowhere, no=True))
        assert time.monotonic() - began_at < DEADLINE_SECONDS + FELT_SECONDS + lag.seconds
        await assert_nobody_is_asked_any_more(stage, 0)


def connecting(nowhere: Blackhole, *, no: bool = False) -> Callable[[], Awaitable[bool]]:
    """Return what says whether a socket waits for a connection; with `no`, whether none does."""

    async def look() -> bool:
        return (nowhere.waiting == 0) is no

    return look


async def test_target_that_takes_no_connection_is_given_up_after_its_connect_timeout(
    nowhere: Blackhole, tmp_path: Path
) -> None:
    """Long before the first token would be due; the next target answers."""
    plot = Plot((), (answer(WORDS),), url=nowhere.url, provider="connect_timeout_seconds = 0.2")
    async with staged(tmp_path, plot) as stage:
        seen = await chat(stage.stub)
    assert (seen.text, seen.provider) == ("".join(WORDS), "fallback")
    assert seen.seconds < 3 * 0.2 + 2.0


@pytest.mark.parametrize("by", ["cancel", "deadline"])
@pytest.mark.parametrize("method", METHODS)
async def test_call_that_leaves_while_it_waits_for_its_next_try_makes_none(
    method: str, by: str, tmp_path: Path
) -> None:
    """The provider asked for three seconds; the caller is gone after less."""
    later = refuse(429, "later", headers={"retry-after": "3"})
    async with staged(tmp_path, Plot(((later,), answer(WORDS)))) as stage:
        began_at = time.monotonic()
        call = begin(stage, method, timeout=DEADLINE_SECONDS if by == "deadline" else LIMIT_SECONDS)
        await until(refused(stage))
        if by == "cancel":
            call.cancel()
        await ended(call)
        await until(handling(stage, 0))
        assert time.monotonic() - began_at < 3.0
        assert len(stage.primary.received) == 1


def refused(stage: Stage) -> Callable[[], Awaitable[bool]]:
    """Return what says whether the first target has refused."""

    async def look() -> bool:
        return bool(stage.primary.received) and stage.primary.received[0].sent > 0

    return look


async def test_caller_that_cannot_wait_for_the_next_try_is_told_at_once(tmp_path: Path) -> None:
    """Its deadline is before the time that the provider asks for: waiting would be for nothing."""
    later = refuse(429, "later", headers={"retry-after": "8"})
    plot = Plot(((later,),), ((later,),))
    async with staged(tmp_path, plot) as stage:
        seen = await chat(stage.stub, timeout=4.0)
    assert seen.failure is not None
    assert (seen.failure.code, seen.failure.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "UPSTREAM_RATE_LIMITED",
    )
    assert seen.seconds < 4.0
