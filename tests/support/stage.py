"""A cluster of real processes that a test can hurt, and what its router says meanwhile."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from inglenook.router.v1 import BackendState

from services.cli.cluster import Child, Cluster
from services.config import ConfigurationFile
from tests.support.configuration import write_configuration
from tests.support.stubs import LIMIT_SECONDS, OWN_CONNECTION, Stubs

START_SECONDS = 30.0

# Frozen processes are found out sooner than by default, so that tests need not wait. Answers are not kept, so
# that every call has to be computed by a replica.
IMPATIENT = """
[cache]
url = "off"

[channels]
keepalive_seconds = 1.0
ping_timeout_seconds = 0.5
"""


@dataclass(frozen=True)
class Stage(Stubs):
    """A running cluster, and stubs that call its router."""

    cluster: Cluster

    @property
    def address(self) -> str:
        """Where the router listens."""
        return self.cluster.file.configuration.services.router.listen

    @property
    def replicas(self) -> list[Child]:
        """The embed processes."""
        return self.replicas_of("embed")

    def replicas_of(self, name: str) -> list[Child]:
        """Return the processes of a service, those that were started last at the end."""
        return [child for child in self.cluster.children if child.name == name]

    def child(self, name: str, address: str) -> Child:
        """Return the process of a service that listens at an address."""
        return next(one for one in self.cluster.children if (one.name, one.listen) == (name, address))

    async def end(self, child: Child, number: signal.Signals) -> int:
        """Send a signal that ends a process, and return the exit code once it has ended."""
        child.signal(number)
        code = await asyncio.to_thread(child.process.wait, LIMIT_SECONDS)
        self.cluster.children.remove(child)
        return code

    async def until_all_are_known(self) -> None:
        """Wait until the router knows every embed replica as healthy; it serves as soon as it knows one."""
        for child in self.replicas:
            await self.until_backend(child.listen, BackendState.BACKEND_STATE_HEALTHY)

    def restart(self, child: Child) -> Child:
        """Start a process that has ended once more, at the same address."""
        return self.cluster.start(child.name, child.listen, metrics=False)


@asynccontextmanager
async def staged(folder: Path, model: Path, *, replicas: int = 2, more: str = "") -> AsyncIterator[Stage]:
    """Start a cluster with one model, wait until it serves, and stop it at the end."""
    file = write_configuration(folder, model, replicas=replicas, more=more)
    async with staged_from(file) as stage:
        await stage.until_all_are_known()
        yield stage


@asynccontextmanager
async def staged_from(file: ConfigurationFile) -> AsyncIterator[Stage]:
    """Start the cluster that a file describes, wait until it serves, and stop it at the end."""
    with Cluster(file, logs=file.path.parent) as cluster:
        cluster.start_all()
        await asyncio.to_thread(cluster.wait_until_serving, START_SECONDS)
        router = file.configuration.services.router.listen
        async with grpc.aio.insecure_channel(router, OWN_CONNECTION) as channel:
            yield Stage(channel, cluster)


def port(address: str) -> str:
    """Return `:port` of an address: how the name of the process that listens there ends."""
    return f":{address.rpartition(':')[2]}"
