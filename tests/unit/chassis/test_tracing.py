from __future__ import annotations

import threading
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from services.chassis.tracing import Tracing, start_tracing, tracing_with
from services.config import Telemetry

METHOD = "/inglenook.embed.v1.EmbedService/Embed"


def kept() -> tuple[Tracing, InMemorySpanExporter]:
    """Return tracing that keeps its spans in memory."""
    exporter = InMemorySpanExporter()
    return tracing_with("router", "1.0", Telemetry(), SimpleSpanProcessor(exporter)), exporter


def test_client_span_gives_the_header_that_continues_the_trace() -> None:
    """Without it the backend begins a trace of its own."""
    tracing, exporter = kept()
    with tracing.client_span(METHOD) as metadata:
        pass
    (span,) = exporter.get_finished_spans()
    context = span.get_span_context()
    assert context is not None
    assert dict(metadata)["traceparent"].startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")
    assert span.kind is SpanKind.CLIENT
    assert span.attributes is not None
    assert span.attributes["rpc.service"] == "inglenook.embed.v1.EmbedService"
    assert span.attributes["rpc.method"] == "Embed"


def test_client_span_of_a_failed_call_has_the_code_and_is_an_error() -> None:
    """Which hop failed is what a trace is read for."""
    tracing, exporter = kept()
    empty = grpc.aio.Metadata()
    error = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, empty, empty)
    with pytest.raises(grpc.aio.AioRpcError), tracing.client_span(METHOD):
        raise error
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["rpc.grpc.status_code"] == 14


class SilentCall:
    """The context of a call that tells nothing of its caller."""

    def __init__(self, peer: str = "unix:", *metadata: tuple[str, str | bytes]) -> None:
        self._peer = peer
        self._metadata = metadata

    def peer(self) -> str:
        """Return who calls."""
        return self._peer

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...] | None:
        """Return what the caller sent with the call."""
        return self._metadata or None


def test_server_span_names_the_method_and_the_caller() -> None:
    """By the names of OpenTelemetry's conventions for calls."""
    tracing, exporter = kept()
    call: Any = SilentCall("ipv6:%5B::1%5D:57284", ("user-agent", "test/1"), ("x-bin", b"\x00"))
    with tracing.server_span(METHOD, call):
        tracing.mark_ended(grpc.StatusCode.OK)
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind, span.status.status_code) == (METHOD, SpanKind.SERVER, StatusCode.UNSET)
    assert dict(span.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": "inglenook.embed.v1.EmbedService",
        "rpc.method": "Embed",
        "rpc.user_agent": "test/1",
        "rpc.grpc.status_code": 0,
        "net.peer.ip": "[::1]",
        "net.peer.port": "57284",
    }


def test_server_span_of_a_caller_that_is_not_known_says_nothing_of_it() -> None:
    """A socket in the file system has no address."""
    tracing, exporter = kept()
    call: Any = SilentCall()
    with tracing.server_span(METHOD, call):
        pass
    (span,) = exporter.get_finished_spans()
    assert set(span.attributes or {}) == {"rpc.system", "rpc.service", "rpc.method"}


def test_server_span_has_nothing_of_the_text_of_an_exception() -> None:
    """It may be what a user wrote; the code says what there is to say."""
    tracing, exporter = kept()
    call: Any = SilentCall()

    def failing() -> None:
        with tracing.server_span(METHOD, call):
            tracing.mark_ended(grpc.StatusCode.UNKNOWN)
            message = "secret"
            raise ValueError(message)

    with pytest.raises(ValueError, match="secret"):
        failing()
    (span,) = exporter.get_finished_spans()
    assert span.events == ()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "UNKNOWN")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.OK, StatusCode.UNSET),
        (grpc.StatusCode.INVALID_ARGUMENT, StatusCode.UNSET),
        (grpc.StatusCode.NOT_FOUND, StatusCode.UNSET),
        (grpc.StatusCode.INTERNAL, StatusCode.ERROR),
        (grpc.StatusCode.UNAVAILABLE, StatusCode.ERROR),
        (grpc.StatusCode.CANCELLED, StatusCode.ERROR),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, StatusCode.ERROR),
    ],
)
def test_span_is_an_error_where_the_caller_is_not_to_blame(code: grpc.StatusCode, status: StatusCode) -> None:
    """Otherwise every typing error of a caller would be an alarm."""
    tracing, exporter = kept()
    call: Any = SilentCall()
    with tracing.server_span(METHOD, call):
        tracing.mark_ended(code)
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is status


def test_without_an_endpoint_tracing_does_nothing() -> None:
    """It is off by default and costs nothing then."""
    tracing = start_tracing("embed", "1.0", Telemetry())
    with tracing.client_span(METHOD) as metadata:
        assert metadata == []
    tracing.mark_ended(grpc.StatusCode.CANCELLED)
    call: Any = SilentCall()
    with tracing.server_span(METHOD, call):
        pass
    assert not tracing.is_on
    assert tracing.shutdown(0.0)


class _Hanging(SpanProcessor):
    """A processor whose collector is down."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def on_end(self, span: ReadableSpan) -> None:
        """Keep nothing."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Take much longer than told."""
        self.released.wait(50)
        return True


def test_shutdown_gives_up_on_a_collector_that_is_down() -> None:
    """The process must end in the time that it was given, with or without its last spans."""
    hanging = _Hanging()
    try:
        assert not tracing_with("embed", "1.0", Telemetry(), hanging).shutdown(0.01)
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "trace-flush"]
        assert thread.daemon
    finally:
        hanging.released.set()
        thread.join()


def test_shutdown_says_that_everything_was_sent() -> None:
    """Spans that were waiting are handed over before it returns."""
    tracing, _ = kept()
    assert tracing.shutdown(10.0)
