"""Prometheus metrics: a registry of our own, the metrics of calls, and the endpoint.

The names of call metrics are those of
https://github.com/grpc-ecosystem/go-grpc-middleware/tree/main/providers/prometheus, which existing
dashboards know. One process has one endpoint; prometheus_client's multiprocess mode is not used,
because it loses exemplars and callbacks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from services.config import join_address, split_address

SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
METHOD_LABELS: Final = ("grpc_type", "grpc_service", "grpc_method")


class AddressInUse(Exception):
    """A server cannot listen where it is told to."""


def new_registry(service: str, version: str) -> CollectorRegistry:
    """Return a registry with the metrics that every process has."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per metric, which nobody reads
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    Info("inglenook_build", "Which service this is.", registry=registry).info(
        {"service": service, "version": version}
    )
    return registry


class MethodMetrics:
    """The metrics of one method, its labels bound once."""

    def __init__(self, metrics: CallMetrics, labels: tuple[str, str, str]) -> None:
        self._handled = metrics.handled
        self._labels = labels
        self._started = metrics.started.labels(*labels)
        self._seconds = metrics.seconds.labels(*labels)
        self._in_flight = metrics.in_flight.labels(*labels)
        self._by_code: dict[grpc.StatusCode, Counter] = {}

    def begin(self) -> None:
        """Count a call that begins."""
        self._started.inc()
        self._in_flight.inc()

    def end(self, code: grpc.StatusCode, seconds: float) -> None:
        """Count a call that ended with `code` after `seconds`."""
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._handled.labels(*self._labels, code.name)
        counter.inc()
        self._seconds.observe(seconds)
        self._in_flight.dec()


class CallMetrics:
    """The metrics of all calls."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.started = Counter(
            "grpc_server_started_total", "Calls that began.", METHOD_LABELS, registry=registry
        )
        self.handled = Counter(
            "grpc_server_handled_total",
            "Calls that ended, refused ones included, by status code.",
            (*METHOD_LABELS, "grpc_code"),
            registry=registry,
        )
        self.seconds = Histogram(
            "grpc_server_handling_seconds",
            "How long calls took, in seconds.",
            METHOD_LABELS,
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "inglenook_calls_in_flight",
            "Calls that have begun and not ended.",
            METHOD_LABELS,
            registry=registry,
        )

    def of_method(self, kind: str, service: str, method: str) -> MethodMetrics:
        """Return the metrics of one method; `kind` is unary or server_stream."""
        return MethodMetrics(self, (kind, service, method))


def serve_metrics(address: str, registry: CollectorRegistry) -> tuple[str, Callable[[], None]]:
    """Serve `registry` over HTTP from a thread.

    Returns:
        The address, with the port that was taken if 0 was asked for, and what stops the endpoint.

    Raises:
        AddressInUse: Something else listens there, or the host has no such address.
    """
    host, port = split_address(address)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        message = f"metrics cannot be served at {address}: {error.strerror}"
        raise AddressInUse(message) from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return join_address(host, int(server.server_port)), stop
