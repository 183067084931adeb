"""Backends that are named by a DNS name instead of addresses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from inglenook.router.v1 import BackendState

from services.router import pool
from services.router.capabilities import MODEL_SERVICE, SERVICES
from services.router.pool import Pool
from tests.support.backend import FakeBackend, serving
from tests.support.polling import until
from tests.support.routing import routed, write_routes
from tests.support.stubs import LIMIT_SECONDS

EMBED = "/inglenook.embed.v1.EmbedService/Embed"
NAME = "embed.test"


@dataclass
class NameService:
    """A name service that a test can change.

    Attributes:
        known: Addresses by name.
        refusals: How often a name was asked for that it does not know.
    """

    known: dict[str, list[str]] = field(default_factory=dict)
    refusals: int = 0

    def look_up(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        """Answer as `socket.getaddrinfo` does."""
        if host not in self.known:
            self.refusals += 1
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in self.known[host]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> NameService:
    """Put a name service in the place of the real one, and have it asked all the time."""
    service = NameService()
    monkeypatch.setattr(socket, "getaddrinfo", service.look_up)
    monkeypatch.setattr(pool, "LOOKUP_SECONDS", 0.02)
    return service


@asynccontextmanager
async def opened(
    folder: Path, number: int, changed: Callable[[], None], name: str = NAME
) -> AsyncIterator[Pool]:
    """Open a pool whose replicas have one name."""
    file = write_routes(folder, {"embed": [f"{name}:{number}"]})
    services = (SERVICES["embed"], MODEL_SERVICE)
    found = Pool("embed-pool", file.configuration, services, changed)
    try:
        yield found
    finally:
        await found.close()


def port(fake: FakeBackend) -> int:
    """Return the port that a backend listens on."""
    return int(fake.address.partition(":")[2])


async def until_healthy(replicas: Pool, *hosts: str) -> None:
    """Wait until exactly these hosts are known, and all of them healthy."""

    async def look() -> bool:
        known = [status.endpoint.partition(":")[0] for status in replicas.statuses()]
        return known == sorted(hosts) and replicas.healthy == len(hosts)

    await until(look)


async def test_calls_find_a_backend_by_its_name(tmp_path: Path) -> None:
    """Both gRPC and the router's watches look the name up; upper case is a name to both of them."""
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(serving(FakeBackend()))
        router = await stack.enter_async_context(routed(tmp_path, {"embed": [f"LOCALHOST:{port(fake)}"]}))
        await router.until_backend(fake.address, BackendState.BACKEND_STATE_HEALTHY)
        assert await router.raw(EMBED)(b"x", timeout=LIMIT_SECONDS) == b"x"


async def test_replicas_come_and_go_as_the_name_says(tmp_path: Path, names: NameService) -> None:
    """Each address gets a watch; one that the name no longer stands for is forgotten, and that is told."""
    changes = asyncio.Event()
    names.known[NAME] = ["127.0.0.1"]
    async with (
        serving(FakeBackend(), address="0.0.0.0:0") as fake,
        opened(tmp_path, port(fake), changes.set) as replicas,
    ):
        await until_healthy(replicas, "127.0.0.1")
        names.known[NAME] = ["127.0.0.1", "127.0.0.2"]
        await until_healthy(replicas, "127.0.0.1", "127.0.0.2")
        changes.clear()
        names.known[NAME] = []
        async with asyncio.timeout(LIMIT_SECONDS):
            await changes.wait()
        assert replicas.healthy == 0


async def test_a_name_that_cannot_be_looked_up_for_a_while_changes_nothing(
    tmp_path: Path, names: NameService
) -> None:
    """A name service that is down does not take replicas away that answer."""
    names.known[NAME] = ["127.0.0.1"]
    async with serving(FakeBackend()) as fake, opened(tmp_path, port(fake), lambda: None) as replicas:
        await until_healthy(replicas, "127.0.0.1")
        names.known.clear()

        async def refused() -> bool:
            return names.refusals >= 3

        await until(refused)
        assert replicas.healthy == 1


async def test_a_name_that_can_be_no_hosts_does_not_end_the_looking_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python refuses to encode some names at all; that too is only a name that is not found."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        loop.call_soon_threadsafe(asked.set)
        host.encode("idna")
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(pool, "LOOKUP_SECONDS", 0.02)
    async with asyncio.timeout(LIMIT_SECONDS), opened(tmp_path, 1, lambda: None, name="a..b"):
        for _ in range(3):
            asked.clear()
            await asked.wait()
