"""How often one key may call, and how many of its calls may be in the router at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from services.config import Key
from services.router.access.errors import TooFast, TooManyAtOnce

SECOND: Final = 1_000_000_000
MILLISECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
BURST_FRACTION: Final = 6
"""By default a burst is what the rate allows in the sixth part of a minute."""
RETRY_SECONDS: Final = 0.25
"""When to try again after too many calls at once; nobody knows when one of them will end."""


class Bucket:
    """A token bucket: `burst` calls at once, then one every `interval` nanoseconds.

    Within any time t it lets at most `burst` + t / `interval` calls through. It is kept as one number, the
    time at which it will be full again (the "generic cell rate algorithm"), in whole nanoseconds, so that no
    rounding adds up.
    """

    def __init__(self, interval: int, burst: int, clock: Callable[[], int]) -> None:
        self._interval = interval
        self._slack = (burst - 1) * interval
        self._clock = clock
        self._full_at = clock()

    def take(self) -> int:
        """Take a token and return 0; or take none, and return in how many nanoseconds the next one comes."""
        now = self._clock()
        wait = self._full_at - self._slack - now
        if wait > 0:
            return wait
        self._full_at = max(self._full_at, now) + self._interval
        return 0


class Meter:
    """Counts the calls of one key.

    Args:
        key: What it may do.
        clock: Tells the time in nanoseconds.

    Attributes:
        in_flight: How many of its calls are in the router.
    """

    def __init__(self, key: Key, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._rate, self._most = key.requests_per_minute, key.max_concurrent_calls
        self._bucket: Bucket | None = None
        if self._rate is not None:
            burst = key.burst or max(1, self._rate // BURST_FRACTION)
            self._bucket = Bucket(-(-MINUTE // self._rate), burst, clock)
        self.limits = _limits(key)
        self.in_flight = 0

    def fits(self, key: Key) -> bool:
        """Say whether it counts as `key` asks for."""
        return self.limits == _limits(key)

    def enter(self) -> None:
        """Let a call in; `leave` when it has ended.

        Raises:
            TooManyAtOnce: As many as may be are in.
            TooFast: Too many came of late. One that is refused does not count.
        """
        if self._most is not None and self.in_flight >= self._most:
            raise TooManyAtOnce(self._most, RETRY_SECONDS)
        if self._bucket is not None and self._rate is not None and (wait := self._bucket.take()):
            raise TooFast(self._rate, (wait // MILLISECOND + 1) / 1000)
        self.in_flight += 1

    def leave(self) -> None:
        """Count a call that has ended."""
        self.in_flight -= 1


def _limits(key: Key) -> tuple[int | None, ...]:
    return key.requests_per_minute, key.burst, key.max_concurrent_calls
