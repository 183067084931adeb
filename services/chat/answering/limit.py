"""How long a call may take, whoever says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class OutOfTime(Exception):
    """The time of the call is over."""


class Limit:
    """When a call has to be over. Made when it begins.

    Args:
        total_seconds: How long it may take.
        deadline: When its caller stops waiting, as time of the event loop; None if it did not say.

    Attributes:
        total_seconds: As given.
        until: When the call has to be over, as time of the event loop.
        is_callers: It is the caller's deadline that comes first.
    """

    def __init__(self, total_seconds: float, deadline: float | None) -> None:
        self.total_seconds = total_seconds
        ours = asyncio.get_running_loop().time() + total_seconds
        self.until = ours if deadline is None else min(ours, deadline)
        self.is_callers = deadline is not None and deadline <= ours

    def allows(self, seconds: float) -> bool:
        """Whether there is more time than that."""
        return asyncio.get_running_loop().time() + seconds < self.until

    async def wait(self, something: Awaitable[T]) -> T:
        """Wait for something, but not beyond the limit.

        Raises:
            OutOfTime: That was not enough; what was waited for is cancelled.
        """
        timeout = asyncio.timeout_at(self.until)
        try:
            async with timeout:
                return await something
        except TimeoutError as error:
            if timeout.expired():
                raise OutOfTime from error
            raise
