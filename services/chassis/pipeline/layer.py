"""The shape of a layer: something that wraps what runs a call.

There is one shape for all calls. One that streams its responses writes them to its context and returns
nothing, so that a layer sees it begin and end in one frame, whatever its caller does. An async generator is
left standing at its `yield` while a response is on its way, and is not told when the call ends there.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, cast

import grpc

from services.chassis.streams import send

UNKNOWN_METHOD: Final = "unknown"
"""What layers are told instead of the name of a method that does not exist: callers choose such names,
and metrics must not grow with them."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behavior: TypeAlias = "Callable[[Any, Context], Awaitable[Any]]"
"""Runs a call: returns its response, or sends its responses (`chassis.streams`) and returns None."""


@dataclass(frozen=True, slots=True)
class Method:
    """What layers may want to know of a method.

    Attributes:
        name: `/package.Service/Method`, or `UNKNOWN_METHOD`.
        streams: It has a stream of responses.
        deserialize: Parses a request.
    """

    name: str
    streams: bool
    deserialize: Callable[[bytes], Any]


class Layer(Protocol):
    """One concern around every call."""

    def wrap(self, method: Method, inner: Behavior) -> Behavior:
        """Return what runs a call: `inner` with the concern around it. Called once per method.

        A coroutine function, or a function that returns what it got from `inner`. The outermost layer has to
        return a coroutine function, which gRPC insists on.
        """


def method_of(name: str, handler: Handler) -> Method:
    """Return what layers may want to know; a handler without a deserializer takes bytes."""
    return Method(name, handler.response_streaming, handler.request_deserializer or bytes)


def behavior_of(handler: Handler) -> Behavior:
    """Return what `handler` runs, in the one shape.

    Raises:
        ValueError: The handler takes a stream of requests, which nothing in the contract does.
    """
    if handler.request_streaming:
        message = "the contract has no client-streaming methods"
        raise ValueError(message)
    if not handler.response_streaming:
        return cast("Behavior", handler.unary_unary)
    if inspect.iscoroutinefunction(handler.unary_stream):
        return cast("Behavior", handler.unary_stream)
    return _writing(cast("Callable[[Any, Context], AsyncGenerator[Any, None]]", handler.unary_stream))


def rebuild(handler: Handler, behavior: Behavior) -> Handler:
    """Return a handler like `handler` that runs `behavior`, and hands it requests as bytes."""
    make = (
        grpc.unary_stream_rpc_method_handler
        if handler.response_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(
        cast("Any", behavior),  # typed for synchronous servers
        response_serializer=handler.response_serializer,
    )


def _writing(stream: Callable[[Any, Context], AsyncGenerator[Any, None]]) -> Behavior:
    """Return what writes the responses of an async generator, and closes it however the call ends."""

    async def write_all(request: Any, context: Context) -> None:
        async with aclosing(stream(request, context)) as responses:
            async for response in responses:
                await send(context, response)

    return write_all
