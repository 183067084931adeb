"""How late the event loop runs. Whatever blocks it delays every call, so it is measured and logged."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from prometheus_client import CollectorRegistry, Histogram

INTERVAL_SECONDS: Final = 0.25
WORTH_A_WARNING_SECONDS: Final = 0.5
BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

log: Final = logging.getLogger(__name__)


class StallWatch:
    """Measures the lag of the running event loop into `inglenook_event_loop_lag_seconds`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lag = Histogram(
            "inglenook_event_loop_lag_seconds",
            "How much later than asked for the event loop ran a timer, in seconds.",
            buckets=BUCKETS,
            registry=registry,
        )

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = time.perf_counter() + INTERVAL_SECONDS
            await asyncio.sleep(INTERVAL_SECONDS)
            lag = max(0.0, time.perf_counter() - due)
            self._lag.observe(lag)
            if lag > WORTH_A_WARNING_SECONDS:
                log.warning("the event loop stalled", extra={"lag_seconds": round(lag, 3)})
