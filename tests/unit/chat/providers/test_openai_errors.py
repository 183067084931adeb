"""What the errors of services that speak Chat Completions mean."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from services.chat.answer import Usage
from services.chat.providers.errors import ErrorResponse
from services.chat.providers.failure import FailureKind as Kind
from services.chat.providers.openai.errors import response_failure
from services.chat.providers.openai.resets import duration_seconds, reset_seconds
from services.chat.providers.openai.sheets import SHEETS
from services.chat.providers.openai.usage import reported, usage_of

SECRET = "sk-abcdef"


def error(message: str = SECRET, **members: Any) -> dict[str, Any]:
    """Return an error as most services word it."""
    return {"error": {"message": message, **members}}


CASES: list[tuple[str, int, Any, Kind]] = [
    ("openai", 400, error(code="context_length_exceeded", type="invalid_request_error"), Kind.CONTEXT_LENGTH),
    ("openai", 429, error(code="insufficient_quota", type="insufficient_quota"), Kind.QUOTA),
    ("openai", 429, error(code="rate_limit_exceeded", type="tokens"), Kind.RATE_LIMITED),
    ("openai", 404, error(code="model_not_found"), Kind.MODEL_MISSING),
    ("openai", 401, error(code="invalid_api_key"), Kind.AUTHENTICATION),
    ("openai", 400, error(code="content_policy_violation"), Kind.CONTENT_FILTERED),
    ("openai", 400, error(code="invalid_prompt"), Kind.CONTENT_FILTERED),
    ("openai", 400, error(code="unsupported_parameter", param="stop"), Kind.NOT_SUPPORTED),
    ("openai", 400, error(code=None, type="invalid_request_error"), Kind.REJECTED),
    ("openai", 503, error(code="server_is_overloaded"), Kind.UNAVAILABLE),
    ("openai", 500, b"<html>", Kind.UNAVAILABLE),
    ("openrouter", 402, error(code=402), Kind.QUOTA),
    ("openrouter", 403, error(code=403), Kind.AUTHENTICATION),
    (
        "openrouter",
        403,
        error(code=403, metadata={"reasons": ["x"], "flagged_input": "…"}),
        Kind.CONTENT_FILTERED,
    ),
    ("openrouter", 400, error(metadata={"error_type": "context_length_exceeded"}), Kind.CONTEXT_LENGTH),
    ("openrouter", 400, error("x is not a valid model ID", code=400), Kind.MODEL_MISSING),
    ("openrouter", 400, error(metadata={"error_type": "invalid_prompt"}), Kind.REJECTED),
    ("openrouter", 404, error("No endpoints found that support tool use", code=404), Kind.NOT_SUPPORTED),
    (
        "openrouter",
        400,
        error("Provider returned error", metadata={"raw": "prompt is too long: 9 tokens"}),
        Kind.CONTEXT_LENGTH,
    ),
    ("groq", 498, error(code="capacity_exceeded"), Kind.UNAVAILABLE),
    ("groq", 499, error(), Kind.UNAVAILABLE),
    ("groq", 400, error(code="tool_use_failed", failed_generation="…"), Kind.MALFORMED),
    ("groq", 413, error(code="rate_limit_exceeded", type="tokens"), Kind.CONTEXT_LENGTH),
    ("groq", 413, error(), Kind.REJECTED),
    ("moonshot", 429, error(type="exceeded_current_quota_error"), Kind.QUOTA),
    ("moonshot", 429, error(type="engine_overloaded_error"), Kind.UNAVAILABLE),
    ("moonshot", 429, error(type="rate_limit_reached_error"), Kind.RATE_LIMITED),
    ("moonshot", 400, error(type="content_filter"), Kind.CONTENT_FILTERED),
    (
        "moonshot",
        400,
        error("tool_choice 'specified' is incompatible with thinking enabled"),
        Kind.NOT_SUPPORTED,
    ),
    ("venice", 422, {"error": "Content violates policy"}, Kind.CONTENT_FILTERED),
    ("venice", 429, {"error": "The model is overloaded", "code": "MODEL_OVERLOADED"}, Kind.UNAVAILABLE),
    ("venice", 402, {"error": "Insufficient balance"}, Kind.QUOTA),
    ("together", 400, {"error": "`inputs` tokens + `max_new_tokens` must be <= 4097"}, Kind.CONTEXT_LENGTH),
    ("together", 404, error(code="model_not_available"), Kind.MODEL_MISSING),
    ("cloudflare", 400, {"success": False, "errors": [{"code": 5007, "message": "x"}]}, Kind.MODEL_MISSING),
    ("cloudflare", 429, {"success": False, "errors": [{"code": 3036, "message": "x"}]}, Kind.QUOTA),
    ("cloudflare", 429, {"success": False, "errors": [{"code": 3040, "message": "x"}]}, Kind.UNAVAILABLE),
    ("huggingface", 400, error(code="model_not_supported"), Kind.MODEL_MISSING),
    ("openai-compatible", 400, error(type="exceed_context_size_error", n_ctx=64), Kind.CONTEXT_LENGTH),
    ("openai-compatible", 501, error(type="not_supported_error"), Kind.NOT_SUPPORTED),
    ("openai-compatible", 503, error(type="unavailable_error"), Kind.UNAVAILABLE),
    (
        "openai-compatible",
        400,
        {"object": "error", "message": "This model's maximum context length is 64 tokens", "code": 400},
        Kind.CONTEXT_LENGTH,
    ),
    ("openai-compatible", 422, {"detail": [{"loc": ["body"]}]}, Kind.REJECTED),
    ("openai-compatible", 400, [error("maximum context length")], Kind.CONTEXT_LENGTH),
    ("openai-compatible", 401, error("maximum context length"), Kind.AUTHENTICATION),
    ("openai-compatible", 404, b"404 page not found", Kind.MODEL_MISSING),
]


@pytest.mark.parametrize(("service", "status", "body", "kind"), CASES)
def test_an_error_means_what_its_service_means_by_it(
    service: str, status: int, body: Any, kind: Kind
) -> None:
    """Codes go before messages and messages before the status."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    failure = response_failure(ErrorResponse(status, {}, content), SHEETS[service])
    assert failure.kind is kind
    assert failure.told.status == status
    assert SECRET not in f"{failure} {failure.told}"


def test_the_code_of_an_error_is_its_first_word() -> None:
    """A number that only repeats the status is none."""
    body = json.dumps(error(code=429, type="engine_overloaded_error")).encode()
    failure = response_failure(ErrorResponse(429, {}, body), SHEETS["moonshot"])
    assert failure.told.code == "engine_overloaded_error"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2m59.56s", 179.56), ("7.66s", 7.66), ("250ms", 0.25), ("1h0m3s", 3603), ("12", 12), ("6m0s", 360)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """As OpenAI and Groq write them."""
    assert duration_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "5 m", "-3s", "3s!", "nan"])
def test_what_is_no_duration_says_nothing(text: str) -> None:
    """Then the usual waiting time holds."""
    assert duration_seconds(text) is None


NOW = 1_767_225_600.0


@pytest.mark.parametrize(
    ("style", "headers", "seconds"),
    [
        ("durations", {"reset-requests": "2m", "reset-tokens": "7.5s"}, 7.5),
        ("durations", {"reset-requests": "2m", "remaining-requests": "0", "reset-tokens": "7.5s"}, 120),
        ("durations", {"reset-requests": "1s"}, 1),
        ("venice", {"reset-requests": str(NOW + 30), "remaining-requests": "0"}, 30),
        ("venice", {"reset-requests": str(NOW - 5), "remaining-requests": "0"}, 0),
        ("venice", {"reset-requests": str(NOW + 30), "reset-tokens": "12"}, 12),
        ("venice", {}, None),
        ("", {"reset-tokens": "12"}, None),
    ],
)
def test_the_reset_of_the_limit_that_was_hit_is_the_time_to_wait(
    style: Any, headers: dict[str, str], seconds: float | None
) -> None:
    """Venice tells requests as a point in time and tokens as seconds; the others tell durations."""
    told = {f"x-ratelimit-{name}": value for name, value in headers.items()}
    assert reset_seconds(told, style, NOW) == seconds


def test_retry_after_goes_before_resets() -> None:
    """It is meant for just this."""
    headers = {"retry-after": "3", "x-ratelimit-reset-tokens": "9s"}
    failure = response_failure(ErrorResponse(429, headers, b""), SHEETS["groq"])
    assert failure.told.retry_after_seconds == 3


def test_what_is_charged_with_a_key_of_ones_own_is_both_parts() -> None:
    """OpenRouter's fee and what the provider behind it takes; without the latter nothing is known."""
    wire = {"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}
    assert usage_of(wire, charges_usd=True).charged_usd == Decimal("0.21")
    assert usage_of({"cost": 0.01, "is_byok": True}, charges_usd=True).charged_usd is None
    assert usage_of(wire, charges_usd=False).charged_usd is None


@pytest.mark.parametrize(
    "wire", [{"prompt_tokens": -1, "completion_tokens": True, "cost": "1"}, {"prompt_tokens_details": None}]
)
def test_nonsense_in_usage_is_unknown(wire: dict[str, Any]) -> None:
    """It is neither zero nor an error."""
    assert usage_of(wire, charges_usd=True) == Usage()


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [], "usage": {"a": 1}},
        {"choices": [{"delta": {}}], "usage": {"a": 1}},
        {"choices": [{"usage": {"a": 1}}], "usage": None},
        {"x_groq": {"usage": {"a": 1}}},
    ],
)
def test_usage_is_found_wherever_it_is(chunk: dict[str, Any]) -> None:
    """Beside the choices, with or without them, in a choice, and in Groq's own place."""
    assert reported(chunk) == {"a": 1}
