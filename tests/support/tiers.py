"""Routes with several backends, and the settings that say what becomes of calls there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.chassis.tracing import Tracing
from services.config import Capability, ConfigurationFile, load
from services.router.capabilities import is_safe
from services.router.routing.call import Ask
from services.router.routing.endpoint import EndpointState, EndpointStatus
from services.router.routing.observer import Observer
from services.router.routing.route import Route, open_routes
from tests.support.backend import FakeBackend
from tests.support.polling import until
from tests.support.routing import Routed, routed_by
from tests.support.stubs import LIMIT_SECONDS


def write_tiers(
    folder: Path,
    backends: Mapping[str, Sequence[FakeBackend | str]],
    settings: str = "",
    *,
    capability: str = "embed",
    more: str = "",
) -> ConfigurationFile:
    """Write and load a configuration with one route; `settings` are its settings, `more` is TOML besides."""
    listed = ", ".join(f'"{name}"' for name in backends)
    lines = [
        more,
        '[services.router]\nhttp_listen = "off"',
        f"[routes.{capability}]\nbackends = [{listed}]\n{settings}",
    ]
    for name, replicas in backends.items():
        addresses = ", ".join(f'"{address(replica)}"' for replica in replicas)
        lines.append(f"[backends.{name}]\nendpoints = [{addresses}]")
    path = folder / "tiers.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load(path)


@asynccontextmanager
async def tiered(
    folder: Path,
    backends: Mapping[str, Sequence[FakeBackend | str]],
    settings: str = "",
    *,
    capability: str = "embed",
    more: str = "",
    metrics: bool = False,
) -> AsyncIterator[Routed]:
    """Run a router with one route, and wait until it has heard of all of its endpoints."""
    file = write_tiers(folder, backends, settings, capability=capability, more=more)
    count = sum(map(len, backends.values()))
    async with routed_by(file, endpoints=count, metrics=metrics) as router:
        yield router


def address(replica: FakeBackend | str) -> str:
    """Return where a replica listens, or would."""
    return replica if isinstance(replica, str) else replica.address


EMBED = "/inglenook.embed.v1.EmbedService/Embed"
COMPLETE = "/inglenook.chat.v1.ChatService/Complete"
CHAT = "/inglenook.chat.v1.ChatService/Chat"


def asking(
    content: bytes = b"", *, method: str = EMBED, seconds: float = LIMIT_SECONDS, model: str = ""
) -> Ask:
    """Return a call for a route."""
    return Ask(method, content, seconds, is_safe(method), model)


@dataclass
class Noted(Observer):
    """Remembers what routing tells of itself."""

    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failovers: Counter[str] = field(default_factory=Counter)
    hedges: Counter[str] = field(default_factory=Counter)
    ejections: Counter[str] = field(default_factory=Counter)

    def attempted(self, capability: Capability, backend: str, outcome: str, seconds: float) -> None:
        """Count by backend and outcome."""
        assert capability
        assert seconds >= 0
        self.attempts[backend, outcome] += 1

    def failed_over(self, capability: Capability, reason: str) -> None:
        """Count by reason."""
        self.failovers[reason] += 1

    def hedged(self, capability: Capability, outcome: str) -> None:
        """Count by outcome."""
        self.hedges[outcome] += 1

    def ejected(self, capability: Capability, backend: str, endpoint: str) -> None:
        """Count by endpoint."""
        self.ejections[endpoint] += 1


@asynccontextmanager
async def opened(
    file: ConfigurationFile,
    capability: Capability = "embed",
    observer: Observer | None = None,
    *,
    heard: bool = True,
) -> AsyncIterator[Route]:
    """Open the routes of a file, without a router around them, and wait until all endpoints were heard of."""
    routes = open_routes(file.configuration, Tracing(None), observer or Observer(), {})
    route = routes[capability]
    try:
        if heard:
            await until_heard(route)
        yield route
    finally:
        await asyncio.gather(*(one.close() for one in routes.values()))


async def until_heard(route: Route) -> None:
    """Wait until something is known of every endpoint, and what models those have that serve."""

    async def look() -> bool:
        states = [endpoint.status.state for endpoint in route.endpoints]
        return bool(states) and EndpointState.UNKNOWN not in states

    await until(look)
    for endpoint in route.endpoints:
        if endpoint.serves:
            await endpoint.catalog.known()


async def until_state(route: Route, replica: FakeBackend | str, state: EndpointState) -> EndpointStatus:
    """Wait until an endpoint is in a state, and return what is known of it."""
    endpoint = next(one for one in route.endpoints if one.address == address(replica))

    async def look() -> bool:
        return endpoint.status.state is state

    await until(look)
    return endpoint.status
