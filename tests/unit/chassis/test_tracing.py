from __future__ import annotations

import threading

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


def test_without_an_endpoint_tracing_does_nothing() -> None:
    """It is off by default and costs nothing then."""
    tracing = start_tracing("embed", "1.0", Telemetry())
    with tracing.client_span(METHOD) as metadata:
        assert metadata == []
    tracing.mark_ended(grpc.StatusCode.CANCELLED)
    assert tracing.server_interceptors() == []
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
