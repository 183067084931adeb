"""A stream whose caller does not read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

from google.protobuf.wrappers_pb2 import StringValue

from services.chassis.streams import send
from tests.support.handlers import Context, HandlerApplication

Way = Literal["yields", "writes"]
"""How a handler may answer: as an async generator, or to its context."""

PIECE = StringValue(value="x" * 1_000_000)
"""A few of these fill all buffers on the way."""


class Flood:
    """Handlers that answer without an end.

    Attributes:
        written: How many responses were begun.
        ended: How many handlers have run to the end of their `finally`, with something awaited in there.
        in_their_own_tasks: How many of them did so in the task in which they had begun.
    """

    def __init__(self) -> None:
        self.written = 0
        self.ended = 0
        self.in_their_own_tasks = 0

    def application(self, way: Way) -> HandlerApplication:
        """Return an application with one of these handlers."""
        stream: Any = self.yields if way == "yields" else self.writes
        return HandlerApplication(stream=stream)

    async def yields(self, request: StringValue, context: Context) -> AsyncIterator[StringValue]:
        """Answer as generated stubs want it."""
        del request, context
        began_in = asyncio.current_task()
        try:
            while True:
                self.written += 1
                yield PIECE
        finally:
            await self._clean_up(began_in)

    async def writes(self, request: StringValue, context: Context) -> None:
        """Answer to the context."""
        del request
        began_in = asyncio.current_task()
        try:
            while True:
                self.written += 1
                await send(context, PIECE)
        finally:
            await self._clean_up(began_in)

    async def is_stuck(self) -> bool:
        """Say whether nothing more can be written."""
        before = self.written
        await asyncio.sleep(0.05)
        return self.written == before > 0

    async def _clean_up(self, began_in: asyncio.Task[Any] | None) -> None:
        await asyncio.sleep(0)
        self.in_their_own_tasks += asyncio.current_task() is began_in
        self.ended += 1

    async def has_ended(self) -> bool:
        """Say whether a handler has cleaned up."""
        return self.ended > 0
