"""How providers fail, and what may be done about each way: the taxonomy that everything else follows.

A kind alone decides whether the same target may be asked again, whether the next one may, and whether the
failure counts against the target. The table is exhaustive and nothing is retried that is not named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class FailureKind(StrEnum):
    """A way in which an attempt can fail."""

    REJECTED = "rejected"
    """The provider refuses the request as it is."""
    NOT_SUPPORTED = "not supported"
    """The model cannot do what is asked: tools, images, reasoning."""
    MODEL_MISSING = "model missing"
    """The provider has no such model."""
    CONTEXT_LENGTH = "context length"
    """The conversation is longer than the model can read."""
    CONTENT_FILTERED = "content filtered"
    """The provider refuses to answer because of what is said."""
    AUTHENTICATION = "authentication"
    """The provider refuses our key, or what it may do."""
    QUOTA = "quota"
    """Nothing more is to be had for now and waiting a little will not help: credit, daily quota."""
    RATE_LIMITED = "rate limited"
    """Too many requests; waiting helps."""
    UNAVAILABLE = "unavailable"
    """The provider failed, is overloaded, or cannot be reached."""
    TIMEOUT = "timeout"
    """The provider said nothing for too long."""
    BROKEN_OFF = "broken off"
    """The answer ended before it was complete."""
    MALFORMED = "malformed"
    """What the provider sent cannot be understood."""
    BUSY = "busy"
    """Too many calls wait here for this provider."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """What may be done about a kind of failure.

    Attributes:
        retry: The same target may be asked again.
        fall_back: The next target may be asked.
        blame: It counts against the target.
    """

    retry: bool
    fall_back: bool
    blame: bool


TREATMENTS: Final[Mapping[FailureKind, Treatment]] = {
    FailureKind.REJECTED: Treatment(retry=False, fall_back=False, blame=False),
    FailureKind.NOT_SUPPORTED: Treatment(retry=False, fall_back=True, blame=False),
    FailureKind.MODEL_MISSING: Treatment(retry=False, fall_back=True, blame=False),
    FailureKind.CONTEXT_LENGTH: Treatment(retry=False, fall_back=True, blame=False),
    FailureKind.CONTENT_FILTERED: Treatment(retry=False, fall_back=False, blame=False),
    FailureKind.AUTHENTICATION: Treatment(retry=False, fall_back=True, blame=True),
    FailureKind.QUOTA: Treatment(retry=False, fall_back=True, blame=True),
    FailureKind.RATE_LIMITED: Treatment(retry=True, fall_back=True, blame=False),
    FailureKind.UNAVAILABLE: Treatment(retry=True, fall_back=True, blame=True),
    FailureKind.TIMEOUT: Treatment(retry=False, fall_back=True, blame=True),
    FailureKind.BROKEN_OFF: Treatment(retry=True, fall_back=True, blame=True),
    FailureKind.MALFORMED: Treatment(retry=True, fall_back=True, blame=True),
    FailureKind.BUSY: Treatment(retry=False, fall_back=True, blame=False),
}


@dataclass(frozen=True, slots=True)
class Told:
    """What a provider said about a failure.

    Attributes:
        status: HTTP status; None when no response came.
        code: Its own word for it, as `context_length_exceeded`; empty if it has none. Made of letters, digits
            and `_.-` only: `providers.errors.plain_code` sees to that.
        retry_after_seconds: How long it asks to be left alone; None if it does not say.
        should_retry: Its own word on whether asking again helps; None if it does not say.
        reached: The request may have reached it. It has not where no connection came about.
    """

    status: int | None = None
    code: str = ""
    retry_after_seconds: float | None = None
    should_retry: bool | None = None
    reached: bool = True


NOTHING: Final = Told()
DO_NOT_RETRY: Final = Told(should_retry=False)


class Failure(Exception):
    """An attempt failed.

    `str()` of it is a sentence of ours for developers. Nothing that a provider wrote is in it: providers
    repeat keys and texts of users in their messages.

    Args:
        kind: The way in which it failed.
        message: What happened and what to do about it, without the name of the target.
        told: What the provider said about it.

    Attributes:
        kind, told: As given.
    """

    def __init__(self, kind: FailureKind, message: str, told: Told = NOTHING) -> None:
        super().__init__(message)
        self.kind = kind
        self.told = told

    @property
    def may_retry(self) -> bool:
        """Whether the same target may be asked again. A provider can only forbid it, not demand it."""
        return self.told.should_retry is not False and TREATMENTS[self.kind].retry

    @property
    def may_fall_back(self) -> bool:
        """Whether the next target may be asked."""
        return TREATMENTS[self.kind].fall_back

    @property
    def may_have_cost(self) -> bool:
        """Whether the provider may have worked on the request: refusals are for free."""
        if self.kind is FailureKind.UNAVAILABLE:
            return self.told.reached and self.told.status is None
        return self.kind in {FailureKind.TIMEOUT, FailureKind.BROKEN_OFF, FailureKind.MALFORMED}

    @property
    def blames_target(self) -> bool:
        """Whether it counts against the target."""
        return TREATMENTS[self.kind].blame
