"""How the cache does, for Prometheus and for the router's status."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REDIS_ERRORS: Final = "redis_errors"
"""Under which failures of Redis are tallied."""


class Result(StrEnum):
    """What became of one lookup."""

    HIT_MEMORY = "hit_memory"
    """Found in the router's memory."""
    HIT_REDIS = "hit_redis"
    """Found in Redis."""
    SHARED = "shared"
    """Not found, but another call was computing it, and its answer was used."""
    MISS = "miss"
    """Not found, and computed."""
    BYPASS = "bypass"
    """Not looked up: the caller did not want it."""


class Operation(StrEnum):
    """What Redis was asked to do."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    PURGE = "purge"
    PROBE = "probe"
    CLOSE = "close"


class Failure(StrEnum):
    """How Redis failed."""

    BUSY = "busy"
    """Not Redis but the router: all its connections were in use."""
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    AUTHENTICATION = "authentication"
    """User and password are wrong, or may not do what was asked."""
    LOADING = "loading"
    """Redis reads its data from disk."""
    FULL = "full"
    READ_ONLY = "read_only"
    """It is a replica."""
    CLUSTER = "cluster"
    """A part of the cluster is missing."""
    REFUSED = "refused"
    """It said no for another reason."""
    PROTOCOL = "protocol"
    """What answers is no Redis."""
    DAMAGED = "damaged"
    """A value is not what this router or another one wrote under its key."""


class Drop(StrEnum):
    """Why something was not written to Redis."""

    BACKLOG = "backlog"
    """More waits to be written than may."""
    UNAVAILABLE = "unavailable"
    """Redis is left alone, or failed the write."""
    REFUSED = "refused"
    """Redis would not take it: it is full, or read-only."""
    TOO_LARGE = "too_large"
    """The answer is larger than what is kept there."""


class CacheMetrics:
    """The counters of all caches that a process has, one after the other."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.tally: Tally[str] = Tally()
        """Lookups by `Result`, and `redis_errors`, since the router started."""
        self._requests = Counter(
            "inglenook_cache_requests_total",
            "Lookups of the cache, by what became of them.",
            ("capability", "result"),
            registry=registry,
        )
        self._counters: dict[tuple[str, Result], Counter] = {}
        self._errors = Counter(
            "inglenook_cache_errors_total",
            "Failures of Redis, by operation.",
            ("operation", "kind"),
            registry=registry,
        )
        self._dropped = Counter(
            "inglenook_cache_dropped_writes_total",
            "Answers that were not written to Redis.",
            ("cause",),
            registry=registry,
        )
        self._seconds = Histogram(
            "inglenook_cache_redis_seconds",
            "How long Redis took, failures included.",
            ("operation",),
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
            registry=registry,
        )
        self._bytes = Gauge(
            "inglenook_cache_bytes", "What answers take in the router's memory.", registry=registry
        )
        self._entries = Gauge("inglenook_cache_entries", "Answers in the router's memory.", registry=registry)
        self._open = Gauge(
            "inglenook_cache_breaker_open", "1 while Redis is left alone after failures.", registry=registry
        )

    def request(self, capability: str, result: Result, number: int = 1) -> None:
        """Count lookups."""
        if number:
            counter = self._counters.get((capability, result))
            if counter is None:
                counter = self._counters[capability, result] = self._requests.labels(capability, result)
            counter.inc(number)
            self.tally[result] += number

    def error(self, operation: Operation, kind: Failure) -> None:
        """Count a failure of Redis."""
        self._errors.labels(operation, kind).inc()
        self.tally[REDIS_ERRORS] += 1

    def dropped(self, cause: Drop, number: int = 1) -> None:
        """Count answers that were not written to Redis."""
        if number:
            self._dropped.labels(cause).inc(number)

    def took(self, operation: Operation, seconds: float) -> None:
        """Note how long Redis took."""
        self._seconds.labels(operation).observe(seconds)

    def follow(
        self, size: Callable[[], float], entries: Callable[[], float], breaker_open: Callable[[], float]
    ) -> None:
        """Show these numbers whenever Prometheus asks, in place of those of another cache."""
        self._bytes.set_function(size)
        self._entries.set_function(entries)
        self._open.set_function(breaker_open)
