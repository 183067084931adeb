from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.config import Key
from services.router.access.errors import TooFast, TooManyAtOnce
from services.router.access.meter import MINUTE, SECOND, Bucket, Meter

HASH = "sha256:" + "0" * 64


class Nanoseconds:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 5 * SECOND

    def __call__(self) -> int:
        """Return the time."""
        return self.now


@given(
    burst=st.integers(1, 20),
    interval=st.integers(1, 10_000),
    pauses=st.lists(st.integers(0, 30_000), max_size=200),
)
def test_no_window_has_more_than_the_burst_and_the_rate(burst: int, interval: int, pauses: list[int]) -> None:
    """However calls are spread: between any two of them, both included, are at most burst + t/interval."""
    clock = Nanoseconds()
    bucket = Bucket(interval, burst, clock)
    let_in = []
    for pause in pauses:
        clock.now += pause
        if not bucket.take():
            let_in.append(clock.now)
    for first, begin in enumerate(let_in):
        for last in range(first, len(let_in)):
            assert (last - first + 1 - burst) * interval <= let_in[last] - begin


@given(burst=st.integers(1, 20), interval=st.integers(1, 10_000), pauses=st.lists(st.integers(0, 30_000)))
def test_what_is_told_to_wait_is_exactly_how_long_the_next_token_takes(
    burst: int, interval: int, pauses: list[int]
) -> None:
    """A caller that comes back a nanosecond early is refused again, and one that is punctual is let in."""
    clock = Nanoseconds()
    bucket = Bucket(interval, burst, clock)
    for pause in pauses:
        clock.now += pause
        if wait := bucket.take():
            clock.now += wait - 1
            assert bucket.take() == 1
            clock.now += 1
            assert bucket.take() == 0


@pytest.mark.parametrize(("rate", "burst"), [(60, 10), (1, 1), (600, 100), (7, 1)])
def test_burst_is_what_ten_seconds_allow_and_one_at_least(rate: int, burst: int) -> None:
    """A key without a burst of its own can still send a page's worth of calls after a pause."""
    meter = Meter(Key(hash=HASH, requests_per_minute=rate), Nanoseconds())
    for _ in range(burst):
        meter.enter()
    with pytest.raises(TooFast) as caught:
        meter.enter()
    assert caught.value.metadata == {"requestsPerMinute": str(rate)}


def test_refusal_says_when_the_next_token_comes() -> None:
    """In the contract's seconds, rounded up to the next millisecond: punctual callers are let in."""
    clock = Nanoseconds()
    meter = Meter(Key(hash=HASH, requests_per_minute=60, burst=1), clock)
    meter.enter()
    clock.now += SECOND // 4
    with pytest.raises(TooFast) as caught:
        meter.enter()
    assert caught.value.retry_after_seconds == pytest.approx(0.751)
    clock.now += 751_000_000
    meter.enter()


def test_full_bucket_does_not_run_over() -> None:
    """A night without calls does not save up for the morning."""
    clock = Nanoseconds()
    bucket = Bucket(SECOND, 3, clock)
    clock.now += 1000 * MINUTE
    assert [bool(bucket.take()) for _ in range(4)] == [False, False, False, True]


def test_calls_in_flight_are_counted_until_they_end() -> None:
    """The one too many is told to come back soon; the gauge returns to zero."""
    meter = Meter(Key(hash=HASH, max_concurrent_calls=2))
    meter.enter()
    meter.enter()
    with pytest.raises(TooManyAtOnce) as caught:
        meter.enter()
    assert caught.value.metadata == {"maxConcurrentCalls": "2"}
    assert caught.value.retry_after_seconds
    meter.leave()
    meter.enter()
    meter.leave()
    meter.leave()
    assert meter.in_flight == 0


def test_call_that_is_refused_for_others_in_flight_takes_no_token() -> None:
    """Else a caller that tries again would use up its rate without a single answer."""
    clock = Nanoseconds()
    meter = Meter(Key(hash=HASH, max_concurrent_calls=1, requests_per_minute=60, burst=2), clock)
    meter.enter()
    for _ in range(5):
        with pytest.raises(TooManyAtOnce):
            meter.enter()
    meter.leave()
    meter.enter()


@pytest.mark.parametrize("rate", [1, 7, 13, 59, 61, 1001])
def test_rates_that_divide_no_minute_are_kept(rate: int) -> None:
    """A caller that takes every token as it comes makes as many calls in a minute as the file says."""
    clock = Nanoseconds()
    meter, begin, calls = Meter(Key(hash=HASH, requests_per_minute=rate, burst=1), clock), clock.now, 0
    while clock.now < begin + MINUTE:
        try:
            meter.enter()
            calls += 1
        except TooFast as error:
            clock.now += int((error.retry_after_seconds or 0) * SECOND)
    assert 0.9 * rate <= calls <= rate
