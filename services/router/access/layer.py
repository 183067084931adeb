"""Access as a layer of the pipeline, which calls over gRPC and over HTTP pass alike.

It comes before admission, so that callers without a key cannot take the places of those who have one, and
before a request is parsed.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from services.chassis.pipeline.layer import Behavior, Context, Method
from services.router.access.gate import Gate
from services.router.access.permissions import permission_of


class AccessLayer:
    """Lets a call in as the gate says."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def wrap(self, method: Method, inner: Behavior) -> Behavior:
        """Return `inner` behind the gate."""
        gate, permission = self._gate, permission_of(method.name)

        async def guarded(request: Any, context: Context) -> Any:
            with gate.entered(context.invocation_metadata() or (), permission):
                return await inner(request, context)

        def allowed(request: Any, context: Context) -> Awaitable[Any]:
            return inner(request, context) if gate.is_open else guarded(request, context)

        return allowed
