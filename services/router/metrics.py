"""Backends and attempts, as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.chassis.metrics import SECONDS_BUCKETS
from services.config import Capability
from services.router.routing.endpoint import EndpointState
from services.router.routing.observer import Observer
from services.router.wiring import Current


class BackendGauges(Collector):
    """Which state each endpoint is in, asked for when Prometheus asks."""

    def __init__(self, current: Current) -> None:
        self._current = current

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the gauges as they stand."""
        gauge = GaugeMetricFamily(
            "inglenook_backend_state",
            "1 for the state that a backend's endpoint is in.",
            labels=("capability", "backend", "endpoint", "state"),
        )
        for capability, route in self._current.wiring.routes.items():
            for pool in route.pools:
                for status in pool.statuses():
                    for state in EndpointState:
                        labels = (capability, pool.name, status.endpoint, state.name.lower())
                        gauge.add_metric(labels, float(status.state is state))
        return (gauge,)


class RoutingMetrics(Observer):
    """Counts attempts, and what becomes of them.

    Args:
        registry: Where the metrics go.
        changed: Called when a replica's state changes.
    """

    def __init__(self, registry: CollectorRegistry, changed: Callable[[], None]) -> None:
        attempts = Counter(
            "inglenook_attempts_total",
            "Attempts at backends, by how they ended: OK, CANCELLED or a reason.",
            ("capability", "backend", "outcome"),
            registry=registry,
        )
        seconds = Histogram(
            "inglenook_backend_seconds",
            "How long backends took to answer, in seconds.",
            ("capability", "backend"),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._failovers = Counter(
            "inglenook_failover_total",
            "Calls that were made once more because an attempt failed, by its reason.",
            ("capability", "reason"),
            registry=registry,
        )
        self._hedges = Counter(
            "inglenook_hedges_total",
            "Second attempts beside a slow one: won, lost or failed.",
            ("capability", "outcome"),
            registry=registry,
        )
        self._ejections = Counter(
            "inglenook_ejections_total",
            "How often an endpoint was taken out for a while because its calls failed.",
            ("capability", "backend", "endpoint"),
            registry=registry,
        )
        self._changed = changed
        self._attempts = cache(attempts.labels)  # looked up for every call
        self._seconds = cache(seconds.labels)

    def changed(self) -> None:
        """Pass it on."""
        self._changed()

    def attempted(self, capability: Capability, backend: str, outcome: str, seconds: float) -> None:
        """Count an attempt; how long it took counts if it was answered."""
        self._attempts(capability, backend, outcome).inc()
        if outcome == "OK":
            self._seconds(capability, backend).observe(seconds)

    def failed_over(self, capability: Capability, reason: str) -> None:
        """Count an attempt after another."""
        self._failovers.labels(capability, reason).inc()

    def hedged(self, capability: Capability, outcome: str) -> None:
        """Count an attempt beside another."""
        self._hedges.labels(capability, outcome).inc()

    def ejected(self, capability: Capability, backend: str, endpoint: str) -> None:
        """Count an ejection."""
        self._ejections.labels(capability, backend, endpoint).inc()
