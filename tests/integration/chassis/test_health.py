"""Health that says what is true, from the first moment to the last."""

from __future__ import annotations

import asyncio

import pytest

from services.chassis.health import Health
from services.chassis.process import ServiceProcess
from services.chassis.testing import settings
from services.config import Shutdown
from tests.support.checking import check, next_status, watch
from tests.support.gate import Gate
from tests.support.handlers import LIMIT_SECONDS, SERVICE, HandlerApplication, connected, served
from tests.support.polling import until


async def _never(health: Health) -> None:
    await asyncio.Event().wait()


async def _broken(health: Health) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("name", ["", SERVICE])
async def test_nothing_is_serving_before_the_application_says_so(name: str) -> None:
    """Callers that are sent to a process which still loads its models would only get errors."""
    async with served(HandlerApplication(begin=_never)) as up:
        assert await check(up.client.channel, name) == "NOT_SERVING"
        call = watch(up.client.channel, name)
        assert await next_status(call) == "NOT_SERVING"
        call.cancel()


async def test_process_is_alive_while_it_loads() -> None:
    """A liveness probe must not kill what only needs a minute to load."""
    async with served(HandlerApplication(begin=_never)) as up:
        assert await check(up.client.channel, "liveness") == "SERVING"


@pytest.mark.parametrize("name", ["", SERVICE])
async def test_watchers_are_told_when_the_application_serves(name: str) -> None:
    """A watching channel sends its first call the moment the application is ready, without polling."""
    ready = asyncio.Event()

    async def begin(health: Health) -> None:
        await ready.wait()
        await health.set_all(serving=True)

    async with asyncio.timeout(LIMIT_SECONDS), served(HandlerApplication(begin=begin)) as up:
        call = watch(up.client.channel, name)
        assert await next_status(call) == "NOT_SERVING"
        ready.set()
        assert await next_status(call) == "SERVING"


async def test_unknown_service_is_not_found() -> None:
    """A probe with a misspelt name must not pass for healthy."""
    async with served() as up:
        assert await check(up.client.channel, "test.v1.Misspelt") == "NOT_FOUND"


async def test_application_that_fails_to_start_never_serves() -> None:
    """The process ends then; until it does, nobody must be sent to it."""
    async with served(HandlerApplication(begin=_broken)) as up:
        with pytest.raises(ZeroDivisionError):
            await up.process.failed()
        assert await check(up.client.channel) == "NOT_SERVING"
        assert await check(up.client.channel, SERVICE) == "NOT_SERVING"


async def _leaving_process(application: HandlerApplication) -> ServiceProcess:
    shutdown = Shutdown(drain_seconds=600.0, grace_seconds=5.0, flush_seconds=0.5)
    process = ServiceProcess(settings(shutdown=shutdown), application)
    await process.start()
    return process


async def test_draining_process_says_so_at_once_and_serves_on() -> None:
    """Callers need time to turn away; the calls that they still send are answered until then."""
    hurry = asyncio.Event()
    application = HandlerApplication()
    async with asyncio.timeout(LIMIT_SECONDS):
        process = await _leaving_process(application)
        async with connected(process.address) as client:
            call = watch(client.channel, SERVICE)
            await until(lambda: _is(client.channel, "SERVING"))
            leaving = asyncio.create_task(process.leave(hurry))
            while await next_status(call) != "NOT_SERVING":
                pass
            assert await check(client.channel) == "NOT_SERVING"
            assert await check(client.channel, "liveness") == "SERVING"
            assert (await client.unary("still here")).value == "still here"
            assert application.stopped == []
            hurry.set()
            await leaving
    assert application.stopped == [True]


async def test_application_cannot_take_back_that_the_process_leaves() -> None:
    """A model that finishes loading during the drain must not call callers back."""
    told: list[Health] = []

    async def begin(health: Health) -> None:
        told.append(health)
        await health.set_all(serving=True)

    hurry = asyncio.Event()
    async with asyncio.timeout(LIMIT_SECONDS):
        process = await _leaving_process(HandlerApplication(begin=begin))
        async with connected(process.address) as client:
            await until(lambda: _is(client.channel, "SERVING"))
            leaving = asyncio.create_task(process.leave(hurry))
            await until(lambda: _is(client.channel, "NOT_SERVING"))
            await told[0].set_all(serving=True)
            await told[0].set(SERVICE, serving=True)
            assert await check(client.channel) == "NOT_SERVING"
            assert await check(client.channel, SERVICE) == "NOT_SERVING"
            hurry.set()
            await leaving


async def test_health_watch_does_not_hold_the_process() -> None:
    """Watches live as long as their channels: a stop that waited for them would use up its whole grace."""
    shutdown = Shutdown(drain_seconds=0.0, grace_seconds=600.0, flush_seconds=0.5)
    process = ServiceProcess(settings(shutdown=shutdown), HandlerApplication())
    await process.start()
    async with asyncio.timeout(LIMIT_SECONDS), connected(process.address) as client:
        call = watch(client.channel)
        await next_status(call)
        await process.leave()


async def test_call_in_flight_finishes_after_the_drain() -> None:
    """What was accepted is answered."""
    gate = Gate()
    process = ServiceProcess(settings(), gate.application())
    await process.start()
    async with asyncio.timeout(LIMIT_SECONDS), connected(process.address) as client:
        call, stream = client.unary("answered"), client.stream("streamed")
        await gate.until_entered(2)
        leaving = asyncio.create_task(process.leave())
        await until(lambda: _refused(process.address))
        gate.open.set()
        assert (await call).value == "answered"
        assert [response.value async for response in stream] == ["streamed"]
        await leaving


async def _is(channel: object, status: str) -> bool:
    return await check(channel) == status  # type: ignore[arg-type]  # a channel


async def _refused(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return True
    writer.close()
    return False
