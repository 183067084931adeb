"""The one server interceptor: it puts the layers around a handler, once per method.

gRPC asks interceptors anew for every call, though the answer never changes for a method. One
interceptor with layers inside costs one dictionary look-up per call, however many layers there are.
Health and reflection are left alone: they must answer when the service itself may not, and a health
watch lives as long as its channel.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import grpc

from services.chassis.errors import NotServed
from services.chassis.pipeline.layer import (
    UNKNOWN_METHOD,
    Context,
    Handler,
    Layer,
    behavior_of,
    method_of,
    rebuild,
)

EXEMPT_PREFIXES: Final = ("/grpc.health.", "/grpc.reflection.")

Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"


class Pipeline(grpc.aio.ServerInterceptor):
    """Wraps every handler in `layers`, the first one outermost. Requests come to them as bytes."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = tuple(layers)
        self._handlers: dict[str, Handler] = {}
        missing: Handler = grpc.unary_unary_rpc_method_handler(_refuse)
        self._missing = self._wrap(UNKNOWN_METHOD, missing)

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Return the handler of the method that is called, with the layers around it."""
        return self.wrapped(handler_call_details.method, await continuation(handler_call_details))

    def wrapped(self, method: str, handler: Handler | None) -> Handler | None:
        """Return `handler`, which is that of `method`, with the layers around it.

        Where there is none, return what refuses the call; None for health and reflection.
        """
        if method.startswith(EXEMPT_PREFIXES):
            return handler
        if handler is None:
            return self._missing
        wrapped = self._handlers.get(method)
        if wrapped is None:
            wrapped = self._handlers[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, name: str, handler: Handler) -> Handler:
        method, behavior = method_of(name, handler), behavior_of(handler)
        for layer in reversed(self._layers):
            behavior = layer.wrap(method, behavior)
        return rebuild(handler, behavior)


async def _refuse(request: bytes, context: Context) -> bytes:
    del request, context
    raise NotServed
