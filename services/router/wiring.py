"""What one configuration makes of the router.

A reload builds a whole new wiring and puts it in the place of the old one, in one step. What has not changed
is handed on: backends with their connections and what is known of them, and the cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from services.chassis.in_force import InForce, Wired
from services.chassis.tracing import Tracing
from services.config import Capability, Configuration, ConfigurationFile
from services.router.cache.cache import Cache
from services.router.routing.observer import Observer
from services.router.routing.route import Route, open_routes


class Wiring(Wired):
    """Everything that depends on the configuration.

    Attributes:
        file: The configuration, and where it came from.
        routes: Where the calls of each capability go.
        cache: Answers that are kept; the next wiring has the same one if its settings have not changed.
    """

    def __init__(
        self,
        file: ConfigurationFile,
        tracing: Tracing,
        observer: Observer,
        cache: Cache,
        before: Wiring | None = None,
    ) -> None:
        super().__init__()
        self.file = file
        self.cache = cache
        self.routes: Mapping[Capability, Route] = open_routes(
            file.configuration, tracing, observer, before.routes if before is not None else {}
        )

    @property
    def configuration(self) -> Configuration:
        """What the file says."""
        return self.file.configuration

    def timeout(self, remaining_seconds: float | None) -> float:
        """Return how long a call may take whose caller waits so long; None if it did not say."""
        if remaining_seconds is None:
            return self.configuration.limits.default_timeout_seconds
        return remaining_seconds

    async def close(self, others: Iterable[Wiring]) -> None:
        """End the watches and the connections, but for what others have. No call uses it any more."""
        kept = any(other.cache is self.cache for other in others)
        await asyncio.gather(*(route.close() for route in self.routes.values()))
        if not kept:
            await self.cache.close()


Current: TypeAlias = InForce[Wiring]
"""The wiring in force."""
