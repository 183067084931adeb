"""How memory that is spoken for is counted."""

from __future__ import annotations

from services.inference.lifecycle.budget import Budget


def test_reservations_count_until_they_are_given_back() -> None:
    """Between the decision and the memory there is time in which others decide."""
    budget = Budget(100)
    first, second = budget.reserve(40), budget.reserve(40)
    assert budget.excess(20, first) == 0
    assert budget.excess(30, second) == 10

    budget.give_back(first)

    assert budget.excess(30, second) == 0


def test_who_needs_little_does_not_overtake_who_came_first() -> None:
    """Otherwise small models could keep a large one out for ever."""
    budget = Budget(100)
    large, small = budget.reserve(90), budget.reserve(5)
    assert budget.excess(20, large) == 10
    assert budget.excess(20, small) == 15
    assert budget.is_alone(large)
    assert not budget.is_alone(small)


def test_what_is_being_opened_counts_wherever_it_stood() -> None:
    """Who is first in line now may find that others were let in before it came."""
    budget = Budget(100)
    first, second = budget.reserve(40), budget.reserve(30)
    second.is_granted = True
    assert budget.excess(40, first) == 10
    assert not budget.is_alone(first)

    second.need_bytes = 0

    assert budget.excess(70, first) == 10


def test_no_limit_is_never_exceeded() -> None:
    """0 stands for no budget."""
    budget = Budget(0)
    assert budget.excess(10**12, budget.reserve(10**12)) == 0
    assert budget.overrun(10**12) == 0
