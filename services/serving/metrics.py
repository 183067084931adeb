"""What the engine does, as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.inference.batching import BatchStats
from services.inference.lifecycle import LifecycleEvent, ModelState, ModelStatus

SIZE_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TOKEN_BUCKETS: Final = (16, 32, 64, 128, 256, 512, 1024, 4096, 16_384, 65_536)
LOAD_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class EngineMetrics:
    """Batches, tokens and waiting times, by model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, told: str, buckets: Iterable[float]) -> Histogram:
            return Histogram(name, told, ("model",), buckets=tuple(buckets), registry=registry)

        def counter(name: str, told: str, *labels: str) -> Counter:
            return Counter(name, told, ("model", *labels), registry=registry)

        self._size = histogram("inglenook_batch_size", "Inputs per batch.", SIZE_BUCKETS)
        self._tokens = histogram(
            "inglenook_batch_tokens", "Tokens per batch, padding included.", TOKEN_BUCKETS
        )
        self._wait = histogram(
            "inglenook_queue_wait_seconds", "How long an input waited for its batch.", SECONDS_BUCKETS
        )
        self._seconds = histogram("inglenook_inference_seconds", "How long a batch ran.", SECONDS_BUCKETS)
        self._batches = counter("inglenook_batches_total", "Batches, by the way they were run.", "lane")
        self._real = counter("inglenook_real_tokens_total", "Tokens of inputs, without padding.")
        self._padded = counter(
            "inglenook_padded_tokens_total",
            "Tokens that were computed; real divided by padded is the padding efficiency.",
        )
        self._failed = counter("inglenook_failed_inputs_total", "Inputs that the model could not compute.")
        self._loads = histogram("inglenook_model_load_seconds", "How long a load took.", LOAD_BUCKETS)
        self._unloads = counter("inglenook_model_unloads_total", "Unloads, by why.", "cause")
        self._load_failures = counter("inglenook_model_load_failures_total", "Loads that failed.")

    def observer(self, model: str) -> Callable[[BatchStats], None]:
        """Return what counts a finished batch of `model`, its labels bound once."""
        size, tokens = self._size.labels(model), self._tokens.labels(model)
        wait, seconds = self._wait.labels(model), self._seconds.labels(model)
        real, padded, failed = (metric.labels(model) for metric in (self._real, self._padded, self._failed))
        wide, narrow = self._batches.labels(model, "wide"), self._batches.labels(model, "narrow")

        def observe(stats: BatchStats) -> None:
            (wide if stats.wide else narrow).inc()
            size.observe(stats.size)
            tokens.observe(stats.padded_tokens)
            seconds.observe(stats.seconds)
            real.inc(stats.tokens)
            padded.inc(stats.padded_tokens)
            if stats.failed:
                failed.inc(stats.failed)
            for waited in stats.waits:
                wait.observe(waited)

        return observe

    def observe_lifecycle(self, event: LifecycleEvent) -> None:
        """Count what happened to a model."""
        if event.kind == "loaded":
            self._loads.labels(event.model).observe(event.seconds)
        elif event.kind == "failed":
            self._load_failures.labels(event.model).inc()
        else:
            self._unloads.labels(event.model, event.cause).inc()


class ModelGauges(Collector):
    """Queue sizes and model states, asked for when Prometheus asks."""

    def __init__(
        self, statuses: Callable[[], Iterable[ModelStatus]], queues: Callable[[], Iterable[tuple[str, int]]]
    ) -> None:
        self._statuses = statuses
        self._queues = queues

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the gauges as they stand."""
        depth = GaugeMetricFamily("inglenook_queue_depth", "Inputs that wait.", labels=("model",))
        for model, size in self._queues():
            depth.add_metric((model,), size)
        state = GaugeMetricFamily(
            "inglenook_model_state", "1 for the state that a model is in.", labels=("model", "state")
        )
        memory = GaugeMetricFamily(
            "inglenook_model_memory_bytes", "What loading a model added to the process.", labels=("model",)
        )
        for status in self._statuses():
            for one in ModelState:
                state.add_metric((status.name, one.value), float(status.state is one))
            if status.state is ModelState.READY:
                memory.add_metric((status.name,), status.memory_bytes)
        return (depth, state, memory)
