"""The batcher's invariants, each under random stories of callers, limits, failures and departures."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.batching import Batcher, Policy
from services.inference.errors import DeadlinePassed, InferenceFailed, QueueFull
from tests.support.runners import ROOMY, EchoRunner, batching, encoding, marks_of
from tests.support.stories import (
    Action,
    Call,
    Caller,
    Finish,
    Leave,
    Pass,
    Step,
    Story,
    Tale,
    play,
)

examples = settings(deadline=None, max_examples=60)

lengths = st.one_of(st.integers(1, 40), st.sampled_from([8, 10, 32]))
finishes = st.builds(Finish, st.integers(0, 7))
passes = st.builds(Pass, st.sampled_from([0.5, 1.0, 2.0]))
one_input = st.builds(Call, st.tuples(lengths))
policies = st.builds(
    Policy,
    max_batch_tokens=st.integers(1, 200),
    max_batch_size=st.integers(1, 8),
    max_queue_size=st.integers(8, 60),
    max_queue_delay_seconds=st.sampled_from([0.0, 0.0, 1.5]),
    overhead_tokens=st.sampled_from([0.0, 16.0, 64.0]),
)


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """Return a call of some inputs, perhaps with poison among them, perhaps with a deadline."""
    chosen = draw(st.lists(lengths, min_size=1, max_size=12))
    poisoned = draw(st.one_of(st.just(frozenset()), st.frozensets(st.integers(0, 11), max_size=3)))
    patience = draw(st.sampled_from([None, None, None, 0.0, 1.0, 2.5]))
    return Call(tuple(chosen), frozenset(place for place in poisoned if place < len(chosen)), patience)


actions: st.SearchStrategy[Action] = st.one_of(
    calls(), calls(), finishes, finishes, passes, st.builds(Leave, st.integers(0, 7))
)
stories = st.builds(
    Story,
    st.lists(actions, min_size=1, max_size=14).map(tuple),
    policies,
    lanes=st.integers(1, 4),
    has_wide=st.booleans(),
)


@examples
@given(stories)
def test_every_call_resolves_exactly_once_and_as_it_should(story: Story) -> None:
    """No caller hangs, none is answered twice, and each gets rows or the error that fits what happened."""
    tale = play(story)

    assert tale.problems == []
    assert tale.forgotten == []
    for caller in tale.callers:
        assert _is_fair_end(caller), (caller.call, caller.task)


@examples
@given(stories)
def test_row_of_each_input_is_its_own(story: Story) -> None:
    """Callers of shared batches never see each other's rows, and their order is that of the inputs."""
    tale = play(story)

    for caller in tale.callers:
        if _succeeded(caller):
            rows = caller.task.result().rows
            assert marks_of(rows) == list(caller.marks)
            assert [int(row[1]) for row in rows] == list(caller.call.lengths)


@examples
@given(stories)
def test_batch_keeps_to_its_limits(story: Story) -> None:
    """Only an input that is longer than the budget by itself may cost more, and it runs alone."""
    tale = play(story)

    for batch in tale.runner.batches:
        assert batch.padded_tokens <= story.policy.max_batch_tokens or len(batch.marks) == 1
        assert len(batch.marks) <= story.policy.max_batch_size


@examples
@given(st.lists(st.one_of(one_input, one_input, finishes), max_size=30).map(tuple), policies)
def test_who_waits_longest_is_in_the_next_batch(actions: tuple[Action, ...], policy: Policy) -> None:
    """Inputs that fit better may run along, but never instead: among calls of one input, arrival decides."""
    tale = play(Story(actions, replace(policy, max_queue_delay_seconds=0.0)))

    for step in tale.steps:
        if step.waiting and step.begun:
            assert step.waiting[0] in step.begun[0].marks


@examples
@given(stories)
def test_inputs_without_caller_or_past_the_deadline_are_not_run(story: Story) -> None:
    """Nobody is there for their rows, so they cost nothing."""
    tale = play(story)

    for number, step in enumerate(tale.steps):
        for mark in (mark for batch in step.begun for mark in batch.marks):
            caller = tale.caller_of(mark)
            assert caller.left is None or number < caller.left
            assert not caller.expired(step.now)


@examples
@given(stories)
def test_failing_inputs_take_nobody_with_them(story: Story) -> None:
    """A failing batch is halved until the poison is alone, and each input has an end of its own."""
    tale = play(story)

    poison = set().union(*(caller.poison for caller in tale.callers))
    for batch in tale.runner.batches:
        runs = [run for run in tale.runner.runs if set(run.marks) <= set(batch.marks)]
        for mark in batch.marks:
            last = min((run for run in runs if mark in run.marks), key=lambda run: len(run.marks))
            assert last.marks == (mark,) if mark in poison else poison.isdisjoint(last.marks)
    assert sum(stats.failed for stats in tale.stats) == len(poison & tale.runner.seen)


@examples
@given(stories)
def test_no_lane_is_idle_while_an_input_waits(story: Story) -> None:
    """Work is never put off, unless the operator asked for a delay that has not passed yet."""
    tale = play(story)

    for step in tale.steps:
        assert step.busy_lanes == story.lanes or not step.left_waiting or _may_wait(tale, step)


@examples
@given(stories)
def test_state_is_touched_by_the_event_loop_only(story: Story) -> None:
    """Models run in threads of their own, and everything else happens in the loop's, without locks."""
    tale = play(story, guarded=True)

    assert tale.problems == []
    assert tale.observers <= {tale.loop_thread}
    assert tale.loop_thread not in {run.thread for run in tale.runner.runs}


@examples
@given(stories)
def test_wide_runs_only_when_nothing_else_runs_and_less_waits_than_lanes(story: Story) -> None:
    """All threads for one batch is for an idle runner; under load each lane runs its own."""
    tale = play(story)

    for step in tale.steps:
        for batch in step.begun:
            if batch.wide:
                assert story.has_wide
                assert step.busy_lanes == story.lanes  # of which a wide batch takes all
                assert len(batch.marks) + len(step.left_waiting) < story.lanes


@examples
@given(stories)
def test_nothing_is_left_behind(story: Story) -> None:
    """In the end the queue is empty, every batch was reported once, and all lanes are free."""
    tale = play(story)

    assert tale.queue_size == 0
    assert sum(stats.size for stats in tale.stats) == len(tale.runner.seen)
    assert len(tale.stats) == len(tale.runner.batches)
    assert sum(stats.padded_tokens for stats in tale.stats) == sum(
        batch.padded_tokens for batch in tale.runner.batches
    )
    assert sum(stats.tokens for stats in tale.stats) == sum(
        length for mark, length in tale.lengths.items() if mark in tale.runner.seen
    )


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(0, 6), st.booleans()), min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(8, 2000),
)
def test_rows_find_their_callers_when_everything_happens_at_once(
    crowd: list[tuple[int, int, bool]], lanes: int, max_batch_tokens: int
) -> None:
    """Large calls that are queued in slices, callers who leave meanwhile, and lanes that race."""
    policy = replace(ROOMY, max_batch_tokens=max_batch_tokens)

    async def caller(batcher: Batcher, number: int) -> None:
        size, patience, is_patient = crowd[number]
        marks = list(range(number * 1000, number * 1000 + size))
        call = asyncio.create_task(batcher.submit([encoding(mark, 1 + mark % 13) for mark in marks]))
        for _ in range(patience):
            await asyncio.sleep(0)
        if not is_patient:
            call.cancel()
        await asyncio.wait([call])
        assert not is_patient if call.cancelled() else marks_of(call.result().rows) == marks

    async def main() -> None:
        async with batching(EchoRunner(lanes, has_wide=True), policy) as batcher:
            await asyncio.gather(*(caller(batcher, number) for number in range(len(crowd))))
            assert batcher.queue_size == 0

    asyncio.run(main())


def _may_wait(tale: Tale, step: Step) -> bool:
    """Say whether the policy has an idle lane wait for more: no input is due, and no batch is full."""
    policy, tokens = tale.story.policy, tale.lengths
    entered = min(tale.caller_of(mark).entered for mark in step.left_waiting)
    return (
        step.now < entered + policy.max_queue_delay_seconds
        and len(step.left_waiting) < policy.max_batch_size
        and sum(tokens[mark] for mark in step.left_waiting) < policy.max_batch_tokens
    )


def _succeeded(caller: Caller) -> bool:
    return not caller.task.cancelled() and caller.task.exception() is None


def _is_fair_end(caller: Caller) -> bool:
    """Say whether a call ended in a way that what happened to it explains."""
    if caller.task.cancelled():
        return caller.left is not None
    match caller.task.exception():
        case None:
            return not caller.poison
        case InferenceFailed() as error:
            return error.metadata["parameter"] in {f"inputs[{place}]" for place in caller.call.poisoned}
        case DeadlinePassed():
            return caller.expired(caller.ended)
        case QueueFull() as error:
            return int(error.metadata["queueSize"]) + len(caller.marks) > int(error.metadata["maxQueueSize"])
    return False
