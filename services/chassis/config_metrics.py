"""The configuration in force, as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from services.chassis.reload import Reloader

RESULTS: Final = ("changed", "unchanged", "refused")


class ConfigMetrics(Collector):
    """What a reloader says of itself, asked for when Prometheus asks, and how its reloads ended."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reloads = Counter(
            "inglenook_config_reloads_total",
            "Reloads of the configuration, by how they ended: changed, unchanged or refused.",
            ("result",),
            registry=registry,
        )
        for result in RESULTS:
            self._reloads.labels(result)
        self._reloader: Reloader | None = None
        registry.register(self)

    def of(self, reloader: Reloader) -> None:
        """Tell of this reloader from now on."""
        self._reloader = reloader

    def count(self, result: str) -> None:
        """Count a reload that ended."""
        self._reloads.labels(result).inc()

    def collect(self) -> Iterable[Metric]:
        """Return the gauges as they stand."""
        status = self._reloader.status if self._reloader is not None else None
        if status is None or not status.sha256:
            return ()
        success = GaugeMetricFamily(
            "inglenook_config_last_reload_success",
            "1 if all is as the configuration file said when it was last read, 0 if not.",
            value=float(not status.last_error),
        )
        loaded = GaugeMetricFamily(
            "inglenook_config_loaded_timestamp_seconds",
            "When the configuration in force was read, in seconds since 1970.",
            value=status.loaded_at.timestamp(),
        )
        restart = GaugeMetricFamily(
            "inglenook_config_restart_needed",
            "How many changed settings hold only after a restart.",
            value=len(status.restart_needed),
        )
        info = InfoMetricFamily(
            "inglenook_config", "The hash of the file that is in force.", value={"sha256": status.sha256}
        )
        return (success, loaded, restart, info)
