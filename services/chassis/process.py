"""The life of a service process: start, serve, leave.

Start: logs, metrics and traces, then health NOT_SERVING, then bind, then the application loads and warms
up and says SERVING itself. Leave: NOT_SERVING, go on serving for `drain_seconds` so that callers can turn
away, then no new calls and `grace_seconds` for those in flight, then the application, then the traces.
Without the drain, a few calls are lost on every stop, and no retry policy catches them.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from services.chassis import interpreter
from services.chassis.health import Health
from services.chassis.metrics import CallMetrics, new_registry, serve_metrics
from services.chassis.pipeline import Admission, Decoding, Observation, Pipeline, Spans, Translation
from services.chassis.pipeline.layer import Layer
from services.chassis.server import bind, new_server
from services.chassis.stall import StallWatch
from services.chassis.tracing import Tracing, start_tracing
from services.config import Limits, Service, Shutdown, Telemetry, split_address

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """What the chassis needs to know about a process."""

    name: str
    version: str
    service: Service
    limits: Limits
    shutdown: Shutdown
    telemetry: Telemetry


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the chassis lends to an application."""

    settings: ProcessSettings
    registry: CollectorRegistry
    tracing: Tracing


class Application(Protocol):
    """What a service adds to the chassis."""

    @property
    def services(self) -> Sequence[str]:
        """Full names of the gRPC services that it registers."""

    def register(self, server: grpc.aio.Server) -> None:
        """Add its servicers to the server."""

    async def start(self, health: Health) -> None:
        """Load and warm up, and tell `health` from now on what is true.

        Runs while the server already answers, so handlers must be able to say NOT_READY. What cannot be
        loaded is told through health and the model service, not by raising.
        """

    async def stop(self) -> None:
        """Give back what `start` took. No call is in flight any more. Called even if `start` failed."""


class ServiceProcess:
    """One process, from `start` to `leave`.

    Attributes:
        address: Where the gRPC server listens, after `start`.
        metrics_address: Where Prometheus finds the metrics, after `start`; None when turned off.
    """

    def __init__(self, settings: ProcessSettings, build: Callable[[Surroundings], Application]) -> None:
        self._settings = settings
        self._registry = new_registry(settings.name, settings.version)
        self.tracing = start_tracing(settings.name, settings.version, settings.telemetry)
        self._application = build(Surroundings(settings, self._registry, self.tracing))
        self._admission = Admission(settings.limits.max_concurrent_calls)
        self._health = Health(self._application.services)
        self._server: grpc.aio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stop_metrics: Callable[[], None] = lambda: None
        self.address = settings.service.listen
        self.metrics_address: str | None = None
        self._served_by = settings.name

    async def start(self) -> None:
        """Bind, answer with NOT_SERVING, and begin to load.

        Raises:
            AddressInUse: The gRPC or the metrics address cannot be bound.
        """
        settings = self._settings
        spans = [Spans(self.tracing)] if self.tracing.is_on else []
        layers: list[Layer] = [
            *spans,
            Observation(CallMetrics(self._registry), self.tracing.mark_ended),
            Translation(self._identity),
            self._admission,
            Decoding(settings.limits.max_message_bytes),
        ]
        server = new_server([Pipeline(layers)], settings.limits)
        self._application.register(server)
        await self._health.begin(server)
        if settings.service.reflection:
            names = (*self._application.services, "grpc.health.v1.Health", reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        self.address = bind(server, settings.service.listen)
        self._served_by = f"{settings.name}@{socket.gethostname()}:{split_address(self.address)[1]}"
        if settings.service.metrics_listen is not None:
            self.metrics_address, self._stop_metrics = serve_metrics(
                settings.service.metrics_listen, self._registry
            )
        await server.start()
        self._server = server
        self._tasks = [
            asyncio.create_task(self._start_application(), name="application-start"),
            asyncio.create_task(StallWatch(self._registry).run(), name="stall-watch"),
        ]
        log.info("listening", extra={"address": self.address, "metrics_address": self.metrics_address})

    async def _start_application(self) -> None:
        interpreter.settle()
        await self._application.start(self._health)

    async def failed(self) -> None:
        """Return never, or raise what the application's `start` raised: a bug."""
        await self._tasks[0]
        await asyncio.Event().wait()

    async def leave(self, hurry: asyncio.Event | None = None) -> None:
        """Stop without losing a call. Once `hurry` is set, drain and grace are cut short."""
        shutdown = self._settings.shutdown
        hurry = hurry or asyncio.Event()
        log.info("draining", extra={"drain_seconds": shutdown.drain_seconds})
        await self._health.leave()
        if self._server is not None:
            await _unless(hurry, asyncio.sleep(shutdown.drain_seconds))
            stopping = self._server.stop(0 if hurry.is_set() else shutdown.grace_seconds)
            self._admission.close()
            self._health.end_watches()
            await _unless(hurry, stopping)
            if hurry.is_set():
                await self._server.stop(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._application.stop()
        self._stop_metrics()
        if not await asyncio.to_thread(self.tracing.shutdown, shutdown.flush_seconds):
            log.warning("the last traces could not be sent")
        log.info("stopped")

    def _identity(self) -> str:
        return self._served_by


async def run_until_signal(process: ServiceProcess) -> None:
    """Run `process` until SIGTERM or SIGINT, then leave; a second signal cuts the leaving short."""
    loop = asyncio.get_running_loop()
    asked, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        if asked.is_set():
            hurry.set()
        asked.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal)
    await process.start()
    try:
        await _unless(asked, process.failed())
    finally:
        await process.leave(hurry)


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Wait for `work` or for `event`, whichever comes first; `work` is cancelled if it did not finish."""
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
    for task in (working, waiting):
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    if not working.cancelled():
        working.result()
