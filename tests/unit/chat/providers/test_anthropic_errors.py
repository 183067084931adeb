from __future__ import annotations

import json
from typing import Any

import pytest

from services.chat.providers.anthropic.errors import failure, failure_within
from services.chat.providers.errors import ErrorResponse
from services.chat.providers.failure import FailureKind

SECRET = "sk-ant-api03-secret"


def refused(
    status: int, error: dict[str, Any] | None, headers: dict[str, str] | None = None
) -> ErrorResponse:
    """Return a response as the API sends it."""
    body = {"type": "error", "error": error, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}
    return ErrorResponse(status, headers or {}, json.dumps(body).encode())


def error(kind: str, message: str = f"about {SECRET}", **more: Any) -> dict[str, Any]:
    """Return an error of a type, whose message repeats a key unless it is given."""
    return {"type": kind, "message": message, **more}


SPENT = {"error_code": "enforced_spend_limit_reached"}
TOO_LONG = "prompt is too long: 215000 tokens > 200000 maximum"
NO_ROOM = "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"
NO_CREDIT = "Your credit balance is too low to access the Anthropic API."
OWN_LIMIT = "You have reached your specified API usage limits. You will regain access on 2026-12-01."
WORKSPACE_LIMIT = "You have reached your specified workspace API usage limits."
FILTERED = "Output blocked by content filtering policy"
RESET = {"retry-after": "30", "anthropic-ratelimit-requests-reset": "2026-11-20T00:00:00Z"}


@pytest.mark.parametrize(
    ("response", "kind", "code", "may_retry", "wait"),
    [
        (refused(400, error("invalid_request_error")), "rejected", "invalid_request_error", False, None),
        (refused(400, error("invalid_request_error", TOO_LONG)), "context length", None, False, None),
        (refused(400, error("invalid_request_error", NO_ROOM)), "context length", None, False, None),
        (refused(400, error("invalid_request_error", NO_CREDIT)), "quota", None, False, None),
        (refused(400, error("invalid_request_error", OWN_LIMIT)), "quota", None, False, None),
        (refused(400, error("invalid_request_error", WORKSPACE_LIMIT)), "quota", None, False, None),
        (refused(400, error("invalid_request_error", FILTERED)), "content filtered", None, False, None),
        (refused(401, error("authentication_error")), "authentication", "authentication_error", False, None),
        (refused(402, error("billing_error")), "quota", "billing_error", False, None),
        (refused(403, error("permission_error")), "authentication", "permission_error", False, None),
        (refused(404, error("not_found_error")), "model missing", "not_found_error", False, None),
        (refused(409, error("conflict_error")), "unavailable", "conflict_error", True, None),
        (refused(413, error("request_too_large")), "rejected", "request_too_large", False, None),
        (refused(429, error("rate_limit_error"), RESET), "rate limited", "rate_limit_error", True, 30.0),
        (refused(429, error("rate_limit_error", **SPENT)), "quota", SPENT["error_code"], False, None),
        (refused(429, error("rate_limit_error", details=SPENT)), "quota", SPENT["error_code"], False, None),
        (
            refused(429, error("rate_limit_error", details={"error_code": "ramp_limit_exceeded"}), RESET),
            "rate limited",
            "ramp_limit_exceeded",
            True,
            30.0,
        ),
        (refused(500, error("api_error")), "unavailable", "api_error", True, None),
        (refused(504, error("timeout_error")), "unavailable", "timeout_error", True, None),
        (refused(529, error("overloaded_error")), "unavailable", "overloaded_error", True, None),
        (
            refused(529, error("overloaded_error"), {"x-should-retry": "false"}),
            "unavailable",
            "overloaded_error",
            False,
            None,
        ),
        (refused(529, None), "unavailable", "", True, None),
        (refused(422, error("brand_new_error")), "rejected", "brand_new_error", False, None),
        (refused(503, error("brand_new_error")), "unavailable", "brand_new_error", True, None),
        (refused(400, {"type": ["?"], "message": {}}), "rejected", "", False, None),
        (ErrorResponse(502, {}, b"<html>Bad gateway</html>"), "unavailable", "", True, None),
        (ErrorResponse(413, {}, b""), "rejected", "", False, None),
    ],
)
def test_responses_mean_what_the_table_says(
    response: ErrorResponse, kind: str, code: str | None, may_retry: bool, wait: float | None
) -> None:
    """Every documented type, those that only the message tells, new ones, and what is no JSON."""
    found = failure(response)
    assert (found.kind, found.may_retry) == (kind, may_retry)
    assert found.told.code == (code if code is not None else "invalid_request_error")
    assert (found.told.status, found.told.retry_after_seconds) == (response.status, wait)


@pytest.mark.parametrize(
    ("kind", "meant"),
    [
        ("overloaded_error", FailureKind.UNAVAILABLE),
        ("api_error", FailureKind.UNAVAILABLE),
        ("rate_limit_error", FailureKind.RATE_LIMITED),
        ("invalid_request_error", FailureKind.REJECTED),
        ("brand_new_error", FailureKind.UNAVAILABLE),
    ],
)
def test_errors_inside_of_an_answer_are_told_by_their_type(kind: str, meant: FailureKind) -> None:
    """There the status was 200 and says nothing."""
    found = failure_within({"type": "error", "error": error(kind)})
    assert (found.kind, found.told.code) == (meant, kind)


@pytest.mark.parametrize("code", ["has space", SECRET * 9, {"a": 1}, None, "ä"])
def test_nothing_that_the_provider_wrote_is_passed_on(code: Any) -> None:
    """Neither message nor anything but a plain word of a type gets out of here."""
    found = failure(refused(400, {"type": code, "message": SECRET, "error_code": code}))
    assert SECRET not in str(found)
    assert found.told.code == ""
