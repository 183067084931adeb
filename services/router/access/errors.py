"""What callers are told who may not call. Nothing says which keys there are, or repeats the one that came."""

from __future__ import annotations

from typing import Final

from services.chassis.errors import CallError, Reason
from services.config import Permission

NEEDED: Final = "a valid API key is needed"
HOW: Final = "send it as `authorization: Bearer <key>` or as `x-api-key: <key>`"


class Unauthenticated(CallError):
    """There is no key, or nobody has it."""

    reason = Reason.UNAUTHENTICATED

    def __init__(self, *, missing: bool) -> None:
        super().__init__(f"{NEEDED}; {HOW}" if missing else NEEDED)


class KeyNotAllowed(CallError):
    """The key is good, but not for this."""

    reason = Reason.KEY_NOT_ALLOWED

    def __init__(self, permission: Permission) -> None:
        super().__init__(
            f"this API key is not allowed to {permission}"
            if permission == "operate"
            else f"this API key is not allowed to call {permission}",
            metadata={"permission": permission},
        )


class TooFast(CallError):
    """The key has made as many calls as it may for now."""

    reason = Reason.RATE_LIMITED

    def __init__(self, requests_per_minute: int, retry_after_seconds: float) -> None:
        super().__init__(
            f"this API key may make {requests_per_minute} calls per minute, and has made all it may for now",
            metadata={"requestsPerMinute": str(requests_per_minute)},
            retry_after_seconds=retry_after_seconds,
        )


class TooManyAtOnce(CallError):
    """The key has as many calls in flight as it may."""

    reason = Reason.RATE_LIMITED

    def __init__(self, max_concurrent_calls: int, retry_after_seconds: float) -> None:
        super().__init__(
            f"this API key may have {max_concurrent_calls} calls in flight, and has them",
            metadata={"maxConcurrentCalls": str(max_concurrent_calls)},
            retry_after_seconds=retry_after_seconds,
        )
