"""The one place where errors become a status.

Servicers raise and never abort. What callers are meant to see (`errors.Explained`) is told to them;
anything else is a bug: it is logged under an id, and the caller gets the id and nothing more.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any, Final, NoReturn

import grpc

from services.chassis.errors import CODES, Explained, Relayed
from services.chassis.pipeline.layer import Behavior, Context, Method
from services.chassis.status import Status, explained_status, internal_status

SERVED_BY_KEY: Final = "inglenook-served-by"
"""Trailing metadata of every answer: which process computed it."""

log: Final = logging.getLogger(__name__)


class Translation:
    """Ends every call with who answered it, and every failed one with a status that has details.

    Args:
        identity: Returns the name of this process for `inglenook-served-by`, as in `embed@host:50053`.
            Asked once per call, because the port is not known before the server is bound.
    """

    def __init__(self, identity: Callable[[], str]) -> None:
        self._identity = identity

    def wrap(self, method: Method, inner: Behavior) -> Behavior:
        """Return `inner` with every exception translated."""

        async def translated(request: Any, context: Context) -> Any:
            context.set_trailing_metadata(((SERVED_BY_KEY, self._identity()),))
            try:
                return await inner(request, context)
            except (Exception, asyncio.CancelledError) as error:
                await self._fail(context, error, method.name)

        return translated

    async def _fail(self, context: Context, error: BaseException, method: str) -> NoReturn:
        """End the call with the status of `error`.

        A `CancelledError` means that the caller left only if this task was asked to cancel. Otherwise
        something inside was cancelled, and letting it escape would leave the caller hanging: grpc.aio
        sends no status for it. An `InternalError` is gRPC's own: a response could not be written, and no
        status can be sent either.
        """
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise error
        if isinstance(error, grpc.aio.AbortError | grpc.aio.InternalError):
            raise error
        if isinstance(error, Relayed):
            await context.abort(error.code, error.message, error.trailing_metadata)
        status = status_of(error, method)
        identity: tuple[str, str | bytes] = (SERVED_BY_KEY, self._identity())
        metadata = (*status.trailing_metadata, identity)  # grpc.aio insists on a tuple
        await context.abort(status.code, status.message, metadata)


def status_of(error: BaseException, method: str) -> Status:
    """Return what to tell a caller about `error`; one that explains nothing is a bug and is logged."""
    if isinstance(error, Explained) and error.reason in CODES:
        return explained_status(error)
    return _log_bug(error, method)


def _log_bug(error: BaseException, method: str) -> Status:
    error_id = secrets.token_hex(8)
    log.error("call failed with a bug", exc_info=error, extra={"error_id": error_id, "method": method})
    return internal_status(error_id)
