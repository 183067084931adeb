"""Counts every call, refused and unknown ones included, under the names that gRPC dashboards expect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import grpc

from services.chassis.deadline import remaining_seconds
from services.chassis.metrics import CallMetrics
from services.chassis.pipeline.layer import Behavior, Context, Method

CODES: Final[dict[object, grpc.StatusCode]] = {
    key: code for code in grpc.StatusCode for key in (code, code.value[0])
}
"""By what `context.code()` may return: the code that was aborted with, as a member or as its number."""

ARRIVAL_SECONDS: Final = 0.05
ROUNDING: Final = 0.01


class Observation:
    """Counts calls into `metrics` and tells `on_end` the code that each ended with."""

    def __init__(self, metrics: CallMetrics, on_end: Callable[[grpc.StatusCode], None]) -> None:
        self._metrics = metrics
        self._on_end = on_end

    def wrap(self, method: Method, inner: Behavior) -> Behavior:
        """Return `inner`, counted."""
        service, _, name = method.name.removeprefix("/").rpartition("/")
        calls = self._metrics.of_method("server_stream" if method.streams else "unary", service, name)

        async def observed(request: Any, context: Context) -> Any:
            began = time.perf_counter()
            code = grpc.StatusCode.OK
            calls.begin()
            try:
                return await inner(request, context)
            except BaseException as error:
                code = _code(error, context, time.perf_counter() - began)
                raise
            finally:
                calls.end(code, time.perf_counter() - began)
                self._on_end(code)

        return observed


def _code(error: BaseException, context: Context, seconds: float) -> grpc.StatusCode:
    """Return the code that a call which raised `error` after `seconds` ends with, as the caller sees it."""
    if isinstance(error, grpc.aio.AbortError):
        return CODES.get(context.code(), grpc.StatusCode.UNKNOWN)
    if isinstance(error, asyncio.CancelledError | grpc.aio.InternalError):
        ran_out = _ran_out_of_time(context, seconds)
        return grpc.StatusCode.DEADLINE_EXCEEDED if ran_out else grpc.StatusCode.CANCELLED
    return grpc.StatusCode.UNKNOWN


def _ran_out_of_time(context: Context, seconds: float) -> bool:
    """Say whether a caller that left after `seconds` did so because its time was over.

    It leaves when it is over by its own clock, which here is a little before: a call takes time to arrive,
    and gRPC sends timeouts rounded up to two or three digits.
    """
    remaining = remaining_seconds(context)
    if remaining is None:
        return False
    return remaining <= ARRIVAL_SECONDS + ROUNDING * (seconds + remaining)
