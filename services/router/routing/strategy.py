"""The order in which backends and replicas are asked.

Where a strategy tells two of them apart by how they are doing, calls that are in flight count too: what a
replica has told or shown is older than what it was sent since.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from services.config import Strategy

EXPLORATION: Final = 0.05
"""Share of calls that `lowest_latency` sends in turn instead, so that a replica which has become fast again
is found out."""
OPTIMISM: Final = 0.9
"""So much of the best that is known of others is believed of a replica that has not been asked yet: it is
asked, and then more is known."""
IDLE_COST: Final = 0.1
"""What a call counts at a replica without any load, so that calls in flight tell idle ones apart."""


class Replica(Protocol):
    """What is measured of a replica."""

    @property
    def is_healthy(self) -> bool:
        """Whether it says that it serves, and its calls say nothing else."""

    @property
    def calls_in_flight(self) -> int:
        """Calls that it has not answered yet."""

    @property
    def load(self) -> float | None:
        """How busy it says it is: 0 is idle, 1 is all it has; None if it does not say."""

    @property
    def median_latency(self) -> float | None:
        """The median of its latest latencies, in seconds; None before the first."""


class Backend(Protocol):
    """What is known of a backend."""

    @property
    def endpoints(self) -> Sequence[Replica]:
        """Its replicas."""

    @property
    def cost(self) -> float:
        """What a call costs."""


R = TypeVar("R", bound=Replica)
B = TypeVar("B", bound=Backend)


class Order:
    """Orders backends and replicas for one call.

    Args:
        strategy: By which measure.
        chance: Returns a random number from 0 to below 1.
    """

    def __init__(self, strategy: Strategy, chance: Callable[[], float] = random.random) -> None:
        self._strategy = strategy
        if strategy == "lowest_latency" and chance() < EXPLORATION:
            self._explores = True
        else:
            self._explores = False

    def replicas(self, replicas: Sequence[R], turn: int) -> list[R]:
        """Return replicas, the first to ask first; those that are equal take turns."""
        first = turn % len(replicas) if replicas else 0
        turned = [*replicas[first:], *replicas[:first]]
        if len(turned) < 2 or self._explores:  # noqa: PLR2004  # there is nothing to order
            return turned
        if self._strategy == "least_loaded":
            return sorted(turned, key=_by_load(turned))
        if self._strategy == "lowest_latency":
            return sorted(turned, key=_by_latency(turned))
        return turned

    def backends(self, backends: Sequence[B], turn: int) -> list[B]:
        """Return backends, the first to ask first; those that are equal as they are listed."""
        if len(backends) < 2:  # noqa: PLR2004  # there is nothing to order
            return list(backends)
        if self._explores:
            first = turn % len(backends)
            return [*backends[first:], *backends[:first]]
        if self._strategy == "lowest_cost":
            return sorted(backends, key=lambda backend: backend.cost)
        if self._strategy == "priority":
            return list(backends)
        everyone = [replica for backend in backends for replica in _healthy(backend)]
        by_load = self._strategy == "least_loaded"
        return _by_best(backends, _by_load(everyone) if by_load else _by_latency(everyone))


def _by_best(backends: Sequence[B], measure: Callable[[Replica], float]) -> list[B]:
    def best(backend: B) -> float:
        return min(map(measure, _healthy(backend)), default=float("inf"))

    return sorted(backends, key=best)


def _healthy(backend: Backend) -> list[Replica]:
    """Return the replicas that a backend is measured by: one that is gone has no load, and was fast once."""
    return [replica for replica in backend.endpoints if replica.is_healthy]


def _by_load(replicas: Sequence[Replica]) -> Callable[[Replica], float]:
    """Return a measure by load. One that has reported none is taken for a little less busy than others."""
    told = [load for replica in replicas if (load := replica.load) is not None]
    unheard = OPTIMISM * min(told, default=0.0)

    def measure(replica: Replica) -> float:
        load = replica.load
        return (IDLE_COST + (unheard if load is None else load)) * (replica.calls_in_flight + 1)

    return measure


def _by_latency(replicas: Sequence[Replica]) -> Callable[[Replica], float]:
    """Return a measure by latency. One of which nothing is known is taken for a little faster than others."""
    known = [latency for replica in replicas if (latency := replica.median_latency) is not None]
    unheard = OPTIMISM * min(known, default=1.0)

    def measure(replica: Replica) -> float:
        latency = replica.median_latency
        return (unheard if latency is None else latency) * (replica.calls_in_flight + 1)

    return measure
