"""How the memory of a model is measured."""

from __future__ import annotations

import asyncio

from tests.support.lifecycle import LIMIT_SECONDS, MEGABYTE, House, right_answer, settle, until


async def test_models_of_unknown_size_are_opened_one_after_the_other() -> None:
    """What the process grows by must be one model's; preparing goes on meanwhile."""
    house = House("a", "b")
    house.loads.needs = {"a": 30 * MEGABYTE, "b": 50 * MEGABYTE}
    house.loads.gate("open a", "open b")
    loads = [asyncio.create_task(house.registry.load(name)) for name in "ab"]
    await until(lambda: "open a" in house.loads.steps)
    await settle()
    assert house.loads.steps == ["prepare a", "prepare b", "open a"]
    house.loads.open("open a")
    await until(lambda: "open b" in house.loads.steps)
    house.loads.open("open b")

    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.gather(*loads)
    assert [status.memory_bytes for status in house.registry.statuses()] == [30 * MEGABYTE, 50 * MEGABYTE]
    await house.close()


async def test_first_opening_waits_until_nothing_is_being_closed() -> None:
    """Memory that comes back meanwhile would be taken off what the model takes."""
    house = House("a", "b", "c")
    closing, go_on = asyncio.Event(), asyncio.Event()
    await house.registry.load("a")
    model = house.loads.models["a"]
    finish = model.close

    async def close() -> None:
        closing.set()
        await go_on.wait()
        await finish()

    model.close = close  # type: ignore[method-assign]
    unload = asyncio.create_task(house.registry.unload("a"))
    await closing.wait()
    house.loads.gate("open b")
    loads = [asyncio.create_task(house.registry.load(name)) for name in "bc"]
    await settle()
    assert "open b" not in house.loads.steps
    go_on.set()
    await until(lambda: "open b" in house.loads.steps)
    await settle()
    assert "open c" not in house.loads.steps
    house.loads.open("open b")

    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.gather(unload, *loads)
    assert house.registry.status("b").memory_bytes == 30 * MEGABYTE
    await house.close()


async def test_largest_measurement_counts() -> None:
    """Memory that was freed before is used again, and then the process grows by less than the model takes."""
    house = House("a")
    for need in (30, 40, 35):
        house.loads.needs["a"] = need * MEGABYTE
        await house.registry.load("a")
        await house.registry.unload("a")

    assert house.registry.status("a").memory_bytes == 40 * MEGABYTE
    await house.close()


async def test_measurement_that_was_too_large_keeps_no_model_out() -> None:
    """Calls of other models make the process grow while one is opened; alone, it is tried all the same."""
    house = House("a", memory_budget_bytes=85 * MEGABYTE)
    await house.registry.load("a")
    await house.registry.unload("a")
    house.loads.needs["a"] = 60 * MEGABYTE
    await house.registry.load("a")
    await house.registry.unload("a")
    house.loads.needs["a"] = 30 * MEGABYTE
    house.loads.accounts.held["base"] = 30 * MEGABYTE
    assert house.registry.status("a").memory_bytes == 60 * MEGABYTE

    assert await house.ask("a") == right_answer("a")

    house.loads.accounts.held["base"] = 60 * MEGABYTE
    await house.registry.unload("a")
    assert (await house.registry.load("a")).problem == (
        "needs about 30 MB, the budget leaves 25 MB: raise engine.memory_budget_mb or use a smaller model"
    )
    await house.close()


async def test_measurement_with_another_model_in_between_does_not_count() -> None:
    """A model counts with 2.5 times its weights until it was opened with nothing else going on."""
    house = House("known", "new")
    house.loads.weights["new"] = 10 * MEGABYTE
    await house.registry.load("known")
    await house.registry.unload("known")
    house.loads.gate("open new")
    load = asyncio.create_task(house.registry.load("new"))
    await until(lambda: "open new" in house.loads.steps)
    async with asyncio.timeout(LIMIT_SECONDS):
        await house.registry.load("known")
    house.loads.open("open new")
    await load
    assert house.registry.status("new").memory_bytes == 25 * MEGABYTE

    await house.registry.unload("new")
    assert (await house.registry.load("new")).memory_bytes == 30 * MEGABYTE
    await house.close()
