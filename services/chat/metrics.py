"""What the chat service tells Prometheus. Targets of the configuration have names of their own here.

Callers may name models that a provider has besides; those share one name, so that the number of series does
not grow with what callers write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.chassis.metrics import SECONDS_BUCKETS
from services.chat.answering.breaker import State
from services.chat.answering.steps import AttemptReport, Finished
from services.chat.answering.target import Target

DISCOVERED: Final = "discovered"
NANO: Final = 1e-9
OVERHEAD_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class ChatMetrics:
    """Counts attempts, tokens and money. Satisfies `answering.observer.Observer`.

    Args:
        registry: Where the metrics are kept.
        configured: Names of the targets of the configuration.
    """

    def __init__(self, registry: CollectorRegistry, configured: Iterable[str]) -> None:
        self._configured = set(configured)
        self._attempts = _counter(
            registry,
            "inglenook_chat_attempts_total",
            "Attempts at targets, by how they ended: OK, CANCELLED or the reason of an error.",
            "outcome",
        )
        self._attempt_seconds = _seconds(
            registry, "inglenook_chat_attempt_seconds", "How long attempts took, in seconds."
        )
        self._first_token = _seconds(
            registry,
            "inglenook_chat_first_token_seconds",
            "From the beginning of an attempt to its first content, in seconds.",
        )
        self._retries = _counter(
            registry,
            "inglenook_chat_retries_total",
            "How often the same target was asked again, by why.",
            "reason",
        )
        self._fallbacks = _counter(
            registry,
            "inglenook_chat_fallbacks_total",
            "How often another target was asked instead of this one, by why.",
            "reason",
        )
        self._usage = UsageMetrics(registry)

    def know(self, targets: Iterable[str]) -> None:
        """Have these targets under their names, too, besides those that were configured before."""
        self._configured.update(targets)

    def attempt_ended(self, target: str, outcome: str, seconds: float) -> None:
        """Count an attempt."""
        self._attempts.labels(self._label(target), outcome).inc()
        self._attempt_seconds.labels(self._label(target)).observe(seconds)

    def first_token(self, target: str, seconds: float) -> None:
        """Note how long the first content took."""
        self._first_token.labels(self._label(target)).observe(seconds)

    def retried(self, target: str, reason: str) -> None:
        """Count a retry."""
        self._retries.labels(self._label(target), reason).inc()

    def fell_back(self, target: str, reason: str) -> None:
        """Count a fallback."""
        self._fallbacks.labels(self._label(target), reason).inc()

    def spent(self, report: AttemptReport) -> None:
        """Count what an attempt used and cost."""
        self._usage.count(self._label(f"{report.provider}/{report.upstream_model}"), report)

    def finished(self, finished: Finished) -> None:
        """Note how much time of a call was spent here."""
        self._usage.overhead(finished)

    def _label(self, target: str) -> str:
        return target if target in self._configured else DISCOVERED


class UsageMetrics:
    """Counts tokens, money, and the time that was spent here."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tokens = _counter(
            registry,
            "inglenook_chat_tokens_total",
            "Tokens that providers say were used, by kind: input, cached_input, output, reasoning.",
            "kind",
        )
        self._cost = _counter(
            registry,
            "inglenook_chat_cost_usd_total",
            "What answers cost, in US dollars, as far as it is known.",
        )
        self._overhead = Histogram(
            "inglenook_chat_overhead_seconds",
            "The part of a call that was not spent waiting for providers, in seconds.",
            buckets=OVERHEAD_BUCKETS,
            registry=registry,
        )

    def overhead(self, finished: Finished) -> None:
        """Note how much time of a call was spent here."""
        self._overhead.observe(max(0.0, finished.total_seconds - finished.upstream_seconds))

    def count(self, target: str, attempt: AttemptReport) -> None:
        """Count what one attempt used and cost."""
        usage = attempt.usage
        counts = {
            "input": usage.input_tokens,
            "cached_input": usage.cached_input_tokens,
            "output": usage.output_tokens,
            "reasoning": usage.reasoning_tokens,
        }
        for kind, count in counts.items():
            if count:
                self._tokens.labels(target, kind).inc(count)
        if attempt.cost_nano_usd:
            self._cost.labels(target).inc(attempt.cost_nano_usd * NANO)


class TargetGauges(Collector):
    """How the targets of the configuration are treated, asked for when Prometheus asks."""

    def __init__(self, targets: Callable[[], Iterable[Target]]) -> None:
        self._targets = targets

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the gauges as they stand."""
        family = GaugeMetricFamily(
            "inglenook_chat_target_state", "1 for the state that a target is in.", labels=("target", "state")
        )
        for target in self._targets():
            standing = target.breaker.standing().state
            for state in State:
                family.add_metric((target.name, state.value), float(state is standing))
        return (family,)


def _counter(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, ("target", *labels), registry=registry)


def _seconds(registry: CollectorRegistry, name: str, text: str) -> Histogram:
    return Histogram(name, text, ("target",), buckets=SECONDS_BUCKETS, registry=registry)
