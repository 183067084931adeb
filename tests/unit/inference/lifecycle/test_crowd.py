"""Callers of more models than fit into memory, all at once and for long."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from services.inference.errors import ModelNotReady
from tests.support.fakeclock import FakeClock, run_with_clock
from tests.support.lifecycle import MEGABYTE, House, right_answer, turns

BUDGET = 85 * MEGABYTE
"""Holds two models of 30 MB beside the process."""

ANSWERS = 60
"""How many answers the callers of each model want before the crowd goes."""

MOST_TURNS = 5_000
"""Far more than it takes, so that only starvation reaches it."""


class Crowd:
    """Callers that ask until callers of every model have had enough answers."""

    def __init__(self, house: House, names: str, seed: int) -> None:
        self._house = house
        self._names = names
        self._random = random.Random(seed)
        self.answers: Counter[str] = Counter()

    @property
    def has_enough(self) -> bool:
        """Whether callers of every model have their answers."""
        return all(self.answers[name] >= ANSWERS for name in self._names)

    async def call(self, name: str) -> None:
        """Ask one model again and again, using it for a while each time."""
        while not self.has_enough:
            async with self._house.registry.use(name) as model:
                await asyncio.sleep(self._random.uniform(0.0, 0.3))
                assert await model.count_tokens(["cat"]) == [right_answer(name)]
                self.answers[name] += 1
            await asyncio.sleep(self._random.uniform(0.0, 0.2))

    async def leave(self, clock: FakeClock) -> None:
        """Ask any model and leave after a while, answered or not."""
        while not self.has_enough:
            name = self._random.choice(self._names)
            try:
                async with asyncio.timeout(self._random.uniform(0.0, 1.5)):
                    assert await self._house.ask(name, clock() + 1.0) == right_answer(name)
            except (TimeoutError, ModelNotReady):
                await asyncio.sleep(0.1)

    async def meddle(self) -> None:
        """Unload any model now and then."""
        while not self.has_enough:
            await asyncio.sleep(self._random.uniform(1.0, 8.0))
            try:
                await self._house.registry.unload(self._random.choice(self._names))
            except ModelNotReady:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("names", ["abc", "abcde"])
def test_callers_of_more_models_than_fit_all_get_right_answers(names: str, seed: int) -> None:
    """Nobody starves, no call is lost, and the memory never exceeds the budget."""

    async def main(clock: FakeClock) -> None:
        house = House(*names, clock=clock, memory_budget_bytes=BUDGET)
        house.loads.seconds = 1.0
        crowd = Crowd(house, names, seed)
        async with asyncio.TaskGroup() as group:
            callers = [group.create_task(crowd.call(name)) for name in names * 3]
            callers += [group.create_task(crowd.leave(clock)) for _ in range(2)]
            callers.append(group.create_task(crowd.meddle()))
            for _ in range(MOST_TURNS):
                if all(caller.done() for caller in callers):
                    break
                await turns()
                await asyncio.to_thread(int)
                clock.advance(0.1)
            assert crowd.has_enough, f"somebody starves: {crowd.answers}"

        await house.close()
        assert house.loads.accounts.most <= BUDGET
        assert list(house.loads.accounts.held) == ["base"]
        assert not [event for event in house.events if event.kind == "failed"]

    run_with_clock(main)
