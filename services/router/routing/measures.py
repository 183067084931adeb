"""How long calls took of late."""

from __future__ import annotations

from collections import deque
from typing import Final

RECENT_CALLS: Final = 64
"""How many calls of a replica its latency is the median of."""
METHOD_CALLS: Final = 256
"""How many calls of a method percentiles are taken of."""
ENOUGH_CALLS: Final = 20
"""Below so many calls a percentile says nothing."""


class Latencies:
    """The latest latencies of something, in seconds."""

    def __init__(self, size: int = RECENT_CALLS) -> None:
        self._recent: deque[float] = deque(maxlen=size)
        self._sorted: list[float] | None = None

    def __len__(self) -> int:
        return len(self._recent)

    def add(self, seconds: float) -> None:
        """Remember one."""
        self._recent.append(seconds)
        self._sorted = None

    @property
    def median(self) -> float | None:
        """The middle one; None before the first."""
        return self.percentile(50) if self._recent else None

    def percentile(self, share: float) -> float:
        """Return the latency that `share` percent of the calls did not exceed. There must be one."""
        if self._sorted is None:
            self._sorted = sorted(self._recent)
        return self._sorted[min(len(self._sorted) - 1, int(len(self._sorted) * share / 100))]


class MethodLatencies:
    """The latest latencies of calls, apart by method and by how large the request is.

    A call with a thousand texts takes longer than one with a single text, and is not slow for that.
    """

    def __init__(self) -> None:
        self._of: dict[tuple[str, int], Latencies] = {}

    def add(self, method: str, size: int, seconds: float) -> None:
        """Remember a call with a request of `size` bytes."""
        key = _key(method, size)
        if key not in self._of:
            self._of[key] = Latencies(METHOD_CALLS)
        self._of[key].add(seconds)

    def percentile(self, method: str, size: int, share: float) -> float | None:
        """Return a percentile of calls like this; None while too few are known."""
        found = self._of.get(_key(method, size))
        return found.percentile(share) if found is not None and len(found) >= ENOUGH_CALLS else None


def _key(method: str, size: int) -> tuple[str, int]:
    """Return what calls have in common that are compared: sizes within a factor of four."""
    return method, size.bit_length() // 2
