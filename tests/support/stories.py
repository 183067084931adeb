"""Stories of callers and a batcher: who calls, leaves and waits how long, and which batch finishes when.

`play` acts a story out with a real batcher, real threads and a clock of its own, one action after the
other: the next one comes when every batch that was started has reached the runner. So the tale that comes
back says for each action who waited before it and which batches began because of it.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any

from services.inference.batching import Batcher, BatchStats, Outcome, Policy
from tests.support.fakeclock import FakeClock, run_with_clock
from tests.support.runners import EchoRunner, Run, encoding


@dataclass(frozen=True, slots=True)
class Call:
    """A new caller comes.

    Attributes:
        lengths: Tokens of each of its inputs.
        poisoned: Which of them cannot be computed.
        patience: Seconds until its deadline; None for no deadline.
    """

    lengths: tuple[int, ...]
    poisoned: frozenset[int] = frozenset()
    patience: float | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    """A caller leaves, if there is one that waits."""

    who: int


@dataclass(frozen=True, slots=True)
class Finish:
    """A batch finishes, if one runs."""

    which: int


@dataclass(frozen=True, slots=True)
class Pass:
    """Time passes."""

    seconds: float


Action = Call | Leave | Finish | Pass


@dataclass(frozen=True, slots=True)
class Story:
    """What happens, and to whom."""

    actions: tuple[Action, ...]
    policy: Policy
    lanes: int = 1
    has_wide: bool = False


@dataclass(slots=True, eq=False)
class Caller:
    """A call that was made.

    Attributes:
        call: What it was.
        marks: Its inputs.
        entered: When it came.
        task: Its end.
        ended: When that was.
        left: The step in which the caller left; None for a caller that stayed to the end.
    """

    call: Call
    marks: range
    entered: float
    task: asyncio.Task[Outcome]
    ended: float = 0.0
    left: int | None = None

    @property
    def poison(self) -> set[int]:
        """Return the marks of its inputs that cannot be computed."""
        return {self.marks[place] for place in self.call.poisoned}

    def expired(self, now: float) -> bool:
        """Say whether its deadline has passed."""
        return self.call.patience is not None and now >= self.entered + self.call.patience


@dataclass(frozen=True, slots=True)
class Step:
    """What an action led to.

    Attributes:
        action: The action.
        now: When it was.
        waiting: Inputs that had callers and waited to be run just before, in order of arrival.
        begun: Batches that began because of it.
        busy_lanes: How many lanes were in use after it.
        left_waiting: Inputs that had callers and waited after it.
    """

    action: Action
    now: float
    waiting: list[int]
    begun: list[Run]
    busy_lanes: int
    left_waiting: list[int]


@dataclass(slots=True)
class Tale:
    """How a story went."""

    story: Story
    loop_thread: int
    callers: list[Caller] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    stats: list[BatchStats] = field(default_factory=list)
    observers: set[int] = field(default_factory=set)
    runner: EchoRunner = field(default_factory=EchoRunner)
    problems: list[dict[str, Any]] = field(default_factory=list)
    forgotten: list[Caller] = field(default_factory=list)
    queue_size: int = -1

    def caller_of(self, mark: int) -> Caller:
        """Return the caller of an input."""
        return next(caller for caller in self.callers if mark in caller.marks)

    @property
    def lengths(self) -> dict[int, int]:
        """Return the tokens of each input."""
        return {
            mark: length
            for caller in self.callers
            for mark, length in zip(caller.marks, caller.call.lengths, strict=True)
        }


class _Stage:
    def __init__(self, story: Story, tale: Tale, clock: FakeClock) -> None:
        self._tale = tale
        self._clock = clock
        self._runner = tale.runner = EchoRunner(story.lanes, has_wide=story.has_wide, held=True)
        self._batcher = Batcher("tiny", self._runner, story.policy, self._observe, clock)
        self._finished = 0
        self._next_mark = 0

    async def play(self, story: Story) -> None:
        """Act the story out, let all batches finish in the end, and close the batcher."""
        for action in story.actions:
            await self._step(action)
        if story.policy.max_queue_delay_seconds:
            await self._step(Pass(story.policy.max_queue_delay_seconds))
        while self._runner.holding:
            await self._step(Finish(0))
        await _turns()
        self._tale.queue_size = self._batcher.queue_size
        self._tale.forgotten = [caller for caller in self._tale.callers if not caller.task.done()]
        for caller in self._tale.forgotten:
            caller.task.cancel()
        await self._batcher.close()

    async def _step(self, action: Action) -> None:
        waiting, known = self._waiting(), len(self._runner.batches)
        self._act(action)
        await _turns()
        await self._runner.until(self._is_settled)
        begun = self._runner.batches[known:]
        now, busy = self._clock.now, self._runner.busy_lanes
        self._tale.steps.append(Step(action, now, waiting, begun, busy, self._waiting()))

    def _act(self, action: Action) -> None:
        match action:
            case Call():
                self._call(action)
            case Leave(who):
                present = [caller for caller in self._tale.callers if not caller.task.done()]
                if present:
                    leaver = present[who % len(present)]
                    leaver.left = len(self._tale.steps)
                    leaver.task.cancel()
            case Finish(which):
                if self._runner.holding:
                    self._finished += 1
                    self._runner.let_go(which % len(self._runner.holding))
            case Pass(seconds):
                self._clock.advance(seconds)

    def _call(self, call: Call) -> None:
        marks = range(self._next_mark, self._next_mark + len(call.lengths))
        self._next_mark = marks.stop
        now = self._clock.now
        submission = self._batcher.submit(
            [encoding(mark, length) for mark, length in zip(marks, call.lengths, strict=True)],
            deadline=None if call.patience is None else now + call.patience,
        )
        caller = Caller(call, marks, now, asyncio.get_running_loop().create_task(submission))
        caller.task.add_done_callback(lambda _: self._end(caller))
        self._runner.poison |= caller.poison
        self._tale.callers.append(caller)

    def _end(self, caller: Caller) -> None:
        caller.ended = self._clock.now
        self._runner.tell()

    def _waiting(self) -> list[int]:
        return [
            mark
            for caller in self._tale.callers
            if not caller.task.done()
            for mark in caller.marks
            if mark not in self._runner.seen
        ]

    def _is_settled(self) -> bool:
        """Say whether every batch that was started has begun, and every one let go has been reported.

        Only the batcher knows of a batch that is on its way to its thread, and it does not tell.
        """
        started = self._runner.lanes - self._batcher._free_lanes
        return (
            len(self._tale.stats) == self._finished
            and self._runner.busy_lanes == started
            and self._batcher.queue_size == len(self._waiting())
        )

    def _observe(self, stats: BatchStats) -> None:
        self._tale.stats.append(stats)
        self._tale.observers.add(threading.get_ident())
        self._runner.tell()


async def _turns() -> None:
    """Let the callers that an action concerned do what they do next."""
    for _ in range(3):
        await asyncio.sleep(0)


def play(story: Story, *, guarded: bool = False) -> Tale:
    """Act a story out in an event loop of its own, one that guards against other threads if wanted."""
    tale = Tale(story, threading.get_ident())

    async def main(clock: FakeClock) -> None:
        await _Stage(story, tale, clock).play(story)

    run_with_clock(main, on_problem=tale.problems.append, guarded=guarded)
    return tale
