"""The state of every backend, as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.config import Capability
from services.router.endpoint import EndpointState
from services.router.route import Route


class BackendGauges(Collector):
    """Which state each endpoint is in, asked for when Prometheus asks."""

    def __init__(self, routes: Mapping[Capability, Route]) -> None:
        self._routes = routes

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the gauges as they stand."""
        gauge = GaugeMetricFamily(
            "inglenook_backend_state",
            "1 for the state that a backend's endpoint is in.",
            labels=("capability", "backend", "endpoint", "state"),
        )
        for capability, route in self._routes.items():
            if route.pool is None:
                continue
            for status in route.pool.statuses():
                for state in EndpointState:
                    labels = (capability, route.pool.name, status.endpoint, state.name.lower())
                    gauge.add_metric(labels, float(status.state is state))
        return (gauge,)
