"""The batcher: forms a batch when a session becomes free, not before.

Invariants, each with a property test in tests/unit/inference/test_batcher_properties.py:

- Every accepted call resolves exactly once: with all of its rows, with an error, or by cancellation.
- Row i of a call's result is the model's output for its input i, whatever shared the batches.
- A batch costs at most `max_batch_tokens` with padding, unless it is one entry that is longer.
- Nothing starves: the entry that is next in fair order is in the next batch.
- An entry whose caller left or whose deadline passed is not run.
- A run that fails is halved until the entry that it fails on is alone; all others get their rows.
- No lane is idle while an entry waits, unless `max_queue_delay_seconds` says so.
- All state belongs to the event loop; worker threads see only the batch they run.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from services.inference.batching.entry import Entry, Outcome, Ticket
from services.inference.batching.execution import Row, execute
from services.inference.batching.policy import BatchStats, Policy, Runner
from services.inference.batching.queue import LEAST_EFFICIENCY, Budget, EntryQueue
from services.inference.encoding import Encoding
from services.inference.errors import ModelNotReady, QueueFull

SLICE: Final = 128
"""Entries handled between two turns of the event loop."""

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Batch:
    entries: list[Entry]
    wide: bool
    waits: tuple[float, ...]

    def lanes(self, runner: Runner) -> int:
        """Return how many lanes it takes up."""
        return runner.lanes if self.wide else 1

    def stats(self, rows: Sequence[Row], seconds: float) -> BatchStats:
        """Describe it once it has run."""
        lengths = [len(entry.encoding) for entry in self.entries]
        return BatchStats(
            tokens=sum(lengths),
            padded_tokens=max(lengths) * len(lengths),
            seconds=seconds,
            wide=self.wide,
            failed=sum(row is None for row in rows),
            waits=self.waits,
        )


class Batcher:
    """Runs the inputs of many calls in shared batches. Belongs to one event loop.

    Args:
        model: The model's name, for error messages.
        runner: What computes a batch.
        policy: Limits and costs.
        observe: Told of every finished batch.
        clock: Seconds that only grow. Not the event loop's: uvloop's advances in whole milliseconds.
    """

    def __init__(
        self,
        model: str,
        runner: Runner,
        policy: Policy,
        observe: Callable[[BatchStats], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._model = model
        self._runner = runner
        self._policy = policy
        self._observe = observe
        self._queue = EntryQueue()
        self._free_lanes = runner.lanes
        self._threads = ThreadPoolExecutor(runner.lanes, thread_name_prefix="lane")
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._entering = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def queue_size(self) -> int:
        """How many entries wait."""
        return len(self._queue)

    @property
    def utilization(self) -> float:
        """How busy it is: the share of its lanes that run, and 1 more for each full batch that waits."""
        busy = 1 - self._free_lanes / self._runner.lanes
        return busy + len(self._queue) / self._policy.max_batch_size

    async def submit(
        self,
        encodings: Sequence[Encoding],
        *,
        deadline: float | None = None,
        name: Callable[[int], str] = "inputs[{}]".format,
    ) -> Outcome:
        """Run inputs, in whatever batches, and return their rows in order.

        Args:
            encodings: The inputs, 1 or more.
            deadline: When to give up, in seconds of `time.monotonic`.
            name: What the caller calls the input of an index, for error messages.

        Raises:
            QueueFull: Too many entries wait; nothing of the call was accepted.
            DeadlinePassed: The deadline passed while inputs waited.
            InferenceFailed: One of the inputs cannot be computed.
            ModelNotReady: The batcher is closing.
        """
        if self._closed:
            raise ModelNotReady(self._model, "being unloaded", retry_after_seconds=1.0)
        self._admit(len(encodings))
        ticket = Ticket(self._loop.create_future(), name, len(encodings), deadline, self._clock())
        self._entering += len(encodings)
        self._idle.clear()
        try:
            for first in range(0, len(encodings), SLICE):
                if first:
                    await asyncio.sleep(0)
                self._enter(ticket, first, encodings[first : first + SLICE])
            return await ticket.future
        except asyncio.CancelledError:
            ticket.leave()
            raise
        finally:
            self._entering -= len(encodings) - len(ticket.entries)
            self._queue.discard(ticket.entries)
            self._rest()

    async def close(self) -> None:
        """Refuse new calls, finish those that were accepted, and end the worker threads."""
        self._closed = True
        await self._idle.wait()
        await self._loop.run_in_executor(None, self._threads.shutdown)

    def _admit(self, count: int) -> None:
        policy, waiting = self._policy, len(self._queue) + self._entering
        if waiting + count > policy.max_queue_size:
            seconds = max(0.05, self._queue.tokens / policy.tokens_per_second)
            raise QueueFull(waiting, policy.max_queue_size, seconds)

    def _enter(self, ticket: Ticket, first: int, encodings: Sequence[Encoding]) -> None:
        """Queue some of a call's inputs; a large call is queued in slices, so as not to hold the loop."""
        entries = [Entry(encoding, ticket, first + place) for place, encoding in enumerate(encodings)]
        ticket.entries += entries
        self._entering -= len(entries)
        if not ticket.future.done():  # else: an entry of an earlier slice has failed already
            self._queue.add(entries)
            self._dispatch()

    def _dispatch(self) -> None:
        """Give every free lane a batch, for as long as entries wait."""
        now = self._clock()
        while self._free_lanes and len(self._queue):
            oldest = self._queue.oldest()
            if oldest.ticket.is_over(now):
                self._queue.discard(oldest.ticket.entries)
            elif self._waits_for_more(now):
                break
            else:
                self._start(now)

    def _waits_for_more(self, now: float) -> bool:
        """Say whether a batch should not start yet, and see to it that it starts in time."""
        policy, queue = self._policy, self._queue
        delay = policy.max_queue_delay_seconds
        if not delay or queue.tokens >= policy.max_batch_tokens or len(queue) >= policy.max_batch_size:
            return False
        due = queue.longest_waiting().entered + delay
        if due <= now:
            return False
        if self._timer is None:
            self._timer = self._loop.call_later(due - now, self._on_timer)
        return True

    def _on_timer(self) -> None:
        self._timer = None
        self._dispatch()

    def _start(self, now: float) -> None:
        """Take a batch from the queue and hand it to a worker thread.

        A runner that is idle and has fewer entries to run than lanes gives them all of its threads.
        Otherwise each of several free lanes gets its share of what waits, with some room for padding, so that
        none of them is left idle.
        """
        runner, policy = self._runner, self._policy
        idle = self._free_lanes == runner.lanes
        wide = runner.has_wide and idle and len(self._queue) < runner.lanes
        tokens = policy.max_batch_tokens
        if self._free_lanes > 1 and not wide:
            tokens = min(tokens, math.ceil(self._queue.tokens / self._free_lanes / LEAST_EFFICIENCY))
        budget = Budget(tokens, policy.max_batch_size, policy.overhead_tokens)
        entries = [entry for entry in self._queue.take(budget) if not entry.ticket.is_over(now)]
        if not entries:
            return
        for entry in entries:
            entry.ticket.began(now)
        batch = _Batch(entries, wide, tuple(now - entry.ticket.entered for entry in entries))
        self._free_lanes -= batch.lanes(runner)
        self._threads.submit(self._run, batch)

    def _run(self, batch: _Batch) -> None:
        """Run a batch, in a worker thread. Comes back to the event loop whatever happens.

        Straight back: a future of an executor would take two more turns of the loop.
        """
        rows: list[Row] = [None] * len(batch.entries)
        seconds = 0.0
        try:
            encodings = [entry.encoding for entry in batch.entries]
            rows, seconds = execute(self._runner, encodings, wide=batch.wide)
        except BaseException:  # a bug, outside the model: each of its entries fails
            log.exception("a batch was lost")
        finally:
            self._loop.call_soon_threadsafe(self._finish, batch, rows, seconds)

    def _finish(self, batch: _Batch, rows: list[Row], seconds: float) -> None:
        """Use the lane again, then hand out the rows of the batch that has finished."""
        self._free_lanes += batch.lanes(self._runner)
        try:
            self._dispatch()
        finally:
            for entry, row in zip(batch.entries, rows, strict=True):
                if row is None:
                    entry.fail()
                else:
                    entry.ticket.deliver(entry.index, row, seconds)
            self._rest()
            self._observe(batch.stats(rows, seconds))

    def _rest(self) -> None:
        if not len(self._queue) and not self._entering and self._free_lanes == self._runner.lanes:
            self._idle.set()
