"""What the errors of Chat Completions mean, in the words of each service.

An error is told by a response with a bad status, by one with status 200 (OpenRouter), or in the middle of a
stream. Its body is an object under `error`, a bare text there (Together, Venice), a list of errors
(Cloudflare), or has no such frame at all (older vLLM, FastAPI). Messages are looked at where there is no code
that says more than the status does, and never passed on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from services.chat.providers.errors import KINDS as STATUSES
from services.chat.providers.errors import ErrorResponse, http_failure, kind_of, plain_code
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.openai.resets import reset_seconds
from services.chat.providers.openai.sheets import Sheet
from services.chat.providers.openai.words import CODES, MESSAGES

IN_BAND: Final = ErrorResponse(HTTPStatus.OK, {}, b"")
CODE_FIELDS: Final = ("code", "type", "error_type")
BAD_STATUSES: Final = range(400, 600)
STATUS: Final = re.compile(r"\d{0,3}")
"""What stands where a code should be, and says no more than the status does."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a service words it.

    Attributes:
        words: Its codes, most telling first.
        message: Its message.
        status: The HTTP status that it names, if it does.
        moderated: It says which of the input's contents it objects to.
    """

    words: tuple[str, ...] = ()
    message: str = ""
    status: int | None = None
    moderated: bool = False


def response_failure(response: ErrorResponse, sheet: Sheet) -> Failure:
    """Return what a response that is no answer means."""
    problem = _problem(_json(response.body))
    kind = _kind(problem, response.status, sheet)
    wait = None
    if response.status == HTTPStatus.TOO_MANY_REQUESTS and kind is not FailureKind.QUOTA:
        wait = reset_seconds(response.headers, sheet.resets)
    return http_failure(response, kind=kind, code=_code(problem), retry_after_seconds=wait)


def reported_failure(data: Mapping[str, Any], sheet: Sheet) -> Failure | None:
    """Return the failure that a chunk, a choice or an answer with a good status tells, if it does."""
    groq = data.get("x_groq")
    error = data.get("error") or (groq.get("error") if isinstance(groq, dict) else None)
    if error:
        problem = _problem({**data, "error": error})
    elif data.get("object") == "error" or data.get("success") is False:  # older vLLM; Cloudflare
        problem = _problem(data)
    else:
        return None
    status = problem.status or HTTPStatus.INTERNAL_SERVER_ERROR
    return http_failure(IN_BAND, kind=_kind(problem, status, sheet), code=_code(problem))


def _kind(problem: Problem, status: int, sheet: Sheet) -> FailureKind:
    """Return what it is: by its code, then by its message, then by the status."""
    for word in problem.words:
        kind = sheet.codes.get(word) or CODES.get(word.lower())
        if kind is FailureKind.RATE_LIMITED and status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return FailureKind.CONTEXT_LENGTH  # Groq: more than a whole minute allows, so waiting is no use
        if kind is not None:
            return kind
    if problem.moderated:
        return FailureKind.CONTENT_FILTERED
    # What is wrong with the key or the server is not told from its message: users' texts may be in there.
    if STATUSES.get(status) in {None, FailureKind.MODEL_MISSING, FailureKind.REJECTED}:
        for pattern, kind in MESSAGES:
            if re.search(pattern, problem.message, re.IGNORECASE):
                return kind
    return sheet.statuses.get(status) or kind_of(status)


def _code(problem: Problem) -> str:
    return next((word for word in map(plain_code, problem.words) if not STATUS.fullmatch(word)), "")


def _problem(body: Any) -> Problem:
    error = body[0] if isinstance(body, list) and body else body
    if isinstance(error, dict) and error.get("error"):
        outer, error = error, error["error"]
    else:
        outer = {}
    if isinstance(error, dict) and isinstance(error.get("errors"), list) and error["errors"]:
        error = error["errors"][0]
    if isinstance(error, str):
        error = {"message": error, **{name: outer.get(name) for name in CODE_FIELDS}}
    if not isinstance(error, dict):
        return Problem()
    metadata = error.get("metadata")
    details = metadata if isinstance(metadata, dict) else {}
    named = [error.get(name) for name in CODE_FIELDS] + [details.get("error_type")]
    code = error.get("code")
    return Problem(
        words=tuple(str(word) for word in named if isinstance(word, str | int)),
        message=_texts(error.get("message"), error.get("detail"), details.get("raw")),
        status=code if isinstance(code, int) and code in BAD_STATUSES else None,
        moderated="flagged_input" in details,
    )


def _texts(*values: Any) -> str:
    return "\n".join(value for value in values if isinstance(value, str))


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
