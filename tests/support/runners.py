"""Runners without a model. Their rows say which input they belong to; tests decide when they finish."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.inference.batching import Batcher, BatchStats, Policy
from services.inference.encoding import Encoding

ROOMY: Final = Policy(max_batch_tokens=10_000, max_batch_size=1_000, max_queue_size=10_000)
"""A policy that limits nothing that a test with few inputs does."""

HOLD_LIMIT_SECONDS: Final = 5.0
"""After so long a run that was never let go fails, and so does who waits for it."""


def encoding(mark: int, length: int = 8) -> Encoding:
    """Return an input of `length` tokens; `mark` tells it from others."""
    return Encoding([mark] + [0] * (length - 1))


def encodings(marks: Sequence[int], length: int = 8) -> list[Encoding]:
    """Return inputs of one length."""
    return [encoding(mark, length) for mark in marks]


def row(one: Encoding) -> NDArray[Any]:
    """Return the output that belongs to an input."""
    return np.array([one.ids[0], len(one)])


def marks_of(rows: Sequence[NDArray[Any]]) -> list[int]:
    """Return the marks of the inputs that rows belong to."""
    return [int(one[0]) for one in rows]


class Poisoned(Exception):
    """One of the inputs cannot be computed."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a runner was asked for.

    Attributes:
        marks: The inputs.
        lengths: Their tokens.
        wide: Whether it got all the threads.
        thread: Where it ran.
        gate: Keeps it from finishing until set.
    """

    marks: tuple[int, ...]
    lengths: tuple[int, ...]
    wide: bool
    thread: int
    gate: threading.Event = field(default_factory=threading.Event)

    @property
    def padded_tokens(self) -> int:
        """What it costs."""
        return max(self.lengths) * len(self.lengths)


class EchoRunner:
    """Answers each input with its mark and length. Satisfies `batching.Runner`.

    With `held`, each batch waits in its thread until the test lets it go; the runs of its halves, after
    it failed, do not wait again. Such a runner is made in the event loop of the test.

    Args:
        lanes: How many runs may go on at a time.
        has_wide: Whether there is a wide way to run.
        poison: Marks of inputs that cannot be computed.
        held: Whether batches wait to be let go.
    """

    def __init__(
        self, lanes: int = 1, *, has_wide: bool = False, poison: Collection[int] = (), held: bool = False
    ) -> None:
        self.lanes: Final = lanes
        self.has_wide: Final = has_wide
        self.poison = set(poison)
        self.runs: list[Run] = []
        self.batches: list[Run] = []
        self.holding: list[Run] = []
        self.seen: set[int] = set()
        self._lock = threading.Lock()
        self._held = held
        self._is_stuck = False
        self._loop = asyncio.get_running_loop() if held else None
        self._changed = asyncio.Event()

    def run(self, encodings: Sequence[Encoding], *, wide: bool) -> Sequence[NDArray[Any]]:
        """Return a row per input, or raise if one of them is poison."""
        marks = tuple(one.ids[0] for one in encodings)
        run = Run(marks, tuple(map(len, encodings)), wide, threading.get_ident())
        with self._lock:
            self.runs.append(run)
            is_batch = self.seen.isdisjoint(marks)
            self.seen.update(marks)
            if is_batch:
                self.batches.append(run)
            is_held = is_batch and self._held
            if is_held:
                self.holding.append(run)
        if is_held:
            self._wait(run)
        if not self.poison.isdisjoint(marks):
            message = "poison"
            raise Poisoned(message)
        return [row(one) for one in encodings]

    def _wait(self, run: Run) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self.tell)
        if not run.gate.wait(HOLD_LIMIT_SECONDS):
            self._is_stuck = True
            self._loop.call_soon_threadsafe(self.tell)

    @property
    def busy_lanes(self) -> int:
        """How many lanes the batches that are held take up."""
        return sum(self.lanes if run.wide else 1 for run in self.holding)

    def let_go(self, place: int = 0) -> Run:
        """Let one of the batches that are held finish, and return it."""
        run = self.holding.pop(place)
        run.gate.set()
        return run

    def release(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            self._held = False
            while self.holding:
                self.let_go()

    def tell(self) -> None:
        """Let `until` look again. For the thread of the event loop."""
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that is so after a batch has begun, or when `tell` is called."""
        while not holds():
            assert not self._is_stuck, "what the test waits for did not happen"
            self._changed.clear()
            await self._changed.wait()

    async def holds(self, count: int) -> None:
        """Wait until `count` batches are held."""
        await self.until(lambda: len(self.holding) == count)


@dataclass(frozen=True, slots=True)
class OddRunner:
    """A runner of one lane that does what a test says. Satisfies `batching.Runner`.

    Attributes:
        answer: What a run returns or raises.
    """

    answer: Callable[[Sequence[Encoding]], Sequence[NDArray[Any]]]
    lanes: int = 1
    has_wide: bool = False

    def run(self, encodings: Sequence[Encoding], *, wide: bool) -> Sequence[NDArray[Any]]:
        """Do what the test says."""
        return self.answer(encodings)


@asynccontextmanager
async def batching(
    runner: EchoRunner | OddRunner,
    policy: Policy = ROOMY,
    observe: Callable[[BatchStats], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Batcher]:
    """Make a batcher for a runner. In the end it is closed, which must not hang."""

    def note(stats: BatchStats) -> None:
        if isinstance(runner, EchoRunner):
            runner.tell()
        if observe is not None:
            observe(stats)

    batcher = Batcher("tiny", runner, policy, note, clock)
    try:
        yield batcher
    finally:
        if isinstance(runner, EchoRunner):
            runner.release()
        async with asyncio.timeout(HOLD_LIMIT_SECONDS):
            await batcher.close()
