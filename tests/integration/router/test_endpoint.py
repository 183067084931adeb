"""What the router finds out about one replica, over a real connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

from services.config import Channels, Limits
from services.router.routing.endpoint import Endpoint, EndpointState, EndpointStatus, Terms
from tests.support.backend import Context, FakeBackend, serving
from tests.support.configuration import free_addresses
from tests.support.polling import until
from tests.support.stubs import LIMIT_SECONDS

EMBED = "inglenook.embed.v1.EmbedService"


@dataclass
class Watched:
    """An endpoint, and every status that it has had since it was opened."""

    endpoint: Endpoint | None = None
    seen: list[EndpointStatus] = field(default_factory=list)

    def note(self) -> None:
        """Remember the status that the endpoint has now."""
        assert self.endpoint is not None
        self.seen.append(self.endpoint.status)

    async def until_state(self, state: EndpointState) -> EndpointStatus:
        """Wait until the endpoint is in a state, and return its status."""
        assert self.endpoint is not None
        endpoint = self.endpoint

        async def look() -> bool:
            return endpoint.status.state is state

        await until(look)
        return endpoint.status


@asynccontextmanager
async def watched(address: str) -> AsyncIterator[Watched]:
    """Watch the embed service at an address."""
    watched = Watched()
    watched.endpoint = Endpoint(address, Terms("embed", Channels(), Limits(), watched.note))
    try:
        yield watched
    finally:
        await watched.endpoint.close()


class CountingHealth(health_aio.HealthServicer):
    """Counts the watches that were begun."""

    def __init__(self) -> None:
        super().__init__()
        self.watches = 0

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Count, then watch."""
        self.watches += 1
        await super().Watch(request, context)


async def test_an_endpoint_is_what_it_says_it_is() -> None:
    """SERVING is healthy and needs no words; NOT_SERVING is not serving, with a sentence."""
    async with serving(FakeBackend()) as fake, watched(fake.address) as watch:
        assert (await watch.until_state(EndpointState.HEALTHY)).detail == ""
        await fake.say(EMBED, serving=False)
        assert "loading" in (await watch.until_state(EndpointState.NOT_SERVING)).detail
        await fake.say(EMBED, serving=True)
        assert (await watch.until_state(EndpointState.HEALTHY)).detail == ""


async def test_a_process_without_the_service_is_not_healthy() -> None:
    """An endpoint that belongs to another service answers, but must not get calls."""
    async with serving(FakeBackend(), healthy=["other"]) as fake, watched(fake.address) as watch:
        status = await watch.until_state(EndpointState.NOT_SERVING)
    assert "does not have this service" in status.detail


async def test_a_backend_without_a_health_service_is_taken_for_healthy() -> None:
    """The health checks of gRPC do the same; a healthy backend has no detail."""
    async with serving(FakeBackend(), healthy=None) as fake, watched(fake.address) as watch:
        assert (await watch.until_state(EndpointState.HEALTHY)).detail == ""


async def test_an_endpoint_where_nobody_listens_is_unreachable_until_somebody_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The watch goes on trying, and notices a process that starts later; the log tells each change once."""
    caplog.set_level(logging.INFO, "services.router.routing.endpoint")
    (address,) = free_addresses(1)
    async with watched(address) as watch:
        assert (await watch.until_state(EndpointState.UNREACHABLE)).detail
        async with serving(FakeBackend(), address=address):
            await watch.until_state(EndpointState.HEALTHY)
        await watch.until_state(EndpointState.UNREACHABLE)
    assert [status.state for status in watch.seen] == [
        EndpointState.UNREACHABLE,
        EndpointState.HEALTHY,
        EndpointState.UNREACHABLE,
    ]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "an endpoint is unreachable"),
        ("INFO", "an endpoint is healthy"),
        ("WARNING", "an endpoint is unreachable"),
    ]


async def test_a_connection_that_is_renewed_is_not_a_replica_that_is_gone() -> None:
    """Servers end connections as they grow old; the state must not flicker, or calls would be refused."""
    health = CountingHealth()
    options = [("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 50)]
    async with serving(FakeBackend(health=health), options=options) as fake, watched(fake.address) as watch:

        async def renewed() -> bool:
            return health.watches >= 4

        await until(renewed)
    assert [status.state for status in watch.seen] == [EndpointState.HEALTHY]


async def test_a_state_has_held_since_it_began_whatever_its_detail() -> None:
    """`since` moves with the state only."""
    async with serving(FakeBackend()) as fake:
        await fake.say(EMBED, serving=False)
        async with watched(fake.address) as watch:
            first = await watch.until_state(EndpointState.NOT_SERVING)
            unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            await fake.health.set(EMBED, unknown)

            async def changed() -> bool:
                return watch.seen[-1].detail != first.detail

            await until(changed)
            last = watch.seen[-1]
            await fake.say(EMBED, serving=True)
            healthy = await watch.until_state(EndpointState.HEALTHY)
    assert (last.state, last.since) == (first.state, first.since)
    assert healthy.since > first.since


async def test_an_endpoint_can_be_closed_while_it_cannot_be_reached() -> None:
    """Closing never waits for a connection."""
    (address,) = free_addresses(1)
    async with asyncio.timeout(LIMIT_SECONDS), watched(address):
        pass
