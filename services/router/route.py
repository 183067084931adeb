"""From a capability to the backends that have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.config import Capability, Configuration
from services.router.capabilities import MODEL_SERVICE, SERVICES
from services.router.errors import NO_ROUTE, NoBackend
from services.router.pool import Pool


@dataclass(frozen=True, slots=True)
class Route:
    """Where calls of one capability go.

    Attributes:
        capability: The capability.
        pool: The replicas that have it; None when the configuration names no backend.
    """

    capability: Capability
    pool: Pool | None

    @property
    def available(self) -> bool:
        """Whether a call made now would find a healthy replica."""
        return self.pool is not None and self.pool.healthy > 0

    def require(self) -> Pool:
        """Return the pool.

        Raises:
            NoBackend: There is none, or none of its replicas could answer now.
        """
        if self.pool is None:
            raise NoBackend(self.capability, NO_ROUTE)
        if problem := self.pool.despair():
            raise NoBackend(self.capability, problem)
        return self.pool


def open_routes(configuration: Configuration, changed: Callable[[], None]) -> Mapping[Capability, Route]:
    """Open the pools of all routes; `changed` is called when a replica's state changes.

    Must be called inside the running event loop.
    """
    routes: dict[Capability, Route] = {}
    for capability, service in SERVICES.items():
        pool = None
        if names := configuration.routes.get(capability):
            pool = Pool(
                name=names[0],
                configuration=configuration,
                services=(service, MODEL_SERVICE),
                changed=changed,
            )
        routes[capability] = Route(capability, pool)
    return routes
