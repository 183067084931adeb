"""The application of a service that runs models: its registry, its model service, its health."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import grpc
from inglenook.model.v1 import add_ModelServiceServicer_to_server

from services.artifacts import Origins
from services.chassis.health import OVERALL, Health
from services.chassis.load_report import LoadReports
from services.chassis.process import Surroundings
from services.chassis.reload import different
from services.config import Capability, Configuration, ConfigurationFile, LocalModel, Model, environment
from services.config.problems import dotted
from services.inference.lifecycle import (
    LifecycleSettings,
    LoadedModel,
    ModelState,
    ModelStatus,
    Registry,
)
from services.inference.loading import ModelLoader, Workshop
from services.inference.loading.recipes import Recipe
from services.serving.metrics import EngineMetrics, ModelGauges
from services.serving.model_servicer import ModelServicer

MODEL_SERVICE = "inglenook.model.v1.ModelService"

LIVE: Final = frozenset({"memory_budget_mb", "idle_unload_seconds", "on_demand"})
"""Settings of the engine that hold from a reload on."""
LIMITS: Final = frozenset(
    {
        "max_queue_size",
        "max_client_batch_size",
        "max_input_characters",
        "max_batch_size",
        "max_batch_tokens",
        "max_queue_delay_ms",
    }
)
"""Limits that models are built with."""

M = TypeVar("M", bound=LoadedModel)


@dataclass(frozen=True, slots=True)
class EngineService(Generic[M]):
    """What is particular about one service.

    Attributes:
        capability: Which models of the configuration it runs.
        name: Full name of its gRPC service.
        recipe: How its models are made.
        add_servicer: Adds its servicer, over a registry, to a server.
    """

    capability: Capability
    name: str
    recipe: Recipe[Any, M]
    add_servicer: Callable[[Registry[M], grpc.aio.Server], None]


class EngineApplication(Generic[M]):
    """Runs the models of one capability. Satisfies `chassis.process.Application`.

    Args:
        surroundings: What the chassis lends.
        file: The configuration.
        service: What is particular about the service.
    """

    def __init__(
        self, surroundings: Surroundings, file: ConfigurationFile, service: EngineService[M]
    ) -> None:
        configuration = file.configuration
        engine = configuration.engine
        metrics = EngineMetrics(surroundings.registry)
        self._started = configuration
        self._observer = metrics.observer
        self._service = service
        self._health: Health | None = None
        self._settled = False
        self._loads_on_demand = engine.on_demand != "never"
        self._registry: Registry[M] = Registry(
            _models(configuration, service.capability),
            self._loader(file),
            self._tell_health,
            settings=LifecycleSettings.of(engine),
            capability=service.capability,
            elsewhere=_elsewhere(configuration, service.capability),
            observe=metrics.observe_lifecycle,
        )
        surroundings.registry.register(ModelGauges(self._registry.statuses, self._queues))
        surroundings.layers.append(LoadReports(self._utilization))
        self._reloader = surroundings.reloader
        self._reloader.trouble = self._trouble
        self._reloader.begin(file, self.reload)

    @property
    def services(self) -> Sequence[str]:
        """Full names of the gRPC services that it registers."""
        return (self._service.name, MODEL_SERVICE)

    def register(self, server: grpc.aio.Server) -> None:
        """Add its servicers to the server."""
        self._service.add_servicer(self._registry, server)
        servicer = ModelServicer(self._registry, lambda: self._reloader.status)
        add_ModelServiceServicer_to_server(servicer, server)

    async def start(self, health: Health) -> None:
        """Load the models that are wanted from the start."""
        self._health = health
        await health.set(MODEL_SERVICE, serving=True)
        await self._registry.load_all()
        await self._tell_health()

    async def reload(self, file: ConfigurationFile) -> Sequence[str]:
        """Have the models of another configuration; `Registry.reconfigure` says what becomes of each.

        Returns once it is in force. Models that are new or changed are still being loaded then.
        """
        configuration, capability = file.configuration, self._service.capability
        self._registry.reconfigure(
            _models(configuration, capability),
            self._loader(file),
            settings=LifecycleSettings.of(configuration.engine),
            elsewhere=_elsewhere(configuration, capability),
        )
        self._loads_on_demand = configuration.engine.on_demand != "never"
        await self._tell_health()
        engine = different(self._started.engine, configuration.engine)
        limits = different(self._started.limits, configuration.limits)
        return [
            *(f"engine.{name}" for name in engine if name not in LIVE),
            *(f"limits.{name}" for name in limits if name in LIMITS),
        ]

    async def stop(self) -> None:
        """Finish accepted calls and give the models back."""
        await self._registry.close()

    async def _tell_health(self) -> None:
        """SERVING once some model answers, or would on demand, and none is on its way for the first time.

        A model that failed does not take the others down: calls for it are answered UNAVAILABLE, which
        the router retries elsewhere.
        """
        if self._health is None:
            return
        statuses = self._registry.statuses()
        out = {ModelState.FAILED} if self._loads_on_demand else set(ModelState) - {ModelState.READY}
        serving = any(status.state not in out for status in statuses)
        if not self._settled:
            wanted = [status for status in statuses if status.section.preload]
            begun = any(status.state is ModelState.READY for status in statuses) or all(
                status.state is ModelState.FAILED for status in wanted
            )
            self._settled = begun and not any(map(_is_pending, wanted))
            serving = serving and self._settled
        for name in (OVERALL, self._service.name):
            await self._health.set(name, serving=serving)

    def _loader(self, file: ConfigurationFile) -> ModelLoader[Any, M]:
        """Return what loads models: from where a file says, with the engine that the process began with."""
        origins = Origins(file.path.parent, environment.cache_directory(), file.configuration.hub)
        workshop = Workshop(self._started.engine, self._started.limits, origins)
        return ModelLoader(workshop, self._service.recipe, self._observer)

    def _trouble(self) -> str:
        problems = self._registry.problems().items()
        return "; ".join(
            f"{dotted('models', name)}: answers as before: {problem}" for name, problem in problems
        )

    def _queues(self) -> Sequence[tuple[str, int]]:
        return [(name, model.queue_size) for name, model in self._registry.loaded().items()]

    def _utilization(self) -> float:
        """Return how busy the process is: its models share its processors, so what they do adds up."""
        return sum(model.utilization for model in self._registry.loaded().values())


def _is_pending(status: ModelStatus) -> bool:
    """Say whether a model is about to answer for the first time.

    One that is still being fetched may take an hour, for which the others do not wait. One that was loaded
    and made room for another has had its turn.
    """
    begins = status.state is ModelState.AVAILABLE and status.facts is None
    opens = status.state is ModelState.LOADING and not status.is_preparing
    return begins or opens


def _models(configuration: Configuration, capability: Capability) -> Mapping[str, LocalModel]:
    return {
        name: one
        for name, one in configuration.models.items()
        if isinstance(one, Model) and one.capability == capability
    }


def _elsewhere(configuration: Configuration, capability: Capability) -> Mapping[str, Capability]:
    """Return the models of other services, so that a call for one of them can be told apart from a typo."""
    here = _models(configuration, capability)
    return {name: one.capability for name, one in configuration.models.items() if name not in here}
