"""What a caller is told when no target has answered.

The error is that of the first target that was asked: its last failure. Others are asked only because of it,
and what they do is told in the metadata. Two kinds of failure go before that, and end the call: those that no
other target would do better with. If no target was asked, the error is why the first one was not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from services.chassis.errors import CallError, DeadlinePassed
from services.chat.answering.limit import Limit
from services.chat.answering.target import Target
from services.chat.errors import (
    UpstreamInterrupted,
    UpstreamRateLimited,
    UpstreamUnavailable,
    error_of,
)
from services.chat.providers.failure import Failure, FailureKind

MAX_METADATA_BYTES: Final = 480
"""The status has room for 500 bytes per value; a list that ends in the middle of a word helps nobody."""

WAITING_HELPS: Final = frozenset(
    {
        FailureKind.RATE_LIMITED,
        FailureKind.UNAVAILABLE,
        FailureKind.TIMEOUT,
        FailureKind.BROKEN_OFF,
        FailureKind.MALFORMED,
        FailureKind.BUSY,
        FailureKind.QUOTA,
    }
)


@dataclass(frozen=True, slots=True)
class Tried:
    """A target that was asked and how that ended."""

    target: Target
    reason: str
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A target that was not asked, and why."""

    target: Target
    error: CallError


class Outcome:
    """What has become of a call so far.

    Attributes:
        tried: Targets that were asked, one entry for each time.
        skipped: Targets that were not.
    """

    def __init__(self) -> None:
        self.tried: list[Tried] = []
        self.skipped: list[Skipped] = []

    def nobody_left(self, candidates: Iterable[Target]) -> CallError:
        """Return the error of a call that has no target left to ask; `candidates` could be asked later."""
        cooling = {target.name: target.breaker.cooling_seconds for target in candidates}
        failures = [one for one in self.tried if one.failure is not None]
        if failures:
            return self._failed([one for one in failures if one.target is failures[0].target][-1])
        if cooling:
            name = min(cooling, key=lambda target: cooling[target])
            message = f"{name}: the provider asked to be left alone for a while, and nobody else can be asked"
            return self._with_attempts(UpstreamRateLimited(message, retry_after_seconds=cooling[name]))
        return self._with_attempts(self.skipped[0].error)

    def rejected(self) -> CallError:
        """Return the error of a call whose last failure no other target would mend."""
        return self._failed(self.tried[-1])

    def interrupted(self) -> CallError:
        """Return the error of a call whose answer broke off after something of it was passed on."""
        last = [one for one in self.tried if one.failure is not None][-1]
        assert last.failure is not None
        error = error_of(last.target.name, last.failure, UpstreamInterrupted)
        error.retry_after_seconds = None
        return self._with_attempts(error)

    def out_of_time(self, limit: Limit, *, begun: bool) -> CallError:
        """Return the error of a call whose time is over; `begun` says whether something was passed on."""
        if limit.is_callers:
            return DeadlinePassed()
        kind = UpstreamInterrupted if begun else UpstreamUnavailable
        return self._with_attempts(kind(f"there was no complete answer within {limit.total_seconds:g} s"))

    def ended(self, error: CallError) -> CallError:
        """Return an error that ends the call, with what was tried before it."""
        return self._with_attempts(error)

    def _failed(self, tried: Tried) -> CallError:
        """Return the error that a failure is to the caller, with the shortest wait that may help."""
        assert tried.failure is not None
        error = error_of(tried.target.name, tried.failure)
        error.retry_after_seconds = None
        if tried.failure.kind in WAITING_HELPS:
            waits = [_wait(one) for one in self.tried]
            error.retry_after_seconds = min((wait for wait in waits if wait), default=None)
        return self._with_attempts(error)

    def _with_attempts(self, error: CallError) -> CallError:
        tried = [_told(one.target, one.reason, one.failure) for one in self.tried]
        skipped = [_told(one.target, str(one.error.reason), None) for one in self.skipped]
        lists = {"attempts": _joined(tried), "skipped": _joined(skipped)}
        error.metadata = {**error.metadata, **{key: value for key, value in lists.items() if value}}
        return error


def _wait(tried: Tried) -> float | None:
    """Return how long to wait for a target that was asked; nothing if that is not known."""
    if tried.failure is not None and tried.failure.kind is FailureKind.BUSY:
        return tried.failure.told.retry_after_seconds  # holds for us, the target does not cool down
    return tried.target.breaker.cooling_seconds


def _told(target: Target, reason: str, failure: Failure | None) -> str:
    status = "" if failure is None or failure.told.status is None else f" {failure.told.status}"
    return f"{target.name} {reason}{status}"


def _joined(entries: Sequence[str]) -> str:
    """Return as many as there is room for, and how many more there are."""
    text = ""
    for number, entry in enumerate(entries):
        longer = f"{text}; {entry}" if text else entry
        if len(longer.encode()) > MAX_METADATA_BYTES:
            return f"{text}; and {len(entries) - number} more" if text else f"{len(entries)} targets"
        text = longer
    return text
