from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.config import Limits
from tests.unit.config.conftest import Accepted, Refused

PATH = "limits.max_client_batch_size"


def test_call_that_no_queue_could_take_in_is_refused_in_the_file(refused: Refused) -> None:
    """A call is queued whole, so a larger call than the queue would be refused even by an idle service."""
    assert refused("[limits]\nmax_client_batch_size = 5000") == [
        f"{PATH}: is 5000, but no more than 4096 inputs can wait (limits.max_queue_size)"
        " (set it to 4096 or less, or max_queue_size to 5000 or more)"
    ]


def test_queue_below_the_default_call_is_refused_too(refused: Refused) -> None:
    """The rule holds between a setting of the file and a default that the file leaves standing."""
    (problem,) = refused("[limits]\nmax_queue_size = 1000")
    assert problem.startswith(f"{PATH}: is 1024, but no more than 1000 inputs can wait")


def test_batch_that_would_never_be_full_is_refused(refused: Refused) -> None:
    """A batch is made of inputs that wait, so a chosen size beyond the queue would be without effect."""
    text = "[limits]\nmax_queue_size = 100\nmax_client_batch_size = 100\nmax_batch_size = 101"
    assert refused(text) == [
        "limits.max_batch_size: is 101, but no more than 100 inputs can wait (limits.max_queue_size)"
        " (set it to 100 or less, or max_queue_size to 101 or more)"
    ]


def test_limits_may_be_equal(accepted: Accepted) -> None:
    """One call may fill the queue, and one batch may empty it."""
    text = "[limits]\nmax_queue_size = 100\nmax_client_batch_size = 100\nmax_batch_size = 100"
    assert accepted(text).limits.max_batch_size == 100


def test_default_batch_size_asks_for_no_larger_queue(accepted: Accepted) -> None:
    """Who wants a short queue need not know about batches."""
    assert accepted("[limits]\nmax_queue_size = 8\nmax_client_batch_size = 8").limits.max_queue_size == 8


def test_queue_with_a_problem_of_its_own_is_told_alone(refused: Refused) -> None:
    """Nothing is compared with a value that is wrong itself."""
    assert refused("[limits]\nmax_queue_size = 0") == [
        "limits.max_queue_size: must be greater than or equal to 1"
    ]


def test_rule_holds_for_limits_made_in_code() -> None:
    """A test or a tool cannot make limits that a file could not."""
    with pytest.raises(ValidationError, match="no more than 10 inputs can wait"):
        Limits(max_queue_size=10)
