"""Latencies, percentiles, and the budget for further attempts."""

from __future__ import annotations

from services.router.routing.budget import MAX_TOKENS, RetryBudget
from services.router.routing.measures import ENOUGH_CALLS, Latencies, MethodLatencies


def test_the_median_is_that_of_the_latest_calls() -> None:
    """None before the first; old ones make room."""
    latencies = Latencies(size=3)
    assert latencies.median is None
    for seconds in (9.0, 1.0, 2.0, 3.0):
        latencies.add(seconds)
    assert latencies.median == 2.0


def test_percentiles_need_enough_calls_of_the_same_kind() -> None:
    """Another method, or a request of another size, says nothing about this one."""
    latencies = MethodLatencies()
    for number in range(ENOUGH_CALLS):
        assert latencies.percentile("m", 100, 90) is None
        latencies.add("m", 100, number / 10)
    assert latencies.percentile("m", 100, 90) == 1.8
    assert latencies.percentile("m", 120, 50) == 1.0
    assert latencies.percentile("m", 100_000, 90) is None
    assert latencies.percentile("n", 100, 90) is None


def test_failures_that_others_make_good_do_not_exhaust_the_budget() -> None:
    """Every second attempt fails, for as long as it likes."""
    budget = RetryBudget()
    for _ in range(10 * MAX_TOKENS):
        assert budget.allows
        budget.spend()
        budget.earn()


def test_an_outage_exhausts_the_budget_and_answers_fill_it_again() -> None:
    """After some hundred failures without an answer nothing is tried again."""
    budget = RetryBudget()
    further = 0
    for _ in range(MAX_TOKENS):
        further += budget.allows
        budget.spend()
    assert further == MAX_TOKENS // 2
    assert not budget.allows
    for _ in range(MAX_TOKENS // 2 + 1):
        budget.earn()
    assert budget.allows
