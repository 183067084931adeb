from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry, generate_latest

from services.inference.batching import BatchStats
from services.inference.lifecycle import LifecycleEvent, ModelState, ModelStatus
from services.serving.metrics import EngineMetrics, ModelGauges
from tests.support.engine_parts import FACTS, section

BATCH = BatchStats(
    tokens=90, padded_tokens=120, seconds=0.02, wide=False, failed=0, waits=(0.001, 0.004, 0.3)
)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """Return a sample of the model `tiny`."""
    return registry.get_sample_value(name, {"model": "tiny", **labels})


def test_finished_batch_is_counted() -> None:
    """Size, cost, time and the waiting of each input."""
    registry = CollectorRegistry()

    EngineMetrics(registry).observer("tiny")(BATCH)

    assert value(registry, "inglenook_batch_size_sum") == 3
    assert value(registry, "inglenook_batch_size_count") == 1
    assert value(registry, "inglenook_batch_tokens_sum") == 120
    assert value(registry, "inglenook_inference_seconds_sum") == 0.02
    assert value(registry, "inglenook_queue_wait_seconds_count") == 3
    assert value(registry, "inglenook_queue_wait_seconds_sum") == sum(BATCH.waits)


def test_padding_efficiency_can_be_computed() -> None:
    """Real tokens divided by padded ones: counters, so that it is exact over any period."""
    registry = CollectorRegistry()
    observe = EngineMetrics(registry).observer("tiny")

    for _ in range(3):
        observe(BATCH)

    assert value(registry, "inglenook_real_tokens_total") == 270
    assert value(registry, "inglenook_padded_tokens_total") == 360


def test_batches_are_counted_by_the_way_they_were_run() -> None:
    """An engine that is always wide is idle; one that is never is busy."""
    registry = CollectorRegistry()
    observe = EngineMetrics(registry).observer("tiny")

    for wide in (True, True, False):
        observe(replace(BATCH, wide=wide))

    assert value(registry, "inglenook_batches_total", lane="wide") == 2
    assert value(registry, "inglenook_batches_total", lane="narrow") == 1


def test_inputs_that_failed_are_counted() -> None:
    """Zero is there from the start: an alert on a series that does not exist never fires."""
    registry = CollectorRegistry()
    observe = EngineMetrics(registry).observer("tiny")
    assert value(registry, "inglenook_failed_inputs_total") == 0

    observe(replace(BATCH, failed=2))

    assert value(registry, "inglenook_failed_inputs_total") == 2


def test_models_are_kept_apart() -> None:
    """Observers share the metrics and differ in the label."""
    registry = CollectorRegistry()
    metrics = EngineMetrics(registry)
    first, second = metrics.observer("tiny"), metrics.observer("other")

    first(BATCH)
    second(BATCH)
    second(BATCH)

    assert value(registry, "inglenook_real_tokens_total") == 90
    assert registry.get_sample_value("inglenook_real_tokens_total", {"model": "other"}) == 180


def test_life_of_models_is_counted() -> None:
    """Evictions that pile up say that the budget is too small for what is called."""
    registry = CollectorRegistry()
    observe = EngineMetrics(registry).observe_lifecycle

    observe(LifecycleEvent("loaded", "tiny", seconds=1.5))
    observe(LifecycleEvent("unloaded", "tiny", "evicted"))
    observe(LifecycleEvent("unloaded", "tiny", "evicted"))
    observe(LifecycleEvent("failed", "tiny"))

    assert value(registry, "inglenook_model_load_seconds_sum") == 1.5
    assert value(registry, "inglenook_model_load_seconds_count") == 1
    assert value(registry, "inglenook_model_unloads_total", cause="evicted") == 2
    assert value(registry, "inglenook_model_load_failures_total") == 1


def test_gauges_tell_how_things_stand_when_asked() -> None:
    """They are computed on demand, so they cannot be stale."""
    statuses = [
        ModelStatus("tiny", section(), ModelState.READY, facts=FACTS, memory_bytes=1_000_000),
        ModelStatus("other", section(), ModelState.AVAILABLE, facts=FACTS, memory_bytes=1_000_000),
    ]
    queues = {"tiny": 5}
    registry = CollectorRegistry()
    registry.register(ModelGauges(lambda: statuses, queues.items))
    queues["tiny"] = 7

    assert value(registry, "inglenook_queue_depth") == 7
    assert value(registry, "inglenook_model_memory_bytes") == 1_000_000
    assert registry.get_sample_value("inglenook_model_memory_bytes", {"model": "other"}) is None
    states = {state: value(registry, "inglenook_model_state", state=state) for state in ModelState}
    assert states == {state: float(state is ModelState.READY) for state in ModelState}


def test_metrics_are_exposed_without_the_text_of_anyone() -> None:
    """Labels are names of models, states and lanes, and nothing else."""
    registry = CollectorRegistry()
    EngineMetrics(registry).observer("tiny")(BATCH)

    samples = [sample for family in registry.collect() for sample in family.samples]

    assert {label for sample in samples for label in sample.labels} <= {"model", "lane", "le"}
    assert b"inglenook_batch_size_bucket" in generate_latest(registry)
