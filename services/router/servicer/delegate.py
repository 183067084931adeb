"""Passing calls on, without reading what is in them.

Requests and responses go through as bytes: what the router does not parse costs it nothing and cannot get
lost in it. A caller's deadline goes with the call, and so does its cancellation.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias

import grpc

from services.chassis.deadline import remaining_seconds
from services.chassis.streams import send
from services.config import Capability
from services.router.capabilities import is_safe
from services.router.routing.call import Ask
from services.router.routing.explain import relayed
from services.router.wiring import Current

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Delegate:
    """Passes the calls of one capability on to its route, as it is when a call begins."""

    def __init__(self, capability: Capability, current: Current) -> None:
        self._capability = capability
        self._current = current

    def handler(self, method: str, *, streams: bool) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return a handler for `method` (`/package.Service/Method`) that passes calls on."""
        if streams:
            return grpc.unary_stream_rpc_method_handler(partial(self.stream, method))
        return grpc.unary_unary_rpc_method_handler(partial(self.unary, method))

    async def unary(self, method: str, content: bytes, context: Context) -> bytes:
        """Pass on a call with one response.

        Raises:
            NoBackend: No replica could answer.
            DeadlinePassed: The deadline passed first.
            Relayed: A replica answered with an error.
        """
        with self._current.use() as wiring:
            ask = Ask(method, content, wiring.timeout(remaining_seconds(context)), is_safe(method))
            answer = await wiring.routes[self._capability].unary(ask)
            context.set_trailing_metadata(relayed(answer.trailing))
            return answer.content

    async def stream(self, method: str, content: bytes, context: Context) -> None:
        """Pass on a call and write the stream of its responses to `context`. Errors are those of `unary`."""

        async def write(response: bytes) -> None:
            await send(context, response)

        with self._current.use() as wiring:
            ask = Ask(method, content, wiring.timeout(remaining_seconds(context)), is_safe(method))
            trailing = await wiring.routes[self._capability].stream(ask, write)
            context.set_trailing_metadata(relayed(trailing))
