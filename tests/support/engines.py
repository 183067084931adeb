"""Engine services inside the test's event loop, over real tiny models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from services.chassis.process import Application, ServiceProcess, Surroundings
from services.chassis.testing import running, settings
from services.config import ConfigurationFile, load
from services.embed.app import build
from tests.support.polling import until
from tests.support.stubs import OWN_CONNECTION, Stubs

SERVICE = "inglenook.embed.v1.EmbedService"

SETTINGS = """
[engine]
threads = 1
calibrate = false
"""
"""Put behind the models; what follows it at once belongs to `[engine]` too."""


Build = Callable[[Surroundings, ConfigurationFile], Application]
"""What puts the application of a service together."""


@dataclass(frozen=True)
class Engine(Stubs):
    """A running engine service, and stubs that call it."""

    process: ServiceProcess


def model_section(name: str, folder: Path, more: str = "") -> str:
    """Return the TOML of an embedding model in `folder`."""
    return f'[models.{name}]\ncapability = "embed"\nsource = "dir:{folder}"\n{more}\n'


@asynccontextmanager
async def embedding(
    folder: Path, models: str, *, more: str = "", serves: bool = True
) -> AsyncIterator[Engine]:
    """Run an embed service with these models; `serves` waits until it says SERVING."""
    text = models + SETTINGS + more
    async with serving(build, folder, text, SERVICE if serves else None) as engine:
        yield engine


@asynccontextmanager
async def serving(
    build: Build, folder: Path, configuration: str, service: str | None
) -> AsyncIterator[Engine]:
    """Run the service that `build` puts together; wait until it says SERVING for `service`, if given."""
    path = folder / "service.toml"
    path.write_text(configuration, encoding="utf-8")
    file = load(path)
    chosen = settings(limits=file.configuration.limits)
    async with (
        running(lambda surroundings: build(surroundings, file), chosen) as process,
        grpc.aio.insecure_channel(process.address, OWN_CONNECTION) as channel,
    ):
        engine = Engine(channel, process)
        if service is not None:
            await until(lambda: engine.serves(service))
        yield engine
