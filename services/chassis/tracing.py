"""Traces over OTLP. Off unless an endpoint is configured; then nothing of it is even imported.

The spans of calls are ours, on both sides: opentelemetry-instrumentation-grpc takes cancelled calls for
successes, leaves the spans of streams to the garbage collector, and on the client side loses the call object.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import grpc

from services.config import Telemetry, resolve

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Tracer

SCOPE: Final = "inglenook"
FAILURES: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNKNOWN,
    }
)
"""Codes that make a span an error: those of OpenTelemetry's conventions for servers, which leave out faults
of callers, and two more: one that tells of overload here, and one that tells of callers who gave up."""


class Tracing:
    """The traces of one process. Without a tracer every method does nothing."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self._provider = provider
        self._tracer: Tracer | None = provider.get_tracer(SCOPE) if provider else None

    @property
    def is_on(self) -> bool:
        """Whether anything is traced."""
        return self._tracer is not None

    @contextmanager
    def server_span(self, method: str, call: grpc.aio.ServicerContext[Any, Any]) -> Iterator[None]:
        """Trace the answering of a call as a part of the trace that its caller names, if it does."""
        if self._tracer is None:
            yield
            return
        from opentelemetry import context, propagate, trace

        metadata = {key: value for key, value in call.invocation_metadata() or () if isinstance(value, str)}
        token = context.attach(propagate.extract(metadata))
        try:
            with self._tracer.start_as_current_span(
                method,
                kind=trace.SpanKind.SERVER,
                attributes={**_named(method), **_caller(metadata, call.peer())},
                record_exception=False,
                set_status_on_exception=False,
            ):
                yield
        finally:
            context.detach(token)

    def mark_ended(self, code: grpc.StatusCode) -> None:
        """Write the code that a call ended with into the span that is current."""
        if self._tracer is None:
            return
        from opentelemetry import trace

        span = trace.get_current_span()
        span.set_attribute("rpc.grpc.status_code", code.value[0])
        if code in FAILURES:
            span.set_status(trace.Status(trace.StatusCode.ERROR, code.name))

    @contextmanager
    def client_span(self, method: str) -> Iterator[list[tuple[str, str]]]:
        """Trace a call to a backend; yields the metadata that has to go with it."""
        if self._tracer is None:
            yield []
            return
        from opentelemetry import propagate, trace

        with self._tracer.start_as_current_span(
            method, kind=trace.SpanKind.CLIENT, attributes=_named(method), record_exception=False
        ) as span:
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            try:
                yield list(carrier.items())
            except grpc.aio.AioRpcError as error:
                span.set_attribute("rpc.grpc.status_code", error.code().value[0])
                raise

    def shutdown(self, timeout_seconds: float) -> bool:
        """Send what is left, for at most `timeout_seconds`; say whether all of it was sent.

        A collector that is down would otherwise hold the exit for a minute, so the work is done in a
        daemon thread that the process does not wait for.
        """
        provider = self._provider
        if provider is None:
            return True
        flushed = threading.Event()

        def flush() -> None:
            if provider.force_flush(int(timeout_seconds * 1000)):
                flushed.set()
            provider.shutdown()

        thread = threading.Thread(target=flush, name="trace-flush", daemon=True)
        thread.start()
        thread.join(timeout_seconds)
        return flushed.is_set()


def _named(method: str) -> dict[str, str]:
    """Return the attributes that say which method a span is about."""
    service, _, name = method.removeprefix("/").rpartition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


def _caller(metadata: Mapping[str, str], peer: str) -> dict[str, str]:
    """Return the attributes that say who calls; `peer` is gRPC's word for it, as `ipv4:127.0.0.1:57284`."""
    attributes = {}
    if agent := metadata.get("user-agent"):
        attributes["rpc.user_agent"] = agent
    family, _, address = peer.partition(":")
    host, colon, port = unquote(address).rpartition(":")
    if colon and family in {"ipv4", "ipv6"}:
        attributes |= {"net.peer.ip": host, "net.peer.port": port}
    return attributes


def start_tracing(service: str, version: str, telemetry: Telemetry) -> Tracing:
    """Return the process's tracing as configured."""
    if telemetry.otlp_endpoint is None:
        return Tracing(None)
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    headers = {name: resolve(reference).reveal() for name, reference in telemetry.otlp_headers.items()}
    exporter = OTLPSpanExporter(
        endpoint=telemetry.otlp_endpoint,
        insecure=not telemetry.otlp_endpoint.startswith("https://"),
        headers=headers or None,
    )
    return tracing_with(service, version, telemetry, BatchSpanProcessor(exporter))


def tracing_with(service: str, version: str, telemetry: Telemetry, processor: SpanProcessor) -> Tracing:
    """Return tracing that hands finished spans to `processor`."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    attributes: dict[str, Any] = {
        "service.name": service,
        "service.namespace": "inglenook",
        "service.version": version,
    }
    provider = TracerProvider(
        resource=Resource.create(attributes),
        sampler=ParentBased(TraceIdRatioBased(telemetry.trace_sample_ratio)),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(processor)
    return Tracing(provider)
