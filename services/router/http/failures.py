"""Failed calls in OpenAI's words: an HTTP status and `{"error": {message, type, param, code}}`.

https://platform.openai.com/docs/guides/error-codes/api-errors. Where OpenAI has a code for what happened, it
is used; elsewhere the code is our reason in lower case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import grpc
from google.rpc import error_details_pb2, status_pb2

from services.chassis.errors import Reason
from services.chassis.status import DETAILS_KEY, Status

INVALID: Final = "invalid_request_error"
SERVER: Final = "server_error"
RATE: Final = "rate_limit_error"
QUOTA: Final = "insufficient_quota"
FORBIDDEN: Final = "permission_error"


@dataclass(frozen=True, slots=True)
class Told:
    """How a reason is told.

    Attributes:
        status: HTTP status.
        type: OpenAI's class of errors.
        code: OpenAI's code; empty for the reason itself.
        param: The field that it is about, where none is named.
        again: Whether asking again may help. OpenAI's clients otherwise ask again after any 5xx and 429.
    """

    status: int
    type: str
    code: str = ""
    param: str | None = None
    again: bool = False


REASONS: Final[Mapping[str, Told]] = {
    Reason.INVALID_REQUEST: Told(400, INVALID),
    Reason.INPUT_TOO_LONG: Told(400, INVALID, "context_length_exceeded"),
    Reason.WRONG_CAPABILITY: Told(400, INVALID, param="model"),
    Reason.NOT_SUPPORTED: Told(400, INVALID, "unsupported_parameter"),
    Reason.UPSTREAM_REJECTED: Told(400, INVALID),
    Reason.CONTENT_REJECTED: Told(400, INVALID, "content_filter"),
    Reason.PAID_DISABLED: Told(403, FORBIDDEN),
    Reason.MODEL_NOT_FOUND: Told(404, INVALID, "model_not_found", "model"),
    Reason.UNAUTHENTICATED: Told(401, INVALID, "invalid_api_key"),
    Reason.KEY_NOT_ALLOWED: Told(403, FORBIDDEN),
    Reason.RATE_LIMITED: Told(429, RATE, "rate_limit_exceeded", again=True),
    Reason.CACHE_UNAVAILABLE: Told(503, SERVER, again=True),
    Reason.CONFIG_INVALID: Told(409, INVALID),
    Reason.NOT_SERVED: Told(404, INVALID),
    Reason.MESSAGE_TOO_LARGE: Told(413, INVALID),
    Reason.QUEUE_FULL: Told(429, RATE, again=True),
    Reason.UPSTREAM_RATE_LIMITED: Told(429, RATE, "rate_limit_exceeded", again=True),
    Reason.UPSTREAM_QUOTA: Told(429, QUOTA, "insufficient_quota"),
    Reason.BUDGET_EXHAUSTED: Told(429, QUOTA, "insufficient_quota"),
    Reason.INFERENCE_FAILED: Told(500, SERVER),
    Reason.INTERNAL: Told(500, SERVER),
    Reason.INVALID_OUTPUT: Told(502, SERVER),
    Reason.UPSTREAM_INTERRUPTED: Told(502, SERVER),
    Reason.UPSTREAM_AUTH: Told(502, SERVER),
    Reason.UPSTREAM_MODEL_MISSING: Told(502, SERVER),
    Reason.UPSTREAM_UNAVAILABLE: Told(503, SERVER),
    Reason.MODEL_FAILED: Told(503, SERVER),
    Reason.NOT_READY: Told(503, SERVER, again=True),
    Reason.NO_BACKEND: Told(503, SERVER, again=True),
    Reason.DEADLINE: Told(504, SERVER),
}
CODES: Final[Mapping[grpc.StatusCode, Told]] = {
    grpc.StatusCode.UNAVAILABLE: Told(503, SERVER, again=True),
    grpc.StatusCode.DEADLINE_EXCEEDED: Told(504, SERVER),
}
"""For a status without a reason, which gRPC itself has made up."""
UNKNOWN: Final = Told(500, SERVER)

CHALLENGE: Final[Mapping[str, str]] = {"www-authenticate": "Bearer"}
OBEYED_SECONDS: Final = 60
"""OpenAI's clients wait no longer than that, and ask again sooner if they are told a later time."""

PARAMS: Final = (
    ("max_output_tokens", "max_completion_tokens"),
    ("reasoning.effort", "reasoning_effort"),
    (".parts[", ".content["),
    ("token_inputs", "input"),
    (".ids[", "["),
    ("inputs", "input"),
)
"""Fields of the contract, and what they are called here."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call, ready to be told.

    Attributes:
        status: HTTP status.
        error: What `error` of the body holds.
        headers: Headers that go with it.
    """

    status: int
    error: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


def failure_of(status: Status) -> Failure:
    """Return how the status of a call is told."""
    reason, fields, delay = _details(b"")
    for key, value in status.trailing_metadata:
        if key == DETAILS_KEY and isinstance(value, bytes):
            reason, fields, delay = _details(value)
    told = REASONS.get(reason) or CODES.get(status.code, UNKNOWN)
    code = told.code or reason.lower() or status.code.name.lower()
    error = {
        "message": status.message,
        "type": told.type,
        "param": _param(fields) or told.param,
        "code": code,
    }
    return Failure(told.status, error, _headers(told, delay))


def simple_failure(status: int, code: str, message: str) -> Failure:
    """Return a failure that HTTP has and gRPC has not."""
    error = {"message": message, "type": INVALID, "param": None, "code": code}
    return Failure(status, error, {"x-should-retry": "false"})


def _details(content: bytes) -> tuple[str, Sequence[str], float | None]:
    """Return the reason, the fields that are wrong, and when to come back in seconds."""
    reason, delay = "", None
    fields: list[str] = []
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status_pb2.Status.FromString(content).details:
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(bad):
            fields = [one.field for one in bad.field_violations]
        elif detail.Unpack(retry):
            delay = retry.retry_delay.ToNanoseconds() / 1e9
    return reason, fields, delay


def _headers(told: Told, delay: float | None) -> dict[str, str]:
    """Return whether and when to ask again: https://github.com/openai/openai-python reads all three."""
    headers = dict(CHALLENGE) if told.status == HTTPStatus.UNAUTHORIZED else {}
    if delay is not None:
        headers |= {
            "retry-after": str(max(1, math.ceil(delay))),
            "retry-after-ms": str(math.ceil(delay * 1000)),
        }
    soon = told.again if delay is None else delay <= OBEYED_SECONDS
    if not soon or told.type == QUOTA:
        headers["x-should-retry"] = "false"
    return headers


def _param(fields: Sequence[str]) -> str | None:
    """Return the first field that is wrong, by the name that it has here."""
    found = fields[0] if fields else ""
    for ours, theirs in PARAMS:
        found = found.replace(ours, theirs)
    return found or None
