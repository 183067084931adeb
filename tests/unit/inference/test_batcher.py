"""The batcher by example: whose answer is whose, who is let in, who shares a batch, and how it ends."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from itertools import pairwise

import pytest

from services.inference.batching import Batcher, BatchStats
from services.inference.batching.batcher import SLICE
from services.inference.errors import ModelNotReady, QueueFull
from tests.support.fakeclock import FakeClock
from tests.support.runners import ROOMY, EchoRunner, batching, encoding, encodings, marks_of


async def test_rows_of_many_batches_come_back_in_the_order_of_the_inputs() -> None:
    """A call does not notice that its inputs were sorted by length and spread over lanes."""
    runner = EchoRunner(lanes=2)
    async with batching(runner, replace(ROOMY, max_batch_size=4)) as batcher:
        outcome = await batcher.submit([encoding(mark, 1 + mark % 7) for mark in range(300)])

    assert marks_of(outcome.rows) == list(range(300))
    assert len(runner.batches) >= 75


async def test_calls_that_come_while_a_batch_runs_share_the_next() -> None:
    """A batch is formed when a lane becomes free, not before: that is what makes load cheap."""
    runner = EchoRunner(held=True)
    async with batching(runner) as batcher, asyncio.TaskGroup() as callers:
        for mark in range(6):
            callers.create_task(batcher.submit([encoding(mark)]))
        await runner.holds(1)
        runner.let_go()
        await runner.holds(1)
        runner.let_go()

    assert [batch.marks for batch in runner.batches] == [(0,), (1, 2, 3, 4, 5)]


async def test_free_lanes_share_what_waits() -> None:
    """A call with many inputs uses all lanes at once, not one lane for everything."""
    runner = EchoRunner(lanes=4, held=True)
    async with batching(runner) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(batcher.submit(encodings(range(20))))
        await runner.holds(4)
        runner.release()

    assert [len(batch.marks) for batch in runner.batches] == [5, 5, 5, 5]


async def test_large_call_is_queued_in_slices_between_which_others_have_turns() -> None:
    """A thousand inputs do not hold the event loop: it turns after each `SLICE` of them."""
    runner = EchoRunner(held=True)
    async with batching(runner) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(batcher.submit([encoding(-1)]))
        await runner.holds(1)
        callers.create_task(batcher.submit(encodings(range(1000))))
        sizes = [batcher.queue_size]
        while sizes[-1] < 1000:
            await asyncio.sleep(0)
            sizes.append(batcher.queue_size)
        runner.release()

    assert max(after - before for before, after in pairwise(sizes)) <= SLICE


@pytest.mark.parametrize("served", [1, 2, 30])
async def test_one_input_does_not_wait_for_the_thousand_before_it(served: int) -> None:
    """A call with a thousand inputs takes turns: who comes later is served in the batch after next."""
    runner = EchoRunner(held=True)
    async with batching(runner, replace(ROOMY, max_batch_tokens=80)) as batcher:
        large = asyncio.create_task(batcher.submit(encodings(range(1000))))
        await runner.holds(1)
        for _ in range(served - 1):
            runner.let_go()
            await runner.holds(1)
        single = asyncio.create_task(batcher.submit([encoding(1000, length=30)]))
        await asyncio.sleep(0)
        begun = len(runner.batches)
        while 1000 not in runner.seen:
            runner.let_go()
            await runner.holds(1)
        batches = len(runner.batches) - begun
        runner.release()
        await asyncio.gather(large, single)

    assert batches <= 2


async def test_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    """Nobody waits for a place: `retry_after_seconds` is how long the inputs that wait will take."""
    runner = EchoRunner(held=True)
    policy = replace(ROOMY, max_queue_size=10, tokens_per_second=10.0)
    async with batching(runner, policy) as batcher, asyncio.TaskGroup() as callers:
        callers.create_task(batcher.submit([encoding(0)]))
        await runner.holds(1)
        callers.create_task(batcher.submit(encodings(range(1, 9), length=8)))
        await asyncio.sleep(0)

        with pytest.raises(QueueFull) as caught:
            await batcher.submit(encodings([100, 101, 102]))

        assert caught.value.reason == "QUEUE_FULL"
        assert caught.value.retry_after_seconds == pytest.approx(6.4)
        assert caught.value.metadata == {"maxQueueSize": "10", "queueSize": "8"}
        assert batcher.queue_size == 8
        callers.create_task(batcher.submit(encodings([9, 10])))  # two more do fit
        runner.release()

    assert runner.seen == set(range(11))


async def test_inputs_that_are_still_being_queued_have_their_place() -> None:
    """A call that was accepted is not cut short by one that came while its slices were queued."""
    runner = EchoRunner(held=True)
    async with batching(runner, replace(ROOMY, max_queue_size=1000)) as batcher:
        first = asyncio.create_task(batcher.submit(encodings(range(600))))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await batcher.submit(encodings(range(600, 1200)))
        runner.release()

        assert len((await first).rows) == 600


async def test_batch_is_reported_as_it_was() -> None:
    """The metrics of padding, waiting and failures are made of this."""
    clock, reports = FakeClock(), list[BatchStats]()
    runner = EchoRunner(held=True, poison=[2])
    async with batching(runner, observe=reports.append, clock=clock) as batcher:
        calls = [asyncio.create_task(batcher.submit([encoding(0, 5)]))]
        await runner.holds(1)
        for mark, length in ((1, 20), (2, 18), (3, 200)):
            calls.append(asyncio.create_task(batcher.submit([encoding(mark, length)])))
            await asyncio.sleep(0)
            clock.advance(2.0)
        runner.release()
        await asyncio.gather(*calls, return_exceptions=True)

    first, second, third = reports
    assert (first.tokens, first.padded_tokens, first.size, first.failed, first.waits) == (5, 5, 1, 0, (0.0,))
    assert (second.tokens, second.padded_tokens, second.size, second.failed) == (38, 40, 2, 1)
    assert second.waits == (6.0, 4.0)
    assert (third.tokens, third.waits) == (200, (2.0,))
    assert not any(report.wide for report in reports)


async def test_caller_learns_its_longest_wait_and_longest_run() -> None:
    """The timings of a call that was spread over batches are those of its slowest part."""
    clock, reports = FakeClock(), list[BatchStats]()
    runner = EchoRunner(held=True)
    policy = replace(ROOMY, max_batch_size=1)
    async with batching(runner, policy, reports.append, clock) as batcher:
        call = asyncio.create_task(batcher.submit(encodings([0, 1, 2])))
        for _ in range(3):
            await runner.holds(1)
            clock.advance(1.5)
            runner.let_go()
        outcome = await call

    assert outcome.queue_seconds == 3.0
    assert outcome.inference_seconds == max(report.seconds for report in reports) > 0


async def test_closing_finishes_what_was_accepted_and_refuses_the_rest() -> None:
    """Unloading a model costs no caller that was let in, inputs that are still being queued included."""
    runner = EchoRunner(lanes=2, held=True)
    async with batching(runner, replace(ROOMY, max_batch_tokens=400)) as batcher:
        accepted = asyncio.create_task(batcher.submit(encodings(range(500))))
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(ModelNotReady) as caught:
            await batcher.submit([encoding(1000)])
        assert caught.value.retry_after_seconds == 1.0
        assert not closing.done()
        runner.release()
        await closing

        assert marks_of((await accepted).rows) == list(range(500))
    assert 1000 not in runner.seen


async def test_closing_ends_the_worker_threads() -> None:
    """A model that was unloaded leaves nothing running."""
    before = set(threading.enumerate())
    runner = EchoRunner(lanes=3)
    batcher = Batcher("tiny", runner, ROOMY, lambda stats: None)
    await batcher.submit(encodings(range(30)))
    await batcher.close()

    left = set(threading.enumerate()) - before
    assert not [thread.name for thread in left if thread.name.startswith("lane")]
