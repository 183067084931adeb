"""Puts the router together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import grpc
from inglenook.model.v1 import add_ModelServiceServicer_to_server
from inglenook.router.v1 import add_RouterServiceServicer_to_server

from services.chassis.health import OVERALL, Health
from services.chassis.process import Application, Surroundings
from services.chassis.tls import CertificatesUnusable, ClientFiles
from services.config import (
    Capability,
    Configuration,
    ConfigurationFile,
    ConfigurationInvalid,
    Problem,
    is_loopback,
    split_address,
)
from services.config.problems import dotted
from services.router.access.gate import Gate
from services.router.access.layer import AccessLayer
from services.router.cache.cache import open_cache
from services.router.cache.metrics import CacheMetrics
from services.router.capabilities import MODEL_SERVICE, ROUTER_SERVICE, SERVICES
from services.router.metrics import BackendGauges, RoutingMetrics
from services.router.routing.route import Route
from services.router.servicer.chat import ChatServicer
from services.router.servicer.delegate import Delegate
from services.router.servicer.items import ItemServicer
from services.router.servicer.models import ModelServicer
from services.router.servicer.status import RouterServicer
from services.router.wiring import Current, Wiring

SERVICERS: Final[Mapping[Capability, type[Delegate]]] = {
    "chat": ChatServicer,
    "embed": ItemServicer,
    "rerank": ItemServicer,
    "nli": ItemServicer,
}
"""What answers the calls of each capability."""


def build(surroundings: Surroundings, file: ConfigurationFile) -> Application:
    """Return the application that routes as a configuration says."""
    return RouterApplication(surroundings, file)


class RouterApplication:
    """Serves every capability by delegating, and itself for operators."""

    def __init__(self, surroundings: Surroundings, file: ConfigurationFile) -> None:
        self._tracing = surroundings.tracing
        self._changed = asyncio.Event()
        self._cache_metrics = CacheMetrics(surroundings.registry)
        cache = open_cache(file.configuration.cache, self._cache_metrics, path=file.path)
        self._routing_metrics = RoutingMetrics(surroundings.registry, self._changed.set)
        wiring = Wiring(file, self._tracing, self._routing_metrics, cache)
        self._current = Current(wiring)
        self._open = [wiring]
        self._told: dict[Capability, bool] = {}
        cache.observe()
        self._closing: set[asyncio.Task[None]] = set()
        self._delegates = {
            capability: SERVICERS[capability](capability, self._current) for capability in SERVICES
        }
        surroundings.registry.register(BackendGauges(self._current))
        self.gate = _open_gate(surroundings, file.configuration)
        surroundings.layers.append(AccessLayer(self.gate))
        if (listen := file.configuration.services.router.http_listen) is not None:
            from services.router.http.door import HttpDoor  # its libraries are needed for nothing else

            tls = surroundings.settings.service.tls
            door = HttpDoor(
                listen,
                file.configuration.limits,
                tls,
                registry=surroundings.registry,
                check=self.gate.check,
            )
            surroundings.doors.append(door)
        self._reloader = surroundings.reloader
        self._reloader.begin(file, self.reload)

    @property
    def services(self) -> Sequence[str]:
        """Full names of the gRPC services that it registers."""
        capabilities = [service.full_name for service in SERVICES.values()]
        return (*capabilities, MODEL_SERVICE.full_name, ROUTER_SERVICE.full_name)

    def register(self, server: grpc.aio.Server) -> None:
        """Add the delegating handlers and the router's own servicers to the server."""
        for capability, service in SERVICES.items():
            delegate = self._delegates[capability]
            handlers = {
                method.name: delegate.handler(
                    f"/{service.full_name}/{method.name}", streams=method.server_streaming
                )
                for method in service.methods
            }
            generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
            server.add_generic_rpc_handlers((generic,))
        models = ModelServicer(self._current, self._delegates, lambda: self._reloader.status)
        add_ModelServiceServicer_to_server(models, server)
        add_RouterServiceServicer_to_server(RouterServicer(self._current, self._reloader), server)

    async def start(self, health: Health) -> None:
        """Keep telling the health of each capability; the router itself serves from the start."""
        for name in (OVERALL, MODEL_SERVICE.full_name, ROUTER_SERVICE.full_name):
            await health.set(name, serving=True)
        while True:
            self._changed.clear()
            for capability, route in self._current.wiring.routes.items():
                self._told[capability] = route.available or (
                    self._told.get(capability, False) and _hopes(route)
                )
                await health.set(SERVICES[capability].full_name, serving=self._told[capability])
            await self._changed.wait()

    async def reload(self, file: ConfigurationFile) -> Sequence[str]:
        """Put another configuration in force. Calls in flight keep what they began with.

        Raises:
            ConfigurationInvalid: Certificates of a backend cannot be used.
        """
        await asyncio.to_thread(_check_certificates, file)  # what is built below cannot fail any more
        before = self._current.wiring
        cache = open_cache(file.configuration.cache, self._cache_metrics, before.cache, path=file.path)
        wiring = Wiring(file, self._tracing, self._routing_metrics, cache, before)
        self._current.wiring = wiring
        self._open.append(wiring)
        self.gate.adopt(file.configuration.access)
        cache.observe()
        closing = asyncio.create_task(self._close(before), name="close-old-wiring")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._changed.set()
        return ()

    async def stop(self) -> None:
        """End the watches and the connections to backends."""
        await asyncio.gather(self._close(self._current.wiring), *self._closing)

    async def _close(self, wiring: Wiring) -> None:
        """Close a wiring when its last call has ended, but for what others have."""
        await wiring.unused()
        self._open.remove(wiring)
        await wiring.close(self._open)


def _hopes(route: Route) -> bool:
    """Say whether a replica was not heard of yet: what was said before a reload stands until then."""
    return any(pool.hopes for pool in route.pools)


def _check_certificates(file: ConfigurationFile) -> None:
    """Refuse a configuration with certificates that cannot be used.

    Raises:
        ConfigurationInvalid: There are such; all of them are named.
    """
    configuration, problems = file.configuration, []
    for name in sorted({name for route in configuration.routes.values() for name in route.backends}):
        try:
            if (tls := configuration.backend(name).tls) is not None:
                ClientFiles(tls)
        except CertificatesUnusable as error:
            problems.append(Problem(dotted("backends", name, "tls"), str(error)))
    if problems:
        raise ConfigurationInvalid(file.path, problems)


def _open_gate(surroundings: Surroundings, configuration: Configuration) -> Gate:
    """Return what lets calls in, which depends on who can reach the router."""
    listening = (surroundings.settings.service.listen, configuration.services.router.http_listen)
    hosts = [split_address(address)[0] for address in listening if address is not None]
    reachable = not all(is_loopback(host) for host in hosts)
    return Gate(configuration.access, surroundings.registry, reachable=reachable)
