from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from services.chassis.errors import DeadlinePassed, Draining, TooManyCalls
from services.chassis.metrics import CallMetrics, new_registry
from services.chassis.pipeline import Admission, Decoding, Observation, Pipeline, Translation
from services.chassis.pipeline.layer import Method, behavior_of
from services.chassis.streams import send
from tests.support.contexts import fake_context

METHOD = "/test.v1.TestService/Unary"


async def _unary(request: Any, context: Any) -> Any:
    del context
    return request


async def _stream(request: Any, context: Any) -> AsyncIterator[Any]:
    del context
    yield request


async def _writer(request: Any, context: Any) -> None:
    await send(context, request)


UNARY: Any = grpc.unary_unary_rpc_method_handler(_unary)
STREAM: Any = grpc.unary_stream_rpc_method_handler(_stream)
WRITER: Any = grpc.unary_stream_rpc_method_handler(_writer)
KINDS = [UNARY, STREAM, WRITER]


async def _call(layer: Any, context: Any, handler: Any = UNARY) -> Any:
    method = Method(METHOD, handler.response_streaming, bytes)
    return await layer.wrap(method, behavior_of(handler))(b"x", context)


@pytest.mark.parametrize("handler", KINDS)
async def test_call_whose_deadline_has_passed_is_not_let_in(handler: Any) -> None:
    """Nobody waits for the answer any more; to compute it would only delay the others."""
    admission = Admission(1)
    with pytest.raises(DeadlinePassed):
        await _call(admission, fake_context(0.0), handler)
    assert admission.calls_in_flight == 0


@pytest.mark.parametrize("handler", KINDS)
async def test_closed_door_sends_callers_to_another_replica(handler: Any) -> None:
    """NOT_READY is UNAVAILABLE, which channels retry elsewhere."""
    admission = Admission(1)
    admission.close()
    with pytest.raises(Draining) as raised:
        await _call(admission, fake_context(), handler)
    assert raised.value.reason == "NOT_READY"


async def test_full_house_is_told_before_the_deadline_is_looked_at() -> None:
    """An overloaded service says that it is overloaded."""
    with pytest.raises(TooManyCalls):
        await _call(Admission(0), fake_context(0.0))


@pytest.mark.parametrize("handler", KINDS)
async def test_finished_call_leaves_its_slot(handler: Any) -> None:
    """One slot, many calls."""
    admission = Admission(1)
    for _ in range(3):
        await _call(admission, fake_context(), handler)
    assert admission.calls_in_flight == 0


def test_client_streaming_is_refused_when_a_service_is_built() -> None:
    """Better then than at the first call."""
    handler: Any = grpc.stream_unary_rpc_method_handler(_unary)
    with pytest.raises(ValueError, match="client-streaming"):
        behavior_of(handler)


@pytest.mark.parametrize("handler", [STREAM, WRITER])
async def test_stream_is_written_to_its_context_however_its_handler_is_written(handler: Any) -> None:
    """Generated stubs ask for an async generator; gRPC takes a coroutine function that writes as well."""
    context = fake_context()
    assert await _call(Admission(1), context, handler) is None
    assert context.written == [b"x"]


@pytest.mark.parametrize("handler", KINDS)
async def test_grpc_takes_the_wrapped_handler_for_a_coroutine_function(handler: Any) -> None:
    """It looks at the function to find out whether it yields or writes."""

    async def found(details: Any) -> Any:
        return handler

    details: Any = SimpleNamespace(method=METHOD)
    wrapped: Any = await Pipeline([Admission(1), Decoding(9)]).intercept_service(found, details)
    assert inspect.iscoroutinefunction(wrapped.unary_stream or wrapped.unary_unary)
    assert wrapped.response_streaming == handler.response_streaming


async def test_generator_is_closed_when_a_response_cannot_be_written() -> None:
    """What it holds is given back at once, not when the garbage collector comes by."""
    closed = []

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            yield request
        finally:
            closed.append(True)

    context = fake_context()
    context.refusal = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await _call(Admission(1), context, grpc.unary_stream_rpc_method_handler(stream))
    assert closed == [True]


async def test_response_that_cannot_be_written_because_the_caller_is_gone_is_no_bug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error of gRPC's own says so; as a rule it cancels the handler, too, but that is up to gRPC."""
    ended: list[grpc.StatusCode] = []
    observation = Observation(CallMetrics(new_registry("test", "0")), ended.append)
    method = Method(METHOD, streams=True, deserialize=bytes)
    behavior = observation.wrap(method, Translation(lambda: "test").wrap(method, _writer))
    context = fake_context()
    context.refusal = grpc.aio.InternalError("the other side is gone")
    with pytest.raises(grpc.aio.InternalError):
        await behavior(b"x", context)
    assert ended == [grpc.StatusCode.CANCELLED]
    assert context.status is None
    assert caplog.records == []


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_aborted_call_is_counted_with_its_code_however_grpc_tells_it(code: grpc.StatusCode) -> None:
    """The context of a call has returned the code as a number in some versions and as a member in others."""
    ended: list[grpc.StatusCode] = []
    observation = Observation(CallMetrics(new_registry("test", "0")), ended.append)

    async def aborting(request: Any, context: Any) -> Any:
        await context.abort(code, "")

    class Numbered:
        """A context that tells the number."""

        def __init__(self) -> None:
            self.inner = fake_context()

        async def abort(self, *status: Any) -> None:
            await self.inner.abort(*status)

        def code(self) -> int:
            return int(self.inner.code().value[0])

    handler: Any = grpc.unary_unary_rpc_method_handler(aborting)
    for context in (fake_context(), Numbered()):
        with pytest.raises(grpc.aio.AbortError):
            await _call(observation, context, handler)
    assert ended == [code, code]


@pytest.mark.parametrize(
    ("remaining", "code"),
    [
        (None, grpc.StatusCode.CANCELLED),
        (0.0, grpc.StatusCode.DEADLINE_EXCEEDED),
        (0.01, grpc.StatusCode.DEADLINE_EXCEEDED),
        (5.0, grpc.StatusCode.CANCELLED),
    ],
)
async def test_caller_that_leaves_when_its_time_is_all_but_over_has_run_out_of_it(
    remaining: float | None, code: grpc.StatusCode
) -> None:
    """By its own clock it is over a moment before it is here."""
    ended: list[grpc.StatusCode] = []
    observation = Observation(CallMetrics(new_registry("test", "0")), ended.append)

    async def left(request: Any, context: Any) -> Any:
        raise asyncio.CancelledError

    handler: Any = grpc.unary_unary_rpc_method_handler(left)
    with pytest.raises(asyncio.CancelledError):
        await _call(observation, fake_context(remaining), handler)
    assert ended == [code]
