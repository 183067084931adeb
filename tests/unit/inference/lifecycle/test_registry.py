"""The states that a model goes through when it is loaded and unloaded."""

from __future__ import annotations

import asyncio

import pytest

from services.artifacts import ArtifactProblem
from services.inference.errors import ModelFailed, ModelNotReady
from services.inference.lifecycle import LifecycleEvent, LifecycleSettings, ModelState, Registry
from tests.support.lifecycle import (
    FACTS,
    LIMIT_SECONDS,
    MEGABYTE,
    House,
    Loads,
    StubModel,
    right_answer,
    section,
    settle,
    until,
)


class NotTold(Exception):
    """Nobody could be told."""


async def test_model_goes_from_available_over_loading_to_ready() -> None:
    """Each state is told, because health depends on it."""
    house = House("a")
    assert house.states == "available"
    status = await house.registry.load("a")

    assert (status.state, status.facts, status.problem) == (ModelState.READY, FACTS, "")
    assert house.registry.loaded() == {"a": house.loads.models["a"]}
    assert house.changes == ["loading", "ready"]
    assert await house.ask("a") == right_answer("a")
    await house.close()


async def test_callers_share_one_load() -> None:
    """Ten replicas of a client that all ask for a model must not load it ten times."""
    house = House("a")
    house.loads.gate("prepare a")
    callers = [asyncio.create_task(house.registry.load("a")) for _ in range(10)]
    await settle()
    house.loads.open("prepare a")

    async with asyncio.timeout(LIMIT_SECONDS):
        statuses = await asyncio.gather(*callers)

    assert {status.state for status in statuses} == {ModelState.READY}
    assert house.loads.steps == ["prepare a", "open a"]
    await house.close()


async def test_loaded_model_is_not_loaded_again() -> None:
    """Loading what is loaded is no error, and no work."""
    house = House("a")
    await house.registry.load("a")

    assert (await house.registry.load("a")).state is ModelState.READY
    assert house.loads.steps == ["prepare a", "open a"]
    await house.close()


@pytest.mark.parametrize("step", ["prepare a", "open a"])
async def test_caller_that_leaves_does_not_stop_the_load(step: str) -> None:
    """Others wait for the same load, and a load that begins anew every few seconds never ends."""
    house = House("a")
    house.loads.gate(step)
    leaver, stayer = (asyncio.create_task(house.registry.load("a")) for _ in range(2))
    await until(lambda: step in house.loads.steps)

    leaver.cancel()
    await settle()
    house.loads.open(step)

    async with asyncio.timeout(LIMIT_SECONDS):
        assert (await stayer).state is ModelState.READY
    assert leaver.cancelled()
    assert house.loads.steps == ["prepare a", "open a"]
    await house.close()


@pytest.mark.parametrize("step", ["prepare a", "open a"])
async def test_failed_load_tells_the_problem_and_can_be_retried(step: str) -> None:
    """An operator repairs the file and loads again, without a restart."""
    house = House("a")
    house.loads.problems[step] = ArtifactProblem("model.safetensors is not a whole safetensors file")

    failed = await house.registry.load("a")
    with pytest.raises(ModelFailed, match=r"model a could not be loaded: model.safetensors is not a whole"):
        await house.ask("a")
    repaired = await house.registry.load("a")

    assert failed.state is ModelState.FAILED
    assert failed.problem == "model.safetensors is not a whole safetensors file"
    assert (repaired.state, repaired.problem) == (ModelState.READY, "")
    assert house.changes == ["loading", "failed", "loading", "ready"]
    assert [event.kind for event in house.events] == ["failed", "loaded"]
    await house.close()


async def test_what_a_failed_load_took_is_given_back() -> None:
    """Half a model may have been in memory when its warm-up failed."""
    house = House("a")
    house.loads.problems["open a"] = ArtifactProblem("does not run")
    house.loads.gate("open a")
    load = asyncio.create_task(house.registry.load("a"))
    await until(lambda: "open a" in house.loads.steps)
    before = house.loads.accounts.releases
    house.loads.open("open a")
    await load

    assert house.loads.accounts.releases == before + 1
    await house.close()


async def test_bug_while_loading_fails_the_model_without_its_message() -> None:
    """The problem is shown to callers; what an unknown exception says is for the log only."""
    house = House("a")
    house.loads.problems["open a"] = RuntimeError("/home/someone/secret")

    status = await house.registry.load("a")

    assert status.state is ModelState.FAILED
    assert status.problem == "internal error: RuntimeError"
    await house.close()


class Panic(BaseException):
    """What native code raises that is no Exception."""


@pytest.mark.parametrize("step", ["prepare a", "open a"])
async def test_failure_that_is_no_exception_fails_the_model_like_any_other(step: str) -> None:
    """Else the model would look as if nobody had tried, and calls that wait would load it for ever."""
    house = House("a")
    house.loads.problems[step] = Panic("of a tokenizer")

    with pytest.raises(ModelFailed):
        await house.ask("a")

    status = house.registry.status("a")
    assert (status.state, status.problem) == (ModelState.FAILED, "internal error: Panic")
    assert house.loads.steps.count("prepare a") == 1
    assert (await house.registry.load("a")).state is ModelState.READY
    await house.close()


async def test_status_tells_what_is_being_done_while_a_model_is_loading() -> None:
    """A download of ten minutes should be seen to move; a word that comes late is not shown any more."""
    house = House("a")
    house.loads.gate("prepare a")
    load = asyncio.create_task(house.registry.load("a"))
    await until(lambda: "a" in house.loads.reports)
    report = house.loads.reports["a"]

    await asyncio.to_thread(report, "downloading model.safetensors: 12 of 90 MB")
    await until(lambda: house.registry.status("a").detail != "")
    assert house.registry.status("a").detail == "downloading model.safetensors: 12 of 90 MB"

    house.loads.open("prepare a")
    await load
    await asyncio.to_thread(report, "late")
    await settle()
    assert house.registry.status("a").detail == ""
    await house.close()


async def test_long_preparation_holds_up_neither_calls_nor_other_loads() -> None:
    """A download takes minutes; everything else goes on."""
    house = House("ready", "slow", "other")
    await house.registry.load("ready")
    house.loads.gate("prepare slow")
    slow = asyncio.create_task(house.registry.load("slow"))
    await settle()

    async with asyncio.timeout(LIMIT_SECONDS):
        assert await house.ask("ready") == right_answer("ready")
        assert (await house.registry.load("other")).state is ModelState.READY
        assert (await house.registry.unload("other")).state is ModelState.AVAILABLE

    assert house.states == "ready loading available"
    house.loads.open("prepare slow")
    await slow
    await house.close()


async def test_start_loads_what_the_configuration_wants() -> None:
    """One that fails does not keep the others from loading."""
    sections = {"a": section(), "later": section(preload=False), "b": section(), "c": section()}
    house = House(sections=sections)
    house.loads.problems["prepare b"] = ArtifactProblem("damaged")

    await house.registry.load_all()

    assert sorted(house.loads.steps) == ["open a", "open c", "prepare a", "prepare b", "prepare c"]
    assert house.states == "ready available failed ready"
    assert house.registry.names == ["a", "later", "b", "c"]
    await house.close()


async def test_model_that_takes_long_to_fetch_holds_up_no_other_at_the_start() -> None:
    """The hour that one download takes is not the hour of every model behind it in the file."""
    house = House("slow", "quick")
    house.loads.gate("prepare slow")
    start = asyncio.create_task(house.registry.load_all())

    await until(lambda: house.states == "loading ready")
    house.loads.open("prepare slow")
    await start

    assert house.states == "ready ready"
    await house.close()


async def test_unload_gives_up_a_load_that_is_still_being_prepared() -> None:
    """Whoever named the wrong model need not wait for its download to end."""
    house = House("a", on_demand="never")
    house.loads.gate("prepare a")
    load = asyncio.create_task(house.registry.load("a"))
    await settle()

    async with asyncio.timeout(LIMIT_SECONDS):
        status = await house.registry.unload("a")
        with pytest.raises(ModelNotReady):
            await load

    assert status.state == "available"
    assert "open a" not in house.loads.steps
    await house.close()


async def test_unload_waits_for_the_calls_that_use_the_model() -> None:
    """A call that was let in gets its answer, and the model is closed after that."""
    house = House("a", on_demand="never")
    await house.registry.load("a")
    gate = asyncio.Event()
    call = asyncio.create_task(house.hold("a", gate))
    await settle()

    unload = asyncio.create_task(house.registry.unload("a"))
    await settle()
    assert not unload.done()
    assert house.states == "unloading"
    with pytest.raises(ModelNotReady):
        await house.ask("a")
    gate.set()

    async with asyncio.timeout(LIMIT_SECONDS):
        assert await call == right_answer("a")
        status = await unload
    assert (status.state, status.facts) == (ModelState.AVAILABLE, FACTS)
    assert house.registry.loaded() == {}
    assert house.changes == ["loading", "ready", "unloading", "available"]
    assert house.events[-1] == LifecycleEvent("unloaded", "a", "explicit")
    await house.close()


async def test_memory_is_given_back_to_the_system_after_an_unload() -> None:
    """What a C library keeps for later counts as the process's, and would count against the budget."""
    house = House("a")
    await house.registry.load("a")
    before = house.loads.accounts.releases

    await house.registry.unload("a")

    assert house.loads.accounts.releases == before + 1
    await house.close()


async def test_caller_that_leaves_does_not_stop_the_unload() -> None:
    """Half an unloaded model would hold its memory and answer nobody."""
    house = House("a")
    await house.registry.load("a")
    gate = asyncio.Event()
    call = asyncio.create_task(house.hold("a", gate))
    await settle()
    unload = asyncio.create_task(house.registry.unload("a"))
    await settle()

    unload.cancel()
    await settle()
    gate.set()

    async with asyncio.timeout(LIMIT_SECONDS):
        await call
        await house.registry.load("a")  # after the unload, which went on
    assert house.changes == ["loading", "ready", "unloading", "available", "loading", "ready"]
    await house.close()


async def test_load_during_an_unload_comes_after_it() -> None:
    """Who asks last decides; never are two copies of a model in memory."""
    house = House("a")
    await house.registry.load("a")
    gate = asyncio.Event()
    call = asyncio.create_task(house.hold("a", gate))
    await settle()
    unload = asyncio.create_task(house.registry.unload("a"))
    await settle()
    load = asyncio.create_task(house.registry.load("a"))
    await settle()
    assert house.loads.steps == ["prepare a", "open a"]
    gate.set()

    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.gather(call, unload, load)

    assert house.loads.steps == ["prepare a", "open a", "close a", "prepare a", "open a"]
    assert house.states == "ready"
    await house.close()


async def test_model_that_is_being_loaded_cannot_be_unloaded() -> None:
    """The caller is told when to come back."""
    house = House("a")
    house.loads.gate("open a")
    load = asyncio.create_task(house.registry.load("a"))
    await settle()

    with pytest.raises(ModelNotReady, match="model a is loading") as raised:
        await house.registry.unload("a")

    assert raised.value.retry_after_seconds == 1.0
    house.loads.open("open a")
    await load
    await house.close()


async def test_unloading_what_is_not_loaded_is_no_error() -> None:
    """Also after a failed load, whose problem is forgotten then."""
    house = House("a")
    assert (await house.registry.unload("a")).state is ModelState.AVAILABLE
    house.loads.problems["prepare a"] = ArtifactProblem("damaged")
    await house.registry.load("a")

    status = await house.registry.unload("a")

    assert (status.state, status.problem) == (ModelState.AVAILABLE, "")
    await house.close()


async def test_status_keeps_what_was_measured_when_the_model_goes() -> None:
    """An operator who decides what fits wants to know it of models that are out, too."""
    house = House("a")
    house.loads.needs["a"] = 40 * MEGABYTE
    assert house.registry.status("a").memory_bytes == 0
    await house.registry.load("a")
    assert house.registry.status("a").last_used is None
    await house.ask("a")

    status = await house.registry.unload("a")

    assert status.memory_bytes == 40 * MEGABYTE
    assert status.last_used is not None
    await house.close()


async def test_what_goes_wrong_in_telling_changes_nothing() -> None:
    """A bug in health or metrics must not leave a model between two states."""
    loads = Loads()

    async def changed() -> None:
        raise NotTold

    def observe(_: LifecycleEvent) -> None:
        raise NotTold

    registry: Registry[StubModel] = Registry(
        {"a": section()}, loads, changed, settings=LifecycleSettings(), observe=observe
    )

    assert (await registry.load("a")).state is ModelState.READY
    assert (await registry.unload("a")).state is ModelState.AVAILABLE
    await registry.close()
