"""TLS at the router's two doors, and between the router and its backends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from tests.support.backend import FakeBackend, Held, serving
from tests.support.certificates import Files, der, shown
from tests.support.guarded import Guarded, embed, guarded

HTTP = "http/1.1"


def _served(files: Files, clients: Files | None = None) -> str:
    """Return TOML for a router with these certificates; it goes into the table of the router."""
    more = f'client_ca = "{clients.ca}"' if clients is not None else ""
    return f'[services.router.tls]\ncertificate = "{files.certificate}"\nkey = "{files.key}"\n{more}\n'


@asynccontextmanager
async def _router(
    files: Files, clients: Files | None = None, shows: Files | None = None
) -> AsyncIterator[Guarded]:
    async with (
        serving(FakeBackend(unary=embed)) as backend,
        guarded(files.folder, backend, _served(files, clients), trusts=files, shows=shows) as router,
    ):
        yield router


async def test_both_doors_speak_tls(tmp_path: Path) -> None:
    """With the same certificate; plain text is refused at both."""
    files = Files.written(tmp_path)
    async with _router(files) as router:
        await router.ready()
        assert (await router.by_grpc(None)).embeddings
        assert (await router.by_http(None)).status_code == 200
        assert (await shown(router.http_address, files.context(), HTTP)) == (der(files.certificate), HTTP)
        async with httpx2.AsyncClient() as plain:
            with pytest.raises(httpx2.TransportError):
                await plain.get(f"http://{router.http_address}/health")


async def test_http_takes_no_other_protocol_than_its_own(tmp_path: Path) -> None:
    """A client that offers HTTP/2 is not promised it."""
    files = Files.written(tmp_path)
    async with _router(files) as router:
        assert (await shown(router.http_address, files.context(), "h2"))[1] is None


async def test_versions_of_tls_before_1_2_are_refused_over_http(tmp_path: Path) -> None:
    """As they are over gRPC."""
    files = Files.written(tmp_path)
    context = files.context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with _router(files) as router:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await shown(router.http_address, context, HTTP)


async def test_caller_without_a_certificate_comes_in_by_neither_door(tmp_path: Path) -> None:
    """Mutual TLS: one that shows a certificate of the authority does."""
    files, clients, others = (Files.written(tmp_path, name) for name in ("server", "clients", "others"))
    async with _router(files, clients, shows=clients) as router:
        await router.ready()
        assert (await router.by_grpc(None)).embeddings
        assert (await router.by_http(None)).status_code == 200
        for wrong in (None, others):
            async with httpx2.AsyncClient(verify=files.context(shows=wrong)) as stranger:
                with pytest.raises(httpx2.TransportError):
                    await stranger.get(f"https://{router.http_address}/health")


async def test_http_shows_a_renewed_certificate_and_goes_on_with_old_connections(tmp_path: Path) -> None:
    """A connection that was open stays open; a request that was under way is answered."""
    files, held = Files.written(tmp_path), Held()

    async def answer(content: bytes, context: object) -> bytes:
        if content:
            await held.unary(content, context)  # type: ignore[arg-type]
        return await embed(content, context)  # type: ignore[arg-type]

    async with (
        serving(FakeBackend(unary=answer)) as backend,
        guarded(tmp_path, backend, _served(files), trusts=files) as router,
    ):
        await router.ready()
        under_way = asyncio.create_task(router.by_http(None))
        await held.arrived.wait()
        before = der(files.certificate)
        files.renew()
        assert (
            (await shown(router.http_address, files.context(), HTTP))[0] == der(files.certificate) != before
        )
        held.released.set()
        assert (await under_way).status_code == 200
        assert (await router.by_http(None)).status_code == 200


async def test_http_keeps_the_last_good_certificate(tmp_path: Path) -> None:
    """Files that cannot be used do not take the door away, and the next good ones hold at once."""
    files = Files.written(tmp_path)
    async with _router(files) as router:
        good = der(files.certificate)
        files.replace(files.certificate, b"")
        for _ in range(2):
            assert (await shown(router.http_address, files.context(), HTTP))[0] == good
        files.renew()
        assert (await shown(router.http_address, files.context(), HTTP))[0] == der(files.certificate) != good


async def test_authority_of_clients_is_renewed_over_http_as_well(tmp_path: Path) -> None:
    """One that was taken out of the file lets nobody in any more."""
    files, clients, others = (Files.written(tmp_path, name) for name in ("server", "clients", "others"))
    async with _router(files, clients, shows=clients) as router:
        clients.replace(clients.ca, others.ca.read_bytes())
        url = f"https://{router.http_address}/health"
        async with httpx2.AsyncClient(verify=files.context(shows=others)) as newcomer:
            assert (await newcomer.get(url)).status_code == 200
        async with httpx2.AsyncClient(verify=files.context(shows=clients)) as gone:
            with pytest.raises(httpx2.TransportError):
                await gone.get(url)
