"""One request to a provider and the pieces of its answer, within the time that each phase has.

Nothing here retries. Leaving the block closes the connection at once, unless the answer was read to its end;
so a caller that leaves is felt upstream without delay.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx2

from services.chat.answer import Piece
from services.chat.providers.connection import Connection, error_response, transport_failures
from services.chat.providers.dialect import Ask, Decoder, Dialect, new_decoder
from services.chat.providers.errors import MESSAGES
from services.chat.providers.failure import Failure, FailureKind, Told
from services.chat.providers.framing import JsonLines

READ_AHEAD_BYTES: Final = 64 * 1024
"""How much of an answer is read before the caller has taken what came before it."""
USAGE_SECONDS: Final = 2.0
"""How long usage is waited for, after the provider has said why the answer ends, and nothing more."""
TRAILER_SECONDS: Final = 0.25
"""How long the end of a response is waited for, after the answer in it has ended."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timers:
    """How long a provider may be silent, in seconds.

    Attributes:
        first_token: From sending the request to the first content, headers included.
        idle: Between two signs of life within the answer; what only keeps the connection alive is one.
        until: When all of it has to be over, as time of the event loop.
    """

    first_token: float
    idle: float
    until: float = math.inf


class Exchange:
    """One request and its answer. Enter it to send the request; iterate it for the pieces, once.

    Each iteration yields all the pieces that have arrived since the last one, at least one.

    Attributes:
        upstream_seconds: How long was spent waiting for the provider so far.
    """

    def __init__(
        self, connection: Connection, dialect: Dialect, ask: Ask, timers: Timers, new_id: Callable[[int], str]
    ) -> None:
        self._connection = connection
        self._dialect = dialect
        self._ask = ask
        self._timers = timers
        self._new_id = new_id
        self._stack = AsyncExitStack()
        self._reader: _Reader | None = None
        self._decoder: Decoder | None = None
        self._first_token_by = 0.0
        self._usage_by: float | None = None
        self.upstream_seconds = 0.0

    async def __aenter__(self) -> Self:
        """Wait for a turn, send the request and wait for the response to begin.

        Raises:
            Failure: No answer begins.
        """
        try:
            outgoing = self._dialect.encode(self._ask)
            await self._stack.enter_async_context(self._connection.turn())
            self._first_token_by = asyncio.get_running_loop().time() + self._timers.first_token
            with transport_failures(begun=False):
                sending = self._stack.enter_async_context(self._connection.send(outgoing))
                response = await self._wait(sending)
            if response.status_code != HTTPStatus.OK:
                raise await self._refused(response)
            self._decoder = self._decoder_for(response)
            self._reader = _Reader(response)
        except RecursionError as error:  # JSON of the caller's, in arguments of tool calls
            await self._stack.aclose()
            raise Failure(FailureKind.REJECTED, "the conversation is nested too deeply") from error
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the response, and the connection unless the answer was read to its end."""
        try:
            if self._reader is not None:
                await self._reader.aclose()
        finally:
            await self._stack.aclose()

    async def __aiter__(self) -> AsyncGenerator[list[Piece], None]:
        """Yield pieces as they arrive; the last ones end with `Stopped`.

        Raises:
            Failure: The provider reports an error, falls silent, or ends before the answer is complete.
        """
        assert self._decoder is not None
        assert self._reader is not None
        decoder = self._decoder
        broken = False
        while not decoder.ended:
            try:
                content = await self._wait(self._reader.read())
            except Failure:
                if not decoder.complete:
                    raise
                broken = True  # all of the answer is there; only usage might be missing
                break
            if not content:
                break
            if pieces := decoder.feed(content):
                self._usage_by = None
                yield pieces
        yield decoder.end()
        if not broken:
            await self._reader.drain(TRAILER_SECONDS)

    async def _wait(self, something: Awaitable[T]) -> T:
        """Wait for the provider as long as the present phase allows."""
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        decoder = self._decoder
        if decoder is None or not decoder.has_content:
            until = self._first_token_by
        else:
            until = loop.time() + self._timers.idle
        if decoder is not None and decoder.complete:
            until = min(until, self._end_by())
        try:
            async with asyncio.timeout_at(min(until, self._timers.until)):
                return await something
        except TimeoutError as error:
            raise Failure(FailureKind.TIMEOUT, MESSAGES[FailureKind.TIMEOUT]) from error
        finally:
            self.upstream_seconds += time.perf_counter() - began

    def _end_by(self) -> float:
        """Return when a response has to end whose answer is complete: signs of life do not put that off."""
        if self._usage_by is None:
            self._usage_by = asyncio.get_running_loop().time() + USAGE_SECONDS
        return self._usage_by

    async def _refused(self, response: httpx2.Response) -> Failure:
        if response.is_redirect:
            message = "the provider's address leads elsewhere; set url to where it leads"
            return Failure(FailureKind.UNAVAILABLE, message, Told(response.status_code, should_retry=False))
        return self._dialect.failure(await error_response(response))

    def _decoder_for(self, response: httpx2.Response) -> Decoder:
        """Return what reads the response, by what it says it is.

        Raises:
            Failure: It is a page for people.
        """
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            message = "the provider's address shows a page for people; check its url"
            raise Failure(FailureKind.MALFORMED, message, Told(response.status_code, should_retry=False))
        # A line of JSON is a frame of its own; with server-sent events, JSON is an answer in one piece.
        whole = kind == "application/json" and not isinstance(self._dialect.framing(), JsonLines)
        return new_decoder(self._dialect, self._ask, streamed=not whole, new_id=self._new_id)


class _Reader:
    """Reads a response a little ahead of its consumer, so that what has arrived is taken in one go."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._waiting: list[bytes] = []
        self._size = 0
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._error: Exception | None = None
        self._ended = False
        self._task = asyncio.create_task(self._run(), name="read-answer")

    async def read(self) -> bytes:
        """Return everything that has arrived, at least something; empty at the end.

        Raises:
            Failure: The connection broke. What arrived before is returned first.
        """
        while not self._waiting and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        if not self._waiting and self._error is not None:
            raise self._error
        content = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        self._taken.set()
        return content

    async def drain(self, seconds: float) -> None:
        """Read to the end, for at most so long: only then can the connection be used again."""
        with suppress(TimeoutError, Failure):
            async with asyncio.timeout(seconds):
                while await self.read():
                    pass

    async def aclose(self) -> None:
        """Stop reading; the connection is closed unless all was read."""
        self._task.cancel()
        await asyncio.wait([self._task])  # unlike awaiting it, tells its cancellation from our own

    async def _run(self) -> None:
        encoded = "content-encoding" in self._response.headers
        chunks = self._response.aiter_bytes() if encoded else self._response.aiter_raw()
        try:
            with transport_failures(begun=True):
                async with aclosing(chunks):
                    async for chunk in chunks:
                        await self._keep(chunk)
        except Exception as error:  # read() raises it
            self._error = error
        finally:
            self._ended = True
            self._changed.set()

    async def _keep(self, chunk: bytes) -> None:
        """Hold a chunk for the consumer; wait for it once enough is held."""
        self._waiting.append(chunk)
        self._size += len(chunk)
        self._changed.set()
        if self._size >= READ_AHEAD_BYTES:
            self._taken.clear()
            await self._taken.wait()
