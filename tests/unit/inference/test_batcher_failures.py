"""What the batcher does when callers leave, inputs are poison, and what it works with has bugs."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from numpy.typing import NDArray

from services.inference.batching import BatchStats
from services.inference.encoding import Encoding
from services.inference.errors import InferenceFailed
from tests.support.fakeclock import FakeClock, run_with_clock
from tests.support.runners import ROOMY, EchoRunner, OddRunner, batching, encoding, encodings, marks_of, row

LIMIT_SECONDS = 10.0


async def test_failed_batch_fails_only_its_own_callers() -> None:
    """Whoever shares a batch with poison gets rows; who sent it learns which input it was."""
    runner = EchoRunner(held=True, poison=[12])
    async with batching(runner) as batcher:
        blocker = asyncio.create_task(batcher.submit([encoding(0)]))
        await runner.holds(1)
        good = asyncio.create_task(batcher.submit(encodings([1, 2, 3])))
        bad = asyncio.create_task(batcher.submit(encodings([10, 11, 12]), name="documents[{}]".format))
        late = asyncio.create_task(batcher.submit(encodings([20, 21])))
        await asyncio.sleep(0)
        runner.release()
        await blocker

        assert marks_of((await good).rows) == [1, 2, 3]
        assert marks_of((await late).rows) == [20, 21]
        with pytest.raises(InferenceFailed, match=r"documents\[2\]") as caught:
            await bad
    assert caught.value.metadata == {"parameter": "documents[2]"}
    assert len(runner.batches) == 2


async def test_inputs_of_a_call_that_has_failed_are_not_run() -> None:
    """A call that has its error already costs no more batches."""
    runner = EchoRunner(held=True, poison=[0])
    async with batching(runner, replace(ROOMY, max_batch_size=2)) as batcher:
        call = asyncio.create_task(batcher.submit(encodings(range(10))))
        await runner.holds(1)
        runner.let_go()
        with pytest.raises(InferenceFailed):
            await call

        assert batcher.queue_size == 0
        await runner.holds(1)  # what began before the failure was known
    assert runner.seen == {0, 1, 2, 3}


def _shorter(encodings: Sequence[Encoding]) -> Sequence[NDArray[Any]]:
    return [row(one) for one in encodings][:-1]


def _longer(encodings: Sequence[Encoding]) -> Sequence[NDArray[Any]]:
    return [row(one) for one in [*encodings, encodings[0]]]


class Bug(BaseException):
    """Not even an `Exception`."""


def _raising(encodings: Sequence[Encoding]) -> Sequence[NDArray[Any]]:
    message = "a bug"
    raise Bug(message)


@pytest.mark.parametrize("answer", [_shorter, _longer, _raising])
async def test_bug_in_a_runner_fails_every_input_that_it_was_given(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Too few rows, too many rows, an exception of no known kind: nobody is left waiting for ever."""
    caplog.set_level(logging.CRITICAL)
    async with batching(OddRunner(answer)) as batcher, asyncio.timeout(LIMIT_SECONDS):
        calls = [asyncio.create_task(batcher.submit(encodings(range(size)))) for size in (1, 3, 7)]
        ends = await asyncio.gather(*calls, return_exceptions=True)

        assert [type(end) for end in ends] == [InferenceFailed] * 3


@pytest.mark.parametrize("bug", [_shorter, _longer, _raising])
async def test_batcher_outlives_a_bug_in_a_runner(bug: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The lane of a lost batch serves the next call."""
    caplog.set_level(logging.CRITICAL)
    is_broken = True

    def answer(encodings: Sequence[Encoding]) -> Sequence[NDArray[Any]]:
        return list(bug(encodings)) if is_broken else [row(one) for one in encodings]

    async with batching(OddRunner(answer)) as batcher, asyncio.timeout(LIMIT_SECONDS):
        with pytest.raises(InferenceFailed):
            await batcher.submit(encodings([1, 2]))
        is_broken = False

        assert marks_of((await batcher.submit(encodings([3, 4]))).rows) == [3, 4]


async def test_lost_batch_is_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    """A caller sees only that an input failed; the operator sees why."""
    async with batching(OddRunner(_raising)) as batcher:
        with pytest.raises(InferenceFailed):
            await batcher.submit([encoding(1)])

    record = next(record for record in caplog.records if record.message == "a batch was lost")
    assert record.levelno == logging.ERROR
    assert "Bug: a bug" in caplog.text


def test_failing_observer_costs_no_answer_and_does_not_keep_the_batcher_open() -> None:
    """A bug in a metric is told to the event loop's handler; callers and `close` do not notice."""
    problems: list[dict[str, Any]] = []

    def observe(stats: BatchStats) -> None:
        message = "a bug in a metric"
        raise ValueError(message)

    async def main(clock: FakeClock) -> list[int]:
        runner = EchoRunner(held=True)
        async with batching(runner, observe=observe) as batcher:
            stays = asyncio.create_task(batcher.submit(encodings([1, 2])))
            await runner.holds(1)
            runner.let_go()
            rows = (await stays).rows
            leaves = asyncio.create_task(batcher.submit([encoding(3)]))
            await runner.holds(1)
            leaves.cancel()
            await asyncio.wait([leaves])
        return marks_of(rows)

    assert run_with_clock(main, on_problem=problems.append) == [1, 2]
    assert [str(problem["exception"]) for problem in problems] == ["a bug in a metric"] * 2


async def test_caller_who_leaves_does_not_disturb_its_batch_mates() -> None:
    """A batch that runs is finished for those who stayed."""
    runner = EchoRunner(lanes=1, held=True)
    async with batching(runner) as batcher:
        blocker = asyncio.create_task(batcher.submit([encoding(0)]))
        await runner.holds(1)
        leaves = asyncio.create_task(batcher.submit(encodings([1, 2])))
        stays = asyncio.create_task(batcher.submit(encodings([3, 4])))
        await asyncio.sleep(0)
        runner.let_go()
        await runner.holds(1)
        leaves.cancel()
        await asyncio.wait([leaves])
        runner.let_go()

        assert marks_of((await stays).rows) == [3, 4]
        assert leaves.cancelled()
        await blocker


async def test_storm_of_departures_leaves_all_places_and_lanes_free() -> None:
    """After hundreds of callers have left at every stage, the batcher can do all that a new one can."""
    runner = EchoRunner(lanes=2, held=True)
    policy = replace(ROOMY, max_batch_size=5, max_queue_size=1000)
    async with batching(runner, policy) as batcher:
        calls = [asyncio.create_task(batcher.submit(encodings([mark, -mark]))) for mark in range(1, 301)]
        calls.append(asyncio.create_task(batcher.submit(encodings(range(1000, 1390)))))
        await runner.holds(2)  # some run, most wait, and the last one is still being queued
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        assert batcher.queue_size == 0
        runner.let_go()
        runner.let_go()
        again = asyncio.create_task(batcher.submit(encodings(range(2000, 3000))))
        await runner.holds(2)
        runner.release()

        assert len((await again).rows) == 1000
    served = {mark for mark in runner.seen if mark < 2000}
    assert len(served) <= 10


def test_call_that_fails_after_its_caller_left_is_nobodys_problem() -> None:
    """A caller who leaves while a large call is being queued leaves no error that nobody looks at."""
    problems: list[dict[str, Any]] = []

    async def main(clock: FakeClock) -> None:
        runner = EchoRunner(held=True, poison=[0])
        async with batching(runner) as batcher:
            call = asyncio.create_task(batcher.submit(encodings(range(1000))))
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            await runner.holds(1)
        del call
        gc.collect()  # futures complain when they go

    run_with_clock(main, on_problem=problems.append)
    assert problems == []


def test_input_is_not_run_in_the_turn_in_which_its_caller_left() -> None:
    """The queue learns of a departure one turn of the event loop later; no batch is wasted in it."""
    runner = EchoRunner()

    async def main(clock: FakeClock) -> None:
        policy = replace(ROOMY, max_batch_tokens=100, max_queue_delay_seconds=1.0)
        async with batching(runner, policy, clock=clock) as batcher:
            leaves = asyncio.create_task(batcher.submit([encoding(1, length=90)]))
            await asyncio.sleep(0)
            stays = asyncio.create_task(batcher.submit([encoding(2, length=100)]))
            leaves.cancel()
            await stays

    run_with_clock(main)
    assert runner.seen == {2}
