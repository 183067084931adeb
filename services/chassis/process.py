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
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

import grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from services.chassis import interpreter
from services.chassis.config_metrics import ConfigMetrics
from services.chassis.health import Health
from services.chassis.local import LocalCalls, Methods
from services.chassis.metrics import CallMetrics, new_registry, serve_metrics, tell_expiry
from services.chassis.pipeline import Admission, Decoding, Observation, Pipeline, Spans, Translation
from services.chassis.pipeline.layer import Layer
from services.chassis.reload import Reloader, Source
from services.chassis.server import bind, new_server
from services.chassis.stall import StallWatch
from services.chassis.tracing import Tracing, start_tracing
from services.chassis.watch import watch
from services.config import ConfigurationFile, Limits, Service, Shutdown, Telemetry, split_address

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


class Door(Protocol):
    """Another way in than gRPC: it brings calls in a language of its own."""

    async def open(self, calls: LocalCalls) -> None:
        """Begin to listen, and to make the calls that come through `calls`.

        Raises:
            AddressInUse: Its address cannot be bound.
        """

    async def close(self, grace_seconds: float) -> None:
        """Take no more calls, and return when those in flight have ended, cancelled after `grace_seconds`.

        May be cancelled, and called again with less.
        """


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the chassis lends to an application.

    Attributes:
        settings: What the chassis knows about the process.
        registry: Where metrics go.
        tracing: Traces calls.
        doors: Opened and closed with the gRPC server; an application adds its own while it is built.
        layers: What else happens around every call, after errors are translated and before a call is
            admitted; an application adds its own while it is built.
        reloader: Reads the configuration again; an application that has one says so while it is built, with
            `Reloader.begin`.
    """

    settings: ProcessSettings
    registry: CollectorRegistry
    tracing: Tracing
    doors: list[Door] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    reloader: Reloader = field(default_factory=Reloader)


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

    async def reload(self, file: ConfigurationFile) -> Sequence[str]:
        """Put another configuration in force, as a whole or not at all.

        Calls in flight keep what they began with. Settings of the process itself, such as where it listens,
        are not the application's.

        Returns:
            Settings of the application, dotted, that differ from those it was built with and hold only
            after a restart.

        Raises:
            Exception: It cannot be put in force; everything is as it was.
        """

    async def stop(self) -> None:
        """Give back what `start` took. No call is in flight any more. Called even if `start` failed."""


class ServiceProcess:
    """One process, from `start` to `leave`.

    Attributes:
        address: Where the gRPC server listens, after `start`.
        metrics_address: Where Prometheus finds the metrics, after `start`; None when turned off.
        doors: What else leads to the application's methods.
        reloader: Reads the configuration again, by itself whenever its file changes if `source` says which.
    """

    def __init__(
        self,
        settings: ProcessSettings,
        build: Callable[[Surroundings], Application],
        source: Source | None = None,
    ) -> None:
        self._settings = settings
        self._registry = new_registry(settings.name, settings.version)
        self.tracing = start_tracing(settings.name, settings.version, settings.telemetry)
        self.doors: list[Door] = []
        self._layers: list[Layer] = []
        config_metrics = ConfigMetrics(self._registry)
        self.reloader = Reloader(source, config_metrics.count)
        config_metrics.of(self.reloader)
        self._watched = source.path if source is not None else None
        surroundings = Surroundings(
            settings, self._registry, self.tracing, self.doors, self._layers, self.reloader
        )
        self._application = build(surroundings)
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
            AddressInUse: The gRPC or the metrics address, or that of a door, cannot be bound.
            CertificatesUnusable: The files of `services.<name>.tls` cannot be used.
        """
        settings = self._settings
        spans = [Spans(self.tracing)] if self.tracing.is_on else []
        layers: list[Layer] = [
            *spans,
            Observation(CallMetrics(self._registry), self.tracing.mark_ended),
            Translation(self._identity),
            *self._layers,
            self._admission,
            Decoding(settings.limits.max_message_bytes),
        ]
        pipeline = Pipeline(layers)
        server = new_server([pipeline], settings.limits)
        methods = Methods(server)
        self._application.register(cast("grpc.aio.Server", methods))
        await self._health.begin(cast("grpc.aio.Server", methods))
        if settings.service.reflection:
            names = (*self._application.services, "grpc.health.v1.Health", reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        self.address = bind(server, settings.service.listen, settings.service.tls)
        if settings.service.tls is not None:
            tell_expiry(self._registry, settings.service.tls)
        self._served_by = f"{settings.name}@{socket.gethostname()}:{split_address(self.address)[1]}"
        if settings.service.metrics_listen is not None:
            self.metrics_address, self._stop_metrics = serve_metrics(
                settings.service.metrics_listen, self._registry
            )
        for door in self.doors:
            await door.open(LocalCalls(pipeline, methods))
        await server.start()
        self._server = server
        self._tasks = [
            asyncio.create_task(self._start_application(), name="application-start"),
            asyncio.create_task(StallWatch(self._registry).run(), name="stall-watch"),
        ]
        if self._watched is not None:
            watching = watch(self._watched, self.reloader.follow)
            self._tasks.append(asyncio.create_task(watching, name="watch-configuration"))
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
            stopping = self._stop_serving(0 if hurry.is_set() else shutdown.grace_seconds)
            self._admission.close()
            self._health.end_watches()
            await _unless(hurry, stopping)
            if hurry.is_set():
                await self._stop_serving(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.reloader.close()
        await self._application.stop()
        self._stop_metrics()
        if not await asyncio.to_thread(self.tracing.shutdown, shutdown.flush_seconds):
            log.warning("the last traces could not be sent")
        log.info("stopped")

    async def _stop_serving(self, grace_seconds: float) -> None:
        if self._server is not None:
            closing = (door.close(grace_seconds) for door in self.doors)
            await asyncio.gather(self._server.stop(grace_seconds), *closing)

    def _identity(self) -> str:
        return self._served_by


async def run_until_signal(process: ServiceProcess) -> None:
    """Run `process` until SIGTERM or SIGINT, then leave; a second signal cuts the leaving short.

    SIGHUP reads the configuration again.
    """
    loop = asyncio.get_running_loop()
    asked, hurry = asyncio.Event(), asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()

    def on_signal() -> None:
        if asked.is_set():
            hurry.set()
        asked.set()

    def on_hangup() -> None:
        task = asyncio.create_task(process.reloader.follow(again=True), name="reload-on-signal")
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
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
