"""Reading lines that are not as they should be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.chat.providers.failure import FailureKind
from services.chat.providers.ollama.dialect import OllamaDialect
from tests.support.transcripts import meaning, pieces_of

DIALECT = OllamaDialect()


def _line(**message: Any) -> bytes:
    return json.dumps({"message": {"role": "assistant", "content": "", **message}, "done": True}).encode()


@pytest.mark.parametrize(
    "line",
    [
        b'{"message": "text", "done": true}',
        _line(content=["text"]),
        _line(thinking=1),
        _line(tool_calls={"function": {}}),
        _line(tool_calls=["call"]),
        _line(tool_calls=[{"function": "name"}]),
        _line(tool_calls=[{"function": {"arguments": {}}}]),
        _line(tool_calls=[{"function": {"name": "f", "arguments": [1]}}]),
        b'{"message": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1e999}}}]}}',
        b'{"done": true, "done_reason": 1}',
        b"[]",
        b"<html>",
    ],
)
def test_what_does_not_fit_the_api_is_malformed(line: bytes) -> None:
    """It is neither guessed at nor passed on."""
    _, failure = pieces_of(DIALECT, [line + b"\n"])
    assert failure is not None
    assert failure.kind is FailureKind.MALFORMED


def test_null_is_nothing() -> None:
    """Some servers write out what they leave empty."""
    body = (
        b'{"message": {"content": null, "thinking": null, "tool_calls": null}, "error": null, "done": true}'
    )
    assert meaning(*pieces_of(DIALECT, [body])).stopped == "stop"


@pytest.mark.parametrize(("given", "arguments"), [(None, "{}"), ("", "{}"), ('{"a": 1}', '{"a": 1}')])
def test_arguments_that_are_missing_or_text_become_an_object(given: str | None, arguments: str) -> None:
    """Imitations of Ollama send them as OpenAI does."""
    body = _line(tool_calls=[{"function": {"name": "f", "arguments": given}}])
    [part] = meaning(*pieces_of(DIALECT, [body])).parts
    assert part["tool_call"]["arguments"] == arguments


@pytest.mark.parametrize("count", [-1, True, "7", 7.5, None])
def test_a_count_that_is_none_is_unknown(count: object) -> None:
    """Unknown is not zero."""
    body = json.dumps({"done": True, "prompt_eval_count": count, "eval_count": 3}).encode()
    assert meaning(*pieces_of(DIALECT, [body])).usage == {"output_tokens": 3}
