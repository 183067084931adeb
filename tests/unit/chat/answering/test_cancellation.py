"""A caller who leaves is felt upstream at once, wherever the call was."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress

import pytest

from services.chat.answer import Stopped, TextPiece
from services.chat.answering.breaker import State
from services.chat.providers.failure import FailureKind
from services.config import Chat
from tests.unit.chat.answering.scripted import Act, Money, ScriptedProvider, Stage, fails, says
from tests.unit.chat.answering.virtual_time import in_virtual_time, now

PHASES: dict[str, Act] = {
    "before the response": (100.0, *says("x")),
    "before the first content": ([], 100.0, *says("x")),
    "in the middle": ([TextPiece(0, "x")], 100.0, *says("x")),
    "in a back-off": fails(FailureKind.RATE_LIMITED, 9.0),
    "after the end": ([TextPiece(0, "x"), Stopped("stop")], 100.0),
}


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("act", PHASES.values(), ids=PHASES.keys())
@in_virtual_time
async def test_a_call_that_is_cancelled_leaves_at_once(act: Act, hold: bool) -> None:
    """The response is closed, nothing more is asked of anybody, and the target is not to blame."""
    stage = Stage(Chat(ejection_failures=1))
    one, two = ScriptedProvider("one", act), ScriptedProvider("two", says("no"))
    targets = stage.targets(one, two)
    task = asyncio.create_task(stage.answer(*targets, hold=hold))
    await asyncio.sleep(5.0)
    task.cancel()
    left = now()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(1000.0)
    assert (one.open, len(one.asks), two.asks) == (0, 1, [])
    assert left == pytest.approx(one.times[0] + 5.0)
    assert targets[0].breaker.standing().state is State.HEALTHY
    assert [entry for entry, _ in stage.money.log][:1] == ["reserved"]
    assert len(stage.money.log) == 2


@in_virtual_time
async def test_an_attempt_that_nobody_waits_for_is_reported_as_cancelled() -> None:
    """Metrics tell it from a failure."""
    stage = Stage()
    task = asyncio.create_task(stage.answer(*stage.targets(ScriptedProvider("one", (100.0,)))))
    await asyncio.sleep(5.0)
    task.cancel()
    await asyncio.wait([task])
    assert stage.watcher.log == [("ended", "one/m", "CANCELLED")]


@pytest.mark.parametrize("facts", [True, False], ids=["facts", "money"])
@in_virtual_time
async def test_a_call_that_is_cancelled_before_it_asks_never_asks(facts: bool) -> None:
    """Neither while facts are looked up nor while money is put aside."""
    stage = Stage(money=Money(seconds=0.0 if facts else 100.0))
    provider = ScriptedProvider("one", says("no"))
    provider.facts_seconds = 100.0 if facts else 0.0
    task = asyncio.create_task(stage.answer(*stage.targets(provider)))
    await asyncio.sleep(5.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(1000.0)
    assert (provider.asks, stage.money.log) == ([], [])


@in_virtual_time
async def test_a_probe_that_is_cancelled_leaves_room_for_another() -> None:
    """Its target is not kept ejected by callers who leave."""
    stage = Stage(Chat(ejection_failures=1, max_retries=0))
    one = ScriptedProvider("one", fails(FailureKind.UNAVAILABLE), (100.0,), says("back"))
    targets = stage.targets(one, ScriptedProvider("two", says("two")))
    await stage.answer(*targets)
    await asyncio.sleep(10.0)
    task = asyncio.create_task(stage.answer(*targets))
    await asyncio.sleep(1.0)
    assert not targets[0].breaker.is_favoured
    task.cancel()
    await asyncio.wait([task])
    assert (await stage.answer(*targets)).text == "back"


@in_virtual_time
async def test_closing_the_steps_closes_the_response() -> None:
    """Whoever stops listening need not be cancelled."""
    stage = Stage()
    provider = ScriptedProvider("one", says(*"abc"))
    async with aclosing(stage.steps(*stage.targets(provider))) as steps:
        await anext(steps)
        assert provider.open == 1
    assert provider.open == 0
    assert stage.watcher.log[-1] == ("ended", "one/m", "CANCELLED")


@in_virtual_time
async def test_a_cancellation_that_was_swallowed_is_heard_anyway() -> None:
    """No attempt is made for a caller who has left."""
    stage = Stage()
    provider = ScriptedProvider("one", says("no"))

    async def call() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        with suppress(asyncio.CancelledError):  # swallowed, as by careless cleaning up
            await asyncio.sleep(0)
        await stage.answer(*stage.targets(provider))

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(call())
    assert provider.asks == []


@in_virtual_time
async def test_who_leaves_the_queue_for_a_provider_pays_nothing() -> None:
    """Nothing was sent."""
    stage = Stage()
    provider = ScriptedProvider("one", says("no"))
    provider.queue_seconds = 100.0
    task = asyncio.create_task(stage.answer(*stage.targets(provider)))
    await asyncio.sleep(5.0)
    task.cancel()
    await asyncio.wait([task])
    assert stage.money.log == [("reserved", "one/m"), ("returned", "one/m")]
