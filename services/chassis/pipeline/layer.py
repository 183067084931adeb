"""The shape of a layer: something that wraps a gRPC handler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol, TypeAlias

import grpc

UNKNOWN_METHOD: Final = "unknown"
"""What layers are told instead of the name of a method that does not exist: callers choose such names,
and metrics must not grow with them."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Unary: TypeAlias = "Callable[[Any, Context], Awaitable[Any]]"
Stream: TypeAlias = "Callable[[Any, Context], AsyncIterator[Any]]"


class Layer(Protocol):
    """One concern around every call."""

    def wrap(self, method: str, handler: Handler) -> Handler:
        """Return `handler` with the concern around it. Called once per method."""


def behaviors(handler: Handler) -> tuple[Unary, Stream]:
    """Return what `handler` runs, whichever of the two it has; the other one must not be called."""
    return handler.unary_unary, handler.unary_stream  # type: ignore[return-value]  # typed for sync servers


def rebuild(handler: Handler, unary: Unary, stream: Stream, *, raw: bool = False) -> Handler:
    """Return a handler like `handler` that runs `unary`, or `stream` if it streams responses.

    Args:
        handler: The handler to imitate.
        unary: Runs a call with one response.
        stream: Runs a call with a stream of responses.
        raw: Hand the request over as bytes instead of parsing it.

    Raises:
        ValueError: The handler takes a stream of requests, which nothing in the contract does.
    """
    if handler.request_streaming:
        message = "the contract has no client-streaming methods"
        raise ValueError(message)
    make = (
        grpc.unary_stream_rpc_method_handler
        if handler.response_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(
        stream if handler.response_streaming else unary,
        request_deserializer=None if raw else handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
