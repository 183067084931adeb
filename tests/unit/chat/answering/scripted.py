"""Providers that do what a script says, and everything else that an answer needs."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

from services.chat.answer import Piece, Stopped, TextPiece, Usage, UsageReport
from services.chat.answering.attempts import Answering
from services.chat.answering.breaker import Breaker, State
from services.chat.answering.call import Call
from services.chat.answering.meter import Refusal
from services.chat.answering.steps import AttemptReport, Finished, Started, Step
from services.chat.answering.target import Target
from services.chat.conversation import Conversation, Message, Text
from services.chat.providers.dialect import Ask
from services.chat.providers.exchange import Exchange, Timers
from services.chat.providers.facts import UNKNOWN, Facts
from services.chat.providers.failure import Failure, FailureKind, Told
from services.chat.providers.provider import Provider
from services.config import Chat, CompatibleProvider, TargetFacts
from tests.unit.chat.answering.virtual_time import now

USAGE = Usage(input_tokens=7, output_tokens=2)
QUESTION = Conversation((Message("user", (Text("what?"),)),))

Act = Sequence[list[Piece] | float | Failure]
"""What a provider does, in order: send pieces, wait, fail. It has begun to respond with its first pieces."""


def says(*texts: str) -> Act:
    """Answer with these pieces of text."""
    pieces: list[list[Piece]] = [[TextPiece(0, text)] for text in texts]
    return (*pieces, [UsageReport(USAGE), Stopped("stop")])


def fails(kind: FailureKind, wait: float | None = None, status: int | None = None) -> Act:
    """Fail at once."""
    return (Failure(kind, "it failed", Told(status=status, retry_after_seconds=wait)),)


class ScriptedExchange(Exchange):
    """An exchange that follows an act."""

    def __init__(self, provider: ScriptedProvider, act: Act, timers: Timers) -> None:
        self._provider = provider
        self._rest = list(act)
        self._until = timers.until
        self.upstream_seconds = 0.0
        self.is_open = False

    async def __aenter__(self) -> Self:
        await asyncio.sleep(self._provider.queue_seconds)
        self.upstream_seconds = 0.001
        while self._rest and not isinstance(self._rest[0], list):
            await self._do(self._rest.pop(0))
        self.is_open = True
        self._provider.open += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_open = False
        self._provider.open -= 1

    async def __aiter__(self) -> AsyncGenerator[list[Piece], None]:
        for step in self._rest:
            if isinstance(step, list):
                yield step
            else:
                await self._do(step)

    async def _do(self, step: list[Piece] | float | Failure) -> None:
        if isinstance(step, Failure):
            raise step
        assert isinstance(step, float | int)
        try:
            async with asyncio.timeout_at(None if math.isinf(self._until) else self._until):
                await asyncio.sleep(step)
        except TimeoutError as error:
            raise Failure(FailureKind.TIMEOUT, "it took too long") from error


class ScriptedProvider(Provider):
    """A provider that follows a script, one act per request; the last one is for all that follow.

    Attributes:
        asks: What it was asked.
        times: When it was asked.
        open: Responses that are open.
        ids: Ids of tool calls that it had made, one per request.
        facts_seconds: How long it takes to say what is known of a model.
        queue_seconds: How long a request waits for its turn.
    """

    def __init__(self, name: str, *acts: Act, paid: bool = False, facts: Facts | Failure = UNKNOWN) -> None:
        self.name = name
        tier: Literal["premium", "local"] = "premium" if paid else "local"
        self.section = CompatibleProvider(type="openai-compatible", url="http://127.0.0.1:9/v1", tier=tier)
        self.acts = list(acts)
        self.known = facts
        self.asks: list[Ask] = []
        self.times: list[float] = []
        self.ids: list[str] = []
        self.facts_seconds = 0.0
        self.queue_seconds = 0.0
        self.open = 0

    def exchange(self, ask: Ask, timers: Timers, new_id: Callable[[int], str]) -> Exchange:
        """Follow the next act."""
        self.asks.append(ask)
        self.times.append(now())
        self.ids.append(new_id(len(self.ids)))
        return ScriptedExchange(self, self.acts.pop(0) if len(self.acts) > 1 else self.acts[0], timers)

    async def facts(self, upstream_model: str) -> Facts:
        """Return what it is told to know, or fail as told."""
        del upstream_model
        await asyncio.sleep(self.facts_seconds)
        if isinstance(self.known, Failure):
            raise self.known
        return self.known


class Money:
    """Counts reservations; refuses those for targets that it is told to refuse.

    Attributes:
        log: What happened, in order.
    """

    def __init__(self, *refused: str, seconds: float = 0.0) -> None:
        self._refused = refused
        self._seconds = seconds
        self.log: list[tuple[str, str]] = []

    async def reserve(self, target: Target, conversation: Conversation) -> _Reserved | Refusal:
        """Put money aside, or refuse."""
        del conversation
        await asyncio.sleep(self._seconds)
        if target.name in self._refused:
            return Refusal("it may cost more than is left", 60.0)
        self.log.append(("reserved", target.name))
        return _Reserved(self, target.name)


@dataclass
class _Reserved:
    money: Money
    name: str

    def settle(self, usage: Usage) -> int | None:
        self.money.log.append(("settled", self.name))
        return (usage.output_tokens or 0) * 10

    def abandon(self, *, sent: bool) -> int | None:
        self.money.log.append(("kept" if sent else "returned", self.name))
        return None if sent else 0


@dataclass
class Watcher:
    """An observer that remembers.

    Attributes:
        log: What happened, in order: what, to whom, and why.
    """

    log: list[tuple[str, str, str]] = field(default_factory=list)

    def attempt_ended(self, target: str, outcome: str, seconds: float) -> None:
        """Remember it."""
        assert seconds >= 0
        self.log.append(("ended", target, outcome))

    def spent(self, report: AttemptReport) -> None:
        """Take it; what is spent is asked of the answer itself."""

    def first_token(self, target: str, seconds: float) -> None:
        """Remember it."""
        assert seconds >= 0
        self.log.append(("first token", target, ""))

    def retried(self, target: str, reason: str) -> None:
        """Remember it."""
        self.log.append(("retried", target, reason))

    def fell_back(self, target: str, reason: str) -> None:
        """Remember it."""
        self.log.append(("fell back", target, reason))


@dataclass
class Stage:
    """Everything that answering needs, made for a test.

    Attributes:
        settings: `[chat]`.
        paid_enabled: Whether paid targets may be called.
        money: Counts reservations.
        watcher: Remembers what was observed.
        states: Changes of breakers.
    """

    settings: Chat = field(default_factory=Chat)
    paid_enabled: bool = True
    money: Money = field(default_factory=Money)
    watcher: Watcher = field(default_factory=Watcher)
    states: list[tuple[str, State]] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def target(self, provider: ScriptedProvider, overrides: TargetFacts | None = None) -> Target:
        """Return the model `m` of a provider."""

        def on_change(state: State) -> None:
            self.states.append((provider.name, state))

        return Target(provider, "m", Breaker(self.settings, now, on_change), overrides)

    def targets(self, *providers: ScriptedProvider) -> tuple[Target, ...]:
        """Return the models `m` of providers."""
        return tuple(self.target(provider) for provider in providers)

    def steps(self, *targets: Target, **more: Any) -> AsyncGenerator[list[Step], None]:
        """Return the steps of a call to these targets."""
        answering = Answering(self.settings, self.paid_enabled, self.money, self.watcher, self.chance)
        return answering.answer(call(*targets, **more))

    async def answer(self, *targets: Target, **more: Any) -> Answer:
        """Make a call and return its whole answer."""
        answer = Answer()
        async with aclosing(self.steps(*targets, **more)) as portions:
            async for portion in portions:
                answer.portions.append(portion)
        return answer


def call(*targets: Target, **more: Any) -> Call:
    """Return a call to these targets."""
    fields = {"conversation": QUESTION, "timers": Timers(60.0, 30.0), "total_seconds": 600.0, **more}
    return Call(response_id="r1", targets=targets, **fields)


@dataclass
class Answer:
    """What a caller got, list by list."""

    portions: list[list[Step]] = field(default_factory=list)

    @property
    def steps(self) -> list[Step]:
        """All steps."""
        return [step for portion in self.portions for step in portion]

    @property
    def text(self) -> str:
        """All text."""
        return "".join(step.text for step in self.steps if isinstance(step, TextPiece))

    @property
    def started(self) -> Started:
        """The first step."""
        [first, *rest] = self.steps
        assert isinstance(first, Started)
        assert not any(isinstance(step, Started) for step in rest)
        return first

    @property
    def finished(self) -> Finished:
        """The last step."""
        [*rest, last] = self.steps
        assert isinstance(last, Finished)
        assert not any(isinstance(step, Finished) for step in rest)
        return last
