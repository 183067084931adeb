"""Gives every call a span, refused and unknown ones included."""

from __future__ import annotations

from typing import Any

from services.chassis.pipeline.layer import Behavior, Context, Method
from services.chassis.tracing import Tracing


class Spans:
    """Traces calls with `tracing`, as parts of what their callers trace. Of use only if it is on."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def wrap(self, method: Method, inner: Behavior) -> Behavior:
        """Return `inner` within a span."""

        async def traced(request: Any, context: Context) -> Any:
            with self._tracing.server_span(method.name, context):
                return await inner(request, context)

        return traced
