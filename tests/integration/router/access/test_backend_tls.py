"""TLS between the router and its backends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from inglenook.router.v1 import BackendState

from services.chassis.tls import CertificatesUnusable, server_credentials
from services.config import ConfigurationInvalid
from services.router.routing import pool
from tests.support.backend import Context, FakeBackend, serving
from tests.support.certificates import Files
from tests.support.guarded import Guarded, embed, guarded, write_guarded
from tests.support.polling import until

UNREACHABLE = BackendState.BACKEND_STATE_UNREACHABLE


@dataclass(frozen=True)
class Pair:
    """A router, the backend behind it, and the connections by which calls have come to the backend."""

    router: Guarded
    backend: FakeBackend
    connections: set[str]

    async def answers(self) -> bool:
        """Say whether a call through the router is answered."""
        await self.router.ready()
        return len((await self.router.by_grpc(None)).embeddings) == 1

    async def is_connected_anew(self) -> None:
        """Wait until calls come by another connection than so far."""
        known = len(self.connections)

        async def more() -> bool:
            return len(self.connections) > known

        await until(more)

    async def is_cut_off(self) -> None:
        """Wait until the router says that it does not reach the backend."""
        await self.router.until_backend(self.backend.address, UNREACHABLE)
        assert self.backend.methods == []


@asynccontextmanager
async def _behind(
    folder: Path, server: Files, client: str, *, host: str = "127.0.0.1", clients: Files | None = None
) -> AsyncIterator[Pair]:
    """Run a router in front of a backend that speaks TLS; `client` is the TOML of the backend's `tls`."""
    credentials = server_credentials(server.server(clients=clients.ca if clients is not None else None))
    connections: set[str] = set()

    async def answer(content: bytes, context: Context) -> bytes:
        connections.add(context.peer())
        return await embed(content, context)

    async with serving(FakeBackend(unary=answer), credentials=credentials) as backend:
        backend.address = backend.address.replace("127.0.0.1", host)
        async with guarded(folder, backend, f"[backends.pool.tls]\n{client}") as router:
            yield Pair(router, backend, connections)


def _ca(files: Files) -> str:
    return f'ca = "{files.ca}"\n'


def _own(files: Files) -> str:
    return f'certificate = "{files.certificate}"\nkey = "{files.key}"\n'


@pytest.mark.parametrize(
    ("names", "host", "more"),
    [
        (["127.0.0.1"], "127.0.0.1", ""),
        (["localhost"], "localhost", ""),
        (["embed.internal"], "127.0.0.1", 'server_name = "embed.internal"\n'),
    ],
)
async def test_certificate_is_for_the_host_of_the_endpoint_or_the_name_that_the_file_says(
    tmp_path: Path, names: list[str], host: str, more: str
) -> None:
    """An address, a name, or one name for all of a backend's addresses."""
    server = Files.written(tmp_path)
    server.renew(None, *names)
    async with _behind(tmp_path, server, _ca(server) + more, host=host) as pair:
        assert await pair.answers()


async def test_backend_that_shows_another_name_or_authority_is_not_called(tmp_path: Path) -> None:
    """Whoever has taken its address gets no request to read."""
    server, others = Files.written(tmp_path), Files.written(tmp_path, "others")
    server.renew(None, "somebody.else")
    async with _behind(tmp_path, server, _ca(server)) as pair:
        await pair.is_cut_off()
    server.renew()
    async with _behind(tmp_path, server, _ca(others)) as pair:
        await pair.is_cut_off()


async def test_backend_may_ask_who_the_router_is(tmp_path: Path) -> None:
    """It then takes no calls from anybody else, the router without its certificate included."""
    server, clients = Files.written(tmp_path), Files.written(tmp_path, "clients")
    async with _behind(tmp_path, server, _ca(server) + _own(clients), clients=clients) as pair:
        assert await pair.answers()
    async with _behind(tmp_path, server, _ca(server), clients=clients) as pair:
        await pair.is_cut_off()


async def test_authority_is_replaced_without_losing_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order that the documentation says: both authorities, then the certificate, then the new one."""
    monkeypatch.setattr(pool, "LOOKUP_SECONDS", 0.02)
    server, next_one = Files.written(tmp_path), Files.written(tmp_path, "next")
    async with _behind(tmp_path, server, _ca(server)) as pair:
        await pair.router.ready()
        stop = asyncio.Event()
        calling = asyncio.create_task(_keep_calling(pair.router, stop))
        server.replace(server.ca, server.ca.read_bytes() + next_one.ca.read_bytes())
        await pair.is_connected_anew()
        server.renew(next_one.authority)
        server.replace(server.ca, next_one.ca.read_bytes())
        await pair.is_connected_anew()
        stop.set()
        await calling


async def test_reload_to_files_that_are_missing_changes_nothing(tmp_path: Path) -> None:
    """The router goes on with the connections that it has."""
    server = Files.written(tmp_path)
    async with _behind(tmp_path, server, _ca(server)) as pair:
        assert await pair.answers()
        file = write_guarded(tmp_path, pair.backend, '[backends.pool.tls]\nca = "nowhere.pem"\n')
        with pytest.raises(ConfigurationInvalid, match=r"backends.pool.tls: .*nowhere.pem cannot be read"):
            await pair.router.application.reload(file)
        assert await pair.answers()


async def _keep_calling(router: Guarded, stop: asyncio.Event) -> None:
    """Make one call after the other, each of which must be answered."""
    while not stop.is_set():
        assert (await router.by_grpc(None)).embeddings


async def test_router_does_not_start_without_the_files(tmp_path: Path) -> None:
    """Calls in plain text would be the alternative."""
    server = Files.written(tmp_path)
    with pytest.raises(CertificatesUnusable, match=r"nowhere.pem cannot be read: No such file"):
        async with _behind(tmp_path, server, 'ca = "nowhere.pem"'):
            pass
