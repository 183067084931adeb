"""A router inside the test's event loop, in front of whatever backends the test has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from services.chassis.process import ServiceProcess
from services.chassis.testing import FailedCall, read_failure, running, settings
from services.config import ConfigurationFile, load
from services.router.app import build
from tests.support.polling import until
from tests.support.stubs import OWN_CONNECTION, Stubs


@dataclass(frozen=True)
class Routed(Stubs):
    """A running router, and stubs that call it."""

    process: ServiceProcess
    file: ConfigurationFile

    def raw(self, method: str) -> Any:
        """Return what calls a method with one response, bytes to bytes."""
        return self.channel.unary_unary(method)

    def raw_stream(self, method: str) -> Any:
        """Return what calls a method with a stream of responses, bytes to bytes."""
        return self.channel.unary_stream(method)


def write_routes(
    folder: Path, routes: Mapping[str, Sequence[str]], more: str = "", http: str = "off"
) -> ConfigurationFile:
    """Write and load a configuration that routes capabilities to endpoints; `more` is TOML before that."""
    lines = [
        more,
        f'[services.router]\nhttp_listen = "{http}"',
        "[routes]",
        *(f'{capability} = ["{capability}-pool"]' for capability in routes),
    ]
    for capability, endpoints in routes.items():
        listed = ", ".join(f'"{endpoint}"' for endpoint in endpoints)
        lines += [f"[backends.{capability}-pool]", f"endpoints = [{listed}]"]
    path = folder / "router.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load(path)


@asynccontextmanager
async def routed(
    folder: Path,
    routes: Mapping[str, Sequence[str]],
    *,
    more: str = "",
    heard: bool = True,
    metrics: bool = False,
    http: str = "off",
) -> AsyncIterator[Routed]:
    """Run a router; `heard` waits until it has heard of every endpoint; `http` is its HTTP address."""
    file = write_routes(folder, routes, more, http)
    async with routed_by(
        file, endpoints=sum(map(len, routes.values())) if heard else 0, metrics=metrics
    ) as router:
        yield router


@asynccontextmanager
async def routed_by(
    file: ConfigurationFile, *, endpoints: int, metrics: bool = False
) -> AsyncIterator[Routed]:
    """Run a router as a file says, and wait until it has heard of so many endpoints."""
    chosen = settings(limits=file.configuration.limits, metrics=metrics)
    async with (
        running(lambda surroundings: build(surroundings, file), chosen) as process,
        grpc.aio.insecure_channel(process.address, OWN_CONNECTION) as channel,
    ):
        router = Routed(channel, process, file)
        if endpoints:
            await until(lambda: _all_heard(router, endpoints))
        yield router


async def _all_heard(router: Routed, count: int) -> bool:
    known = [one for one in await router.backends() if one.state]
    return len(known) >= count


async def read_all(call: Any) -> tuple[list[bytes], FailedCall | None]:
    """Return the messages of a stream, and how it failed, if it did."""
    received: list[bytes] = []
    try:
        async for message in call:
            received.append(message)  # noqa: PERF401  # what came before a failure is kept
    except grpc.aio.AioRpcError as error:
        return received, read_failure(error)
    return received, None


async def failed(call: Any) -> FailedCall:
    """Return how a call, unary or streaming, fails; fail if it does not."""
    if isinstance(call, grpc.aio.UnaryStreamCall):
        _, failure = await read_all(call)
    else:
        failure = None
        try:
            await call
        except grpc.aio.AioRpcError as error:
            failure = read_failure(error)
    assert failure is not None, "the call succeeded"
    return failure
