"""Calls for a model that is not loaded, and calls that leave."""

from __future__ import annotations

import asyncio

import pytest

from services.artifacts import ArtifactProblem
from services.inference.errors import ModelFailed, ModelNotReady
from services.inference.lifecycle import LifecycleEvent
from services.inference.lifecycle.registry import SLACK_SECONDS
from tests.support.fakeclock import FakeClock, run_with_clock
from tests.support.lifecycle import LIMIT_SECONDS, House, right_answer, settle, until


async def test_ready_model_is_leased_without_a_turn_of_the_loop() -> None:
    """Nothing that goes on elsewhere can hold up a call for a model that is ready."""
    house = House("a")
    await house.registry.load("a")
    lease = house.registry.use("a")

    with pytest.raises(StopIteration) as finished:
        lease.__aenter__().__await__().__next__()

    assert finished.value.value is house.loads.models["a"]
    await lease.__aexit__()
    await house.close()


async def test_calls_for_a_model_that_is_not_loaded_wait_for_one_load() -> None:
    """Callers need not know what is in memory."""
    house = House("a")
    house.loads.gate("prepare a")
    calls = [asyncio.create_task(house.ask("a")) for _ in range(10)]
    await settle()
    assert not any(call.done() for call in calls)
    house.loads.open("prepare a")

    async with asyncio.timeout(LIMIT_SECONDS):
        assert await asyncio.gather(*calls) == [right_answer("a")] * 10
    assert house.loads.steps == ["prepare a", "open a"]
    await house.close()


async def test_call_during_an_unload_waits_for_the_next_load() -> None:
    """A model that is on its way out is as good as not loaded."""
    house = House("a")
    await house.registry.load("a")
    gate = asyncio.Event()
    early = asyncio.create_task(house.hold("a", gate))
    await settle()
    unload = asyncio.create_task(house.registry.unload("a"))
    await settle()
    late = asyncio.create_task(house.ask("a"))
    await settle()
    assert not late.done()
    gate.set()

    async with asyncio.timeout(LIMIT_SECONDS):
        assert list(await asyncio.gather(early, late)) == [right_answer("a")] * 2
        await unload
    assert house.loads.steps == ["prepare a", "open a", "close a", "prepare a", "open a"]
    await house.close()


def test_call_is_told_to_come_back_just_before_its_deadline_and_the_load_goes_on() -> None:
    """A caller who gives up first would hear of nothing but the deadline; who asks again finds the model."""

    async def main(clock: FakeClock) -> None:
        house = House("a", clock=clock)
        house.loads.gate("prepare a")
        call = asyncio.create_task(house.ask("a", clock() + 5.0))
        await settle()
        clock.advance(5.0 - SLACK_SECONDS - 0.1)
        await settle()
        assert not call.done()
        clock.advance(0.2)
        with pytest.raises(ModelNotReady, match=r"^model a is loading$") as raised:
            await call
        assert raised.value.retry_after_seconds == 1.0

        house.loads.open("prepare a")
        await until(lambda: house.states == "ready")
        assert house.loads.steps == ["prepare a", "open a"]
        await house.close()

    run_with_clock(main)


def test_call_whose_deadline_has_passed_still_starts_the_load() -> None:
    """There is somebody who wants the model, only not for this call."""

    async def main(clock: FakeClock) -> None:
        house = House("a", clock=clock)
        with pytest.raises(ModelNotReady):
            await house.ask("a", clock() - 1.0)
        await until(lambda: house.states == "ready")
        await house.close()

    run_with_clock(main)


@pytest.mark.parametrize(("took", "told"), [(0.0, 1.0), (0.1, 0.5), (7.0, 7.0), (600.0, 30.0)])
def test_call_that_does_not_wait_is_told_when_to_come_back(took: float, told: float) -> None:
    """After as long as the last load took, if that is known, but neither at once nor in ten minutes."""

    async def main(clock: FakeClock) -> None:
        house = House("a", clock=clock, on_demand="retry")
        if took:
            house.loads.gate("open a")
            load = asyncio.create_task(house.registry.load("a"))
            await until(lambda: "open a" in house.loads.steps)
            clock.advance(took)
            house.loads.open("open a")
            assert (await load).load_seconds == pytest.approx(took)
            await house.registry.unload("a")

        with pytest.raises(ModelNotReady, match=r"^model a is loading$") as raised:
            await house.ask("a")
        assert raised.value.retry_after_seconds == pytest.approx(told)

        await until(lambda: house.states == "ready")
        assert await house.ask("a") == right_answer("a")
        await house.close()

    run_with_clock(main)


async def test_call_loads_nothing_where_only_operators_may() -> None:
    """Waiting does not help, and the message says what does."""
    house = House("a", on_demand="never")
    with pytest.raises(ModelNotReady, match=r"^model a is not loaded; load it first$") as raised:
        await house.ask("a")
    assert raised.value.retry_after_seconds is None
    assert house.loads.steps == []

    house.loads.gate("prepare a")
    load = asyncio.create_task(house.registry.load("a"))
    await settle()
    with pytest.raises(ModelNotReady, match=r"^model a is loading$") as raised:
        await house.ask("a")
    assert raised.value.retry_after_seconds == 1.0
    house.loads.open("prepare a")
    await load
    assert await house.ask("a") == right_answer("a")
    await house.close()


async def test_who_waited_gets_the_model_even_if_it_is_to_go_at_once() -> None:
    """Otherwise callers could wait for one load after the other and never have their turn."""

    def unload(event: LifecycleEvent) -> None:
        if event.kind == "loaded":
            asked = house.registry.unload("a")
            asked.send(None)  # as far as it goes by itself: the model gives no leases any more
            asked.close()

    house = House("a", on_event=unload)
    calls = [asyncio.create_task(house.ask("a")) for _ in range(3)]

    async with asyncio.timeout(LIMIT_SECONDS):
        assert await asyncio.gather(*calls) == [right_answer("a")] * 3
        await until(lambda: house.states == "available")
    assert house.loads.steps == ["prepare a", "open a", "close a"]
    await house.close()


async def test_everybody_who_waits_is_told_that_the_load_failed() -> None:
    """And so are those who come later; trying again is for who repairs it."""
    house = House("a")
    house.loads.gate("prepare a")
    house.loads.problems["prepare a"] = ArtifactProblem("damaged")
    calls = [asyncio.create_task(house.ask("a")) for _ in range(3)]
    await settle()
    house.loads.open("prepare a")

    async with asyncio.timeout(LIMIT_SECONDS):
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(result) for result in results] == ["model a could not be loaded: damaged"] * 3
    with pytest.raises(ModelFailed):
        await house.ask("a")
    assert house.loads.steps == ["prepare a"]
    await house.close()


async def test_caller_that_leaves_while_it_waits_leaves_no_trace() -> None:
    """A lease that nobody holds would keep the model in memory for ever."""
    house = House("a")
    house.loads.gate("open a")
    call = asyncio.create_task(house.ask("a"))
    await until(lambda: "open a" in house.loads.steps)
    call.cancel()
    await until(call.done)
    house.loads.open("open a")
    await until(lambda: house.states == "ready")

    async with asyncio.timeout(LIMIT_SECONDS):
        await house.registry.unload("a")
    assert house.loads.steps == ["prepare a", "open a", "close a"]
    await house.close()


async def test_lease_of_a_caller_that_leaves_in_the_moment_it_is_granted_is_given_back() -> None:
    """The model becomes ready and the caller is cancelled in one turn of the loop."""
    calls: list[asyncio.Task[int]] = []
    house = House("a", on_event=lambda _: [call.cancel() for call in calls])
    house.loads.gate("prepare a")
    calls.append(asyncio.create_task(house.ask("a")))
    await settle()
    house.loads.open("prepare a")
    await until(calls[0].done)
    assert calls[0].cancelled()
    assert house.states == "ready"

    async with asyncio.timeout(LIMIT_SECONDS):
        await house.registry.unload("a")
    await house.close()
