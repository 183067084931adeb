"""The HTTP server: uvicorn in the router's own process and event loop, opened and closed by the chassis."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import uvicorn
from prometheus_client import CollectorRegistry

from services.chassis.local import LocalCalls
from services.chassis.metrics import AddressInUse
from services.chassis.tls import server_context
from services.config import Limits, Tls, join_address, split_address
from services.router.http.connection import Connection
from services.router.http.endpoint import Check
from services.router.http.metrics import HttpMetrics
from services.router.http.openapi import document
from services.router.http.site import build_site
from services.router.http.sse import END_SECONDS
from services.router.http.status_page import page

KEEP_ALIVE_SECONDS: Final = 75
"""How long a connection without requests stays. Longer than clients keep theirs, so that they end them."""
BACKLOG: Final = 2048
PROBE_SECONDS: Final = 30
"""A connection on which nothing was heard for this long is asked for a sign of life."""
STUCK_SECONDS: Final = 300
"""How long what was sent may wait for a caller who takes nothing of it, before the connection is closed."""
OPTIONS: Final = (
    (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", None), PROBE_SECONDS),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPINTVL", None), PROBE_SECONDS),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", None), STUCK_SECONDS * 1000),
)
"""Of the listening socket, from which connections have them; not every system has all of them."""

log: Final = logging.getLogger(__name__)


class HttpDoor:
    """Satisfies `chassis.process.Door`.

    Args:
        listen: Where to listen.
        limits: How much is accepted.
        tls: Certificates; None for plain text.
        registry: Where metrics go, and what `/metrics` shows.
        check: Refuses callers before their requests are read. Default: nobody.

    Attributes:
        address: Where it listens, once it is open.
    """

    def __init__(
        self,
        listen: str,
        limits: Limits,
        tls: Tls | None = None,
        *,
        registry: CollectorRegistry,
        check: Check = lambda _: None,
    ) -> None:
        self._check = check
        self._limits = limits
        self._tls = tls
        self._registry = registry
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.address = listen

    async def open(self, calls: LocalCalls) -> None:
        """Listen.

        Raises:
            AddressInUse: Something else does, or this host has no such address.
            CertificatesUnusable: The files of `tls` cannot be used.
        """
        secured = await asyncio.to_thread(self._read_files)
        listening = _bind(self.address)
        self.address = join_address(*listening.getsockname()[:2])
        config = self._configured(calls, secured)
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve([listening]), name="http")
        log.info("listening for HTTP", extra={"http_address": self.address})

    def _read_files(self) -> ssl.SSLContext | None:
        """Read what is answered with and return what connections are encrypted with, if they are."""
        document()
        page()
        return server_context(self._tls) if self._tls is not None else None

    def _configured(self, calls: LocalCalls, secured: ssl.SSLContext | None) -> uvicorn.Config:
        counted = HttpMetrics(self._registry)
        connection: Any = partial(Connection, counted)  # a class for uvicorn, which only calls it
        config = uvicorn.Config(
            build_site(calls, self._limits, self._registry, counted, self._check),
            loop="none",
            http=connection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.ERROR,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        config.load()
        config.ssl = secured  # by its own settings uvicorn would read certificates once and never again
        return config

    async def close(self, grace_seconds: float) -> None:
        """Take no more connections, and return when the requests in flight have ended."""
        server, serving = self._server, self._serving
        if server is None or serving is None:
            return
        # A second time means that the first took too long.
        server.force_exit = server.should_exit
        server.should_exit = True
        if server.force_exit:
            for task in server.server_state.tasks:
                task.cancel()
        server.config.timeout_graceful_shutdown = grace_seconds  # type: ignore[assignment]  # any number will do
        await asyncio.wait((serving,))
        if tasks := set(server.server_state.tasks):  # cancelled, and telling their callers so
            await asyncio.wait(tasks, timeout=END_SECONDS)


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: the process has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def _bind(address: str) -> socket.socket:
    host, port = split_address(address)
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            for level, option, value in OPTIONS:
                if option is not None:
                    listening.setsockopt(level, option, value)
            listening.bind(where)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        message = f"HTTP cannot be served at {address}: {error.strerror}"
        raise AddressInUse(message) from error
    listening.setblocking(False)
    return listening
