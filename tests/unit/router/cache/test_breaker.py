"""The breaker: opens after failures in a row, and is closed by its probe alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from services.router.cache.breaker import Breaker
from services.router.cache.metrics import Failure
from tests.support.fakeclock import FakeClock, run_with_clock


def probing(*outcomes: bool) -> tuple[Callable[[], Awaitable[bool]], list[bool]]:
    """Return a probe with outcomes in turn, and the list of those that are still to come."""
    left = list(outcomes)

    async def probe() -> bool:
        return left.pop(0)

    return probe, left


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_only_failures_in_a_row_open_it(caplog: pytest.LogCaptureFixture) -> None:
    """A success in between begins the count anew; opening and closing are logged once each."""

    async def main(clock: FakeClock) -> None:
        probe, _ = probing(True)
        breaker = Breaker(2, 1.0, probe)
        assert breaker.well
        breaker.failed(Failure.TIMEOUT)
        assert not breaker.well
        breaker.succeeded()
        assert breaker.well
        breaker.failed(Failure.TIMEOUT)
        assert not breaker.open
        for _ in range(3):
            breaker.failed(Failure.CONNECTION)
        assert breaker.open
        await turns()
        clock.advance(1.0)
        await turns()
        assert (breaker.open, breaker.well) == (False, True)
        await breaker.close()

    with caplog.at_level(logging.INFO):
        run_with_clock(main)
    assert [record.message for record in caplog.records] == ["Redis is left alone", "Redis is back"]


def test_it_probes_at_intervals_until_redis_is_well_and_counts_anew_then() -> None:
    """A late success of a call does not close it."""

    async def main(clock: FakeClock) -> None:
        probe, left = probing(False, False, True)
        breaker = Breaker(2, 1.0, probe)
        breaker.failed(Failure.TIMEOUT)
        breaker.failed(Failure.TIMEOUT)
        breaker.succeeded()
        await turns()
        for remaining in (3, 2, 1):
            assert breaker.open
            assert len(left) == remaining
            clock.advance(1.0)
            await turns()
        assert not breaker.open
        breaker.failed(Failure.TIMEOUT)
        assert not breaker.open
        await breaker.close()

    run_with_clock(main)


def test_one_that_is_closed_for_good_leaves_no_task_behind() -> None:
    """Neither the probe that ran nor one for failures that come later."""

    async def main(clock: FakeClock) -> None:
        del clock
        probe, _ = probing()
        breaker = Breaker(1, 1.0, probe)
        breaker.failed(Failure.TIMEOUT)
        await breaker.close()
        late = Breaker(1, 1.0, probe)
        await late.close()
        late.failed(Failure.TIMEOUT)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_with_clock(main)
