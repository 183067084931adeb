"""Who was cancelled: the call, or something inside of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from services.chassis.testing import settings
from tests.support.flood import Flood, Way
from tests.support.handlers import LIMIT_SECONDS, Context, HandlerApplication, connected, failure, served
from tests.support.polling import LONG_ENOUGH_SECONDS, until
from tests.support.scraping import handled, total

FAR_DEADLINE_SECONDS = 600.0
IN_FLIGHT = "inglenook_calls_in_flight"


async def _await_something_cancelled() -> None:
    inner: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    inner.cancel()
    await inner


async def _unary_with_cancelled_part(request: StringValue, context: Context) -> StringValue:
    await _await_something_cancelled()
    return request


async def _stream_with_cancelled_part(request: StringValue, context: Context) -> AsyncIterator[StringValue]:
    yield request
    await _await_something_cancelled()


BROKEN = HandlerApplication(unary=_unary_with_cancelled_part, stream=_stream_with_cancelled_part)


async def test_cancelled_error_from_inside_ends_a_unary_call_with_a_status() -> None:
    """grpc.aio sends nothing for it, and the caller would wait for its deadline, or forever."""
    async with asyncio.timeout(LIMIT_SECONDS), served(BROKEN) as up:
        failed = await failure(up.client.unary(timeout=FAR_DEADLINE_SECONDS))
    assert (failed.code, failed.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")


async def test_cancelled_error_from_inside_ends_a_stream_with_a_status() -> None:
    """Responses that were sent before it arrive, then the status does."""
    async with asyncio.timeout(LIMIT_SECONDS), served(BROKEN) as up:
        responses: list[StringValue] = []
        failed = await failure(up.client.stream("first", timeout=FAR_DEADLINE_SECONDS), responses)
    assert [response.value for response in responses] == ["first"]
    assert (failed.code, failed.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")


async def test_cancelled_error_from_inside_is_counted_as_internal() -> None:
    """Metrics have the code that the caller saw, and the call is over for them."""
    async with asyncio.timeout(LIMIT_SECONDS), served(BROKEN, settings(metrics=True)) as up:
        await failure(up.client.unary())
        await failure(up.client.stream())
        assert await handled(up.process) == {("Unary", "INTERNAL"): 1, ("Stream", "INTERNAL"): 1}
        assert await total(up.process, IN_FLIGHT) == 0


class Waiting:
    """Handlers that wait until they are cancelled, and tell what happened to them."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()

    def application(self) -> HandlerApplication:
        """Return an application with these handlers."""
        return HandlerApplication(unary=self.unary, stream=self.stream)

    async def unary(self, request: StringValue, context: Context) -> StringValue:
        """Wait."""
        await self._wait()
        return request

    async def stream(self, request: StringValue, context: Context) -> AsyncIterator[StringValue]:
        """Answer once and wait."""
        yield request
        await self._wait()

    async def _wait(self) -> None:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@pytest.mark.parametrize(("kind", "method"), [("unary", "Unary"), ("stream", "Stream")])
async def test_callers_cancellation_reaches_the_handler_and_is_counted_as_cancelled(
    kind: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no bug: nothing is logged, the code is CANCELLED, and the work stops."""
    caplog.set_level(logging.WARNING)
    waiting = Waiting()
    async with (
        asyncio.timeout(LIMIT_SECONDS),
        served(waiting.application(), settings(metrics=True)) as up,
    ):
        call = getattr(up.client, kind)()
        if kind == "stream":
            await call.read()
        await waiting.entered.wait()
        call.cancel()
        await waiting.cancelled.wait()
        counted = await until(lambda: handled(up.process))
        assert await total(up.process, IN_FLIGHT) == 0
    assert counted == {(method, "CANCELLED"): 1}
    assert caplog.records == []


@pytest.mark.parametrize(("kind", "method"), [("unary", "Unary"), ("stream", "Stream")])
async def test_passed_deadline_reaches_the_handler_and_is_counted_as_such(kind: str, method: str) -> None:
    """A caller that ran out of time is told apart from one that changed its mind."""
    waiting = Waiting()
    async with (
        asyncio.timeout(LIMIT_SECONDS),
        served(waiting.application(), settings(metrics=True)) as up,
    ):
        failed = await failure(getattr(up.client, kind)(timeout=LONG_ENOUGH_SECONDS))
        await waiting.cancelled.wait()
        counted = await until(lambda: handled(up.process))
    assert failed.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert counted == {(method, "DEADLINE_EXCEEDED"): 1}


@pytest.mark.parametrize("way", ["yields", "writes"])
async def test_stream_whose_caller_does_not_read_is_counted_when_it_is_cancelled(way: Way) -> None:
    """The handler waits for a response to be taken then, and for nothing of its own."""
    flood = Flood()
    async with (
        asyncio.timeout(LIMIT_SECONDS),
        served(flood.application(way), settings(metrics=True)) as up,
    ):
        call = up.client.stream()
        await until(flood.is_stuck)
        call.cancel()
        counted = await until(lambda: handled(up.process))
        assert await total(up.process, IN_FLIGHT) == 0
    assert counted == {("Stream", "CANCELLED"): 1}


@pytest.mark.parametrize("way", ["yields", "writes"])
@pytest.mark.parametrize("leaves", ["cancels", "runs out of time", "hangs up"])
async def test_cleanup_of_a_stream_runs_when_its_caller_leaves(way: Way, leaves: str) -> None:
    """By the call's own task and before the call has ended: when it is counted, nothing is left behind."""
    flood = Flood()
    async with (
        asyncio.timeout(LIMIT_SECONDS),
        served(flood.application(way), settings(metrics=True)) as up,
        connected(up.process.address) as caller,
    ):
        timeout = LONG_ENOUGH_SECONDS if leaves == "runs out of time" else LIMIT_SECONDS
        call = caller.stream(timeout=timeout)
        await until(flood.is_stuck)
        if leaves == "cancels":
            call.cancel()
        elif leaves == "hangs up":
            await caller.channel.close()
        await until(lambda: handled(up.process))
        assert flood.ended == 1
        assert flood.in_their_own_tasks == 1
