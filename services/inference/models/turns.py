"""Sharing the event loop while handling many items."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

SLICE: Final = 256
"""Items handled between two turns of the event loop, where each takes a few microseconds."""


async def turns(count: int, size: int = SLICE) -> AsyncIterator[slice]:
    """Yield the slices that `count` items are handled in; the event loop goes on between two of them."""
    for first in range(0, count, size):
        if first:
            await asyncio.sleep(0)
        yield slice(first, min(first + size, count))
