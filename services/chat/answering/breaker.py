"""Remembers how a target has been doing, so that calls leave one alone that does not answer.

A target that fails several times in a row is ejected for a while. When that is over, one call at a time tries
it; each of these probes that fails doubles the time, one that is answered ends it. Apart from that a target
cools down when its provider asks to be left alone. Times only ever get longer by a later word, never shorter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.config import Chat

MAX_COOLING_SECONDS: Final = 3600.0
"""Longest time that a target is left alone for one word of its provider: some write nonsense."""
MAX_DOUBLINGS: Final = 32


class State(StrEnum):
    """How a target is treated."""

    HEALTHY = "healthy"
    """Nothing speaks against it."""
    EJECTED = "ejected"
    """It failed several times in a row; others are asked first."""
    PROBING = "probing"
    """Its time as ejected is over; one call at a time tries it."""
    COOLING = "cooling"
    """Its provider asked to be left alone; nobody asks it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a target is treated now; `seconds` is how much longer, None where no time ends it."""

    state: State
    seconds: float | None = None


class Breaker:
    """Remembers how one target has been doing.

    Args:
        settings: How many failures eject, and for how long.
        clock: Tells the time in seconds.
        on_change: Is told the new state when a trial changes it, not when mere time does.
    """

    def __init__(
        self,
        settings: Chat,
        clock: Callable[[], float],
        on_change: Callable[[State], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._on_change = on_change
        self._failures = 0
        self._ejections = 0
        self._ejected = False
        self._ejected_until = 0.0
        self._cooling_until = 0.0
        self._probing = False
        self._era = 0

    def adopt(self, settings: Chat) -> None:
        """Go by other settings from now on; what is remembered stays."""
        self._settings = settings

    @property
    def era(self) -> int:
        """How often the target has been ejected so far."""
        return self._era

    def standing(self) -> Standing:
        """Return how the target is treated now."""
        now = self._clock()
        cooling = self.cooling_seconds
        if self._ejected:
            left = max(self._ejected_until - now, cooling)
            return Standing(State.EJECTED, left) if left > 0 else Standing(State.PROBING)
        return Standing(State.COOLING, cooling) if cooling > 0 else Standing(State.HEALTHY)

    @property
    def cooling_seconds(self) -> float:
        """How long its provider wants it to be left alone, 0 if it does not."""
        return max(0.0, self._cooling_until - self._clock())

    @property
    def is_favoured(self) -> bool:
        """Whether it is asked in its turn: it is not ejected, or a probe is due and none is on its way."""
        return not self._ejected or (self._clock() >= self._ejected_until and not self._probing)

    def cool(self, seconds: float) -> None:
        """Leave the target alone for at least so long."""
        until = self._clock() + min(seconds, MAX_COOLING_SECONDS)
        if until > self._cooling_until:
            self._cooling_until = until
            self._on_change(self.standing().state)

    @contextmanager
    def trial(self) -> Iterator[Trial]:
        """Let the block find out how the target does. Without a word from the block, nothing is learnt."""
        probes = self._ejected and self.is_favoured
        trial = Trial(self, self._era, probes)
        if probes:
            self._probing = True
            self._on_change(State.PROBING)
        try:
            yield trial
        finally:
            if probes and trial.era == self._era:
                self._probing = False

    def lift(self) -> None:
        """End the ejection on trust: the next failure brings it back."""
        if self._ejected:
            self._ejected = self._probing = False
            self._failures = self._settings.ejection_failures - 1
            self._on_change(self.standing().state)

    def heal(self) -> None:
        """Forget all failures."""
        self.lift()
        self._failures = self._ejections = 0

    def count(self, *, probe: bool) -> None:
        """Count a failure. While the target is ejected, only those of probes matter."""
        self._failures += 1
        if probe if self._ejected else self._failures >= self._settings.ejection_failures:
            self._eject()

    def _eject(self) -> None:
        longest = self._settings.max_ejection_seconds
        seconds = min(longest, self._settings.ejection_seconds * 2 ** min(self._ejections, MAX_DOUBLINGS))
        self._ejections += 1
        self._ejected_until = max(self._ejected_until, self._clock() + seconds)
        self._ejected, self._probing = True, False
        self._era += 1
        self._on_change(State.EJECTED)


@dataclass(frozen=True, slots=True)
class Trial:
    """One attempt as the breaker sees it.

    What is found out after the target was ejected by others is not heard: it is about the time before.

    Attributes:
        breaker: Whose trial it is.
        era: How often the target had been ejected when the trial began.
        is_probe: It finds out whether the ejection can end.
    """

    breaker: Breaker
    era: int
    is_probe: bool

    def begins(self) -> None:
        """The target has begun to answer."""
        if self.era == self.breaker.era:
            self.breaker.lift()

    def succeeds(self) -> None:
        """The target has answered."""
        if self.era == self.breaker.era:
            self.breaker.heal()

    def fails(self) -> None:
        """The target has failed, and it is to blame."""
        if self.era == self.breaker.era:
            self.breaker.count(probe=self.is_probe)
