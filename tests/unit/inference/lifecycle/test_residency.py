"""Who comes into memory under a budget, and who goes. A model takes 30 MB, the process 20 MB by itself."""

from __future__ import annotations

import asyncio

import pytest

from services.inference.errors import ModelFailed
from services.inference.lifecycle import LifecycleEvent
from tests.support.fakeclock import FakeClock, run_with_clock
from tests.support.lifecycle import LIMIT_SECONDS, MEGABYTE, House, right_answer, settle, until

TWO = 85 * MEGABYTE
"""A budget that holds two of the models."""


async def test_model_that_was_used_longest_ago_makes_room() -> None:
    """Not the one that was loaded first."""
    house = House("a", "b", "c", memory_budget_bytes=TWO)
    for name in "aba":
        await house.ask(name)

    assert await house.ask("c") == right_answer("c")

    assert house.states == "ready available ready"
    assert LifecycleEvent("unloaded", "b", "evicted") in house.events
    assert house.loads.accounts.most <= TWO
    await house.close()


async def test_idle_model_goes_before_a_busy_one() -> None:
    """Even if it was used later: closing the busy one would make its callers wait."""
    house = House("a", "b", "c", memory_budget_bytes=TWO)
    gate = asyncio.Event()
    await house.ask("a")
    busy = asyncio.create_task(house.hold("a", gate))
    await settle()
    await house.ask("b")

    async with asyncio.timeout(LIMIT_SECONDS):
        assert await house.ask("c") == right_answer("c")

    assert house.states == "ready available ready"
    gate.set()
    assert await busy == right_answer("a")
    await house.close()


async def test_busy_model_goes_when_no_idle_one_is_left_and_loses_no_call() -> None:
    """Its calls finish, and calls that come meanwhile wait until it is back."""
    house = House("a", "c", memory_budget_bytes=55 * MEGABYTE)
    gate = asyncio.Event()
    await house.ask("a")
    busy = asyncio.create_task(house.hold("a", gate))
    await settle()
    newcomer = asyncio.create_task(house.ask("c"))
    await until(lambda: house.states == "unloading loading")
    late = asyncio.create_task(house.ask("a"))
    await settle()
    assert house.loads.models["a"].is_open
    assert "open c" not in house.loads.steps
    assert house.registry.status("c").detail == "waiting for memory"
    gate.set()

    async with asyncio.timeout(LIMIT_SECONDS):
        answers = list(await asyncio.gather(busy, newcomer, late))
    assert answers == [right_answer(name) for name in "aca"]
    assert house.loads.accounts.most <= 55 * MEGABYTE
    await house.close()


def test_model_stays_for_as_long_as_opening_it_took() -> None:
    """Under three models that all want in, at most about half of the time goes into opening."""

    async def main(clock: FakeClock) -> None:
        house = House("a", "b", clock=clock, memory_budget_bytes=55 * MEGABYTE)
        house.loads.gate("prepare a", "open a")
        first = asyncio.create_task(house.ask("a"))
        await until(lambda: "prepare a" in house.loads.steps)
        clock.advance(600.0)  # a download, which no later load repeats
        house.loads.open("prepare a")
        await until(lambda: "open a" in house.loads.steps)
        clock.advance(4.0)
        house.loads.open("open a")
        await first

        second = asyncio.create_task(house.ask("b"))
        await settle()
        clock.advance(3.9)
        await settle()
        assert house.states == "ready loading"
        assert await house.ask("a") == right_answer("a")
        clock.advance(0.2)
        async with asyncio.timeout(LIMIT_SECONDS):
            assert await second == right_answer("b")
        assert house.states == "available ready"
        assert house.registry.status("a").load_seconds == pytest.approx(604.0)
        await house.close()

    run_with_clock(main)


async def test_model_larger_than_the_budget_fails_and_evicts_nobody() -> None:
    """The message has the numbers and says what to change."""
    house = House("a", "large", memory_budget_bytes=TWO)
    house.loads.needs["large"] = 300 * MEGABYTE
    await house.ask("a")

    status = await house.registry.load("large")

    assert status.problem == (
        "needs about 300 MB, the whole budget is 85 MB: raise engine.memory_budget_mb or use a smaller model"
    )
    assert house.states == "ready failed"
    with pytest.raises(ModelFailed, match="model large could not be loaded: needs about 300 MB"):
        await house.ask("large")
    await house.close()


async def test_model_that_does_not_fit_beside_the_process_itself_fails() -> None:
    """Everybody else is gone by then, and what is left is told."""
    house = House("a", "large", memory_budget_bytes=TWO)
    house.loads.needs["large"] = 70 * MEGABYTE
    await house.ask("a")

    status = await house.registry.load("large")

    assert status.problem == (
        "needs about 70 MB, the budget leaves 65 MB: raise engine.memory_budget_mb or use a smaller model"
    )
    assert "open large" not in house.loads.steps
    await house.close()


async def test_model_that_takes_more_than_was_expected_makes_others_go() -> None:
    """The estimate said 10 MB; what counts is what was measured."""
    house = House("a", "b", "c", memory_budget_bytes=TWO)
    house.loads.weights["c"] = 4 * MEGABYTE
    await house.ask("a")
    await house.ask("b")
    house.loads.accounts.held["base"] = 14 * MEGABYTE  # leaves 11 MB

    assert await house.ask("c") == right_answer("c")

    assert house.states == "available ready ready"
    assert house.registry.status("c").memory_bytes == 30 * MEGABYTE
    assert house.loads.accounts.resident() <= TWO
    await house.close()


async def test_model_that_turns_out_not_to_fit_is_closed_and_fails_with_what_was_measured() -> None:
    """A process beyond its budget may be killed; and the next attempt knows the size beforehand."""
    house = House("a", memory_budget_bytes=TWO)
    house.loads.weights["a"] = 4 * MEGABYTE
    house.loads.needs["a"] = 70 * MEGABYTE

    failed = await house.registry.load("a")
    again = await house.registry.load("a")

    assert failed.problem == (
        "needs about 70 MB, the budget leaves 65 MB: raise engine.memory_budget_mb or use a smaller model"
    )
    assert again.problem == failed.problem
    assert house.loads.steps == ["prepare a", "open a", "close a", "prepare a"]
    assert house.loads.accounts.resident() == 20 * MEGABYTE
    await house.close()


async def test_model_waits_for_memory_that_a_preparation_takes_for_a_while() -> None:
    """Building a graph takes memory and gives it back; nothing should fail for having come in between."""
    house = House("a", "building", memory_budget_bytes=55 * MEGABYTE)
    house.loads.gate("prepare building")
    building = asyncio.create_task(house.registry.load("building"))
    await settle()
    house.loads.accounts.held["graph"] = 20 * MEGABYTE
    load = asyncio.create_task(house.registry.load("a"))
    await settle()
    assert house.registry.status("a").detail == "waiting for memory"

    del house.loads.accounts.held["graph"]
    house.loads.open("prepare building")

    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.gather(load, building)
        assert await house.ask("a") == right_answer("a")
        assert await house.ask("building") == right_answer("building")
    await house.close()


async def test_call_waits_for_no_load_but_that_of_its_own_model() -> None:
    """A model whose size is known comes in while another one is still being opened."""
    house = House("a", "slow", "new", memory_budget_bytes=200 * MEGABYTE)
    await house.ask("a")
    await house.registry.unload("a")
    await house.ask("slow")
    await house.registry.unload("slow")
    house.loads.gate("open slow", "open new")
    waiting = [asyncio.create_task(house.ask(name)) for name in ("slow", "new")]
    await until(lambda: house.loads.steps.count("open slow") == 2)

    async with asyncio.timeout(LIMIT_SECONDS):
        assert await house.ask("a") == right_answer("a")

    assert house.states == "ready loading loading"
    house.loads.open("open slow")
    await until(lambda: "open new" in house.loads.steps)
    house.loads.open("open new")
    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.gather(*waiting)
    await house.close()


async def test_two_that_are_opened_at_once_stay_within_the_budget_together() -> None:
    """What one has reserved, the other one cannot have, although it does not show in the process yet."""
    house = House("a", "b", memory_budget_bytes=75 * MEGABYTE)
    for name in "ab":
        await house.ask(name)
        await house.registry.unload(name)
    house.loads.gate("open a")
    first = asyncio.create_task(house.ask("a"))
    await until(lambda: house.loads.steps.count("open a") == 2)
    second = asyncio.create_task(house.ask("b"))
    await settle()
    assert house.loads.steps.count("open b") == 1
    house.loads.open("open a")

    async with asyncio.timeout(LIMIT_SECONDS):
        assert list(await asyncio.gather(first, second)) == [right_answer("a"), right_answer("b")]
    assert house.loads.accounts.most <= 75 * MEGABYTE
    await house.close()


async def test_who_leaves_while_waiting_for_memory_reserves_nothing() -> None:
    """The load goes on for others; when it is stopped by closing, its place in line is free."""
    house = House("a", "b", memory_budget_bytes=55 * MEGABYTE)
    gate = asyncio.Event()
    await house.ask("a")
    busy = asyncio.create_task(house.hold("a", gate))
    await settle()
    waiting = asyncio.create_task(house.ask("b"))
    await until(lambda: house.registry.status("b").detail == "waiting for memory")
    waiting.cancel()
    await settle()
    gate.set()

    async with asyncio.timeout(LIMIT_SECONDS):
        assert await busy == right_answer("a")
        await until(lambda: house.states == "available ready")
        assert await house.ask("a") == right_answer("a")
    await house.close()
