from __future__ import annotations

import json
from typing import Any

import pytest

from services.chat.providers.errors import ErrorResponse
from services.chat.providers.failure import FailureKind
from services.chat.providers.gemini.errors import failure, failure_within

SECRET = "AIzaSy-secret"
TYPE = "type.googleapis.com/google.rpc."


def error(
    status: int, word: str, message: str = f"about {SECRET}", *details: dict[str, Any]
) -> dict[str, Any]:
    """Return an error as the API words it; its message repeats a key unless it is given."""
    return {"error": {"code": status, "message": message, "status": word, "details": list(details)}}


def refused(status: int, word: str, message: str = SECRET, *details: dict[str, Any]) -> ErrorResponse:
    """Return a response as the API sends it."""
    return ErrorResponse(status, {}, json.dumps(error(status, word, message, *details)).encode())


def quota(identity: str) -> dict[str, Any]:
    """Return the detail that names a quota which is used up."""
    violation = {
        "quotaMetric": "m",
        "quotaId": identity,
        "quotaDimensions": {"model": "g"},
        "quotaValue": "5",
    }
    return {"@type": TYPE + "QuotaFailure", "violations": [violation]}


WAIT = {"@type": TYPE + "RetryInfo", "retryDelay": "45.837906927s"}
WRONG_KEY = {"@type": TYPE + "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
NOT_ENABLED = {"@type": TYPE + "ErrorInfo", "reason": "SERVICE_DISABLED", "domain": "googleapis.com"}
PER_DAY = quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")
PER_MINUTE = quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")
TOO_LONG = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048575)."
NO_PENALTY = "Penalty is not enabled for models/gemini-2.5-flash"
NO_FORMAT = "Function calling with a response mime type: 'application/json' is unsupported"
MUST_THINK = "Budget 0 is invalid. This model only works in thinking mode."
NO_SIGNATURE = "Function call is missing a thought_signature in functionCall parts."
ELSEWHERE = "User location is not supported for the API use."
NO_CREDIT = "Your prepayment credits are depleted."
INVALID = "INVALID_ARGUMENT"
EXHAUSTED = "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize(
    ("response", "kind", "code", "may_retry", "wait"),
    [
        (refused(400, INVALID), "rejected", INVALID, False, None),
        (refused(400, INVALID, TOO_LONG), "context length", INVALID, False, None),
        (
            refused(400, INVALID, "API key not valid.", WRONG_KEY),
            "authentication",
            "API_KEY_INVALID",
            False,
            None,
        ),
        (refused(400, INVALID, "API key not valid."), "authentication", INVALID, False, None),
        (refused(400, INVALID, NO_PENALTY), "not supported", INVALID, False, None),
        (refused(400, INVALID, NO_FORMAT), "not supported", INVALID, False, None),
        (refused(400, INVALID, MUST_THINK), "not supported", INVALID, False, None),
        (refused(400, INVALID, NO_SIGNATURE), "not supported", INVALID, False, None),
        (
            refused(400, "FAILED_PRECONDITION", ELSEWHERE),
            "authentication",
            "FAILED_PRECONDITION",
            False,
            None,
        ),
        (refused(401, "UNAUTHENTICATED"), "authentication", "UNAUTHENTICATED", False, None),
        (refused(403, "PERMISSION_DENIED"), "authentication", "PERMISSION_DENIED", False, None),
        (
            refused(403, "PERMISSION_DENIED", SECRET, NOT_ENABLED),
            "authentication",
            "SERVICE_DISABLED",
            False,
            None,
        ),
        (refused(404, "NOT_FOUND"), "model missing", "NOT_FOUND", False, None),
        (refused(429, EXHAUSTED), "rate limited", EXHAUSTED, True, None),
        (refused(429, EXHAUSTED, SECRET, PER_MINUTE, WAIT), "rate limited", EXHAUSTED, True, 45.837906927),
        (refused(429, EXHAUSTED, SECRET, PER_DAY, WAIT), "quota", EXHAUSTED, False, None),
        (refused(429, EXHAUSTED, SECRET, PER_MINUTE, PER_DAY), "quota", EXHAUSTED, False, None),
        (refused(429, EXHAUSTED, NO_CREDIT), "quota", EXHAUSTED, False, None),
        (refused(499, "CANCELLED"), "unavailable", "CANCELLED", True, None),
        (refused(500, "INTERNAL"), "unavailable", "INTERNAL", True, None),
        (refused(503, "UNAVAILABLE"), "unavailable", "UNAVAILABLE", True, None),
        (refused(504, "DEADLINE_EXCEEDED"), "unavailable", "DEADLINE_EXCEEDED", True, None),
    ],
)
def test_errors_mean_what_may_be_done_about_them(
    response: ErrorResponse, kind: str, code: str, may_retry: bool, wait: float | None
) -> None:
    """Each documented error, its word, whether it may be retried and when; never what its message says."""
    found = failure(response)
    assert (found.kind, found.told.code, found.may_retry) == (FailureKind(kind), code, may_retry)
    assert (found.told.status, found.told.retry_after_seconds) == (response.status, wait)
    assert SECRET not in str(found)


@pytest.mark.parametrize("status", [400, 429, 503])
def test_an_error_in_a_list_is_the_error(status: int) -> None:
    """Without `alt=sse`, and behind some gateways, it is the only item of an array."""
    body = json.dumps([error(status, "X", SECRET, WAIT)]).encode()
    found = failure(ErrorResponse(status, {}, body))
    assert (found.told.code, found.told.retry_after_seconds) == ("X", 45.837906927)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"[1]", b"7", b'{"error":7}', b'{"error":{"details":[7,{"violations":7}]}}'],
)
def test_an_error_without_the_apis_shape_means_what_its_status_means(body: bytes) -> None:
    """Something between us and the API may answer in its place."""
    assert failure(ErrorResponse(503, {}, body)).kind is FailureKind.UNAVAILABLE
    assert failure(ErrorResponse(404, {}, body)).kind is FailureKind.MODEL_MISSING


@pytest.mark.parametrize("delay", ["soon", "-1s", "infs", 45, "45", None])
def test_a_delay_that_is_none_is_not_waited_for(delay: object) -> None:
    """Nonsense is as good as silence."""
    found = failure(refused(429, EXHAUSTED, SECRET, {"@type": TYPE + "RetryInfo", "retryDelay": delay}))
    assert found.told.retry_after_seconds is None


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (error(503, "UNAVAILABLE"), "unavailable", 503),
        (error(429, EXHAUSTED, SECRET, PER_DAY), "quota", 429),
        ({"error": {"status": EXHAUSTED}}, "rate limited", 200),
        ({"error": {"code": 7, "status": INVALID}}, "rejected", 200),
        ({"error": "no object"}, "unavailable", 200),
    ],
)
def test_an_error_inside_of_an_answer_means_the_same(data: dict[str, Any], kind: str, status: int) -> None:
    """Its code stands for the status that the response did not have."""
    found = failure_within(data)
    assert (found.kind, found.told.status) == (FailureKind(kind), status)
    assert SECRET not in str(found)
