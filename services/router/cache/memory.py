"""The router's own memory of answers."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

OVERHEAD_BYTES: Final = 320
"""What the interpreter takes for an entry besides the bytes of key and value; a test measures it."""

PURGED_AT_ONCE: Final = 2048
"""Entries that a purge looks at between two turns of the event loop."""


class Memory:
    """Keeps what was used last, within a number of bytes.

    Args:
        max_bytes: How much it may take, keys and the interpreter's own part included. 0: it keeps nothing.
        max_age_seconds: How long an entry is found after it was put.
        clock: The time, in seconds.
    """

    def __init__(
        self, max_bytes: int, max_age_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        """How much the entries take."""
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> bytes | None:
        """Return what was put under a key, or None if it is not kept any more."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, due = entry
        if self._clock() >= due:
            self.remove(key)
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """Keep a value, in place of what was kept under the key. What does not fit even alone is not kept."""
        self.remove(key)
        size = len(key) + len(value) + OVERHEAD_BYTES
        if size > self.max_bytes:
            return
        while self.bytes + size > self.max_bytes:
            old, (forgotten, _) = self._entries.popitem(last=False)
            self.bytes -= len(old) + len(forgotten) + OVERHEAD_BYTES
        self._entries[key] = (value, self._clock() + self._max_age_seconds)
        self.bytes += size

    def remove(self, key: bytes) -> None:
        """Forget an entry, if there is one."""
        if (entry := self._entries.pop(key, None)) is not None:
            self.bytes -= len(key) + len(entry[0]) + OVERHEAD_BYTES

    async def purge(self, beginning: bytes) -> set[bytes]:
        """Forget every entry whose key begins so, and return their keys.

        The event loop goes on meanwhile; entries that are put then may be forgotten or not.
        """
        keys: set[bytes] = set()
        for number, key in enumerate(list(self._entries), 1):
            if key.startswith(beginning) and key in self._entries:
                self.remove(key)
                keys.add(key)
            if not number % PURGED_AT_ONCE:
                await asyncio.sleep(0)
        return keys
