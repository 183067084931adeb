"""One HTTP connection: uvicorn's, and what a server needs that strangers talk to."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.router.http.failures import simple_failure
from services.router.http.metrics import MALFORMED, HttpMetrics

HEAD_SECONDS: Final = 30.0
"""How long the head of a request may take from its first byte, or from the beginning of a connection."""
READABLE: Final = (h11.IDLE, h11.SEND_RESPONSE)
"""States in which a response can still begin."""


class Connection(H11Protocol):
    """A connection that is closed if the head of a request does not come, or is not HTTP.

    Args:
        metrics: Counts requests that are not HTTP.
        head_seconds: How long the head of a request may take.
        given: uvicorn's.
    """

    def __init__(self, metrics: HttpMetrics, head_seconds: float = HEAD_SECONDS, **given: Any) -> None:
        super().__init__(**given)
        self._metrics = metrics
        self._head_seconds = head_seconds
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)  # type: ignore[arg-type]  # a stream's, as uvicorn says
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take what came, and wait for the rest of a head that is not complete."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head_is_here()
        elif self._waiting is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._head_is_here()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP in words that programs can read."""
        self._head_is_here()
        self._metrics.count(None, MALFORMED)
        if self.conn.our_state in READABLE:
            failure = simple_failure(MALFORMED, "bad_request", "this is not a valid HTTP request")
            content = json.dumps({"error": failure.error}).encode()
            length = str(len(content)).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", length),
                (b"connection", b"close"),
            ]
            response = h11.Response(status_code=MALFORMED, headers=headers, reason=b"Bad Request")
            with suppress(h11.LocalProtocolError):  # the answer to a HEAD has no content
                for event in (response, h11.Data(data=content), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        if self.cycle is not None:  # what would still be answered to a body that broke off has nowhere to go
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: clients that could also speak HTTP/2 ask for it with every connection."""

    def _await_head(self) -> None:
        self._waiting = self.loop.call_later(self._head_seconds, self._too_slow)

    def _head_is_here(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _too_slow(self) -> None:
        self._waiting = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()
