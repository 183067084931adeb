"""Traces over OTLP. Off unless an endpoint is configured; then nothing of it is even imported.

On the server side this is opentelemetry-instrumentation-grpc, with health and reflection left out,
whose long-lived streams it cannot handle. It takes every call that did not abort for a success, so
`mark_ended` corrects the span of calls that were cancelled or refused. On the client side its
interceptor loses the call object; `client_span` is the few lines that are needed instead.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc

from services.config import Telemetry, resolve

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Tracer

SCOPE: Final = "inglenook"
EXEMPT_SERVICES: Final = ("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")
UNMARKED_FAILURES: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
"""Codes that the interceptor does not take for errors of the server, though here they tell of overload."""


class Tracing:
    """The traces of one process. Without a tracer every method does nothing."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self._provider = provider
        self._tracer: Tracer | None = provider.get_tracer(SCOPE) if provider else None

    def server_interceptors(self) -> list[grpc.aio.ServerInterceptor]:
        """Return what has to stand before all other interceptors: it traces refused calls too."""
        if self._provider is None:
            return []
        from opentelemetry.instrumentation.grpc import aio_server_interceptor

        interceptor: grpc.aio.ServerInterceptor = aio_server_interceptor(  # type: ignore[no-untyped-call]
            tracer_provider=self._provider, filter_=_is_traced
        )
        return [interceptor]

    def mark_ended(self, code: grpc.StatusCode) -> None:
        """Write the code that a call ended with into the span that is current."""
        if self._tracer is None:
            return
        from opentelemetry import trace

        span = trace.get_current_span()
        span.set_attribute("rpc.grpc.status_code", code.value[0])
        if code in UNMARKED_FAILURES:
            span.set_status(trace.Status(trace.StatusCode.ERROR, code.name))

    @contextmanager
    def client_span(self, method: str) -> Iterator[list[tuple[str, str]]]:
        """Trace a call to a backend; yields the metadata that has to go with it."""
        if self._tracer is None:
            yield []
            return
        from opentelemetry import propagate, trace

        service, _, name = method.removeprefix("/").rpartition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
        with self._tracer.start_as_current_span(
            method, kind=trace.SpanKind.CLIENT, attributes=attributes, record_exception=False
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


def _is_traced(details: grpc.HandlerCallDetails) -> bool:
    """Say whether a call gets a span. The interceptor fails on names that are not /service/method."""
    service, _, method = details.method.removeprefix("/").partition("/")
    return bool(service and method) and service not in EXEMPT_SERVICES


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
