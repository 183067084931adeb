"""Calls that a process makes of itself, through the layers that gRPC's calls pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import status_pb2
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.chassis.errors import CallError, Reason
from services.chassis.local import LocalCallFailed, LocalCalls, LocalContext, Methods
from services.chassis.metrics import CallMetrics, new_registry
from services.chassis.pipeline import Admission, Decoding, Observation, Pipeline, Spans, Translation
from services.chassis.status import DETAILS_KEY
from services.chassis.tracing import tracing_with
from services.config import Telemetry

SERVICE = "test.v1.TestService"
UNARY, STREAM = f"/{SERVICE}/Unary", f"/{SERVICE}/Stream"
PATIENCE = 20.0
SERVED_BY = (("inglenook-served-by", "test"),)


class Server:
    """Where a server would be; what is added to it is of no interest."""

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Take handlers."""

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """Take handlers."""


class Calls:
    """A pipeline around one unary and one streaming method."""

    def __init__(self, unary: Any, stream: Any = None, most: int = 1) -> None:
        self.ended: list[grpc.StatusCode] = []
        self.admission = Admission(most)
        self.registry = new_registry("test", "1")
        observation = Observation(CallMetrics(self.registry), self.ended.append)
        layers: Any = [observation, Translation(lambda: "test"), self.admission, Decoding(100)]
        server: Any = Server()
        methods = Methods(server)
        wire: Any = {
            "request_deserializer": StringValue.FromString,
            "response_serializer": StringValue.SerializeToString,
        }
        handlers: Any = {"Unary": grpc.unary_unary_rpc_method_handler(unary, **wire)}
        if stream is not None:
            handlers["Stream"] = grpc.unary_stream_rpc_method_handler(stream)
        methods.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        methods.add_registered_method_handlers(SERVICE, handlers)
        self.calls = LocalCalls(Pipeline(layers), methods)

    async def call(self, method: str = UNARY, content: bytes = b"", seconds: float = PATIENCE) -> bytes:
        """Make a call."""
        return await self.calls.call(method, content, LocalContext(seconds))

    async def failure(
        self, method: str = UNARY, content: bytes = b"", seconds: float = PATIENCE
    ) -> tuple[str, str]:
        """Return code and details of a call that fails."""
        with pytest.raises(LocalCallFailed) as raised:
            await self.call(method, content, seconds)
        status = raised.value.status
        details = status_pb2.Status.FromString(dict(status.trailing_metadata)[DETAILS_KEY])
        return status.code.name, str(details)


class Late(CallError):
    """Comes too late."""

    reason = Reason.MODEL_NOT_FOUND

    def __init__(self) -> None:
        super().__init__("no such thing")


async def echo(request: StringValue, context: Any) -> StringValue:
    """Answer with the request."""
    del context
    return request


async def hang(request: StringValue, context: Any) -> StringValue:
    """Never answer."""
    del context
    await asyncio.Event().wait()
    return request


async def refuse(request: StringValue, context: Any) -> StringValue:
    """Explain why not."""
    raise Late


def raising(error: Exception) -> Callable[[StringValue, Any], Any]:
    """Return a handler with a bug."""

    async def handler(request: StringValue, context: Any) -> StringValue:
        raise error

    return handler


async def test_a_call_is_answered_in_bytes_and_counted() -> None:
    """As one that came over gRPC; who answered is in its context."""
    calls, context = Calls(echo), LocalContext(PATIENCE)
    content = StringValue(value="x").SerializeToString()
    assert await calls.calls.call(UNARY, content, context) == content
    assert calls.ended == [grpc.StatusCode.OK]
    assert context.trailing_metadata() == SERVED_BY


async def test_a_stream_is_written_where_the_caller_wants_it() -> None:
    """Response after response; the next one is made when there is room."""
    written: list[bytes] = []

    async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in (b"1", b"2"):
            yield number
            assert written[-1] == number

    async def write(response: bytes) -> None:
        written.append(response)

    calls = Calls(echo, stream)
    assert await calls.calls.call(STREAM, b"", LocalContext(PATIENCE, write=write)) == b""
    assert written == [b"1", b"2"]


@pytest.mark.parametrize(
    ("handler", "method", "content", "code", "reason"),
    [
        (refuse, UNARY, b"", "NOT_FOUND", "MODEL_NOT_FOUND"),
        (echo, f"/{SERVICE}/Nothing", b"", "UNIMPLEMENTED", "NOT_SERVED"),
        (echo, "/grpc.health.v1.Health/Nothing", b"", "UNIMPLEMENTED", "NOT_SERVED"),
        (echo, UNARY, b"\xff", "INVALID_ARGUMENT", "INVALID_REQUEST"),
        (echo, UNARY, bytes(101), "RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE"),
        (raising(TimeoutError()), UNARY, b"", "INTERNAL", "errorId"),
        (raising(ValueError()), UNARY, b"", "INTERNAL", "errorId"),
    ],
)
async def test_a_failure_has_the_status_that_it_has_over_grpc(
    handler: Any, method: str, content: bytes, code: str, reason: str
) -> None:
    """Code, reason and details come from the same layers."""
    found, details = await Calls(handler).failure(method, content)
    assert found == code
    assert reason in details


async def test_too_many_calls_are_refused() -> None:
    """One limit for both ways in."""
    calls = Calls(hang)
    first = asyncio.create_task(calls.call())
    await asyncio.sleep(0)
    assert calls.admission.calls_in_flight == 1
    assert (await calls.failure())[0] == "RESOURCE_EXHAUSTED"
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert calls.ended == [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED]
    assert calls.admission.calls_in_flight == 0


async def test_a_deadline_ends_a_call() -> None:
    """GRPC does that for its own calls; here nobody else would."""
    calls = Calls(hang)
    assert (await calls.failure(seconds=0.01))[0] == "DEADLINE_EXCEEDED"
    assert calls.ended == [grpc.StatusCode.DEADLINE_EXCEEDED]


async def test_a_response_to_a_caller_that_wants_none_is_a_bug() -> None:
    """A stream needs a place to go."""

    async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"1"

    assert (await Calls(echo, stream).failure(STREAM))[0] == "INTERNAL"


def test_a_call_is_a_part_of_the_trace_that_its_caller_names() -> None:
    """By `traceparent`, which HTTP and gRPC write alike; the span tells who called."""
    exporter = InMemorySpanExporter()
    tracing = tracing_with("test", "1", Telemetry(), SimpleSpanProcessor(exporter))
    server: Any = Server()
    methods = Methods(server)
    handlers: Any = {"Unary": grpc.unary_unary_rpc_method_handler(echo)}
    methods.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    metadata = (("traceparent", f"00-{trace}-{span}-01"), ("user-agent", "curl"))
    context = LocalContext(PATIENCE, metadata, "ipv4:127.0.0.1:57284")
    with tracing.client_span(UNARY):
        pass  # imports what is imported late
    exporter.clear()
    asyncio.run(LocalCalls(Pipeline([Spans(tracing)]), methods).call(UNARY, b"x", context))
    (found,) = exporter.get_finished_spans()
    assert found.context is not None
    assert f"{found.context.trace_id:032x}" == trace
    assert found.attributes is not None
    assert (found.attributes["rpc.user_agent"], found.attributes["net.peer.port"]) == ("curl", "57284")
