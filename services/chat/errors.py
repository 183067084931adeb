"""What callers of chat are told when there is no answer.

Each way in which a provider fails (`FailureKind`) has its error. Messages are ours: what a provider wrote is
never in them, only its machine-readable code is passed on, as metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.chassis.errors import CallError, Reason
from services.chat.providers.failure import Failure, FailureKind


class UpstreamRejected(CallError):
    """The provider refuses the request as it is."""

    reason = Reason.UPSTREAM_REJECTED


class UpstreamUnavailable(CallError):
    """The provider failed, fell silent or cannot be reached; nothing of an answer was passed on."""

    reason = Reason.UPSTREAM_UNAVAILABLE


class UpstreamInterrupted(CallError):
    """The answer broke off after something of it was passed on."""

    reason = Reason.UPSTREAM_INTERRUPTED


class UpstreamRateLimited(CallError):
    """The provider asks to be left alone for a while."""

    reason = Reason.UPSTREAM_RATE_LIMITED


class UpstreamQuota(CallError):
    """The provider's quota or credit is used up; waiting a little does not help."""

    reason = Reason.UPSTREAM_QUOTA


class UpstreamAuth(CallError):
    """The provider refuses our key: for an operator to mend, the caller's own key is fine."""

    reason = Reason.UPSTREAM_AUTH


class UpstreamModelMissing(CallError):
    """The public model exists, but the provider does not have the model that stands behind it."""

    reason = Reason.UPSTREAM_MODEL_MISSING


class ContentRejected(CallError):
    """The provider refuses to answer because of what is said."""

    reason = Reason.CONTENT_REJECTED


class InputTooLong(CallError):
    """The conversation is longer than the model can read."""

    reason = Reason.INPUT_TOO_LONG


class NotSupported(CallError):
    """The model cannot do what is asked; the violation names the field that asks for it, where known."""

    reason = Reason.NOT_SUPPORTED


class TargetBusy(CallError):
    """Too many calls wait here for the provider."""

    reason = Reason.QUEUE_FULL


class PaidDisabled(CallError):
    """The target costs money, and the configuration does not allow that."""

    reason = Reason.PAID_DISABLED

    def __init__(self, target: str) -> None:
        super().__init__(f"{target}: costs money or leaves the house, and paid.enabled is false")


class BudgetExhausted(CallError):
    """The call may cost more than is left of the budget."""

    reason = Reason.BUDGET_EXHAUSTED


class InvalidOutput(CallError):
    """The answer does not fit its response format, or is too long to be put together here."""

    reason = Reason.INVALID_OUTPUT


ERRORS: Final[Mapping[FailureKind, type[CallError]]] = {
    FailureKind.REJECTED: UpstreamRejected,
    FailureKind.NOT_SUPPORTED: NotSupported,
    FailureKind.MODEL_MISSING: UpstreamModelMissing,
    FailureKind.CONTEXT_LENGTH: InputTooLong,
    FailureKind.CONTENT_FILTERED: ContentRejected,
    FailureKind.AUTHENTICATION: UpstreamAuth,
    FailureKind.QUOTA: UpstreamQuota,
    FailureKind.RATE_LIMITED: UpstreamRateLimited,
    FailureKind.UNAVAILABLE: UpstreamUnavailable,
    FailureKind.TIMEOUT: UpstreamUnavailable,
    FailureKind.BROKEN_OFF: UpstreamUnavailable,
    FailureKind.MALFORMED: UpstreamUnavailable,
    FailureKind.BUSY: TargetBusy,
}
"""What each kind of failure is to a caller to whom nothing was passed on yet."""


def reason_of(failure: Failure) -> str:
    """Return the value of `Reason` that a failed attempt is reported with."""
    return str(ERRORS[failure.kind].reason)


def error_of(target: str, failure: Failure, kind: type[CallError] | None = None) -> CallError:
    """Return what a caller is told of a failure.

    Args:
        target: `provider/upstream_model`.
        failure: The failure.
        kind: The error. Default: the one of its kind.
    """
    told = failure.told
    metadata = {"upstreamStatus": "" if told.status is None else str(told.status), "upstreamCode": told.code}
    return (kind or ERRORS[failure.kind])(
        f"{target}: {failure}",
        metadata={key: value for key, value in metadata.items() if value},
        violations=[("messages", "are too long together")]
        if failure.kind is FailureKind.CONTEXT_LENGTH
        else (),
        retry_after_seconds=told.retry_after_seconds,
    )
