"""Leaves Redis alone while it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from services.router.cache.metrics import Failure

log = logging.getLogger(__name__)


class Breaker:
    """Open after failures in a row: then nobody asks Redis but a probe in the background, which closes it.

    Args:
        threshold: How many failures in a row open it.
        probe_seconds: How long it waits before each probe.
        probe: Asks Redis, and says whether it is well.
    """

    def __init__(self, threshold: int, probe_seconds: float, probe: Callable[[], Awaitable[bool]]) -> None:
        self.open = False
        """Whether Redis is left alone."""
        self._threshold = threshold
        self._probe_seconds = probe_seconds
        self._probe = probe
        self._failures = 0
        self._closed = False
        self._probing: asyncio.Task[None] | None = None

    @property
    def well(self) -> bool:
        """Whether Redis did what it was last asked for; as long as it was not asked, it counts as well."""
        return not self.open and not self._failures

    def succeeded(self) -> None:
        """Note that Redis did what it was asked for. One that is open is closed by its probe only."""
        self._failures = 0

    def failed(self, kind: Failure) -> None:
        """Note that Redis failed; `kind` is for the log."""
        self._failures += 1
        if self.open or self._closed or self._failures < self._threshold:
            return
        self.open = True
        log.warning("Redis is left alone", extra={"failures": self._failures, "error": kind.value})
        self._probing = asyncio.create_task(self._probe_until_well(), name="probe-redis")

    async def _probe_until_well(self) -> None:
        while True:
            await asyncio.sleep(self._probe_seconds)
            if await self._probe():
                break
        self._failures = 0
        self.open = False
        log.info("Redis is back")

    async def close(self) -> None:
        """End the probe. An open breaker stays open."""
        self._closed = True
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
