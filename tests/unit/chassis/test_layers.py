from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from services.chassis.errors import DeadlinePassed, Draining, TooManyCalls
from services.chassis.metrics import CallMetrics, new_registry
from services.chassis.pipeline import Admission, Observation
from services.chassis.pipeline.layer import rebuild
from tests.support.contexts import fake_context

METHOD = "/test.v1.TestService/Unary"


async def _unary(request: Any, context: Any) -> Any:
    del context
    return request


async def _stream(request: Any, context: Any) -> AsyncIterator[Any]:
    del context
    yield request


UNARY: Any = grpc.unary_unary_rpc_method_handler(_unary)
STREAM: Any = grpc.unary_stream_rpc_method_handler(_stream)


async def _call(layer: Any, context: Any, handler: Any = UNARY) -> Any:
    wrapped = layer.wrap(METHOD, handler)
    if wrapped.response_streaming:
        return [response async for response in wrapped.unary_stream(b"x", context)]
    return await wrapped.unary_unary(b"x", context)


@pytest.mark.parametrize("handler", [UNARY, STREAM])
async def test_call_whose_deadline_has_passed_is_not_let_in(handler: Any) -> None:
    """Nobody waits for the answer any more; to compute it would only delay the others."""
    admission = Admission(1)
    with pytest.raises(DeadlinePassed):
        await _call(admission, fake_context(0.0), handler)
    assert admission.calls_in_flight == 0


@pytest.mark.parametrize("handler", [UNARY, STREAM])
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


@pytest.mark.parametrize("handler", [UNARY, STREAM])
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
        rebuild(handler, _unary, _stream)


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
