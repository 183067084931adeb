"""The queue of entries: who is next, who runs along, and that its indexes never disagree."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from services.inference.batching.entry import Entry, Ticket
from services.inference.batching.queue import LEAST_EFFICIENCY, SMALL_CHANGE, Budget, EntryQueue
from tests.support.runners import encoding

examples = settings(deadline=None, max_examples=60)
lengths = st.one_of(st.integers(1, 60), st.sampled_from([8, 9, 10, 30]))
budgets = st.builds(
    Budget, st.integers(1, 300), st.integers(1, 12), st.sampled_from([0.0, 16.0, 64.0, 1000.0])
)
ROOMY = Budget(10_000, 1_000, 16.0)


class Calls:
    """Makes calls and their entries. An event loop is needed to make futures, not to run them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call(self) -> Ticket:
        """Return a call without entries."""
        return Ticket(self._loop.create_future(), "inputs[{}]".format, 0, None, 0.0)

    def entries(self, ticket: Ticket, lengths: Sequence[int]) -> list[Entry]:
        """Return further entries of a call."""
        first = len(ticket.entries)
        made = [
            Entry(encoding(first + place, length), ticket, first + place)
            for place, length in enumerate(lengths)
        ]
        ticket.entries += made
        return made


@contextmanager
def making_calls() -> Iterator[Calls]:
    """Give a loop to calls for as long as a test needs it."""
    loop = asyncio.new_event_loop()
    try:
        yield Calls(loop)
    finally:
        loop.close()


class NaiveQueue:
    """What `EntryQueue` promises, as a list that is searched from end to end."""

    def __init__(self) -> None:
        self.entries: list[tuple[float, int, Entry]] = []
        self._next_tags: dict[Ticket, float] = {}
        self._arrivals = 0
        self._virtual_time = 0.0

    def add(self, entries: Sequence[Entry]) -> None:
        """Add entries of one call."""
        for entry in entries:
            tag = max(self._virtual_time, self._next_tags.get(entry.ticket, 0.0))
            self._next_tags[entry.ticket] = tag + len(entry.encoding)
            self.entries.append((tag, self._arrivals, entry))
            self._arrivals += 1

    def discard(self, entries: Sequence[Entry]) -> None:
        """Remove entries."""
        self.entries = [key for key in self.entries if key[2] not in entries]

    def oldest(self) -> Entry:
        """Return the entry that is next."""
        return min(self.entries)[2]

    def calls(self) -> set[Ticket]:
        """Return the calls that have entries here."""
        return {entry.ticket for _, _, entry in self.entries}

    def take(self, budget: Budget) -> list[Entry]:
        """Remove and return a batch: the next entry, then again and again the one that pads least."""
        active = len(self.calls())
        batch = [self.oldest()]
        self.discard(batch)
        while len(batch) < budget.size:
            fitting = [key for key in self.entries if _rectangle([*batch, key[2]]) <= budget.tokens]
            if not fitting:
                break
            best = min(fitting, key=lambda key: (_padding([*batch, key[2]]), len(key[2].encoding), key))[2]
            if not _is_worth_it(batch, best, budget):
                break
            batch.append(best)
            self.discard([best])
        self._virtual_time += sum(len(entry.encoding) for entry in batch) / active
        return batch


def _rectangle(batch: Sequence[Entry]) -> int:
    return max(len(entry.encoding) for entry in batch) * len(batch)


def _padding(batch: Sequence[Entry]) -> int:
    return _rectangle(batch) - sum(len(entry.encoding) for entry in batch)


def _is_worth_it(batch: Sequence[Entry], entry: Entry, budget: Budget) -> bool:
    after = [*batch, entry]
    if _padding(after) <= (1 - LEAST_EFFICIENCY) * _rectangle(after):
        return True
    return _padding(after) - _padding(batch) <= SMALL_CHANGE * budget.overhead_tokens


class QueueMachine(RuleBasedStateMachine):
    """Does the same to a queue and to its model."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._calls = Calls(self._loop)
        self._tickets: list[Ticket] = []
        self._queue = EntryQueue()
        self._model = NaiveQueue()

    @rule(chosen=st.lists(lengths, min_size=1, max_size=15))
    def call_comes(self, chosen: list[int]) -> None:
        """Add the entries of a new call."""
        self._tickets.append(self._calls.call())
        self._add(self._tickets[-1], chosen)

    @precondition(lambda self: self._tickets)
    @rule(which=st.integers(0, 100), chosen=st.lists(lengths, min_size=1, max_size=15))
    def call_goes_on(self, which: int, chosen: list[int]) -> None:
        """Add another slice of a call."""
        self._add(self._tickets[which % len(self._tickets)], chosen)

    @precondition(lambda self: self._tickets)
    @rule(which=st.integers(0, 100))
    def caller_leaves(self, which: int) -> None:
        """Discard all entries of a call, those that were taken already included."""
        ticket = self._tickets.pop(which % len(self._tickets))
        self._queue.discard(ticket.entries)
        self._model.discard(ticket.entries)

    @precondition(lambda self: len(self._queue) > 0)
    @rule(budget=budgets)
    def batch_is_taken(self, budget: Budget) -> None:
        """Take a batch: the model's, within the budget, with the next entry in it."""
        oldest = self._queue.oldest()
        batch = self._queue.take(budget)
        assert batch == self._model.take(budget)
        assert batch[0] is oldest
        assert len(batch) <= budget.size
        assert len(batch) == 1 or _rectangle(batch) <= budget.tokens

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Size, tokens, who is next and who is here are the model's."""
        entries = {entry for _, _, entry in self._model.entries}
        assert len(self._queue) == len(entries)
        assert self._queue.tokens == sum(len(entry.encoding) for entry in entries)
        assert {entry for ticket in self._tickets for entry in ticket.entries if entry.waiting} == entries
        for ticket in self._tickets:
            assert ticket.queued == sum(entry.ticket is ticket for entry in entries)
        if entries:
            assert self._queue.oldest() is self._model.oldest()
            assert self._queue.longest_waiting() in self._model.calls()

    def teardown(self) -> None:
        """Close the loop."""
        self._loop.close()

    def _add(self, ticket: Ticket, chosen: Sequence[int]) -> None:
        entries = self._calls.entries(ticket, chosen)
        self._queue.add(entries)
        self._model.add(entries)


def test_queue_behaves_like_a_naive_list() -> None:
    """The indexes by length and by fair order only make it fast: they change nothing."""
    run_state_machine_as_test(
        QueueMachine, settings=settings(deadline=None, max_examples=80, stateful_step_count=30)
    )


@examples
@given(st.lists(lengths, min_size=1, max_size=80), budgets)
def test_padding_is_small_or_small_change(chosen: list[int], budget: Budget) -> None:
    """A batch wastes at most an eighth of what it costs, and what a few more runs would have cost."""
    with making_calls() as calls:
        queue = EntryQueue()
        queue.add(calls.entries(calls.call(), chosen))
        while len(queue):
            batch = queue.take(budget)
            small_change = SMALL_CHANGE * budget.overhead_tokens * (len(batch) - 1)
            assert _padding(batch) <= (1 - LEAST_EFFICIENCY) * _rectangle(batch) + small_change


def test_entries_of_other_lengths_run_by_themselves() -> None:
    """A short text is not padded to the length of a long one, unless a run of its own would cost more."""
    with making_calls() as calls:
        queue = EntryQueue()
        queue.add(calls.entries(calls.call(), [10, 200, 9, 190, 10]))
        taken = [
            [len(entry.encoding) for entry in queue.take(ROOMY)],
            [len(entry.encoding) for entry in queue.take(ROOMY)],
        ]

    assert taken == [[10, 10, 9], [200, 190]]


def test_calls_of_one_input_are_next_in_the_order_of_their_arrival() -> None:
    """Fairness between single inputs is a queue as everyone knows it, whatever their lengths."""
    alone = Budget(1, 1, 0.0)
    with making_calls() as calls:
        queue = EntryQueue()
        entries = [calls.entries(calls.call(), [1 + 37 * place % 50])[0] for place in range(100)]
        taken = []
        for place, entry in enumerate(entries):
            queue.add([entry])
            taken += queue.take(alone) if place % 3 == 0 else []
        while len(queue):
            taken += queue.take(alone)

    assert taken == entries


@examples
@given(
    st.lists(lengths, min_size=300, max_size=300),
    st.integers(0, 20),
    st.lists(lengths, min_size=1, max_size=5),
)
def test_newcomer_is_served_soon_after_a_large_call_and_before_whoever_comes_later(
    large: list[int], served: int, newcomers: list[int]
) -> None:
    """It waits for one batch per length of the large call at most; later calls are never next before it."""
    budget = Budget(200, 64, 16.0)
    with making_calls() as calls:
        queue = EntryQueue()
        queue.add(calls.entries(calls.call(), large))
        for _ in range(served):
            queue.take(budget)
        (newcomer,) = calls.entries(calls.call(), newcomers[:1])
        queue.add([newcomer])
        batches = 0
        while newcomer.waiting:
            oldest = queue.oldest()
            assert (oldest.tag, oldest.number) <= (newcomer.tag, newcomer.number)
            queue.take(budget)
            queue.add(calls.entries(calls.call(), [newcomers[batches % len(newcomers)]]))
            batches += 1

    assert batches <= 1 + len(set(large))


def test_large_call_and_an_endless_stream_of_newcomers_share_the_runner() -> None:
    """Neither starves the other: each gets about half of the tokens for as long as both want them."""
    budget = Budget(60, 8, 0.0)
    with making_calls() as calls:
        queue, large = EntryQueue(), calls.call()
        queue.add(calls.entries(large, [10] * 400))
        tokens = {True: 0, False: 0}
        for _ in range(80):
            queue.add(calls.entries(calls.call(), [30]))
            for entry in queue.take(budget):
                tokens[entry.ticket is large] += len(entry.encoding)

    assert 0.4 <= tokens[True] / sum(tokens.values()) <= 0.6


def test_longest_waiting_call_is_the_one_that_came_first_whoever_is_next() -> None:
    """A call keeps its seniority until the last of its entries is gone."""
    with making_calls() as calls:
        queue, first, second = EntryQueue(), calls.call(), calls.call()
        queue.add(calls.entries(first, [40, 20]))
        queue.add(calls.entries(second, [5]))
        queue.take(Budget(1, 1, 0.0))
        assert queue.oldest().ticket is second
        assert queue.longest_waiting() is first
        queue.discard(first.entries)

        assert queue.longest_waiting() is second
