"""What HTTP says about a failure, alike for all dialects: status, waiting times, whether to come back.

How long to wait is told in many ways. In order: `retry-after-ms`, `retry-after` as seconds or as an HTTP date
(RFC 9110, section 10.2.3), then whatever the dialect found in the body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from services.chat.providers.failure import Failure, FailureKind, Told

PLAIN_CODE: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
KEY_LIKE: Final = re.compile(r"\d{10}|(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]{10}")
"""Ten digits, or letters and digits mixed, in a row: so look keys, and no word for an error."""

OVERLOADED: Final = 529
"""Anthropic's status for too much load."""
CAPACITY_EXCEEDED: Final = 498
"""Groq's status for too much load."""

KINDS: Final[Mapping[int, FailureKind]] = {
    HTTPStatus.UNAUTHORIZED: FailureKind.AUTHENTICATION,
    HTTPStatus.PAYMENT_REQUIRED: FailureKind.QUOTA,
    HTTPStatus.FORBIDDEN: FailureKind.AUTHENTICATION,
    HTTPStatus.NOT_FOUND: FailureKind.MODEL_MISSING,
    HTTPStatus.REQUEST_TIMEOUT: FailureKind.UNAVAILABLE,
    HTTPStatus.CONFLICT: FailureKind.UNAVAILABLE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: FailureKind.REJECTED,
    HTTPStatus.TOO_MANY_REQUESTS: FailureKind.RATE_LIMITED,
    CAPACITY_EXCEEDED: FailureKind.UNAVAILABLE,
    OVERLOADED: FailureKind.UNAVAILABLE,
}
"""What a status means where nothing more is known. Others below 500 are REJECTED, the rest UNAVAILABLE."""

MESSAGES: Final[Mapping[FailureKind, str]] = {
    FailureKind.REJECTED: "the provider refuses the request",
    FailureKind.NOT_SUPPORTED: "the model cannot do what is asked",
    FailureKind.MODEL_MISSING: "the provider has no such model",
    FailureKind.CONTEXT_LENGTH: "the conversation is longer than the model can read",
    FailureKind.CONTENT_FILTERED: "the provider refuses to answer because of what is said",
    FailureKind.AUTHENTICATION: "the provider refuses the key; check api_key and what the key may do",
    FailureKind.QUOTA: "the provider's quota or credit is used up",
    FailureKind.RATE_LIMITED: "the provider is asked too often",
    FailureKind.UNAVAILABLE: "the provider failed or is overloaded",
    FailureKind.TIMEOUT: "the provider said nothing for too long",
    FailureKind.BROKEN_OFF: "the answer ended before it was complete",
    FailureKind.MALFORMED: "what the provider sent cannot be understood",
    FailureKind.BUSY: "too many calls wait for the provider",
}


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """A response that is no answer.

    Attributes:
        status: HTTP status.
        headers: Its headers, names in lower case.
        body: The beginning of its body, 64 KiB at most.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def http_failure(
    response: ErrorResponse,
    *,
    kind: FailureKind | None = None,
    code: object = "",
    message: str = "",
    retry_after_seconds: float | None = None,
) -> Failure:
    """Return the failure that a response with an error is.

    Args:
        response: The response. A status below 400 means an error inside of a response that began well.
        kind: What the dialect knows it to be. Default: what the status means.
        code: The provider's word for it, whatever it sent; dropped unless it is a plain word.
        message: What happened, in our words. Default: what the kind means.
        retry_after_seconds: What the dialect found in the body; headers go before it.
    """
    kind = kind or kind_of(response.status)
    should_retry = {"true": True, "false": False}.get(response.headers.get("x-should-retry", "").lower())
    waiting = retry_after(response.headers)
    told = Told(
        status=response.status,
        code=plain_code(code),
        retry_after_seconds=retry_after_seconds if waiting is None else waiting,
        should_retry=should_retry,
    )
    return Failure(kind, message or MESSAGES[kind], told)


def kind_of(status: int) -> FailureKind:
    """Return what a status means where nothing more is known."""
    if status in KINDS:
        return KINDS[status]
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return FailureKind.REJECTED
    return FailureKind.UNAVAILABLE


def plain_code(code: object) -> str:
    """Return a provider's word for an error if it is a plain word, else nothing: it could be anything."""
    text = str(code) if isinstance(code, str | int) and not isinstance(code, bool) else ""
    return text if PLAIN_CODE.fullmatch(text) and not KEY_LIKE.search(text) else ""


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return how many seconds the headers ask to wait; None if they do not say, or say nonsense."""
    milliseconds = seconds_of(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = seconds_of(text)
    if seconds is not None or not text:
        return seconds
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def seconds_of(value: Any) -> float | None:
    """Return a number that is written as one or as text, if it is finite and not below zero."""
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < float("inf") else None
