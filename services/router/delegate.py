"""Passing calls on, without reading what is in them.

Requests and responses go through as bytes: what the router does not parse costs it nothing and cannot get
lost in it. A caller's deadline goes with the call, and so does its cancellation.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, TypeAlias

import grpc

from services.chassis.deadline import remaining_seconds
from services.chassis.errors import CallError, DeadlinePassed, NotServed, Relayed
from services.chassis.pipeline.translate import SERVED_BY_KEY
from services.chassis.status import DETAILS_KEY
from services.chassis.streams import send
from services.chassis.tracing import Tracing
from services.config import Capability
from services.router.errors import NoBackend
from services.router.route import Route

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]

RELAYED_KEYS: Final = frozenset({DETAILS_KEY, SERVED_BY_KEY})


class Delegate:
    """Passes the calls of one capability on to its route.

    Args:
        route: Where they go.
        tracing: Traces them.
        default_timeout_seconds: Deadline of calls that come without one.

    Attributes:
        calls_in_flight: Calls that have been passed on and not answered.
    """

    def __init__(self, route: Route, tracing: Tracing, default_timeout_seconds: float) -> None:
        self._route = route
        self._tracing = tracing
        self._default_timeout = default_timeout_seconds
        self.calls_in_flight = 0

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
        ask = self._route.require().unary(method)
        self.calls_in_flight += 1
        try:
            with self._tracing.client_span(method) as metadata:
                call = ask(content, timeout=self._timeout(context), metadata=metadata)
                response = await call
                context.set_trailing_metadata(_relayed(await call.trailing_metadata()))
                return response
        except grpc.aio.AioRpcError as error:
            raise explain(error, self._route.capability) from error
        finally:
            self.calls_in_flight -= 1

    async def stream(self, method: str, content: bytes, context: Context) -> None:
        """Pass on a call and write the stream of its responses to `context`. Errors are those of `unary`."""
        ask = self._route.require().stream(method)
        self.calls_in_flight += 1
        try:
            with self._tracing.client_span(method) as metadata:
                call = ask(content, timeout=self._timeout(context), metadata=metadata)
                try:
                    async for response in call:
                        await send(context, response)
                finally:
                    call.cancel()  # of a call that has ended: does nothing
                context.set_trailing_metadata(_relayed(await call.trailing_metadata()))
        except grpc.aio.AioRpcError as error:
            raise explain(error, self._route.capability) from error
        finally:
            self.calls_in_flight -= 1

    def _timeout(self, context: Context) -> float:
        remaining = remaining_seconds(context)
        return self._default_timeout if remaining is None else remaining


def explain(error: grpc.aio.AioRpcError, capability: Capability) -> Exception:
    """Return what to tell the caller about a call that a backend failed.

    A service of ours has said why, in the status details, and is quoted. A status without details was
    made up by gRPC on one of the two sides: nothing but the connection is known.
    """
    trailing = _relayed(error.trailing_metadata())
    if any(key == DETAILS_KEY for key, _ in trailing):
        return Relayed(error.code(), error.details() or "", trailing)
    explanations: dict[grpc.StatusCode, CallError] = {
        grpc.StatusCode.UNAVAILABLE: NoBackend(
            capability, "no connection, or it was lost; safe calls were retried"
        ),
        grpc.StatusCode.CANCELLED: NoBackend(capability, "the backend dropped the call"),
        grpc.StatusCode.DEADLINE_EXCEEDED: DeadlinePassed(),
        grpc.StatusCode.UNIMPLEMENTED: NotServed(),
    }
    return explanations.get(error.code()) or error


def _relayed(metadata: Any) -> Metadata:
    return tuple((key, value) for key, value in metadata or () if key in RELAYED_KEYS)
