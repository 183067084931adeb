"""What becomes of loads and calls when a service stops."""

from __future__ import annotations

import asyncio

import pytest

from services.inference.errors import ModelNotReady
from services.inference.lifecycle.transition import LoadCancelled
from tests.support.lifecycle import LIMIT_SECONDS, House, right_answer, settle, until

STOPPING = r"^model a is not loaded; the service is stopping$"


async def test_closing_stops_preparations_and_keeps_nobody_waiting() -> None:
    """A process that is told to stop while it starts should stop, and say so to those who wait."""
    house = House("a", "b")
    house.loads.gate("prepare a", "prepare b")
    callers = [
        *(asyncio.create_task(house.registry.load(name)) for name in ("a", "a", "b")),
        asyncio.create_task(house.ask("b")),
    ]
    await settle()

    await house.close()
    async with asyncio.timeout(LIMIT_SECONDS):
        results = await asyncio.gather(*callers, return_exceptions=True)

    assert [type(result) for result in results] == [ModelNotReady] * 4
    assert house.states == "available available"
    assert house.changes[-1] == "available available"


async def test_report_of_a_load_that_was_cancelled_raises() -> None:
    """That ends a download: its thread cannot be stopped, and the process would wait for it."""
    house = House("a")
    house.loads.gate("prepare a")
    load = asyncio.create_task(house.registry.load("a"))
    await until(lambda: "a" in house.loads.reports)
    report = house.loads.reports["a"]
    await asyncio.to_thread(report, "downloading model.safetensors")

    await house.close()

    with pytest.raises(LoadCancelled):
        await asyncio.to_thread(report, "downloading model.safetensors")
    with pytest.raises(ModelNotReady):
        await load


async def test_closing_ends_the_loading_of_a_start() -> None:
    """The start has nothing to complain about, and takes nothing more up."""
    house = House("a", "b")
    house.loads.gate("prepare a")
    start = asyncio.create_task(house.registry.load_all())
    await settle()

    await house.close()

    async with asyncio.timeout(LIMIT_SECONDS):
        await start
    assert "open a" not in house.loads.steps


async def test_load_that_never_began_keeps_nobody_waiting() -> None:
    """It is cancelled before its first step."""
    house = House("a")
    call = asyncio.create_task(house.ask("a"))
    await asyncio.sleep(0)

    await house.close()

    with pytest.raises(ModelNotReady, match=STOPPING):
        await call
    assert house.states == "available"
    assert house.loads.steps == []


async def test_model_that_is_being_opened_is_closed_as_soon_as_it_is_open() -> None:
    """Threads cannot be stopped, and what they open must not stay."""
    house = House("a")
    house.loads.gate("open a")
    call = asyncio.create_task(house.ask("a"))
    await until(lambda: "open a" in house.loads.steps)

    close = asyncio.create_task(house.close())
    await settle()
    assert not close.done()
    house.loads.open("open a")

    async with asyncio.timeout(LIMIT_SECONDS):
        await close
        with pytest.raises(ModelNotReady, match=STOPPING) as raised:
            await call
    assert raised.value.retry_after_seconds == 1.0
    assert house.loads.steps == ["prepare a", "open a", "close a"]
    assert house.states == "available"


async def test_closing_finishes_the_calls_that_have_a_model() -> None:
    """A call that was let in gets its answer before the sessions go."""
    house = House("a")
    await house.registry.load("a")
    gate = asyncio.Event()
    call = asyncio.create_task(house.hold("a", gate))
    await settle()

    close = asyncio.create_task(house.close())
    await settle()
    assert not close.done()
    with pytest.raises(ModelNotReady, match=STOPPING):
        await house.ask("a")
    gate.set()

    async with asyncio.timeout(LIMIT_SECONDS):
        assert await call == right_answer("a")
        await close
    assert house.events[-1].cause == "stopping"


@pytest.mark.parametrize("on_demand", ["wait", "retry", "never"])
async def test_nothing_is_loaded_any_more_after_closing(on_demand: str) -> None:
    """Neither for a call nor for an operator, and both hear why."""
    house = House("a", on_demand=on_demand)
    await house.close()

    with pytest.raises(ModelNotReady, match=STOPPING):
        await house.registry.load("a")
    with pytest.raises(ModelNotReady, match=STOPPING):
        await house.ask("a")
    assert house.loads.steps == []


async def test_no_change_that_is_told_while_closing_shows_a_model_that_answers() -> None:
    """Health would say SERVING once more, and calls would come to a process that is leaving."""
    house = House("a", "b", "c")
    await house.registry.load("a")
    await house.registry.load("b")
    house.loads.gate("open c")
    load = asyncio.create_task(house.registry.load("c"))
    await until(lambda: "open c" in house.loads.steps)
    before = len(house.changes)

    close = asyncio.create_task(house.close())
    await settle()
    house.loads.open("open c")
    await close

    assert not [change for change in house.changes[before:] if "ready" in change]
    assert house.changes[-1] == "available available available"
    with pytest.raises(ModelNotReady):
        await load


async def test_closing_twice_is_closing() -> None:
    """Who cleans up need not know who did before."""
    house = House("a")
    await house.registry.load("a")
    await house.close()
    await house.close()
    assert house.loads.steps.count("close a") == 1
