"""Takes a replica out for a while when its calls fail, and finds out when it is well again.

A replica is ejected after several failures in a row, or when too large a share of its calls failed of late.
When the time is over, one call at a time tries it; one that is answered ends the ejection, one that fails
begins the next, which is longer. Only what `outcome` blames on the replica is heard here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from services.config import Channels

SLICES: Final = 10
"""Into how many parts the window is cut; it moves by one of them at a time."""


class Standing(StrEnum):
    """How a replica is treated for what became of its calls."""

    HEALTHY = "healthy"
    EJECTED = "ejected"
    PROBING = "probing"


class Window:
    """Counts calls and failures of the last seconds.

    Args:
        seconds: How far it reaches back.
        clock: Tells the time in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._slice_seconds = seconds / SLICES
        self._clock = clock
        self._slices: deque[list[int]] = deque(maxlen=SLICES)
        """Number of the slice, calls, failures."""

    def add(self, *, failed: bool) -> None:
        """Count a call."""
        number = int(self._clock() / self._slice_seconds)
        if not self._slices or self._slices[-1][0] != number:
            self._slices.append([number, 0, 0])
        self._slices[-1][1] += 1
        self._slices[-1][2] += failed

    def totals(self) -> tuple[int, int]:
        """Return how many calls there were, and how many of them failed."""
        oldest = int(self._clock() / self._slice_seconds) - SLICES
        recent = [one for one in self._slices if one[0] > oldest]
        return sum(calls for _, calls, _ in recent), sum(failures for *_, failures in recent)

    def clear(self) -> None:
        """Forget all of them."""
        self._slices.clear()


class Ejection:
    """Remembers how the calls of one replica ended.

    Args:
        settings: What ejects, and for how long.
        clock: Tells the time in seconds.
        may_eject: Says whether the others can do without this one.
        changed: Is told of every change that a call makes; mere time tells nobody.

    Attributes:
        count: How often the replica was ejected.
        since: When the latest change was made, in UTC.
        detail: Why it is ejected, for people.
    """

    def __init__(
        self,
        settings: Channels,
        clock: Callable[[], float],
        may_eject: Callable[[], bool],
        changed: Callable[[Standing], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._may_eject = may_eject
        self._changed = changed
        self._in_a_row = 0
        self._window = Window(settings.ejection_window_seconds, clock)
        self._ejected = False
        self._until = 0.0
        self._recovered_at = clock()
        self._times = 0
        self._probing = False
        self._era = 0
        self._began = datetime.now(UTC)
        self.count = 0
        self.detail = ""

    @property
    def standing(self) -> Standing:
        """How the replica is treated now."""
        if not self._ejected:
            return Standing.HEALTHY
        return Standing.EJECTED if self._clock() < self._until else Standing.PROBING

    @property
    def since(self) -> datetime:
        """Since when it has been treated so, in UTC."""
        if self.standing is Standing.PROBING:
            return self._began + timedelta(seconds=self.seconds)
        return self._began

    @property
    def seconds(self) -> float:
        """How long an ejection lasts that is the latest of so many."""
        return min(self._settings.max_ejection_seconds, self._settings.ejection_seconds * max(1, self._times))

    @property
    def wants_probe(self) -> bool:
        """Whether a call should find out if the replica is well, and none is doing so."""
        return self.standing is Standing.PROBING and not self._probing

    def begin(self) -> Trial:
        """Return what tells how one call ended."""
        probes = self.wants_probe
        self._probing = self._probing or probes
        return Trial(self, self._era, probes)

    def forgive(self) -> None:
        """Forget everything: another process listens there now."""
        if self._ejected:
            self._recover()
        self._forget()
        self._times = 0
        self._era += 1

    def note_success(self, era: int) -> None:
        """Note a call that was answered, begun in an era."""
        if era != self._era:
            return
        self._in_a_row = 0
        if self._ejected:
            self._recover()
        self._window.add(failed=False)

    def note_failure(self, era: int, *, probe: bool) -> None:
        """Note a call that the replica failed. Of an ejected one only what probes say is heard."""
        if era != self._era:
            return
        if self._ejected:
            if probe:
                self._eject("the call that tried it failed")
            return
        self._in_a_row += 1
        self._window.add(failed=True)
        calls, failures = self._window.totals()
        if self._in_a_row >= self._settings.ejection_failures:
            why = f"{self._in_a_row} calls in a row failed"
        elif calls >= self._settings.ejection_min_calls and failures >= calls * self._settings.ejection_share:
            why = f"{failures} of {calls} calls failed"
        else:
            return
        if self._may_eject():
            self._eject(why)

    def end_probe(self, era: int) -> None:
        """Let another call try: this one has found out nothing, or is done."""
        if era == self._era:
            self._probing = False

    def _eject(self, why: str) -> None:
        now = self._clock()
        if not self._ejected:  # every stretch of good behaviour makes the next ejection shorter again
            well = now - self._recovered_at
            self._times = max(0, self._times - int(well / self._settings.ejection_seconds))
        self._times += 1
        self.count += 1
        self._era += 1
        self._ejected, self._probing = True, False
        self._until = now + self.seconds
        self._began = datetime.now(UTC)
        self.detail = f"{why}; left alone for {self.seconds:g} s, then tried with single calls"
        self._forget()
        self._changed(Standing.EJECTED)

    def _recover(self) -> None:
        self._ejected, self._probing = False, False
        self._recovered_at = self._clock()
        self._began = datetime.now(UTC)
        self.detail = ""
        self._forget()
        self._changed(Standing.HEALTHY)

    def _forget(self) -> None:
        self._in_a_row = 0
        self._window.clear()


class Trial:
    """One call as the ejection sees it. What it finds out after others had the replica ejected is old news.

    Attributes:
        is_probe: It finds out whether the ejection can end.
    """

    __slots__ = ("_ejection", "_era", "_over", "is_probe")

    def __init__(self, ejection: Ejection, era: int, is_probe: bool) -> None:
        self._ejection = ejection
        self._era = era
        self._over = False
        self.is_probe = is_probe

    def began(self) -> None:
        """The replica has begun to answer: enough to end its ejection, for the end may be far.

        Should it fail later, that counts as any other failure does.
        """
        if self.is_probe and not self._over:
            self._ejection.note_success(self._era)
            self._ejection.end_probe(self._era)
            self.is_probe = False

    def succeeded(self) -> None:
        """The replica has answered."""
        if not self._over:
            self._ejection.note_success(self._era)
        self.end()

    def failed(self) -> None:
        """The replica has failed, and it is to blame."""
        if not self._over:
            self._ejection.note_failure(self._era, probe=self.is_probe)
        self.end()

    def end(self) -> None:
        """Nothing was found out, or all that there was has been said."""
        if not self._over and self.is_probe:
            self._ejection.end_probe(self._era)
        self._over = True
