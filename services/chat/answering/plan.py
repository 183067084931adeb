"""Which target of a call is asked next, and how long to wait before that."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from services.chat.answering.limit import Limit
from services.chat.answering.target import Target
from services.chat.conversation import Conversation
from services.config import Chat

MAX_BACKOFF_SECONDS: Final = 8.0


@dataclass(slots=True, eq=False)
class Candidate:
    """A target that may still be asked.

    Attributes:
        target: The target.
        retries: How often it has been asked again.
        not_before: When the back-off is over, as time of the event loop.
        repairing: The conversation in which it is shown why its answer did not fit; None at first.
        repairs: How often it has been shown that.
    """

    target: Target
    retries: int = 0
    not_before: float = 0.0
    repairing: Conversation | None = None
    repairs: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """Who is asked next, in so many seconds."""

    candidate: Candidate
    seconds: float


class Plan:
    """The targets of one call that may still be asked.

    One that was just asked and may be asked again comes first, then those that do well, in order, then
    those that are ejected. None of them is ever left out for being ejected. One that asked to be left alone
    is left alone: it is waited for if there is nobody else and it takes no longer than allowed.

    Args:
        targets: The targets in order.
        settings: How long may be waited.
        limit: When the call has to be over.
        chance: Draws the back-off.
    """

    def __init__(
        self, targets: Sequence[Target], settings: Chat, limit: Limit, chance: random.Random
    ) -> None:
        self.candidates = [Candidate(target) for target in targets]
        self._settings = settings
        self._limit = limit
        self._chance = chance
        self._last: Candidate | None = None

    def choose(self) -> Choice | None:
        """Return who is asked next; None if nobody can be in time."""
        usable = [(one, self._wait(one)) for one in self.candidates if self._is_bearable(one)]
        if self._last is not None:
            for one, seconds in usable:
                if one is self._last and (one.target.breaker.is_favoured or len(self.candidates) == 1):
                    return Choice(one, seconds)
        # Sorting keeps the order among equals.
        ranked = sorted(usable, key=lambda pair: self._rank(*pair))
        return Choice(*ranked[0]) if ranked else None

    def ask(self, candidate: Candidate) -> None:
        """Note that this one is asked now."""
        self._last = candidate

    def drop(self, candidate: Candidate) -> None:
        """Do not ask this one again."""
        self.candidates.remove(candidate)

    def retry(self, candidate: Candidate) -> bool:
        """Let this one be asked again after a back-off, unless it has been often enough. Return whether."""
        if candidate.retries >= self._settings.max_retries:
            return False
        longest = min(MAX_BACKOFF_SECONDS, self._settings.backoff_seconds * 2**candidate.retries)
        pause = self._chance.uniform(0, longest)
        candidate.retries += 1
        # On top of what the provider asks for: else all callers come back at the same moment.
        candidate.not_before = _now() + candidate.target.breaker.cooling_seconds + pause
        return True

    def _is_bearable(self, candidate: Candidate) -> bool:
        cooling = candidate.target.breaker.cooling_seconds
        return cooling <= self._settings.max_wait_seconds and self._limit.allows(self._wait(candidate))

    def _wait(self, candidate: Candidate) -> float:
        return max(0.0, candidate.target.breaker.cooling_seconds, candidate.not_before - _now())

    @staticmethod
    def _rank(candidate: Candidate, seconds: float) -> tuple[bool, float, bool]:
        breaker = candidate.target.breaker
        cooling = breaker.cooling_seconds > 0
        return cooling, seconds if cooling else 0.0, not breaker.is_favoured


def drawn(targets: Sequence[Target], weights: Mapping[str, float], chance: random.Random) -> list[Target]:
    """Return the targets with the order among equals drawn.

    Equals are targets with a weight that stand next to each other. Drawing a time of arrival for each, with
    its weight as rate, makes the chance of being first proportional to the weight, and so on for the rest.
    """
    order: list[Target] = []
    for weighted, run in groupby(targets, key=lambda target: target.name in weights):
        equals = list(run)
        if weighted:
            arrivals = {one.name: chance.expovariate(weights[one.name]) for one in equals}
            equals.sort(key=lambda target: arrivals[target.name])
        order += equals
    return order


def _now() -> float:
    return asyncio.get_running_loop().time()
