"""When the batcher waits, when it gives all threads to one batch, and when it gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.inference.batching import Outcome, Policy
from services.inference.errors import DeadlinePassed
from tests.support.fakeclock import FakeClock, run_with_clock
from tests.support.runners import ROOMY, EchoRunner, batching, encoding, encodings, marks_of

PATIENT = replace(ROOMY, max_batch_tokens=100, max_batch_size=10, max_queue_delay_seconds=2.0)


async def turns() -> None:
    """Let the event loop do what is due."""
    for _ in range(4):
        await asyncio.sleep(0)


def test_idle_runner_waits_for_a_batch_to_fill_and_no_longer() -> None:
    """With a delay set, inputs that come within it run together, exactly when the first one is due."""

    async def main(clock: FakeClock) -> None:
        runner = EchoRunner(held=True)
        async with batching(runner, PATIENT, clock=clock) as batcher, asyncio.TaskGroup() as callers:
            for mark in range(4):
                callers.create_task(batcher.submit([encoding(mark)]))
                await turns()
                clock.advance(0.5 - 1e-9)
                await turns()
                assert batcher.queue_size == mark + 1
            clock.advance(1e-8)
            await turns()
            assert batcher.queue_size == 0
            await runner.holds(1)
            runner.release()

        assert [batch.marks for batch in runner.batches] == [(0, 1, 2, 3)]

    run_with_clock(main)


@pytest.mark.parametrize("lengths", [[50, 50], [101], [1] * 10])
def test_batch_that_is_full_does_not_wait(lengths: Sequence[int]) -> None:
    """There is nothing to wait for when no more tokens, or no more inputs, would fit."""

    async def main(clock: FakeClock) -> None:
        async with batching(EchoRunner(), PATIENT, clock=clock) as batcher:
            inputs = [encoding(mark, length) for mark, length in enumerate(lengths)]
            call = asyncio.create_task(batcher.submit(inputs))
            await turns()
            assert batcher.queue_size == 0
            await call

    run_with_clock(main)


def test_newcomers_do_not_put_off_an_input_that_is_due() -> None:
    """Who is next in fair order may have come later: the delay counts for whoever waits longest."""

    async def main(clock: FakeClock) -> None:
        runner = EchoRunner(lanes=2, held=True)
        policy = replace(PATIENT, max_batch_tokens=400)
        async with batching(runner, policy, clock=clock) as batcher, asyncio.TaskGroup() as callers:
            callers.create_task(batcher.submit([encoding(0, length=40), encoding(1, length=20)]))
            await turns()
            clock.advance(1.0)
            callers.create_task(batcher.submit([encoding(2, length=5)]))
            await turns()
            clock.advance(1.0)
            await turns()
            assert batcher.queue_size == 1  # both lanes are busy
            runner.release()

    run_with_clock(main)


def test_delay_of_each_call_counts_from_its_own_arrival() -> None:
    """The timer of a caller who left does not start the batch of those who came after."""

    async def main(clock: FakeClock) -> None:
        runner = EchoRunner()
        async with batching(runner, PATIENT, clock=clock) as batcher:
            leaves = asyncio.create_task(batcher.submit([encoding(0)]))
            await turns()
            leaves.cancel()
            clock.advance(1.0)
            stays = asyncio.create_task(batcher.submit([encoding(1)]))
            await turns()
            clock.advance(1.5)
            await turns()
            assert batcher.queue_size == 1
            clock.advance(0.5)
            await stays

        assert runner.seen == {1}

    run_with_clock(main)


async def test_input_whose_deadline_passes_in_the_queue_is_not_run() -> None:
    """Its caller hears of it when a lane becomes free; the others behind it are served."""
    clock, runner = FakeClock(), EchoRunner(held=True)
    async with batching(runner, clock=clock) as batcher:
        blocker = asyncio.create_task(batcher.submit([encoding(0)]))
        await runner.holds(1)
        hasty = asyncio.create_task(batcher.submit(encodings([1, 2]), deadline=clock.now + 1.0))
        patient = asyncio.create_task(batcher.submit([encoding(3)], deadline=clock.now + 1.001))
        await turns()
        clock.advance(1.0)
        runner.release()
        with pytest.raises(DeadlinePassed):
            await hasty

        assert marks_of((await patient).rows) == [3]
        await blocker
    assert runner.seen == {0, 3}


@pytest.mark.parametrize("policy", [ROOMY, PATIENT])
async def test_deadline_that_has_passed_on_arrival_costs_nothing(policy: Policy) -> None:
    """A call that comes too late is told so at once."""
    clock, runner = FakeClock(), EchoRunner()
    async with batching(runner, policy, clock=clock) as batcher, asyncio.timeout(1.0):
        with pytest.raises(DeadlinePassed):
            await batcher.submit(encodings([1, 2]), deadline=clock.now)

        assert batcher.queue_size == 0
    assert runner.runs == []


async def test_deadline_that_passes_while_the_batch_runs_does_not_take_the_rows() -> None:
    """What has been computed is handed out: whether it is too late is for the caller to say."""
    clock, runner = FakeClock(), EchoRunner(held=True)
    async with batching(runner, clock=clock) as batcher:
        call = asyncio.create_task(batcher.submit([encoding(1)], deadline=clock.now + 1.0))
        await runner.holds(1)
        clock.advance(5.0)
        runner.let_go()

        assert marks_of((await call).rows) == [1]


async def test_one_input_on_an_idle_runner_gets_all_threads() -> None:
    """A single caller has the lowest latency that the machine can give."""
    runner = EchoRunner(lanes=2, has_wide=True)
    async with batching(runner) as batcher:
        await batcher.submit([encoding(1)])
        await batcher.submit([encoding(2)])

    assert [batch.wide for batch in runner.batches] == [True, True]


async def test_wide_batch_takes_the_place_of_all_lanes() -> None:
    """Threads of a wide run and of a narrow one never compete: who comes during it waits."""
    runner = EchoRunner(lanes=2, has_wide=True, held=True)
    async with batching(runner) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(batcher.submit([encoding(1)]))
        await runner.holds(1)
        callers.create_task(batcher.submit(encodings([2, 3])))
        await turns()
        assert batcher.queue_size == 2
        runner.let_go()
        await runner.holds(2)
        runner.release()

    assert [batch.wide for batch in runner.batches] == [True, False, False]


async def test_input_that_comes_while_a_lane_is_busy_gets_a_lane() -> None:
    """Under load nothing waits for all lanes to be free at once."""
    runner = EchoRunner(lanes=2, has_wide=True, held=True)
    async with batching(runner) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(batcher.submit(encodings([1, 2])))
        await runner.holds(2)
        runner.let_go()
        callers.create_task(batcher.submit([encoding(3)]))
        await runner.holds(2)
        runner.release()

    assert not any(batch.wide for batch in runner.batches)


async def test_runner_without_a_wide_way_is_never_asked_for_it() -> None:
    """A GPU has nothing to gain from it."""
    runner = EchoRunner(lanes=2)
    async with batching(runner) as batcher:
        outcome: Outcome = await batcher.submit([encoding(1)])

    assert marks_of(outcome.rows) == [1]
    assert not runner.batches[0].wide
