"""How Google's Gemini API fails, https://ai.google.dev/gemini-api/docs/troubleshooting.

Errors follow https://google.aip.dev/193: an HTTP status, a canonical word for it and details with types, some
of which say more than the word does. What has no detail of its own is told by the message alone: it is looked
at here and goes no further.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from services.chat.providers.errors import ErrorResponse, http_failure, kind_of, plain_code, seconds_of
from services.chat.providers.failure import Failure, FailureKind

STATUSES: Final[Mapping[str, FailureKind]] = {
    "UNAUTHENTICATED": FailureKind.AUTHENTICATION,
    "PERMISSION_DENIED": FailureKind.AUTHENTICATION,
    "FAILED_PRECONDITION": FailureKind.AUTHENTICATION,
    "NOT_FOUND": FailureKind.MODEL_MISSING,
    "UNIMPLEMENTED": FailureKind.NOT_SUPPORTED,
    "CANCELLED": FailureKind.UNAVAILABLE,
}
"""Canonical words that say more than the HTTP status. FAILED_PRECONDITION: the place, or the project's lack
of billing, is not served."""
KEY: Final = re.compile(r"API_KEY_.*|ACCESS_TOKEN_.*|CREDENTIALS_MISSING")
"""Reasons that are about the key; a wrong one comes with status 400."""
PER_DAY: Final = "PerDay"
"""In the ids of quotas that are counted by the day."""
TOLD_BY_MESSAGE: Final[tuple[tuple[re.Pattern[str], FailureKind], ...]] = (
    (re.compile(r"token count.{0,40}exceeds", re.I | re.S), FailureKind.CONTEXT_LENGTH),
    (re.compile(r"api key (not valid|not found|expired)", re.I), FailureKind.AUTHENTICATION),
    (
        re.compile(r"(is|are) (not (supported|enabled)|unsupported)|does not support|only works in", re.I),
        FailureKind.NOT_SUPPORTED,
    ),
    (re.compile(r"thought_?\s?signature", re.I), FailureKind.NOT_SUPPORTED),
)
"""What the message of an INVALID_ARGUMENT may turn it into."""
ERROR_STATUSES: Final = range(400, 600)
SPENT: Final = re.compile(r"credits are depleted|spending cap", re.I)


def failure(response: ErrorResponse) -> Failure:
    """Return what a response that is no answer means."""
    try:
        body = json.loads(response.body)
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, list) and body:
        body = body[0]
    return _failure(response, _mapping(_mapping(body).get("error")))


def failure_within(data: Mapping[str, Any]) -> Failure:
    """Return what an error means that came inside of an answer that began well."""
    error = _mapping(data.get("error"))
    code = error.get("code")
    status = code if isinstance(code, int) and code in ERROR_STATUSES else HTTPStatus.OK
    return _failure(ErrorResponse(status, {}, b""), error)


def no_answer(kind: FailureKind, code: str) -> Failure:
    """Return the failure that a response is which says, under this code, why there is no answer in it."""
    return http_failure(ErrorResponse(HTTPStatus.OK, {}, b""), kind=kind, code=code)


def _failure(response: ErrorResponse, error: Mapping[str, Any]) -> Failure:
    word = plain_code(error.get("status"))
    reason = plain_code(next((one["reason"] for one in _details(error) if one.get("reason")), ""))
    kind = _kind(response.status, word, reason, error)
    return http_failure(
        response,
        kind=kind,
        code=reason or word,
        # It tells a delay of seconds for quotas of a day, too.
        retry_after_seconds=None if kind is FailureKind.QUOTA else _delay(error),
    )


def _kind(status: int, word: str, reason: str, error: Mapping[str, Any]) -> FailureKind:
    message = error.get("message")
    said = message if isinstance(message, str) else ""
    if KEY.fullmatch(reason):
        return FailureKind.AUTHENTICATION
    if status == HTTPStatus.TOO_MANY_REQUESTS or word == "RESOURCE_EXHAUSTED":
        spent = SPENT.search(said) or any(PER_DAY in quota for quota in _quotas(error))
        return FailureKind.QUOTA if spent else FailureKind.RATE_LIMITED
    if word == "INVALID_ARGUMENT" or (status == HTTPStatus.BAD_REQUEST and not word):
        told = (kind for words, kind in TOLD_BY_MESSAGE if words.search(said))
        return next(told, FailureKind.REJECTED)
    return STATUSES.get(word) or kind_of(status)


def _details(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    details = error.get("details")
    return (_mapping(one) for one in details) if isinstance(details, list) else iter(())


def _quotas(error: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ids of the quotas that are used up."""
    for detail in _details(error):
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            quota = _mapping(violation).get("quotaId")
            if isinstance(quota, str):
                yield quota


def _delay(error: Mapping[str, Any]) -> float | None:
    """Return how many seconds to wait, written as `45.837906927s`; None if it does not say."""
    delays = (detail.get("retryDelay") for detail in _details(error))
    text = next((delay for delay in delays if isinstance(delay, str) and delay.endswith("s")), "")
    return seconds_of(text.removesuffix("s"))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
