"""Ejected targets and those who find out that they are back."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from services.chassis.errors import CallError
from services.chat.answer import TextPiece
from services.chat.answering.breaker import State
from services.chat.providers.failure import FailureKind
from services.config import Chat
from tests.unit.chat.answering.scripted import ScriptedProvider, Stage, fails, says
from tests.unit.chat.answering.virtual_time import in_virtual_time, now

DOWN = fails(FailureKind.UNAVAILABLE)


@in_virtual_time
async def test_a_flapping_target_is_probed_once_in_a_while_and_used_again_when_it_is_back() -> None:
    """All calls are answered; after the outage the first target is back within one probing interval."""
    stage = Stage(Chat(ejection_failures=3, ejection_seconds=5.0, max_ejection_seconds=5.0, max_retries=0))
    one, two = ScriptedProvider("one", DOWN), ScriptedProvider("two", (0.2, *says("two")))
    targets = stage.targets(one, two)
    began = now()
    asyncio.get_running_loop().call_later(60.0, one.acts.insert, 0, says("one"))
    asyncio.get_running_loop().call_later(60.0, one.acts.pop)
    served: list[tuple[float, str]] = []

    async def ask() -> None:
        served.append((now() - began, (await stage.answer(*targets)).text))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(700):
            tasks.create_task(ask())
            await asyncio.sleep(0.1)
    assert len(served) == 700
    during = [time - began for time in one.times if time - began < 60.0]
    assert all(after - before >= 5.0 for before, after in pairwise(during[2:]))
    assert 11 <= len(during) <= 16
    assert all(text == "one" for time, text in served if time > 65.3)


@in_virtual_time
async def test_only_one_of_many_calls_probes_a_target() -> None:
    """The others are answered by those that do well, even while facts about the target are looked up."""
    stage = Stage(Chat(ejection_failures=1, max_retries=0))
    one, two = ScriptedProvider("one", DOWN, (3.0, *says("one"))), ScriptedProvider("two", says("two"))
    targets = stage.targets(one, two)
    await stage.answer(*targets)
    await asyncio.sleep(10.0)
    one.facts_seconds = 1.0
    answers = await asyncio.gather(*(stage.answer(*targets) for _ in range(20)))
    assert sorted(answer.text for answer in answers) == ["one"] + ["two"] * 19
    assert ("one", State.HEALTHY) in stage.states


@in_virtual_time
async def test_a_target_that_begins_to_answer_its_probe_is_open_to_others_at_once() -> None:
    """They need not wait for the end of a long answer."""
    stage = Stage(Chat(ejection_failures=1, max_retries=0))
    one = ScriptedProvider("one", DOWN, ([TextPiece(0, "o")], 300.0, *says("ne")), says("one"))
    targets = stage.targets(one, ScriptedProvider("two", says("two")))
    await stage.answer(*targets)
    await asyncio.sleep(10.0)
    probe = asyncio.create_task(stage.answer(*targets))
    await asyncio.sleep(1.0)
    assert (await stage.answer(*targets)).text == "one"
    assert (await probe).text == "one"


@in_virtual_time
async def test_an_ejected_target_is_not_asked_again_by_the_call_that_ejected_it() -> None:
    """As long as there is somebody else."""
    stage = Stage(Chat(ejection_failures=1, max_retries=2))
    one, two = ScriptedProvider("one", DOWN), ScriptedProvider("two", fails(FailureKind.AUTHENTICATION))
    with pytest.raises(CallError):
        await stage.answer(*stage.targets(one, two))
    assert [report[1] for report in stage.watcher.log if report[0] == "ended"] == [
        "one/m",
        "two/m",
        "one/m",
        "one/m",
    ]
