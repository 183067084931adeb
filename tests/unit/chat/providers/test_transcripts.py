"""What kinds of answers there are transcripts of, in every dialect."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from tests.support.transcripts import Expected, Transcript, transcripts

DIALECTS: Final = ("ollama", "anthropic", "gemini", "openai", "compatible")
CANNOT: Final = {("ollama", "refusal or safety stop")}
"""Nothing on an Ollama's wire tells a refusal from an answer."""
NOT_ERRORS: Final = {"", "broken off", "content filtered", "context length"}


def calls(meant: Expected) -> list[Mapping[str, Any]]:
    """Return the tool calls of an answer."""
    return [part["tool_call"] for part in meant.parts if "tool_call" in part]


def is_json(meant: Expected) -> bool:
    """Whether the text of an answer is a JSON object."""
    try:
        return isinstance(json.loads("".join(part.get("text", "") for part in meant.parts)), dict)
    except ValueError:
        return False


def failed(meant: Expected) -> bool:
    """Whether the provider reported an error."""
    return meant.failure.get("kind", "") not in NOT_ERRORS


KINDS: Final[Mapping[str, Callable[[Transcript, Expected], bool]]] = {
    "text": lambda _, meant: meant.stopped == "stop" and [*map(set, meant.parts)] == [{"text"}],
    # Chat Completions of OpenAI keeps thoughts to itself and counts them.
    "reasoning": lambda _, meant: (
        any(part.get("reasoning") for part in meant.parts) or meant.usage.get("reasoning_tokens", 0) > 0
    ),
    "one tool call": lambda _, meant: len(calls(meant)) == 1 and calls(meant)[0]["arguments"] != "{}",
    "two parallel tool calls": lambda _, meant: len({call["id"] for call in calls(meant)}) == 2,
    "tool call without arguments": lambda _, meant: any(call["arguments"] == "{}" for call in calls(meant)),
    "structured output": lambda _, meant: is_json(meant),
    "refusal or safety stop": lambda _, meant: (
        meant.stopped == "content_filter" or meant.failure.get("kind") == "content filtered"
    ),
    "context overflow": lambda transcript, _: transcript.path.name.endswith("context_overflow"),
    "error before the first token": lambda _, meant: failed(meant) and not meant.parts,
    "error after the first token": lambda _, meant: failed(meant) and bool(meant.parts),
    "answer without its end": lambda _, meant: (
        meant.failure.get("kind") == "broken off" and bool(meant.parts)
    ),
    "text beyond ASCII": lambda transcript, meant: not transcript.stream.isascii() and not meant.failure,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_has_a_transcript_of_every_kind(dialect: str, kind: str) -> None:
    """The transcripts are what the claims about dialects are tried on: none of them may be missing."""
    found = [one for one in transcripts(dialect) if KINDS[kind](one, one.expected)]
    assert bool(found) != ((dialect, kind) in CANNOT)
