"""Keys over HTTP: what goes on with a call, and how a refusal is told."""

from __future__ import annotations

from typing import Any

import pytest

from services.chassis.errors import CallError, Reason
from tests.support.asgi import JSON_HEADERS, Calls, ask

CHAT = "/v1/chat/completions"
ASKED = b'{"messages": [{"role": "user", "content": "Hi"}]}'


class Failed(CallError):
    """Fails for a reason that the test gives."""


def failing(reason: Reason, seconds: float | None = None) -> Calls:
    """Return calls that fail."""
    error: Any = Failed("no", retry_after_seconds=seconds)
    error.reason = reason
    return Calls(error=error)


async def test_keys_and_the_use_of_the_cache_go_on_with_a_call() -> None:
    """As they came, twice if they came twice; the pipeline decides. No other header does."""
    calls = Calls()
    headers = {
        **JSON_HEADERS,
        "authorization": "Bearer dummy",
        "x-api-key": "k\u00e9y",
        "inglenook-cache": "off",
        "cookie": "a=b",
    }
    await ask(calls, CHAT, ASKED, headers=headers)
    told = [("authorization", "Bearer dummy"), ("x-api-key", "k??y"), ("inglenook-cache", "off")]
    assert list(calls.metadata[0]) == told


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        (Reason.UNAUTHENTICATED, 401, "invalid_api_key"),
        (Reason.KEY_NOT_ALLOWED, 403, "key_not_allowed"),
        (Reason.RATE_LIMITED, 429, "rate_limit_exceeded"),
    ],
)
async def test_a_refused_key_is_told_in_the_words_of_openai(reason: Reason, status: int, code: str) -> None:
    """Whoever has no key is told how one is sent, as HTTP wants it."""
    told = await ask(failing(reason), CHAT, ASKED)
    assert (told.status, told.error["code"]) == (status, code)
    assert (told.headers.get("www-authenticate") == "Bearer") == (status == 401)


@pytest.mark.parametrize("path", ["/metrics", "/status", "/v1/models", "/v1/models/a"])
async def test_what_can_be_seen_needs_a_key_too(path: str) -> None:
    """Also where the answer comes from no call."""
    assert (await ask(failing(Reason.UNAUTHENTICATED), path, method="GET")).status == 401


async def test_the_description_needs_no_key() -> None:
    """It says the same everywhere; neither does `/health`, which passes no layer."""
    calls = failing(Reason.UNAUTHENTICATED)
    assert (await ask(calls, "/openapi.json", method="GET")).status == 200
    assert not calls.requests


@pytest.mark.parametrize(
    ("reason", "seconds", "again"),
    [
        (Reason.RATE_LIMITED, 2.5, None),
        (Reason.RATE_LIMITED, 600.0, "false"),
        (Reason.UPSTREAM_UNAVAILABLE, 2.5, None),
        (Reason.UPSTREAM_UNAVAILABLE, None, "false"),
        (Reason.BUDGET_EXHAUSTED, 2.5, "false"),
    ],
)
async def test_clients_ask_again_only_where_and_when_it_helps(
    reason: Reason, seconds: float | None, again: str | None
) -> None:
    """OpenAI's clients ask again within a minute whatever they are told, unless they are told not to."""
    told = await ask(failing(reason, seconds), CHAT, ASKED)
    assert told.headers.get("x-should-retry") == again
    assert ("retry-after" in told.headers) == (seconds is not None)
