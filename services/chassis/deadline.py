"""The caller's deadline: gRPC does not pass it on by itself, so every hop has to."""

from __future__ import annotations

from typing import Any

import grpc


def remaining_seconds(context: grpc.aio.ServicerContext[Any, Any]) -> float | None:
    """Return how long the caller will still wait, 0 or more, or None if it set no deadline."""
    remaining: float | None = context.time_remaining()  # None is missing from gRPC's types
    return None if remaining is None else max(0.0, remaining)


def has_passed(context: grpc.aio.ServicerContext[Any, Any]) -> bool:
    """Say whether the caller's deadline is over."""
    return remaining_seconds(context) == 0
