"""Counts every call, refused and unknown ones included, under the names that gRPC dashboards expect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc

from services.chassis.deadline import has_passed
from services.chassis.metrics import CallMetrics
from services.chassis.pipeline.layer import Context, Handler, behaviors, rebuild

CODES: Final[dict[object, grpc.StatusCode]] = {
    key: code for code in grpc.StatusCode for key in (code, code.value[0])
}
"""By what `context.code()` may return: the code that was aborted with, as a member or as its number."""


class Observation:
    """Counts calls into `metrics` and tells `on_end` the code that each ended with."""

    def __init__(self, metrics: CallMetrics, on_end: Callable[[grpc.StatusCode], None]) -> None:
        self._metrics = metrics
        self._on_end = on_end

    def wrap(self, method: str, handler: Handler) -> Handler:
        """Return `handler`, counted."""
        inner_unary, inner_stream = behaviors(handler)
        service, _, name = method.removeprefix("/").rpartition("/")
        calls = self._metrics.of_method(
            "server_stream" if handler.response_streaming else "unary", service, name
        )

        @contextmanager
        def observed(context: Context) -> Iterator[None]:
            began = time.perf_counter()
            code = grpc.StatusCode.OK
            calls.begin()
            try:
                yield
            except BaseException as error:
                code = _code(error, context)
                raise
            finally:
                calls.end(code, time.perf_counter() - began)
                self._on_end(code)

        async def unary(request: Any, context: Context) -> Any:
            with observed(context):
                return await inner_unary(request, context)

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            with observed(context):
                async for response in inner_stream(request, context):
                    yield response

        return rebuild(handler, unary, stream)


def _code(error: BaseException, context: Context) -> grpc.StatusCode:
    """Return the code that a call which raised `error` ends with, as the caller sees it."""
    if isinstance(error, grpc.aio.AbortError):
        return CODES.get(context.code(), grpc.StatusCode.UNKNOWN)
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return grpc.StatusCode.DEADLINE_EXCEEDED if has_passed(context) else grpc.StatusCode.CANCELLED
    return grpc.StatusCode.UNKNOWN
