"""In which order backends and replicas are asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count

import pytest

from services.config import Strategy
from services.router.routing.strategy import EXPLORATION, Order


@dataclass
class Measured:
    """A replica of which all is known that a strategy asks for."""

    name: str
    calls_in_flight: int = 0
    load: float | None = None
    median_latency: float | None = None
    is_healthy: bool = True


@dataclass
class Listed:
    """A backend with such replicas."""

    endpoints: list[Measured] = field(default_factory=list)
    cost: float = 0.0


def order(strategy: Strategy, *, explores: bool = False) -> Order:
    """Return an order, of a call that does or does not explore."""
    return Order(strategy, lambda: 0.0 if explores else 0.999)


def names(found: list[Measured]) -> str:
    """Return the names in their order."""
    return "".join(one.name for one in found)


@pytest.mark.parametrize("strategy", ["priority", "least_loaded", "lowest_latency", "lowest_cost"])
def test_replicas_that_are_equal_take_turns(strategy: Strategy) -> None:
    """Whatever the measure, it does not send everything to the first of equals."""
    replicas = [Measured("a"), Measured("b"), Measured("c")]
    found = [names(order(strategy).replicas(replicas, turn)) for turn in range(4)]
    assert found == ["abc", "bca", "cab", "abc"]


def test_priority_asks_backends_as_they_are_listed() -> None:
    """However loaded, slow or dear they are."""
    backends = [Listed([Measured("a", load=9, median_latency=9)], cost=9), Listed([Measured("b")])]
    assert order("priority").backends(backends, 1) == backends


def test_lowest_cost_asks_the_cheapest_backend_and_equal_ones_as_they_are_listed() -> None:
    """Costs are compared and nothing else."""
    dear, first, second = Listed(cost=2), Listed(cost=1), Listed(cost=1)
    assert order("lowest_cost").backends([dear, first, second], 0) == [first, second, dear]


def test_least_loaded_asks_who_reports_the_least() -> None:
    """Among replicas, and among backends by their best replica."""
    busy, calm, new = Measured("busy", load=0.9), Measured("calm", load=0.1), Measured("new")
    assert order("least_loaded").replicas([busy, calm, new], 0) == [new, calm, busy]
    backends = [Listed([busy]), Listed([busy, calm])]
    assert order("least_loaded").backends(backends, 0) == [backends[1], backends[0]]


def test_calls_sent_since_the_last_report_count_as_load() -> None:
    """A report is older than what was sent meanwhile, and a burst must not go to one replica alone."""
    replicas = [Measured("a", load=0.1), Measured("b", load=0.2), Measured("c", load=0.2)]
    for _ in range(60):
        order("least_loaded").replicas(replicas, 0)[0].calls_in_flight += 1
    assert {one.name: one.calls_in_flight for one in replicas}.keys() == {"a", "b", "c"}
    assert all(one.calls_in_flight >= 15 for one in replicas)


def test_without_reports_the_least_loaded_is_who_has_the_fewest_calls() -> None:
    """Backends that report nothing are balanced all the same."""
    replicas = [Measured("a", calls_in_flight=2), Measured("b"), Measured("c", calls_in_flight=1)]
    assert names(order("least_loaded").replicas(replicas, 0)) == "bca"


def test_lowest_latency_asks_the_fastest_until_it_is_busy() -> None:
    """Ten times as fast is worth a queue of nine."""
    fast, slow = Measured("fast", median_latency=0.01), Measured("slow", median_latency=0.1)
    assert order("lowest_latency").replicas([slow, fast], 0)[0] is fast
    fast.calls_in_flight = 8
    assert order("lowest_latency").replicas([slow, fast], 0)[0] is fast
    fast.calls_in_flight = 10
    assert order("lowest_latency").replicas([slow, fast], 0)[0] is slow


def test_a_replica_of_which_nothing_is_known_is_taken_for_fast() -> None:
    """Otherwise it would never be asked, and nothing would ever be known."""
    known, new = Measured("known", calls_in_flight=1, median_latency=0.01), Measured("new")
    assert order("lowest_latency").replicas([known, new], 0)[0] is new


def test_lowest_latency_looks_at_the_others_now_and_then() -> None:
    """A replica that was slow and has recovered gets some calls, and so is found out."""
    replicas = [Measured("fast", median_latency=0.01), Measured("slow", median_latency=1.0)]
    chances = iter([index / 1000 for index in range(1000)])
    first = Counter(
        Order("lowest_latency", lambda: next(chances)).replicas(replicas, turn)[0].name
        for turn in range(1000)
    )
    assert first["slow"] == pytest.approx(1000 * EXPLORATION / 2, abs=2)


def test_exploring_goes_through_backends_too() -> None:
    """A backend that was slow as a whole is found out like a replica."""
    backends = [Listed([Measured("a", median_latency=0.1)]), Listed([Measured("b", median_latency=9.0)])]
    turns = count()
    first = {id(order("lowest_latency", explores=True).backends(backends, next(turns))[0]) for _ in range(2)}
    assert first == {id(backend) for backend in backends}


@pytest.mark.parametrize("strategy", ["least_loaded", "lowest_latency"])
def test_a_backend_is_measured_by_the_replicas_that_answer(strategy: Strategy) -> None:
    """One that is gone has no load any more and was fast once; that must not draw calls to the others."""
    gone = Measured("gone", load=0.0, median_latency=0.001, is_healthy=False)
    busy = Listed([gone, Measured("busy", load=0.9, median_latency=0.9)])
    idle = Listed([Measured("idle", load=0.1, median_latency=0.1)])
    assert order(strategy).backends([busy, idle], 0) == [idle, busy]


@pytest.mark.parametrize("strategy", ["priority", "least_loaded", "lowest_latency", "lowest_cost"])
def test_backends_without_replicas_are_asked_last_or_not_missed(strategy: Strategy) -> None:
    """A name that stands for nothing now is no mistake."""
    empty, full = Listed(), Listed([Measured("a")])
    assert set(map(id, order(strategy).backends([empty, full], 0))) == {id(empty), id(full)}
    assert order(strategy).replicas([], 3) == []
