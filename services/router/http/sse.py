"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Final, Self, TypeAlias

Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

KEEP_ALIVE_SECONDS: Final = 15.0
"""Less than the idle timeouts of the usual proxies, of which 30 s is the shortest."""
SILENT_SECONDS: Final = 25.0
"""A stream that has nothing to say for this long begins all the same, because those proxies would end it."""
END_SECONDS: Final = 5.0
"""How long the end of a stream waits for a caller who does not read. It then goes without one."""
PING: Final = b": ping\n"
"""A comment. One newline only: an empty line ends an event, and some clients would see an empty one."""
DONE: Final = b"data: [DONE]\n\n"
LINE_ENDS: Final = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
"""Valid within JSON text, but many clients cut lines with a function that takes these for their ends."""


def event(value: Mapping[str, Any]) -> bytes:
    """Return an event with some JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if not text.isascii():
        text = text.translate(LINE_ENDS)
    return b"data: %b\n\n" % text.encode()


class EventStream:
    """A response that is a stream of events. It begins with the first one, or when that is long in coming.

    To be used as a context, within which comments are sent while nothing else is.

    Args:
        send: ASGI's.
        keep_alive_seconds: A comment is sent when nothing else was for this long.
        silent_seconds: Without an event the response begins after this long; until then it can be an error.

    Attributes:
        begun: Whether anything was sent.
    """

    def __init__(
        self,
        send: Send,
        keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self._send = send
        self._keep_alive = keep_alive_seconds
        self._silent = silent_seconds
        self._sending = asyncio.Lock()
        self._quiet_since = 0.0
        self._pinging: asyncio.Task[None] | None = None
        self.begun = False

    async def __aenter__(self) -> Self:
        """Begin to watch for silence."""
        self._quiet_since = asyncio.get_running_loop().time()
        self._pinging = asyncio.create_task(self._ping(), name="keep-alive")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Send no more comments."""
        await self.rest()

    async def write(self, content: bytes, headers: Mapping[str, str]) -> None:
        """Send events, and before the first of them the status and `headers`, unless it has begun without.

        Returns when there is room for more: a caller who does not read holds up whoever writes.
        """
        async with self._sending:
            if not self.begun:
                await self._begin(headers)
            await self._body(content)

    async def end(self, content: bytes) -> None:
        """Send the last events, unless the caller has stopped reading."""
        await self.rest()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                if not self.begun:
                    await self._begin({})
                await self._send({"type": "http.response.body", "body": content, "more_body": False})

    async def rest(self) -> None:
        """Send no more comments. Does nothing the second time."""
        pinging, self._pinging = self._pinging, None
        if pinging is not None:
            pinging.cancel()
            await asyncio.wait((pinging,))

    async def _begin(self, headers: Mapping[str, str]) -> None:
        fixed = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        fixed["x-accel-buffering"] = "no"  # nginx would otherwise collect the events
        pairs = [(name.encode(), value.encode()) for name, value in {**fixed, **headers}.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": pairs})
        self.begun = True

    async def _body(self, content: bytes) -> None:
        try:
            await self._send({"type": "http.response.body", "body": content, "more_body": True})
        finally:
            self._quiet_since = asyncio.get_running_loop().time()

    async def _ping(self) -> None:
        """Send a comment now and then, unless something else is on its way."""
        loop = asyncio.get_running_loop()
        while True:
            patience = self._keep_alive if self.begun else self._silent
            await asyncio.sleep(max(0.0, self._quiet_since + patience - loop.time()))
            if self._sending.locked():
                await asyncio.sleep(self._keep_alive)
            elif loop.time() >= self._quiet_since + patience:
                await self.write(PING, {})
