"""What a call wants of the cache, and what it is told of it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from services.chassis.errors import InvalidRequest

MODE_KEY: Final = "inglenook-cache"
"""Metadata of a call: its `Mode`. Trailing metadata of an answer: its `Result`."""


class Mode(StrEnum):
    """What a call wants of the cache."""

    ON = "on"
    """Answer from it, and keep what was computed."""
    OFF = "off"
    """Neither."""
    READ_ONLY = "read-only"
    """Answer from it, and keep nothing."""
    REFRESH = "refresh"
    """Compute everything, and keep it in the place of what was there."""

    @property
    def reads(self) -> bool:
        """Whether the call may be answered from the cache."""
        return self in {Mode.ON, Mode.READ_ONLY}

    @property
    def keeps(self) -> bool:
        """Whether what is computed for the call may be kept."""
        return self in {Mode.ON, Mode.REFRESH}


class Result(StrEnum):
    """What the cache was to a call."""

    HIT = "hit"
    """Nothing was computed for it."""
    PARTIAL = "partial"
    """A part was known."""
    MISS = "miss"
    """Nothing was known."""
    BYPASS = "bypass"
    """It was not asked."""


MODES: Final = {mode.value: mode for mode in Mode}
PROBLEM: Final = "must be one of " + ", ".join(MODES)


def mode_of(metadata: Iterable[tuple[str, str | bytes]] | None, default: Mode) -> Mode:
    """Return what a call with this metadata wants.

    Raises:
        InvalidRequest: It wants something that there is not.
    """
    for key, value in metadata or ():
        if key == MODE_KEY:
            mode = MODES.get(value if isinstance(value, str) else "")
            if mode is None:
                raise InvalidRequest([(MODE_KEY, PROBLEM)])
            return mode
    return default
