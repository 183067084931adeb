"""Admission: more calls than the service may handle at a time are refused at once.

grpc.aio's own `maximum_concurrent_rpcs` counts health watches, answers without saying when to come back,
and hides what it refused from the metrics.
"""

from __future__ import annotations

from typing import Any, Final

from services.chassis.deadline import has_passed
from services.chassis.errors import DeadlinePassed, Draining, TooManyCalls
from services.chassis.pipeline.layer import Behavior, Context, Method

RETRY_AFTER_SECONDS: Final = 0.25


class Admission:
    """Lets at most `max_concurrent_calls` calls in, none whose deadline has passed, none once closed.

    Attributes:
        calls_in_flight: Calls that were let in and have not ended.
    """

    def __init__(self, max_concurrent_calls: int) -> None:
        self._limit = max_concurrent_calls
        self._open = True
        self.calls_in_flight = 0

    def close(self) -> None:
        """Refuse every call from now on; those that were let in go on."""
        self._open = False

    def wrap(self, method: Method, inner: Behavior) -> Behavior:
        """Return `inner` behind the door."""
        del method

        async def admitted(request: Any, context: Context) -> Any:
            self._enter(context)
            try:
                return await inner(request, context)
            finally:
                self.calls_in_flight -= 1

        return admitted

    def _enter(self, context: Context) -> None:
        if not self._open:
            raise Draining
        if self.calls_in_flight >= self._limit:
            raise TooManyCalls(self._limit, RETRY_AFTER_SECONDS)
        if has_passed(context):
            raise DeadlinePassed
        self.calls_in_flight += 1
