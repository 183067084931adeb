"""More calls than a service may handle are refused at once, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.chassis.process import ProcessSettings
from services.chassis.testing import settings
from services.config import Limits
from tests.support.checking import next_status, watch
from tests.support.gate import Gate
from tests.support.handlers import (
    LIMIT_SECONDS,
    UNARY,
    Client,
    Context,
    HandlerApplication,
    Served,
    failure,
    served,
)
from tests.support.polling import until
from tests.support.scraping import handled


def at_most(calls: int, *, metrics: bool = False) -> ProcessSettings:
    """Return settings that let so many calls in at a time."""
    return settings(limits=Limits(max_concurrent_calls=calls), metrics=metrics)


async def test_calls_beyond_the_limit_are_refused_while_those_let_in_go_on() -> None:
    """A queue that nobody sees would only turn overload into deadlines."""
    gate = Gate()
    async with asyncio.timeout(LIMIT_SECONDS), served(gate.application(), at_most(3)) as up:
        inside = [up.client.unary("a"), up.client.unary("b"), up.client.stream("c")]
        await gate.until_entered(3)
        refused = [await failure(up.client.unary()), await failure(up.client.stream())]
        gate.open.set()
        answers = [(await inside[0]).value, (await inside[1]).value]
        answers += [response.value async for response in inside[2]]
    for failed in refused:
        assert (failed.code, failed.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert failed.metadata == {"maxConcurrentCalls": "3"}
        assert failed.retry_after_seconds == 0.25
    assert answers == ["a", "b", "c"]


async def test_refused_calls_are_counted_with_the_code_that_callers_saw() -> None:
    """Overload must be visible in the metrics of the service that is overloaded."""
    gate = Gate()
    async with (
        asyncio.timeout(LIMIT_SECONDS),
        served(gate.application(), at_most(1, metrics=True)) as up,
    ):
        inside = up.client.unary()
        await gate.until_entered(1)
        await failure(up.client.unary())
        await failure(up.client.stream())
        gate.open.set()
        await inside
        assert await handled(up.process) == {
            ("Unary", "RESOURCE_EXHAUSTED"): 1,
            ("Stream", "RESOURCE_EXHAUSTED"): 1,
            ("Unary", "OK"): 1,
        }


async def _watch(up: Served) -> str:
    return await next_status(watch(up.client.channel))


async def _reflect(up: Served) -> reflection_pb2.ServerReflectionResponse:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(up.client.channel)  # type: ignore[arg-type]  # typed for sync channels
    call = stub.ServerReflectionInfo(timeout=LIMIT_SECONDS)
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    response: reflection_pb2.ServerReflectionResponse = await call.read()
    return response


async def test_health_and_reflection_answer_while_the_service_is_full() -> None:
    """A probe that fails under load gets the process killed when it is needed most."""
    gate = Gate()
    async with asyncio.timeout(LIMIT_SECONDS), served(gate.application(), at_most(1)) as up:
        inside = up.client.unary()
        await gate.until_entered(1)
        assert await _watch(up) == "SERVING"
        assert (await _reflect(up)).list_services_response.service[0].name
        gate.open.set()
        await inside


async def test_health_watches_and_reflection_streams_take_no_slots() -> None:
    """They live as long as their channels: a handful of them would fill a service for good."""
    async with asyncio.timeout(LIMIT_SECONDS), served(chosen=at_most(1)) as up:
        for _ in range(3):
            await _watch(up)
            await _reflect(up)
        assert (await up.client.unary("let in")).value == "let in"


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_slots_come_back_after_failed_calls(kind: str) -> None:
    """Otherwise a service would refuse everything after as many bugs as it has slots."""

    async def unary(request: StringValue, context: Context) -> StringValue:
        raise ZeroDivisionError

    async def stream(request: StringValue, context: Context) -> AsyncIterator[StringValue]:
        yield request
        raise ZeroDivisionError

    async with served(HandlerApplication(unary=unary, stream=stream), at_most(1)) as up:
        reasons = {(await failure(getattr(up.client, kind)())).reason for _ in range(5)}
    assert reasons == {"INTERNAL"}


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_slots_come_back_after_cancelled_calls(kind: str) -> None:
    """Callers that give up are what a busy service sees most."""
    gate = Gate()
    async with asyncio.timeout(LIMIT_SECONDS), served(gate.application(), at_most(2)) as up:
        for _ in range(2):
            calls = [getattr(up.client, kind)() for _ in range(2)]
            gate.entered = 0
            await gate.until_entered(2)
            for call in calls:
                call.cancel()
            await until(lambda: _refused_no_more(up.client))


async def _refused_no_more(client: Client) -> bool:
    try:
        await client.unary(timeout=0.1)
    except grpc.aio.AioRpcError as error:
        return error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED
    return True


async def test_unknown_methods_are_counted_under_one_name() -> None:
    """Callers choose the names of methods that do not exist; metrics must not grow with them."""
    async with served(chosen=at_most(1, metrics=True)) as up:
        for index in range(5):
            failed = await failure(up.client.raw(f"/test.v1.TestService/Guess{index}"))
            assert (failed.code, failed.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED")
        assert await handled(up.process) == {("unknown", "UNIMPLEMENTED"): 5}


async def test_garbage_and_oversized_messages_give_their_slots_back() -> None:
    """What fails before the handler runs is a call all the same."""
    limits = Limits(max_concurrent_calls=1, max_message_bytes=1024)
    async with served(chosen=settings(limits=limits)) as up:
        for content in (b"\xff\xff", b"x" * 2000, b"x" * 5000) * 3:
            assert (await failure(up.client.raw(UNARY, content))).reason != "QUEUE_FULL"
        assert (await up.client.unary("let in")).value == "let in"
