"""Writing a stream of responses."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc

LEAVING_SECONDS: Final = 1.0
"""Far longer than it takes gRPC to cancel the task of a call whose caller is gone."""


async def send(context: grpc.aio.ServicerContext[Any, Any], response: Any) -> None:
    """Write one response, and return when there is room for the next one.

    When a caller leaves while a response waits for room, gRPC first fails to write it and cancels the task a
    moment later, which would then hit whatever the handler does to clean up. So that moment is waited for
    here: a caller that leaves is a `CancelledError`, once, and nothing else.

    Raises:
        InternalError: It could not be written, and the task was not cancelled either.
    """
    try:
        await context.write(response)
    except grpc.aio.InternalError:
        await asyncio.sleep(LEAVING_SECONDS)
        raise
