"""What Ollama's errors are taken for."""

from __future__ import annotations

import json

import pytest

from services.chat.providers.errors import ErrorResponse
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.ollama.dialect import OllamaDialect

DIALECT = OllamaDialect(pull="gemma3n:e2b")


def _failure(status: int, body: object, headers: dict[str, str] | None = None) -> Failure:
    content = body if isinstance(body, bytes) else json.dumps({"error": body}).encode()
    return DIALECT.failure(ErrorResponse(status, headers or {}, content))


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, '"gemma3:1b" does not support thinking', FailureKind.NOT_SUPPORTED),
        (400, '"nomic-embed-text" does not support chat', FailureKind.NOT_SUPPORTED),
        (400, "registry/library/gemma3:1b does not support tools", FailureKind.NOT_SUPPORTED),
        (501, "this model does not support embeddings", FailureKind.NOT_SUPPORTED),
        (501, "", FailureKind.NOT_SUPPORTED),
        (500, "this model is missing data required for image input", FailureKind.NOT_SUPPORTED),
        (
            400,
            "the prompt is longer than the context length currently available to the model; shorten it",
            FailureKind.CONTEXT_LENGTH,
        ),
        (400, "the input length exceeds the context length", FailureKind.CONTEXT_LENGTH),
        (413, "the input length exceeds the context length", FailureKind.CONTEXT_LENGTH),
        (500, "the input length exceeds the context length", FailureKind.CONTEXT_LENGTH),
        (400, {"message": "no", "type": "exceed_context_size_error"}, FailureKind.CONTEXT_LENGTH),
        (400, "invalid option provided", FailureKind.REJECTED),
        (401, "unauthorized", FailureKind.AUTHENTICATION),
        (403, "ollama cloud is disabled: remote inference is unavailable", FailureKind.AUTHENTICATION),
        (404, "model 'x' not found", FailureKind.MODEL_MISSING),
        (429, "too many concurrent requests", FailureKind.RATE_LIMITED),
        (429, "you've reached your hourly usage limit, please upgrade", FailureKind.QUOTA),
        (499, "context canceled", FailureKind.UNAVAILABLE),
        (500, "model requires more system memory (12.4 GiB) than is available", FailureKind.UNAVAILABLE),
        (500, "llama runner process has terminated: signal: killed", FailureKind.UNAVAILABLE),
        (502, "dial tcp: lookup ollama.com: no such host", FailureKind.UNAVAILABLE),
        (503, "server busy, please try again. maximum pending requests exceeded", FailureKind.RATE_LIMITED),
        (503, "starting", FailureKind.UNAVAILABLE),
    ],
)
def test_an_error_is_taken_for_what_it_is(status: int, error: object, kind: FailureKind) -> None:
    """What may be done about a failure depends on it."""
    failure = _failure(status, error)
    assert failure.kind is kind
    assert failure.told.status == status


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"null", b'{"error": 7}', b"[" * 100_000])
def test_an_error_without_a_sentence_is_taken_for_what_its_status_says(body: bytes) -> None:
    """Not every error is written by the Ollama itself."""
    assert _failure(500, body).kind is FailureKind.UNAVAILABLE


def test_a_missing_model_is_answered_with_how_to_get_it() -> None:
    """Nothing is pulled behind anybody's back: models are large."""
    assert str(_failure(404, "model 'gemma3n:e2b' not found")).endswith("ollama pull gemma3n:e2b")


@pytest.mark.parametrize("name", ["", "x; rm -rf ~", "x\ny", "-x", "ü", "x" * 300])
def test_only_a_plain_name_is_put_into_a_command(name: str) -> None:
    """Messages are pasted into shells."""
    failure = OllamaDialect(pull=name).failure(ErrorResponse(404, {}, b'{"error": "model not found"}'))
    assert str(failure) == "the provider has no such model"


def test_a_server_that_is_no_ollama_is_not_taken_for_one_without_the_model() -> None:
    """`ollama pull` would not help where the address leads to something else."""
    for body in (b"404 page not found", b'{"detail": "Not Found"}'):
        failure = _failure(404, body)
        assert failure.kind is FailureKind.UNAVAILABLE
        assert not failure.may_retry
        assert "check url" in str(failure)


def test_nothing_that_an_ollama_wrote_is_in_a_message() -> None:
    """Errors of runners quote prompts."""
    for status in (400, 401, 403, 404, 429, 500, 502, 503):
        assert "secret" not in str(_failure(status, "secret: exceeds the context, more system memory"))


def test_a_full_queue_is_not_held_against_an_ollama() -> None:
    """It works as hard as it can."""
    failure = _failure(503, "server busy, please try again", {"retry-after": "3"})
    assert not failure.blames_target
    assert failure.told.retry_after_seconds == 3
