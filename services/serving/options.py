"""What the requests of all engine services have in common."""

from __future__ import annotations

import time
from collections.abc import Container
from typing import Any, Final, TypeAlias

import grpc
from inglenook.common.v1 import Truncation

from services.chassis.deadline import remaining_seconds
from services.chassis.errors import InvalidRequest
from services.inference.pairs import Truncation as DomainTruncation

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

TRUNCATIONS: Final[dict[int, DomainTruncation]] = {
    Truncation.TRUNCATION_UNSPECIFIED: "none",
    Truncation.TRUNCATION_NONE: "none",
    Truncation.TRUNCATION_RIGHT: "right",
    Truncation.TRUNCATION_LEFT: "left",
}


def require_known(*enums: tuple[str, int, Container[int]]) -> None:
    """Refuse enums with numbers that the contract does not define.

    Args:
        enums: Field, its value, and the values that are known.

    Raises:
        InvalidRequest: There are such fields; all of them are named.
    """
    unknown = [
        (field, "has a value that this version does not know")
        for field, value, known in enums
        if value not in known
    ]
    if unknown:
        raise InvalidRequest(unknown)


def deadline_of(context: Context) -> float | None:
    """Return when the caller stops waiting, in seconds of `time.monotonic`; None for never."""
    remaining = remaining_seconds(context)
    return None if remaining is None else time.monotonic() + remaining
