"""Handlers that tests hold and let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from google.protobuf.wrappers_pb2 import StringValue

from tests.support.handlers import Context, HandlerApplication
from tests.support.polling import until


class Gate:
    """Handlers that wait until `open` is set, and then answer with the request.

    Attributes:
        open: Lets all calls go on.
        entered: How many calls have reached a handler.
        left: How many of them have left it, answered or cancelled.
    """

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.entered = 0
        self.left = 0

    def application(self) -> HandlerApplication:
        """Return an application with these handlers."""
        return HandlerApplication(unary=self.unary, stream=self.stream)

    async def unary(self, request: StringValue, context: Context) -> StringValue:
        """Wait, then answer."""
        del context
        await self._wait()
        return request

    async def stream(self, request: StringValue, context: Context) -> AsyncIterator[StringValue]:
        """Wait, then answer."""
        del context
        await self._wait()
        yield request

    async def until_entered(self, count: int) -> None:
        """Wait until that many calls have reached a handler."""

        async def reached() -> bool:
            return self.entered >= count

        await until(reached)

    async def all_left(self) -> bool:
        """Say whether no call is in a handler any more."""
        return self.left == self.entered

    async def _wait(self) -> None:
        self.entered += 1
        try:
            await self.open.wait()
        finally:
            self.left += 1
