"""Prometheus metrics: a registry of our own, the metrics of calls, and the endpoint.

The names of call metrics are those of
https://github.com/grpc-ecosystem/go-grpc-middleware/tree/main/providers/prometheus, which existing
dashboards know. One process has one endpoint; prometheus_client's multiprocess mode is not used,
because it loses exemplars and callbacks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Final

import grpc
from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from services.chassis.tls import expiry
from services.config import Tls, join_address, split_address

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


def tell_expiry(registry: CollectorRegistry, tls: Tls) -> None:
    """Keep telling when a server's certificate expires.

    Raises:
        CertificatesUnusable: The files cannot be used.
    """
    Gauge(
        "inglenook_certificate_expires_seconds",
        "When the certificate of this service expires, in seconds since 1970.",
        registry=registry,
    ).set_function(expiry(tls))


class MethodMetrics:
    """The numbers of one method. They belong to the event loop, so that counting needs no lock.

    Args:
        labels: Type, service and name of the method.
    """

    def __init__(self, labels: tuple[str, str, str]) -> None:
        self.labels = labels
        self.started = 0
        self.ended = 0
        self.ok = 0
        """Calls that ended well; the others are in `failed`."""
        self.failed: dict[str, int] = {}
        self.seconds = 0.0
        self.buckets = [0] * (len(SECONDS_BUCKETS) + 1)

    def begin(self) -> None:
        """Count a call that begins."""
        self.started += 1

    def end(self, code: grpc.StatusCode, seconds: float) -> None:
        """Count a call that ended with `code` after `seconds`."""
        self.ended += 1
        self.seconds += seconds
        self.buckets[bisect_left(SECONDS_BUCKETS, seconds)] += 1
        if code is grpc.StatusCode.OK:
            self.ok += 1
        else:
            self.failed[code.name] = self.failed.get(code.name, 0) + 1

    def histogram(self) -> list[tuple[str, float]]:
        """Return how many calls took at most as long as each bound says."""
        bounds = [*map(floatToGoString, SECONDS_BUCKETS), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self.buckets)), strict=True))


class CallMetrics(Collector):
    """The metrics of all calls, put together when Prometheus asks.

    Every call is counted four times over; the metrics of the library would take a lock each time, which for a
    call that is answered from memory is a tenth of what it costs.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._methods: list[MethodMetrics] = []
        registry.register(self)

    def of_method(self, kind: str, service: str, method: str) -> MethodMetrics:
        """Return the metrics of one method; `kind` is unary or server_stream."""
        self._methods.append(MethodMetrics((kind, service, method)))
        return self._methods[-1]

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they stand; a method that was never called has only a zero."""
        started = CounterMetricFamily("grpc_server_started_total", "Calls that began.", labels=METHOD_LABELS)
        handled = CounterMetricFamily(
            "grpc_server_handled_total",
            "Calls that ended, refused ones included, by status code.",
            labels=(*METHOD_LABELS, "grpc_code"),
        )
        seconds = HistogramMetricFamily(
            "grpc_server_handling_seconds", "How long calls took, in seconds.", labels=METHOD_LABELS
        )
        in_flight = GaugeMetricFamily(
            "inglenook_calls_in_flight", "Calls that have begun and not ended.", labels=METHOD_LABELS
        )
        for one in tuple(self._methods):
            started.add_metric(one.labels, one.started)
            in_flight.add_metric(one.labels, one.started - one.ended)
            seconds.add_metric(one.labels, one.histogram(), one.seconds)
            codes = dict(one.failed)  # the event loop goes on meanwhile
            if one.ok:
                codes["OK"] = one.ok
            for code, count in codes.items():
                handled.add_metric((*one.labels, code), count)
        return (started, handled, seconds, in_flight)


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
