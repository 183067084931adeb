from __future__ import annotations

import pytest

from services.chassis.deadline import has_passed, remaining_seconds
from tests.support.contexts import fake_context


@pytest.mark.parametrize(("remaining", "expected"), [(None, None), (1.5, 1.5), (0.0, 0.0), (-3.0, 0.0)])
def test_remaining_time_is_never_negative(remaining: float | None, expected: float | None) -> None:
    """It becomes the timeout of the next hop, and gRPC has its own idea of a negative one."""
    assert remaining_seconds(fake_context(remaining)) == expected


@pytest.mark.parametrize(("remaining", "passed"), [(None, False), (0.001, False), (0.0, True), (-1.0, True)])
def test_deadline_has_passed_when_nothing_is_left(remaining: float | None, passed: bool) -> None:
    """A caller without a deadline never runs out of time."""
    assert has_passed(fake_context(remaining)) is passed
