"""Streams that another replica takes over, as long as nothing was said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from inglenook.chat.v1 import ChatEvent, Delta, Finish, Start

from services.chassis.errors import CODES, Reason, Relayed
from services.router.errors import NoBackend
from tests.support.backend import Context, FakeBackend, Held, StreamAnswer, refuse, serving
from tests.support.stubs import LIMIT_SECONDS
from tests.support.tiers import CHAT, Noted, asking, opened, write_tiers

START = ChatEvent(start=Start()).SerializeToString()
HELLO = ChatEvent(delta=Delta(text="hello")).SerializeToString()
FINISH = ChatEvent(finish=Finish()).SerializeToString()


def speaking(*events: bytes, then: str = "") -> StreamAnswer:
    """Return what streams events, then fails for a reason if there is one."""

    async def answer(content: bytes, context: Context) -> AsyncIterator[bytes]:
        del content
        for event in events:
            yield event
        if then == "LOST":
            await context.abort(grpc.StatusCode.UNAVAILABLE)
        elif then:
            await refuse(context, CODES[Reason(then)], then)

    return answer


async def told(
    folder: Path, settings: str = "", *backends: FakeBackend
) -> tuple[list[bytes], Noted, Exception | None]:
    """Return what a caller gets from a route over backends, and how the stream fails if it does."""
    received: list[bytes] = []

    async def write(response: bytes) -> None:
        received.append(response)

    noted, failure = Noted(), None
    async with AsyncExitStack() as stack:
        for backend in backends:
            await stack.enter_async_context(serving(backend))
        named = {f"backend-{number}": [backend] for number, backend in enumerate(backends)}
        file = write_tiers(folder, named, settings, capability="chat")
        route = await stack.enter_async_context(opened(file, "chat", noted))
        try:
            await route.stream(asking(b"x", method=CHAT), write)
        except (Relayed, NoBackend) as error:
            failure = error
        assert all(endpoint.calls_in_flight == 0 for endpoint in route.endpoints)
    return received, noted, failure


@pytest.mark.parametrize("said", [(), (START,)], ids=["nothing", "who"])
@pytest.mark.parametrize("then", ["LOST", "NOT_READY", "UPSTREAM_UNAVAILABLE", "QUEUE_FULL"])
async def test_until_the_first_content_another_backend_takes_over(
    tmp_path: Path, said: tuple[bytes, ...], then: str
) -> None:
    """The caller sees one answer from one backend; that somebody else was about to answer is not said."""
    first = FakeBackend(stream=speaking(*said, then=then))
    second = FakeBackend(stream=speaking(START, HELLO, FINISH))
    settings = "max_attempts = 2"
    received, _, failure = await told(tmp_path, settings, first, second)
    assert failure is None
    assert received == [START, HELLO, FINISH]


@pytest.mark.parametrize("then", ["LOST", "NOT_READY", "UPSTREAM_INTERRUPTED"])
async def test_after_the_first_content_nobody_takes_over(tmp_path: Path, then: str) -> None:
    """An answer is never put together from two."""
    first = FakeBackend(stream=speaking(START, HELLO, then=then))
    second = FakeBackend(stream=speaking(START, HELLO, FINISH))
    received, noted, failure = await told(tmp_path, "", first, second)
    assert received == [START, HELLO]
    assert failure is not None
    assert second.methods == []
    assert not noted.failovers


async def test_an_answer_that_is_only_announced_is_passed_on_with_its_end(tmp_path: Path) -> None:
    """A stream without content is complete too, and nothing of it is kept back."""
    received, _, failure = await told(tmp_path, "", FakeBackend(stream=speaking(START)))
    assert (received, failure) == ([START], None)


async def test_a_refusal_of_the_request_itself_is_the_answer(tmp_path: Path) -> None:
    """Another backend would refuse it just the same."""
    first = FakeBackend(stream=speaking(then="CONTENT_REJECTED"))
    second = FakeBackend(stream=speaking(START, HELLO, FINISH))
    received, _, failure = await told(tmp_path, "", first, second)
    assert (received, second.methods) == ([], [])
    assert "CONTENT_REJECTED" in str(failure)


async def test_a_backend_that_says_nothing_for_too_long_is_given_up(tmp_path: Path) -> None:
    """`attempt_timeout_seconds` is the time until the first content; the answer itself may take longer."""
    silent = Held()

    async def slow(content: bytes, context: Context) -> AsyncIterator[bytes]:
        del content, context
        for event in (START, HELLO):
            yield event
        await asyncio.sleep(0.3)
        yield FINISH

    async def never(content: bytes, context: Context) -> AsyncIterator[bytes]:
        yield START
        yield await silent.unary(content, context)

    async with asyncio.timeout(LIMIT_SECONDS):
        first, second = FakeBackend(stream=never), FakeBackend(stream=slow)
        received, noted, failure = await told(tmp_path, "attempt_timeout_seconds = 0.15", first, second)
        await silent.left.wait()
    assert (received, failure) == ([START, HELLO, FINISH], None)
    assert noted.failovers == {"DEADLINE": 1}


async def test_what_the_caller_cannot_take_is_not_blamed_on_the_backend(tmp_path: Path) -> None:
    """A caller that breaks off has nothing to do with who answers."""
    fake = FakeBackend(stream=speaking(START, HELLO, FINISH))

    async def write(response: bytes) -> None:
        raise ConnectionResetError(len(response))

    noted = Noted()
    async with (
        serving(fake),
        opened(write_tiers(tmp_path, {"only": [fake]}, capability="chat"), "chat", noted) as route,
    ):
        for _ in range(10):
            with pytest.raises(ConnectionResetError):
                await route.stream(asking(b"x", method=CHAT), write)
        assert route.healthy == 1
    assert noted.attempts == {("only", "CANCELLED"): 10}
