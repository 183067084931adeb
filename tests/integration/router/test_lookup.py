"""Backends that are named by a DNS name instead of addresses."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from inglenook.router.v1 import BackendState

from services.chassis.listing import BRIEF
from services.router.routing import pool
from services.router.routing.endpoint import Terms
from services.router.routing.pool import Pool
from tests.support.backend import Context, FakeBackend, Held, serving
from tests.support.polling import until
from tests.support.routing import Routed, routed, write_routes
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
    configuration = file.configuration
    terms = Terms("embed", configuration.channels, configuration.limits, changed)
    found = Pool("embed-pool", configuration.backend("embed-pool"), terms)
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


async def test_a_replica_that_its_name_no_longer_stands_for_finishes_its_calls(
    tmp_path: Path, names: NameService
) -> None:
    """Scaling down takes it out of the name first; what it was asked before that, it still answers."""
    names.known[NAME] = ["127.0.0.1"]
    held = Held()
    async with (
        serving(FakeBackend(unary=held.unary)) as fake,
        opened(tmp_path, port(fake), lambda: None) as replicas,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        await until_healthy(replicas, "127.0.0.1")
        call = asyncio.ensure_future(replicas.endpoints[0].unary(EMBED)(b"x"))
        await held.arrived.wait()
        names.known[NAME] = []
        await until_healthy(replicas)
        held.released.set()
        assert await call == b"x"


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


async def test_health_does_not_flicker_while_a_name_of_a_new_file_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said before a reload stands until more is known, and falls if the name is not found."""
    answered = threading.Event()
    outcome: list[str] = []

    def look_up(host: str, number: int, *_: Any, **__: Any) -> list[Any]:
        answered.wait(LIMIT_SECONDS)
        if not outcome:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (outcome[0], number))]

    service = "inglenook.embed.v1.EmbedService"
    async with serving(FakeBackend()) as fake, routed(tmp_path, {"embed": [fake.address]}) as router:
        await until(lambda: router.serves(service))
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        monkeypatch.setattr(pool, "LOOKUP_SECONDS", 60.0)
        for said in (["127.0.0.1"], []):
            answered.clear()
            outcome[:] = said
            write_routes(tmp_path, {"embed": [f"embed{len(said)}.test:{port(fake)}"]})
            await router.process.reloader.reload()
            for _ in range(3):
                await asyncio.sleep(0)
                assert await router.serves(service)
            answered.set()
            await until(partial(_agrees, router, service, serves=bool(said)))


async def _agrees(router: Routed, service: str, *, serves: bool) -> bool:
    return await router.serves(service) is serves


async def test_nobody_who_waits_for_a_list_is_cancelled_with_a_replica_that_is_gone(
    tmp_path: Path, names: NameService
) -> None:
    """Its name no longer stands for it: then nothing is known of it, and the caller goes on.

    What was asked for is what routing needs, and no more.
    """
    names.known[NAME] = ["127.0.0.1"]
    held, seen = Held(), list[Any]()

    async def lists(content: bytes, context: Context) -> bytes:
        seen.append(context.invocation_metadata())
        return await held.unary(content, context)

    async with (
        serving(FakeBackend(lists=lists)) as fake,
        opened(tmp_path, port(fake), lambda: None) as replicas,
        asyncio.timeout(LIMIT_SECONDS),
    ):
        await until_healthy(replicas, "127.0.0.1")
        waiting = asyncio.create_task(replicas.endpoints[0].catalog.known())
        await held.arrived.wait()
        assert BRIEF in seen[0]
        names.known[NAME] = []
        await waiting
