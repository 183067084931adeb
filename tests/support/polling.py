"""Waiting for what another task, thread or process does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.02
LIMIT_SECONDS = 20.0
"""Far longer than anything here takes, so that only a failure reaches it."""

LONG_ENOUGH_SECONDS = 2.0
"""A deadline that passes while the call is handled, and not before it has come in, on a busy machine too."""


async def until(look: Callable[[], Awaitable[T]], seconds: float = LIMIT_SECONDS) -> T:
    """Return what `look` returns once that is true; fail if it never is."""
    due = time.monotonic() + seconds
    while not (found := await look()):
        if time.monotonic() > due:
            message = f"still {found!r} after {seconds:g} s"
            raise AssertionError(message)
        await asyncio.sleep(POLL_SECONDS)
    return found
