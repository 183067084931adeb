"""Standard gRPC health that tells the truth: https://github.com/grpc/grpc/blob/master/doc/health-checking.md.

The servicer that comes with grpcio says SERVING from the moment it exists. This one says NOT_SERVING
until it is told otherwise, under the empty name as well as under every service's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

OVERALL: Final = ""
LIVENESS: Final = "liveness"
"""SERVING from start to end: whether it answers at all is what a liveness probe wants to know. It must
not depend on models or backends, or a slow backend would get healthy processes killed."""

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """The health of one process: overall, per gRPC service, and `liveness`."""

    def __init__(self, services: Iterable[str]) -> None:
        self._servicer = _Servicer()
        self._services = tuple(services)
        self._leaving = False

    async def begin(self, server: grpc.aio.Server) -> None:
        """Say NOT_SERVING for everything but liveness, and answer health checks on `server`."""
        for name in (OVERALL, *self._services):
            await self._servicer.set(name, NOT_SERVING)
        await self._servicer.set(LIVENESS, SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set(self, service: str, *, serving: bool) -> None:
        """Say whether `service` (a gRPC service, or `OVERALL`) would answer; ignored while leaving."""
        if not self._leaving:
            await self._servicer.set(service, SERVING if serving else NOT_SERVING)

    async def set_all(self, *, serving: bool) -> None:
        """Say the same for the process as a whole and for each of its services."""
        for name in (OVERALL, *self._services):
            await self.set(name, serving=serving)

    async def leave(self) -> None:
        """Say NOT_SERVING for good, except for liveness: a draining process must not be killed."""
        self._leaving = True
        for name in (OVERALL, *self._services):
            await self._servicer.set(name, NOT_SERVING)

    def end_watches(self) -> None:
        """End every watch, now and from now on. A server that stops waits for all calls, watches too."""
        self._servicer.end_watches()


class _Servicer(health_aio.HealthServicer):
    """grpcio's servicer, whose watches last as long as the watcher wants, and no longer than we want."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[asyncio.Task[None]] = set()
        self._ended = False

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        """Send the status, and every change of it."""
        if self._ended:
            return
        watch = asyncio.create_task(super().Watch(request, context))
        self._watches.add(watch)
        try:
            await asyncio.wait({watch})
        finally:
            watch.cancel()
            self._watches.discard(watch)
            with suppress(asyncio.CancelledError):
                await watch

    def end_watches(self) -> None:
        self._ended = True
        for watch in self._watches:
            watch.cancel()
