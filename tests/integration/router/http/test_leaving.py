"""A router that is told to stop while requests are under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.chassis.metrics import AddressInUse
from services.chassis.process import ServiceProcess
from services.chassis.testing import settings
from services.config import Shutdown
from services.router.app import build
from tests.support.backend import Context, serving
from tests.support.http_side import ANY_PORT, COMPLETIONS, QUESTION, Backend, asking, posted, routed_http
from tests.support.polling import until
from tests.support.routing import write_routes
from tests.support.scripted_chat import begun, ended, piece
from tests.support.stubs import LIMIT_SECONDS

ASKED: Any = {"model": "talker", "messages": QUESTION, "stream": True}


class Slow:
    """Says something, and the rest when it may."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def stream(self, content: bytes, context: Context) -> AsyncIterator[bytes]:
        """Answer."""
        yield begun().SerializeToString()
        yield piece(text="It is").SerializeToString()
        await self.go_on.wait()
        yield piece(text=" warm.").SerializeToString()
        yield ended().SerializeToString()


async def started(folder: Path, backend: str, shutdown: Shutdown) -> ServiceProcess:
    """Start a router."""
    file = write_routes(folder, {"chat": [backend]}, http=ANY_PORT)
    chosen = settings(shutdown=shutdown)
    process = ServiceProcess(chosen, lambda surroundings: build(surroundings, file))
    await process.start()
    return process


def address(process: ServiceProcess) -> str:
    """Return where it listens for HTTP."""
    return str(process.doors[0].address)  # type: ignore[attr-defined]  # what a door has besides


async def ready(process: ServiceProcess) -> None:
    """Wait until it has found its backend."""
    async with asking(address(process)) as side:

        async def available() -> bool:
            told = (await side.plain.get("/status")).json()
            return bool(told["capabilities"][0]["available"])

        await until(available)


async def test_a_router_that_leaves_says_so_and_finishes_what_it_has_begun(tmp_path: Path) -> None:
    """While it drains it still answers, unhealthy; a stream gets its end within the grace."""
    slow = Slow()
    async with serving(Backend(stream=slow.stream)) as fake, asyncio.timeout(LIMIT_SECONDS):
        shutdown = Shutdown(drain_seconds=0.5, grace_seconds=10.0, flush_seconds=0.5)
        process = await started(tmp_path, fake.address, shutdown)
        await ready(process)
        async with asking(address(process)) as side, posted(side.address, COMPLETIONS, ASKED) as reader:
            await reader.readuntil(b"It is")
            assert (await side.plain.get("/health")).status_code == 200
            leaving = asyncio.create_task(process.leave())

            async def unhealthy() -> bool:
                return (await side.plain.get("/health")).status_code == 503

            await until(unhealthy)
            assert (await side.plain.get("/v1/models")).status_code == 200
            slow.go_on.set()
            rest = await reader.readuntil(b"[DONE]")
            assert b" warm." in rest
            await leaving


async def test_a_stream_that_outlasts_the_grace_is_told_that_it_is_over(tmp_path: Path) -> None:
    """It ends with an error, not with silence, and the process ends."""
    slow = Slow()
    async with serving(Backend(stream=slow.stream)) as fake, asyncio.timeout(LIMIT_SECONDS):
        shutdown = Shutdown(drain_seconds=0.0, grace_seconds=0.3, flush_seconds=0.5)
        process = await started(tmp_path, fake.address, shutdown)
        await ready(process)
        async with posted(address(process), COMPLETIONS, ASKED) as reader:
            await reader.readuntil(b"It is")
            await process.leave()
            rest = await reader.read()
    assert b'"error"' in rest
    assert b"not_ready" in rest
    assert b"[DONE]" not in rest


async def test_a_second_signal_ends_streams_at_once(tmp_path: Path) -> None:
    """However long the grace would have been."""
    slow, hurry = Slow(), asyncio.Event()
    async with serving(Backend(stream=slow.stream)) as fake, asyncio.timeout(LIMIT_SECONDS):
        shutdown = Shutdown(drain_seconds=0.0, grace_seconds=600.0, flush_seconds=0.5)
        process = await started(tmp_path, fake.address, shutdown)
        await ready(process)
        async with posted(address(process), COMPLETIONS, ASKED) as reader:
            await reader.readuntil(b"It is")
            leaving = asyncio.create_task(process.leave(hurry))
            hurry.set()
            await leaving
            await reader.read()


async def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    """As for the gRPC address: the process does not start."""
    async with serving(Backend()) as fake, routed_http(tmp_path, {"chat": [fake.address]}) as side:
        file = write_routes(tmp_path, {"chat": [fake.address]}, http=side.address)
        process = ServiceProcess(settings(), lambda surroundings: build(surroundings, file))
        with pytest.raises(AddressInUse, match="HTTP"):
            await process.start()
        await process.leave()
