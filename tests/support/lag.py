"""How far behind the event loop is: what a busy machine takes from everything that is timed in a test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

BEAT_SECONDS: Final = 0.005
USUAL_SECONDS: Final = 0.002
"""How late a beat may be on an idle machine; that does not count."""


@dataclass
class Lag:
    """Seconds that the loop has lost so far, all together."""

    seconds: float = 0.0


@asynccontextmanager
async def measured_lag() -> AsyncIterator[Lag]:
    """Measure how late a steady beat is while the block runs."""
    lag = Lag()

    async def beat() -> None:
        while True:
            due = time.monotonic() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            lag.seconds += max(0.0, time.monotonic() - due - USUAL_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        yield lag
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
