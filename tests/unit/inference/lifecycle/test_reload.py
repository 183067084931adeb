"""What becomes of models when the configuration changes: each alone, and no call notices the others."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from services.artifacts import ArtifactProblem
from services.config import LocalModel
from services.inference.errors import ModelNotFound, WrongCapability
from services.inference.lifecycle import ModelState
from services.inference.lifecycle.roster import Roster
from services.inference.lifecycle.slot import Slot
from tests.support.fakeclock import FakeClock, run_with_clock
from tests.support.lifecycle import LIMIT_SECONDS, MEGABYTE, House, right_answer, section, turns, until

PROBLEM = "there is no such folder"


async def ready(*models: str, **settings: Any) -> House:
    """Return a house whose models are loaded."""
    house = House(*models, **settings)
    await house.registry.load_all()
    house.loads.steps.clear()
    return house


async def until_answered_by(model: str, house: House) -> None:
    """Wait until calls for the name of a model are answered by that model."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while await house.ask(model[0]) != right_answer(model):
            await turns()


async def until_held(house: House, *models: str) -> None:
    """Wait until those models are in memory, and no others."""
    await until(lambda: set(house.loads.accounts.held) == {"base", *models})


async def test_what_has_not_changed_stays_loaded_and_is_not_touched() -> None:
    """Whatever becomes of the others."""
    house = await ready("a", "b")
    model = house.loads.models["a"]
    house.reconfigure("a", "b@2", "c")
    await until_held(house, "a", "b@2", "c")
    await until(lambda: house.states == "ready ready ready")
    assert not [step for step in house.loads.steps if step.endswith(" a")]
    assert house.loads.models["a"] is model
    await house.close()


async def test_a_new_model_is_loaded_as_at_the_start() -> None:
    """If it is to be there from the start; else when it is needed."""
    house = await ready("a")
    house.reconfigure("a", "b", sections={"c": section(preload=False)})
    assert house.registry.names == ["a", "b", "c"]
    assert await house.ask("b") == right_answer("b")
    assert house.states == "ready ready available"
    await house.close()


async def test_a_model_that_is_removed_is_not_found_and_calls_that_have_it_finish() -> None:
    """The error names the models that there are now, and the memory is given back."""
    house, gate = await ready("a", "b"), asyncio.Event()
    using = asyncio.create_task(house.hold("a", gate))
    await turns()
    house.reconfigure("b", "c")
    with pytest.raises(ModelNotFound, match="b, c"):
        await house.ask("a")
    await until_held(house, "a", "b", "c")
    gate.set()
    assert await using == right_answer("a")
    await until_held(house, "b", "c")
    await until(lambda: any(event.kind == "unloaded" for event in house.events))
    assert [event.cause for event in house.events if event.kind == "unloaded"] == ["reconfigured"]
    await house.close()


async def test_a_changed_model_answers_as_before_until_the_new_one_is_ready() -> None:
    """And from then on the new one does; no call waits."""
    house = await ready("a")
    house.loads.gate("open a@2")
    house.reconfigure("a@2")
    await until(lambda: "open a@2" in house.loads.steps)
    assert await house.ask("a") == right_answer("a")
    assert "the changed one is opening" in house.registry.status("a").detail
    house.loads.open("open a@2")
    await until_answered_by("a@2", house)
    await until_held(house, "a@2")
    assert house.loads.steps == ["prepare a@2", "open a@2", "close a"]
    assert house.registry.status("a").detail == ""
    await house.close()


async def test_calls_in_flight_keep_the_model_that_they_began_with() -> None:
    """The old one is closed after the last of them."""
    house, gate = await ready("a"), asyncio.Event()
    using = asyncio.create_task(house.hold("a", gate))
    await turns()
    house.reconfigure("a@2")
    await until_answered_by("a@2", house)
    assert set(house.loads.accounts.held) == {"base", "a", "a@2"}
    gate.set()
    assert await using == right_answer("a")
    await until_held(house, "a@2")
    await house.close()


async def test_a_changed_model_that_cannot_be_loaded_leaves_the_old_one_answering() -> None:
    """The status says so, until it is loaded after all."""
    house = await ready("a")
    house.loads.problems["prepare a@2"] = ArtifactProblem(PROBLEM)
    house.reconfigure("a@2")
    await until(lambda: bool(house.registry.problems()))
    assert await house.ask("a") == right_answer("a")
    status = house.registry.status("a")
    assert (status.state, status.section) == (ModelState.READY, section())
    assert PROBLEM in status.detail
    assert house.registry.problems() == {"a": PROBLEM}
    assert (await house.registry.load("a")).state is ModelState.READY
    assert await house.ask("a") == right_answer("a@2")
    assert house.registry.problems() == {}
    await house.close()


async def test_a_file_that_is_put_in_force_again_tries_again_what_had_failed() -> None:
    """Whoever mends a folder touches the file."""
    house = await ready("a")
    house.loads.problems["open a@2"] = ArtifactProblem(PROBLEM)
    house.reconfigure("a@2")
    await until(lambda: bool(house.registry.problems()))
    house.reconfigure("a@2", "b")
    await until_answered_by("a@2", house)
    await house.close()


async def test_going_back_gives_up_what_was_on_its_way() -> None:
    """The old model is never interrupted."""
    house = await ready("a")
    model = house.loads.models["a"]
    house.loads.gate("prepare a@2")
    house.reconfigure("a@2")
    await until(lambda: "prepare a@2" in house.loads.steps)
    house.reconfigure("a")
    await turns()
    assert await house.ask("a") == right_answer("a")
    assert house.loads.models["a"] is model
    assert house.registry.status("a").detail == ""
    assert set(house.loads.accounts.held) == {"base", "a"}
    house.loads.open("prepare a@2")
    await house.close()


async def test_calls_that_wait_for_a_model_get_the_one_that_takes_its_place() -> None:
    """Also those whose wait began before the change."""
    house = House("a")
    house.loads.gate("prepare a")
    waiting = asyncio.create_task(house.ask("a"))
    await turns()
    house.reconfigure("a@2")
    assert await waiting == right_answer("a@2")
    await house.close()


async def test_calls_that_wait_for_a_model_that_is_removed_are_told_so() -> None:
    """They do not wait for ever, nor for the load."""
    house = House("a", "b")
    house.loads.gate("prepare a")
    waiting = asyncio.create_task(house.ask("a"))
    loading = asyncio.create_task(house.registry.load("a"))
    await turns()
    house.reconfigure("b", elsewhere={"a": "rerank"})
    with pytest.raises(WrongCapability):
        await waiting
    with pytest.raises(WrongCapability):
        await loading
    house.loads.open("prepare a")
    await house.close()


async def test_when_a_model_is_in_memory_may_change_without_loading_it_anew() -> None:
    """It is the same model."""
    house = await ready("a")
    house.reconfigure(sections={"a": section(preload=False, idle_unload_seconds=7.0)})
    await turns()
    assert house.loads.steps == []
    assert house.registry.status("a").section.idle_unload_seconds == 7.0
    await house.close()


def test_other_limits_for_idle_models_hold_at_once() -> None:
    """Also where there were none before."""

    async def main(clock: FakeClock) -> None:
        house = House("a", clock=clock)
        await house.registry.load_all()
        house.reconfigure("a", idle_unload_seconds=5.0)
        await turns()
        clock.advance(6.0)
        await until(lambda: house.states == "available")
        await house.close()

    run_with_clock(main)


async def test_a_budget_without_room_for_both_lets_the_old_model_go_first() -> None:
    """Calls then wait for the new one, and none of them loads the old one again."""
    house = await ready("a", memory_budget_bytes=60 * MEGABYTE)
    house.loads.gate("open a@2")
    house.reconfigure("a@2", memory_budget_bytes=60 * MEGABYTE)
    await until(lambda: "open a@2" in house.loads.steps)
    assert "a" not in house.loads.accounts.held
    waiting = asyncio.create_task(house.ask("a"))
    await turns()
    house.loads.open("open a@2")
    assert await waiting == right_answer("a@2")
    assert house.loads.accounts.most <= 60 * MEGABYTE
    await house.close()


async def test_unloading_a_model_unloads_the_old_one_and_what_was_to_take_its_place() -> None:
    """Who wants the memory back gets all of it."""
    house = await ready("a")
    house.loads.gate("prepare a@2")
    house.reconfigure("a@2")
    await until(lambda: "prepare a@2" in house.loads.steps)
    status = await house.registry.unload("a")
    assert status.state is ModelState.AVAILABLE
    assert set(house.loads.accounts.held) == {"base"}
    house.loads.open("prepare a@2")
    assert await house.ask("a") == right_answer("a@2")
    await house.close()


async def test_a_service_that_is_stopping_follows_no_configuration() -> None:
    """It loads nothing any more."""
    house = await ready("a")
    await house.close()
    house.reconfigure("a@2", "b")
    await turns()
    assert house.loads.steps == ["close a"]


async def test_nothing_holds_on_to_a_model_that_was_replaced() -> None:
    """However often: else a service that is reloaded all day would grow all day."""
    house = await ready("a")
    old = weakref.ref(house.loads.models.pop("a"))
    house.reconfigure("a@2")
    await until_held(house, "a@2")
    house.reconfigure("b")
    await until_held(house, "b")
    await until(lambda: len(house.registry._roster) == 1)
    gc.collect()
    assert old() is None
    assert len(house.registry._roster) == 1
    await house.close()


@pytest.mark.parametrize("seed", range(6))
def test_whatever_changes_calls_are_answered_by_a_model_that_the_file_had_meanwhile(seed: int) -> None:
    """Forty changes in any order, among loads that take a while and fail now and then."""
    chance = random.Random(seed)

    async def main(clock: FakeClock) -> None:
        house = House("a", "b", clock=clock)
        house.loads.seconds = 0.5
        loading = asyncio.create_task(house.registry.load_all())
        await pass_until(clock, loading.done)
        changes = Changes(house, chance)
        callers = [asyncio.create_task(changes.call(name)) for name in "aabb"]
        for number in range(40):
            changes.change(*(["c"] if number % 3 else []))
            await pass_time(clock, chance.randint(0, 12))
        house.loads.problems.clear()
        house.reconfigure("a@99", "b@99")
        await pass_until(clock, lambda: set(house.loads.accounts.held) == {"base", "a@99", "b@99"})
        assert len(house.registry._roster) == 2
        changes.over = True
        await pass_until(clock, lambda: all(caller.done() for caller in callers))
        assert min([await caller for caller in callers]) > 0
        closing = asyncio.create_task(house.close())
        await pass_until(clock, closing.done)
        assert set(house.loads.accounts.held) == {"base"}

    run_with_clock(main)


class Changes:
    """Changes two models at random, and callers of theirs."""

    def __init__(self, house: House, chance: random.Random) -> None:
        self._house = house
        self._chance = chance
        self._had = {"a": ["a"], "b": ["b"]}
        self.over = False

    def change(self, *others: str) -> None:
        """Have other versions of both, some of which cannot be opened."""
        for name, had in self._had.items():
            if self._chance.random() < 0.6:
                model = f"{name}@{len(had)}"
                had.append(model)
                if self._chance.random() < 0.3:
                    self._house.loads.problems[f"open {model}"] = ArtifactProblem(PROBLEM)
        self._house.reconfigure(*(had[-1] for had in self._had.values()), *others)

    async def call(self, name: str) -> int:
        """Call one model again and again, and return how often."""
        count = 0
        while not self.over:
            async with self._house.registry.use(name) as model:
                await asyncio.sleep(self._chance.uniform(0.0, 0.7))
                answer = (await model.count_tokens(["cat"]))[0]
            assert answer in {right_answer(one) for one in [*self._had[name], f"{name}@99"]}
            count += 1
            await asyncio.sleep(self._chance.uniform(0.0, 0.1))
        return count


async def pass_time(clock: FakeClock, tenths: int) -> None:
    """Let so many tenths of a second pass, and everybody do what is due."""
    for _ in range(tenths):
        await turns()
        await asyncio.to_thread(int)
        await turns()
        clock.advance(0.1)


async def pass_until(clock: FakeClock, holds: Callable[[], bool]) -> None:
    """Let time pass until something holds, which it has to within a minute."""
    for _ in range(600):
        if holds():
            return
        await pass_time(clock, 1)
    assert holds()


def test_whoever_reads_meanwhile_sees_no_half_of_a_change() -> None:
    """Prometheus asks from a thread of its own, and what it goes through must not grow under its hands."""
    seen: list[tuple[str, ...]] = []

    async def prepare(report: Callable[[str], None]) -> Any:
        del report

    def make(name: str, model: LocalModel) -> Slot[Any]:
        seen.append(tuple(roster.current))
        return Slot(name, model, prepare, FakeClock())

    roster: Roster[Any] = Roster(make, lambda _: None)
    roster.change({name: section() for name in "ab"})
    roster.change({name: section(preload=False) for name in "abcd"})
    assert seen == [(), (), ("a", "b"), ("a", "b")]
    assert list(roster.current) == ["a", "b", "c", "d"]
