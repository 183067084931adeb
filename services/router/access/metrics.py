"""Calls by key, and calls that were refused. Keys are called by their names in the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter

from services.chassis.errors import CallError


class AccessMetrics:
    """The metrics of a gate."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = Counter(
            "inglenook_access_refused_total",
            "Calls that were refused for their key: none, unknown, not allowed, too often.",
            labelnames=("reason",),
            registry=registry,
        )
        self._calls = Counter(
            "inglenook_key_calls_total",
            "Calls that were let in, by the name of their key.",
            labelnames=("key",),
            registry=registry,
        )

    def let_in(self, key: str) -> None:
        """Count a call with the key of this name."""
        self._calls.labels(key).inc()

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Count what is refused within the block."""
        try:
            yield
        except CallError as error:
            self._refused.labels(error.reason).inc()
            raise
