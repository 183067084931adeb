"""What Ollama's errors mean.

It has no codes, only sentences, before an answer with a status and in the middle of one without. They are
looked at, never passed on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from services.chat.providers.errors import ErrorResponse, http_failure
from services.chat.providers.failure import Failure, FailureKind, Told

CLIENT_CLOSED_REQUEST: Final = 499
"""Its status for a request that was called off; here it is the one who called it off."""

SENTENCES: Final[tuple[tuple[re.Pattern[str], FailureKind], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), kind)
    for pattern, kind in (
        (r"(exceed|longer than|too long).{0,80}context|context.{0,40}exceed", FailureKind.CONTEXT_LENGTH),
        (r"exceed_context_size", FailureKind.CONTEXT_LENGTH),
        (r"not support|missing data required for image", FailureKind.NOT_SUPPORTED),
        (r"usage limit", FailureKind.QUOTA),
        # Full, not ill: other targets may be better off, but nothing is held against this one.
        (r"server busy|maximum pending requests", FailureKind.RATE_LIMITED),
    )
)
"""What its sentences have in common over versions and runners; the first that fits counts."""

STATUSES: Final[Mapping[int, FailureKind]] = {
    CLIENT_CLOSED_REQUEST: FailureKind.UNAVAILABLE,
    HTTPStatus.NOT_IMPLEMENTED: FailureKind.NOT_SUPPORTED,
}
MEMORY: Final = re.compile(r"more (system |gpu )?memory", re.IGNORECASE)
SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}")
"""Names that may be shown and pasted into a shell."""

UNAUTHORIZED: Final = (
    "the Ollama refuses; check api_key, or sign it in for its cloud models with: ollama signin"
)
FORBIDDEN: Final = "the Ollama refuses; check api_key and whether its cloud models are switched off"
TOO_LITTLE_MEMORY: Final = "the Ollama has too little memory for the model; choose a smaller one or context"
NO_OLLAMA: Final = "a server answers that is no Ollama; check url, which must not lead to one of its APIs"


def response_failure(response: ErrorResponse, *, pull: str = "") -> Failure:
    """Return what a response that is no answer means.

    Args:
        response: The response.
        pull: The model to pull if it is missing; empty to say nothing of it.
    """
    sentence = _sentence(_object(response.body))
    if response.status == HTTPStatus.NOT_FOUND:
        if response.body.strip() and not sentence:
            return Failure(FailureKind.UNAVAILABLE, NO_OLLAMA, Told(response.status, should_retry=False))
        return http_failure(response, kind=FailureKind.MODEL_MISSING, message=_pull_it(pull))
    if response.status == HTTPStatus.UNAUTHORIZED:
        return http_failure(response, message=UNAUTHORIZED)
    if response.status == HTTPStatus.FORBIDDEN:
        return http_failure(response, message=FORBIDDEN)
    return _failure(response, sentence)


def reported_failure(data: Mapping[str, Any]) -> Failure:
    """Return what an error in the middle of an answer means."""
    return _failure(ErrorResponse(HTTPStatus.OK, {}, b""), _sentence(data))


def _failure(response: ErrorResponse, sentence: str) -> Failure:
    for pattern, kind in SENTENCES:
        if pattern.search(sentence):
            return http_failure(response, kind=kind)
    message = TOO_LITTLE_MEMORY if MEMORY.search(sentence) else ""
    return http_failure(response, kind=STATUSES.get(response.status), message=message)


def _pull_it(model: str) -> str:
    if not SAFE_NAME.fullmatch(model):
        return ""
    return f"the Ollama does not have the model; get it with: ollama pull {model}"


def _object(body: bytes) -> Mapping[str, Any] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _sentence(data: Mapping[str, Any] | None) -> str:
    """Return what it says went wrong; runners' own errors come through as objects."""
    error = (data or {}).get("error")
    if isinstance(error, dict):
        return " ".join(value for value in error.values() if isinstance(value, str))
    return error if isinstance(error, str) else ""
