"""What happens around every HTTP handler: reading, telling failures, noticing that the caller left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, Final, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.chassis.errors import CallError, Draining, Reason
from services.chassis.local import LocalCallFailed, LocalCalls
from services.chassis.pipeline.translate import status_of
from services.config import Limits
from services.router.http.exchange import JSON, CallerLeft, Exchange, Refused
from services.router.http.failures import Failure, failure_of, simple_failure

Answer: TypeAlias = Callable[[Exchange], Awaitable[Response | None]]
"""Answers a request; None if the answer has been sent already."""

Check: TypeAlias = Callable[[Iterable[tuple[str, str]]], object]
"""Raises if the caller whose headers these are may not call at all."""

PLACE: Final = "inglenook.path"
"""Where a request's scope has the path that it was for, with names in the place of what callers choose."""


class NoNumber(CallError):
    """An answer has a number that is none, such as NaN: the model failed, and nobody has noticed."""

    reason = Reason.INFERENCE_FAILED

    def __init__(self) -> None:
        super().__init__("the model answered with NaN or an infinite number, which JSON cannot say")


def as_json(value: Any) -> bytes:
    """Return a value as JSON.

    Raises:
        NoNumber: There is a number in it that JSON cannot say.
    """
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:
        raise NoNumber from error


def respond(value: Any, headers: Mapping[str, str] | None = None, status: int = 200) -> Response:
    """Return a response with some JSON.

    Raises:
        NoNumber: There is a number in it that JSON cannot say.
    """
    return Response(as_json(value), status, headers, JSON)


def failed(failure: Failure, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response that tells of a failed call."""
    return respond({"error": failure.error}, {**failure.headers, **(headers or {})}, failure.status)


def explain(error: BaseException, place: str) -> Failure:
    """Return how to tell of any error; one that explains nothing is logged under the id that is told."""
    if isinstance(error, LocalCallFailed):
        return failure_of(error.status)
    if isinstance(error, Refused):
        return simple_failure(error.status, error.code, str(error))
    return failure_of(status_of(error, place))


class Endpoint:
    """An ASGI application that answers the requests of one path with `answer`."""

    def __init__(self, path: str, answer: Answer, calls: LocalCalls, limits: Limits, check: Check) -> None:
        self._check = check
        self._path = path
        self._answer = answer
        self._calls = calls
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope[PLACE] = self._path
        request = Request(scope, receive)
        exchange = Exchange(request, send, self._calls, self._limits)
        response: Response | None = None
        try:
            exchange.begin()
            if "origin" in request.headers:
                message = "web pages are not served here; ask from a program"
                raise Refused(403, "origin_refused", message)
            if exchange.reads:
                await self._admit(exchange)
                await exchange.read()
            response = await while_connected(receive, self._run(exchange))
        except CallerLeft:
            return
        except asyncio.CancelledError:  # the process stops, and the time for finishing is over
            response = failed(explain(Draining(), scope["path"]))
        except Exception as error:  # the outermost frame: what happened is told and logged
            closing = {"connection": "close"} if exchange.unread else {}
            response = failed(explain(error, scope["path"]), closing)
        if response is not None and not exchange.answered:
            await response(scope, receive, send)

    async def _admit(self, exchange: Exchange) -> None:
        """Refuse callers without a key before their requests are kept and parsed."""
        try:
            self._check(exchange.request.headers.items())
        except Exception:
            await exchange.forget()
            raise

    async def _run(self, exchange: Exchange) -> Response | None:
        return await self._answer(exchange)


async def while_connected(receive: Receive, work: Coroutine[Any, Any, Response | None]) -> Response | None:
    """Return what `work` returns; cancel it when the caller leaves.

    The body must have been read: all that can be received then is that the connection is gone.

    Raises:
        CallerLeft: The caller left.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise CallerLeft
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass  # the empty body of a GET
