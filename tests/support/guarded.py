"""A router with keys or certificates, in front of one backend that counts what reaches it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import grpc
import httpx2
from inglenook.embed.v1 import Embedding, EmbedRequest, EmbedResponse, Encoding

from services.chassis.process import Application, ServiceProcess, Surroundings
from services.chassis.testing import running, settings
from services.config import ConfigurationFile, load
from services.router.app import build
from services.router.http.door import HttpDoor
from tests.support.backend import Context, FakeBackend
from tests.support.certificates import Files
from tests.support.polling import until
from tests.support.stubs import LIMIT_SECONDS, OWN_CONNECTION, Stubs

SERVICE: Final = "inglenook.embed.v1.EmbedService"
EMBED: Final = "/inglenook.embed.v1.EmbedService/Embed"
QUESTION: Final = EmbedRequest(model="m", inputs=["hello"])
ASKED: Final = {"model": "m", "input": "hello"}
"""What `QUESTION` is in OpenAI's words."""


async def embed(content: bytes, context: Context) -> bytes:
    """Answer each input with a vector of one number."""
    del context
    request = EmbedRequest.FromString(content)
    packed = request.encoding == Encoding.ENCODING_FLOAT32
    one = Embedding(packed=b"\0\0\x80?") if packed else Embedding(values=[1.0])
    return EmbedResponse(model="m", embeddings=[one] * len(request.inputs)).SerializeToString()


@dataclass(frozen=True)
class Guarded(Stubs):
    """A router, and ways to ask it."""

    process: ServiceProcess
    application: Application
    http: httpx2.AsyncClient
    backend: FakeBackend

    @property
    def reached(self) -> int:
        """How many calls of `Embed` have reached the backend."""
        return self.backend.methods.count(EMBED)

    @property
    def http_address(self) -> str:
        """Where the router listens for HTTP."""
        (door,) = self.process.doors
        assert isinstance(door, HttpDoor)
        return door.address

    def by_grpc(self, key: str | None) -> Awaitable[EmbedResponse]:
        """Ask over gRPC."""
        metadata = (("authorization", f"Bearer {key}"),) if key is not None else ()
        return self.embed.Embed(QUESTION, timeout=LIMIT_SECONDS, metadata=metadata)

    async def by_http(self, key: str | None) -> httpx2.Response:
        """Ask over HTTP."""
        headers = {"authorization": f"Bearer {key}"} if key is not None else {}
        return await self.http.post("/v1/embeddings", json=ASKED, headers=headers)

    async def ready(self) -> None:
        """Wait until the router has found its backend."""
        await until(lambda: self.serves(SERVICE))


def write_guarded(folder: Path, backend: FakeBackend, more: str) -> ConfigurationFile:
    """Write and load a configuration with one backend; `more` is TOML that is put at the end."""
    path = folder / "guarded.toml"
    lines = [
        '[routes]\nembed = ["pool"]',
        f'[backends.pool]\nendpoints = ["{backend.address}"]',
        '[services.router]\nlisten = "127.0.0.1:0"\nhttp_listen = "127.0.0.1:0"',
        more,
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load(path)


@asynccontextmanager
async def guarded(
    folder: Path, backend: FakeBackend, more: str, *, shows: Files | None = None, trusts: Files | None = None
) -> AsyncIterator[Guarded]:
    """Run a router in front of `backend`, which runs.

    Args:
        folder: Where the configuration goes.
        backend: What is asked; it answers `Embed` if its `unary` is `embed`.
        more: TOML.
        shows: Certificates that the test's clients show.
        trusts: Certificates that they know the router by; None for plain text.
    """
    file = write_guarded(folder, backend, more)
    chosen = replace(
        settings(), service=file.configuration.services.router.model_copy(update={"metrics_listen": None})
    )
    built: list[Application] = []

    def build_it(surroundings: Surroundings) -> Application:
        built.append(build(surroundings, file))
        return built[0]

    async with running(build_it, chosen) as process:
        (door,) = process.doors
        assert isinstance(door, HttpDoor)
        plain = trusts is None
        channel = (
            grpc.aio.insecure_channel(process.address, OWN_CONNECTION)
            if trusts is None
            else trusts.channel(process.address, shows=shows)
        )
        context = trusts.context(shows=shows) if trusts is not None else True
        async with (
            channel,
            httpx2.AsyncClient(
                base_url=f"http{'' if plain else 's'}://{door.address}", timeout=LIMIT_SECONDS, verify=context
            ) as http,
        ):
            yield Guarded(channel, process, built[0], http, backend)
