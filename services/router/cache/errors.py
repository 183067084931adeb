"""What the cache has to say to operators. Calls never hear of it."""

from __future__ import annotations

from services.chassis.errors import CallError, Reason


class CacheUnavailable(CallError):
    """Redis does not do what an operator asked for."""

    reason = Reason.CACHE_UNAVAILABLE

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__(
            "Redis does not answer, and may still have answers that were to be purged; purge again",
            retry_after_seconds=retry_after_seconds,
        )
