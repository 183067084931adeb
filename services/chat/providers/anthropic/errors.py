"""How Anthropic's API fails, https://platform.claude.com/docs/en/api/errors.

Errors have a broad type and some of them an `error_code`. A few that matter have neither of their own, and
only the message tells them apart: it is looked at here and goes no further.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from services.chat.providers.dialect import json_object
from services.chat.providers.errors import ErrorResponse, http_failure, plain_code
from services.chat.providers.failure import Failure, FailureKind

TYPES: Final[Mapping[str, FailureKind]] = {
    "invalid_request_error": FailureKind.REJECTED,
    "request_too_large": FailureKind.REJECTED,
    "authentication_error": FailureKind.AUTHENTICATION,
    "permission_error": FailureKind.AUTHENTICATION,
    "billing_error": FailureKind.QUOTA,
    "not_found_error": FailureKind.MODEL_MISSING,
    "conflict_error": FailureKind.UNAVAILABLE,
    "rate_limit_error": FailureKind.RATE_LIMITED,
    "api_error": FailureKind.UNAVAILABLE,
    "timeout_error": FailureKind.UNAVAILABLE,
    "overloaded_error": FailureKind.UNAVAILABLE,
}
SPENT: Final = "spend_limit_reached"
"""End of the codes, as `enforced_spend_limit_reached`, that waiting a little does not help against."""
TOLD_BY_MESSAGE: Final[tuple[tuple[re.Pattern[str], FailureKind], ...]] = (
    (re.compile(r"prompt is too long|exceed context (limit|window)", re.I), FailureKind.CONTEXT_LENGTH),
    (
        re.compile(r"credit balance is too low|reached your specified (\w+ )?api usage", re.I),
        FailureKind.QUOTA,
    ),
    (re.compile(r"blocked by content filtering", re.I), FailureKind.CONTENT_FILTERED),
)
"""What the message of an `invalid_request_error` may turn it into."""


def failure(response: ErrorResponse) -> Failure:
    """Return what a response that is no answer means."""
    try:
        error = json_object(response.body).get("error")
    except Failure:
        error = None
    return _failure(response, error)


def failure_within(data: Mapping[str, Any]) -> Failure:
    """Return what an error means that came inside of an answer that began well."""
    return _failure(ErrorResponse(200, {}, b""), data.get("error"))


def _failure(response: ErrorResponse, error: object) -> Failure:
    if not isinstance(error, Mapping):
        return http_failure(response)
    kind = TYPES.get(plain_code(error.get("type")))
    code = _code(error)
    if kind is FailureKind.REJECTED:
        message = error.get("message")
        told = (
            other for words, other in TOLD_BY_MESSAGE if isinstance(message, str) and words.search(message)
        )
        kind = next(told, kind)
    if code.endswith(SPENT):
        kind = FailureKind.QUOTA
    return http_failure(response, kind=kind, code=code)


def _code(error: Mapping[str, Any]) -> str:
    """Return the most exact word for an error: its code if it has one, else its type."""
    details = error.get("details")
    inner = details.get("error_code") if isinstance(details, Mapping) else None
    return plain_code(error.get("error_code")) or plain_code(inner) or plain_code(error.get("type"))
