"""Channels to backends, and replicas that fail."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import grpc
from inglenook.embed.v1 import EmbedRequest
from inglenook.feedback.v1 import FeedbackServiceStub, SendFeedbackRequest

from services.chassis.channels import backend_channel
from services.chassis.errors import CallError, Reason
from services.chassis.testing import running, settings
from services.config import Channels, Limits
from tests.support.handlers import LIMIT_SECONDS, failure
from tests.support.polling import until
from tests.support.replicas import SERVICES, Replica, balanced


class Unwell(CallError):
    """A replica that cannot answer just now."""

    reason = Reason.NOT_READY


async def _well(call: int) -> None:
    del call


async def _unwell(call: int) -> None:
    raise Unwell(str(call))


async def _unwell_twice(call: int) -> None:
    if call <= 2:
        raise Unwell(str(call))


async def _start(stack: AsyncExitStack, *replicas: Replica) -> list[str]:
    limits = Limits(max_message_bytes=64 * 1024 * 1024)
    processes = [await stack.enter_async_context(running(one, settings(limits=limits))) for one in replicas]
    return [process.address for process in processes]


async def test_safe_call_is_retried_until_a_server_that_fails_twice_answers() -> None:
    """The retry policy works: a mistake in its JSON would be ignored without a word."""
    replica = Replica(_unwell_twice)
    async with asyncio.timeout(LIMIT_SECONDS), AsyncExitStack() as stack:
        endpoints = await _start(stack, replica)
        stub = await stack.enter_async_context(balanced(endpoints))
        response = await stub.Embed(EmbedRequest(inputs=["a"]), timeout=LIMIT_SECONDS)
    assert len(response.embeddings) == 1
    assert replica.calls == 3


async def test_safe_call_is_retried_on_another_replica() -> None:
    """One broken replica costs its callers a few milliseconds and nothing else."""
    broken, well = Replica(_unwell), Replica(_well)
    async with asyncio.timeout(LIMIT_SECONDS), AsyncExitStack() as stack:
        endpoints = await _start(stack, broken, well)
        stub = await stack.enter_async_context(balanced(endpoints))

        async def both_tried() -> bool:
            await stub.Embed(EmbedRequest(inputs=["a"]), timeout=LIMIT_SECONDS)
            return broken.calls > 0

        await until(both_tried)
    assert well.calls > 0


async def test_call_that_is_not_safe_is_tried_once() -> None:
    """Feedback that was stored before the connection broke must not be stored again."""
    replica = Replica(_unwell)
    async with asyncio.timeout(LIMIT_SECONDS), AsyncExitStack() as stack:
        (endpoint,) = await _start(stack, replica)
        channel = backend_channel([endpoint], SERVICES, Channels(), Limits())
        await stack.enter_async_context(channel)
        stub = FeedbackServiceStub(channel)
        failed = await failure(stub.SendFeedback(SendFeedbackRequest(), timeout=LIMIT_SECONDS))
    assert (failed.code, failed.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
    assert replica.calls == 1


async def test_number_of_attempts_is_bounded_and_the_last_status_is_told() -> None:
    """When nothing helps, the caller gets the reason of the replica, not a word about retries."""
    replica = Replica(_unwell)
    async with asyncio.timeout(LIMIT_SECONDS), AsyncExitStack() as stack:
        endpoints = await _start(stack, replica)
        stub = await stack.enter_async_context(balanced(endpoints, Channels(max_attempts=3)))
        failed = await failure(stub.Embed(EmbedRequest(), timeout=LIMIT_SECONDS))
    assert (failed.reason, failed.message) == ("NOT_READY", "3")
    assert replica.calls == 3


async def test_large_request_is_retried_like_a_small_one() -> None:
    """By default gRPC keeps only 256 KiB for retries, and gives them up for larger requests."""
    replica = Replica(_unwell_twice)
    async with asyncio.timeout(LIMIT_SECONDS), AsyncExitStack() as stack:
        endpoints = await _start(stack, replica)
        stub = await stack.enter_async_context(balanced(endpoints))
        await stub.Embed(EmbedRequest(inputs=["x" * 8_000_000]), timeout=LIMIT_SECONDS)
    assert replica.calls == 3


async def test_caller_fault_is_not_retried() -> None:
    """The same request would be just as wrong the second time."""

    class Wrong(CallError):
        reason = Reason.INVALID_REQUEST

    async def refuse(call: int) -> None:
        raise Wrong(str(call))

    replica = Replica(refuse)
    async with asyncio.timeout(LIMIT_SECONDS), AsyncExitStack() as stack:
        endpoints = await _start(stack, replica)
        stub = await stack.enter_async_context(balanced(endpoints))
        await failure(stub.Embed(EmbedRequest(), timeout=LIMIT_SECONDS))
    assert replica.calls == 1


async def test_replica_that_always_fails_is_ejected() -> None:
    """Retries alone would go on sending it its share of all calls."""
    broken, well = Replica(_unwell), Replica(_well)
    channels = Channels(outlier_interval_seconds=0.2, ejection_seconds=60.0)
    async with asyncio.timeout(LIMIT_SECONDS), AsyncExitStack() as stack:
        endpoints = await _start(stack, broken, well)
        stub = await stack.enter_async_context(balanced(endpoints, channels))

        async def ejected() -> bool:
            before = broken.calls
            for _ in range(20):
                await stub.Embed(EmbedRequest(inputs=["a"]), timeout=LIMIT_SECONDS)
            return before > 0 and broken.calls == before

        await until(ejected)
    assert well.calls > 20


async def test_callers_at_fault_do_not_take_replicas_away_from_others() -> None:
    """Wrong calls fail on every replica alike; most of what a replica answers may be refusals."""

    class Wrong(CallError):
        reason = Reason.INVALID_REQUEST

    async def refuse_most(call: int) -> None:
        if call % 5:
            raise Wrong(str(call))

    replicas = Replica(refuse_most), Replica(refuse_most)
    channels = Channels(outlier_interval_seconds=0.2, ejection_seconds=60.0)
    async with asyncio.timeout(LIMIT_SECONDS), AsyncExitStack() as stack:
        endpoints = await _start(stack, *replicas)
        stub = await stack.enter_async_context(balanced(endpoints, channels))
        loop = asyncio.get_running_loop()
        ends = loop.time() + 5 * channels.outlier_interval_seconds
        while loop.time() < ends:
            with suppress(grpc.aio.AioRpcError):
                await stub.Embed(EmbedRequest(inputs=["a"]), timeout=LIMIT_SECONDS)
        before = [replica.calls for replica in replicas]
        for _ in range(20):
            with suppress(grpc.aio.AioRpcError):
                await stub.Embed(EmbedRequest(inputs=["a"]), timeout=LIMIT_SECONDS)
    assert [replica.calls - earlier for replica, earlier in zip(replicas, before, strict=True)] == [10, 10]


async def test_replica_that_is_not_serving_gets_no_calls() -> None:
    """It listens before its model is loaded; health, not the connection, says when it is ready."""
    loading, well = Loading(_well), Replica(_well)
    async with asyncio.timeout(LIMIT_SECONDS), AsyncExitStack() as stack:
        endpoints = await _start(stack, loading, well)
        stub = await stack.enter_async_context(balanced(endpoints))
        for _ in range(20):
            await stub.Embed(EmbedRequest(inputs=["a"]), timeout=LIMIT_SECONDS)
    assert (loading.calls, well.calls) == (0, 20)


class Loading(Replica):
    """A replica that never finishes loading."""

    async def start(self, health: object) -> None:
        """Say nothing."""
