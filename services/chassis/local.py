"""Calls of this process's own methods, without a socket and through the same layers.

Whoever brings calls in another language than gRPC (`process.Door`) makes them here. Such a call is counted,
traced, admitted, checked and explained by the pipeline that every other call passes; there is no second one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final, NoReturn, TypeAlias, cast

import grpc

from services.chassis.errors import CallError, DeadlinePassed, NotServed
from services.chassis.pipeline.interceptor import Pipeline
from services.chassis.pipeline.layer import Handler, behavior_of
from services.chassis.status import Status, explained_status

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]
Write: TypeAlias = Callable[[bytes], Awaitable[None]]

NO_METADATA: Final[Metadata] = ()


class LocalCallFailed(Exception):
    """A call ended with a status that is not OK.

    Attributes:
        status: That status, details included.
    """

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


class LocalContext:
    """What layers and handlers ask of a `grpc.aio.ServicerContext`, for a call that did not come over gRPC.

    Args:
        timeout_seconds: How long the caller waits, from now.
        metadata: Invocation metadata, with names in lower case: `traceparent`, `user-agent`.
        peer: Who calls, as gRPC writes it: `ipv4:127.0.0.1:57284`.
        write: Takes each response of a stream, and returns when there is room for the next one.
    """

    def __init__(
        self, timeout_seconds: float, metadata: Metadata = (), peer: str = "", write: Write | None = None
    ) -> None:
        self._deadline = time.monotonic() + timeout_seconds
        self._metadata = metadata
        self._peer = peer
        self._write = write
        self._trailing: Metadata = NO_METADATA
        self._code: grpc.StatusCode | None = None
        self._message = ""

    def time_remaining(self) -> float:
        """Return how many seconds the caller still waits, 0 or more."""
        return max(0.0, self._deadline - time.monotonic())

    def invocation_metadata(self) -> Metadata:
        """Return what came with the call."""
        return self._metadata

    def peer(self) -> str:
        """Return who calls."""
        return self._peer

    def trailing_metadata(self) -> Metadata:
        """Return what goes back with the end of the call."""
        return self._trailing

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Send this back with the end of the call."""
        self._trailing = metadata

    def code(self) -> grpc.StatusCode | None:
        """Return the code that the call was aborted with, if it was."""
        return self._code

    async def write(self, response: bytes) -> None:
        """Pass on one response of a stream."""
        if self._write is None:
            message = "this call was made for one response, not for a stream"
            raise TypeError(message)
        await self._write(response)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> NoReturn:
        """End the call with this status."""
        self._code, self._message, self._trailing = code, details, trailing_metadata
        raise grpc.aio.AbortError

    def status(self) -> Status:
        """Return the status that the call was aborted with."""
        return Status(self._code or grpc.StatusCode.UNKNOWN, self._message, self._trailing)


class Methods(grpc.GenericRpcHandler):
    """Stands in front of a server while servicers are added to it, and finds their methods afterwards.

    For every call, gRPC asks one generic handler after the other, and keeps a future per registered method:
    https://github.com/grpc/grpc/pull/41796. A server that knows this one handler and no registered method
    does neither.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._generic: list[grpc.GenericRpcHandler] = []
        self._found: dict[str, Handler] = {}
        server.add_generic_rpc_handlers((self,))

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Add them."""
        self._generic.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Do nothing: they are among the generic ones, too."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the handler of a call; None if there is no such method."""
        return self.find(handler_call_details.method)

    def find(self, method: str) -> Handler | None:
        """Return the handler of `/package.Service/Method`; None if there is no such method."""
        known = self._found.get(method)
        if known is not None:
            return known
        details = cast("grpc.HandlerCallDetails", SimpleNamespace(method=method, invocation_metadata=()))
        found = (handler.service(details) for handler in self._generic)
        known = next((handler for handler in found if handler is not None), None)
        if known is not None:  # names of methods that do not exist are any caller's to choose
            self._found[method] = known
        return known


class LocalCalls:
    """Makes calls of the methods of `methods`, through `pipeline`."""

    def __init__(self, pipeline: Pipeline, methods: Methods) -> None:
        self._pipeline = pipeline
        self._methods = methods

    async def call(self, method: str, content: bytes, context: LocalContext) -> bytes:
        """Make a call; return its response, or nothing for a stream, which is written to `context`.

        A caller that leaves cancels the task that runs this.

        Raises:
            LocalCallFailed: The call ended with another status than OK.
        """
        handler = self._pipeline.wrapped(method, self._methods.find(method))
        if handler is None:
            raise _failure(NotServed())
        try:
            async with asyncio.timeout(context.time_remaining()):
                return await _run(handler, content, context)
        except grpc.aio.AbortError as error:
            raise LocalCallFailed(context.status()) from error
        except TimeoutError as error:  # one from within the handler would have become a status
            raise _failure(DeadlinePassed()) from error


def _failure(error: CallError) -> LocalCallFailed:
    return LocalCallFailed(explained_status(error))


async def _run(handler: Handler, content: bytes, context: LocalContext) -> bytes:
    """Run what a server would run, and turn messages into bytes as it would."""
    request: Any = content
    if handler.request_deserializer is not None:
        request = handler.request_deserializer(content)
    response = await behavior_of(handler)(request, cast("Any", context))
    if handler.response_streaming:
        return b""
    if handler.response_serializer is not None:
        response = handler.response_serializer(response)
    return cast("bytes", response)
