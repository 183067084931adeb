"""What a caller is told when its only target fails: status, reason, when to come back, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.support.fault_actions import head, opening, problem, refuse, reset, stall, tokens, wait
from tests.support.fault_chat import Plot, chat, complete, staged
from tests.support.fault_server import Script

TARGET: Final = "primary/fault-model"
HOLD_OFF: Final = {"retry-after": "100"}
"""Longer than is waited here."""


@dataclass(frozen=True)
class Case:
    """A failure and what becomes of it.

    Attributes:
        script: What the provider does.
        code, reason: What the caller is told.
        asked: How often the provider is asked.
        metadata: What `ErrorInfo` has besides `attempts`.
        retry_after: Seconds of `RetryInfo`; None without one.
        fields: Paths of `BadRequest`.
    """

    script: Script
    code: str
    reason: str
    asked: int = 1
    metadata: dict[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    fields: tuple[str, ...] = ()


def refused(status: int, code: str = "error") -> dict[str, str]:
    """Return the metadata of a refusal; without a code, the type of the error is told."""
    return {"upstreamStatus": str(status), "upstreamCode": code}


CASES: Final = {
    "bad request": Case(
        (refuse(400, "no", "odd"),), "INVALID_ARGUMENT", "UPSTREAM_REJECTED", metadata=refused(400, "odd")
    ),
    "not supported": Case(
        (refuse(400, "no", "unsupported_parameter"),),
        "INVALID_ARGUMENT",
        "NOT_SUPPORTED",
        metadata=refused(400, "unsupported_parameter"),
    ),
    "too long": Case(
        (refuse(400, "no", "context_length_exceeded"),),
        "INVALID_ARGUMENT",
        "INPUT_TOO_LONG",
        metadata=refused(400, "context_length_exceeded"),
        fields=("messages",),
    ),
    "what is said": Case(
        (refuse(400, "no", "content_policy_violation"),),
        "PERMISSION_DENIED",
        "CONTENT_REJECTED",
        metadata=refused(400, "content_policy_violation"),
    ),
    "key": Case((refuse(401, "no"),), "FAILED_PRECONDITION", "UPSTREAM_AUTH", metadata=refused(401)),
    "model": Case(
        (refuse(404, "no", "model_not_found"),),
        "FAILED_PRECONDITION",
        "UPSTREAM_MODEL_MISSING",
        metadata=refused(404, "model_not_found"),
    ),
    "quota": Case(
        (refuse(429, "no", "insufficient_quota"),),
        "RESOURCE_EXHAUSTED",
        "UPSTREAM_QUOTA",
        metadata=refused(429, "insufficient_quota"),
    ),
    "limit": Case(
        (refuse(429, "no", "rate_limit_exceeded", HOLD_OFF),),
        "RESOURCE_EXHAUSTED",
        "UPSTREAM_RATE_LIMITED",
        metadata=refused(429, "rate_limit_exceeded"),
        retry_after=100,
    ),
    "overload": Case(
        (refuse(503, "no"),), "UNAVAILABLE", "UPSTREAM_UNAVAILABLE", asked=3, metadata=refused(503)
    ),
    "overload for long": Case(
        (refuse(503, "no", "", HOLD_OFF),),
        "UNAVAILABLE",
        "UPSTREAM_UNAVAILABLE",
        metadata=refused(503),
        retry_after=100,
    ),
    "reset": Case((reset,), "UNAVAILABLE", "UPSTREAM_UNAVAILABLE", asked=3),
    "silence": Case((stall,), "UNAVAILABLE", "UPSTREAM_UNAVAILABLE"),
    "error before the first token": Case(
        (head(), opening, problem("no")),
        "UNAVAILABLE",
        "UPSTREAM_UNAVAILABLE",
        asked=3,
        metadata=refused(200, "server_error"),
    ),
}


@pytest.mark.parametrize("method", ["Chat", "Complete"])
@pytest.mark.parametrize("name", CASES)
async def test_failure_is_told_with_all_that_a_program_needs(name: str, method: str, tmp_path: Path) -> None:
    """Both methods tell the same, and tell when to come back exactly where that is known."""
    case = CASES[name]
    async with staged(tmp_path, Plot((case.script,), first_token=0.5, backoff=0.01)) as stage:
        seen = await (chat if method == "Chat" else complete)(stage.stub, "alone")
        assert len(stage.primary.received) == case.asked
    failure = seen.failure
    assert failure is not None
    assert (failure.code.name, failure.reason, failure.domain) == (case.code, case.reason, "inglenook")
    told = dict(failure.metadata)
    attempts = told.pop("attempts").split("; ")
    assert [attempt.split()[:2] for attempt in attempts] == [[TARGET, case.reason]] * case.asked
    assert told == case.metadata
    assert failure.retry_after_seconds == (
        None if case.retry_after is None else pytest.approx(case.retry_after, abs=5)
    )
    assert tuple(path for path, _ in failure.violations) == case.fields
    assert failure.message.startswith(f"{TARGET}: ")


async def test_answer_that_breaks_off_is_data_loss(tmp_path: Path) -> None:
    """Chat has passed a part on; Complete has not, and says that nobody answered."""
    script = (head(), opening, tokens(["one"]), wait(0.05), reset)
    async with staged(tmp_path, Plot((script,), backoff=0.01)) as stage:
        streamed, whole = await chat(stage.stub, "alone"), await complete(stage.stub, "alone")
    assert (streamed.text, whole.text) == ("one", "")
    assert streamed.failure is not None
    assert whole.failure is not None
    assert (streamed.failure.code.name, streamed.failure.reason) == ("DATA_LOSS", "UPSTREAM_INTERRUPTED")
    assert (whole.failure.code.name, whole.failure.reason) == ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE")
    assert streamed.failure.retry_after_seconds is None
