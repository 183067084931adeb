"""Puts the router together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import grpc
from inglenook.model.v1 import add_ModelServiceServicer_to_server
from inglenook.router.v1 import add_RouterServiceServicer_to_server

from services.chassis.health import OVERALL, Health
from services.chassis.process import Application, Surroundings
from services.config import Capability, ConfigurationFile
from services.router.capabilities import MODEL_SERVICE, ROUTER_SERVICE, SERVICES
from services.router.delegate import Delegate
from services.router.metrics import BackendGauges
from services.router.model_servicer import ModelServicer
from services.router.route import Route, open_routes
from services.router.router_servicer import RouterServicer


def build(surroundings: Surroundings, file: ConfigurationFile) -> Application:
    """Return the application that routes as a configuration says."""
    return RouterApplication(surroundings, file)


class RouterApplication:
    """Serves every capability by delegating, and itself for operators."""

    def __init__(self, surroundings: Surroundings, file: ConfigurationFile) -> None:
        self._file = file
        self._surroundings = surroundings
        self._changed = asyncio.Event()
        self._routes: Mapping[Capability, Route] = open_routes(file.configuration, self._changed.set)
        self._delegates = {
            capability: Delegate(
                route, surroundings.tracing, file.configuration.limits.default_timeout_seconds
            )
            for capability, route in self._routes.items()
        }
        surroundings.registry.register(BackendGauges(self._routes))

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
        models = self._file.configuration.models
        add_ModelServiceServicer_to_server(ModelServicer(models, self._routes, self._delegates), server)
        status = RouterServicer(
            self._file, self._routes, lambda capability: self._delegates[capability].calls_in_flight
        )
        add_RouterServiceServicer_to_server(status, server)

    async def start(self, health: Health) -> None:
        """Keep telling the health of each capability; the router itself serves from the start."""
        for name in (OVERALL, MODEL_SERVICE.full_name, ROUTER_SERVICE.full_name):
            await health.set(name, serving=True)
        while True:
            self._changed.clear()
            for capability, route in self._routes.items():
                await health.set(SERVICES[capability].full_name, serving=route.available)
            await self._changed.wait()

    async def stop(self) -> None:
        """End the watches and the connections to backends."""
        pools = [route.pool for route in self._routes.values() if route.pool is not None]
        await asyncio.gather(*(pool.close() for pool in pools))
