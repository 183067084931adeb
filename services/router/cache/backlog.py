"""What waits to be written to Redis."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

MAX_BYTES: Final = 32 * 1024**2
"""How much may wait. Redis is then slower than the router for good, and what is dropped is computed again."""
CHUNK_ENTRIES: Final = 512
"""Packing more commands than that at once holds up the event loop."""
CHUNK_BYTES: Final = 256 * 1024
"""What a slow line carries within `timeout_seconds`."""


class Backlog:
    """Keys and answers, first in, first out, within a number of bytes."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.bytes = 0
        """How much waits."""
        self._max_bytes = max_bytes
        self._entries: deque[tuple[bytes, bytes]] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, key: bytes, answer: bytes) -> bool:
        """Let an answer wait; return False if there is no room for it."""
        size = len(key) + len(answer)
        if self.bytes + size > self._max_bytes:
            return False
        self._entries.append((key, answer))
        self.bytes += size
        return True

    def chunk(self) -> list[tuple[bytes, bytes]]:
        """Take as much from the front as is written at once: at least one entry, if there is any."""
        taken: list[tuple[bytes, bytes]] = []
        size = 0
        while self._entries and len(taken) < CHUNK_ENTRIES:
            key, answer = self._entries[0]
            if taken and size + len(key) + len(answer) > CHUNK_BYTES:
                break
            size += len(key) + len(answer)
            taken.append(self._entries.popleft())
        self.bytes -= size
        return taken

    def drop(self, wanted: Callable[[bytes], bool]) -> int:
        """Forget the entries whose key is wanted, and return how many they were."""
        kept = deque(entry for entry in self._entries if not wanted(entry[0]))
        dropped = len(self._entries) - len(kept)
        self._entries = kept
        self.bytes = sum(len(key) + len(answer) for key, answer in kept)
        return dropped
