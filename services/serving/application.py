"""The application of a service that runs models: its registry, its model service, its health."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import grpc
from inglenook.model.v1 import add_ModelServiceServicer_to_server

from services.chassis.health import OVERALL, Health
from services.chassis.process import Surroundings
from services.config import Capability, ConfigurationFile, environment
from services.inference.loading import Workshop, load_embedding_model
from services.inference.registry import ModelState, Registry
from services.serving.metrics import EngineMetrics, ModelGauges
from services.serving.model_servicer import ModelServicer

MODEL_SERVICE = "inglenook.model.v1.ModelService"


class EngineApplication:
    """Runs the models of one capability. Satisfies `chassis.process.Application`.

    Args:
        surroundings: What the chassis lends.
        file: The configuration.
        capability: Which of its models to run.
        service: Full name of the capability's gRPC service.
        add_servicer: Adds that service's servicer, over the registry, to a server.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        file: ConfigurationFile,
        capability: Capability,
        service: str,
        add_servicer: Callable[[Registry, grpc.aio.Server], None],
    ) -> None:
        configuration = file.configuration
        workshop = Workshop(
            engine=configuration.engine,
            limits=configuration.limits,
            base=file.path.parent,
            cache=environment.cache_directory(),
        )
        metrics = EngineMetrics(surroundings.registry)
        self._service = service
        self._add_servicer = add_servicer
        self._health: Health | None = None
        self._settled = False
        self._registry = Registry(
            sections={
                name: section
                for name, section in configuration.models.items()
                if section.capability == capability
            },
            load=lambda name, section: load_embedding_model(name, section, workshop, metrics.observer(name)),
            changed=self._tell_health,
        )
        surroundings.registry.register(ModelGauges(self._registry.statuses, self._queues))

    @property
    def services(self) -> Sequence[str]:
        """Full names of the gRPC services that it registers."""
        return (self._service, MODEL_SERVICE)

    def register(self, server: grpc.aio.Server) -> None:
        """Add its servicers to the server."""
        self._add_servicer(self._registry, server)
        add_ModelServiceServicer_to_server(ModelServicer(self._registry), server)

    async def start(self, health: Health) -> None:
        """Load the models that are wanted from the start."""
        self._health = health
        await health.set(MODEL_SERVICE, serving=True)
        await self._registry.load_all()
        await self._tell_health()

    async def stop(self) -> None:
        """Finish accepted calls and give the models back."""
        await self._registry.close()

    async def _tell_health(self) -> None:
        """SERVING once some model answers and none of those wanted from the start is on its way.

        A model that failed does not take the others down: calls for it are answered UNAVAILABLE, which
        the router retries elsewhere.
        """
        if self._health is None:
            return
        statuses = self._registry.statuses()
        serving = any(status.state is ModelState.READY for status in statuses)
        if not self._settled:
            pending = {ModelState.AVAILABLE, ModelState.LOADING}
            waiting = [status for status in statuses if status.section.preload and status.state in pending]
            self._settled = not waiting
            serving = serving and self._settled
        for name in (OVERALL, self._service):
            await self._health.set(name, serving=serving)

    def _queues(self) -> Sequence[tuple[str, int]]:
        return [(name, model.queue_size) for name, model in self._registry.loaded().items()]
