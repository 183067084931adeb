"""Providers that send what no provider should: a failure of theirs, never one of ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import pytest

from services.chat.answer import MOST_TOKENS, Piece, Stopped, ToolCallPiece, Usage
from services.chat.answering.steps import Finished, Started, Step
from services.chat.providers.anthropic.decode import AnthropicReading
from services.chat.providers.composer import Composer
from services.chat.providers.dialect import Decoder, Reading
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.framing import JsonLines
from services.chat.providers.gemini.decode import GeminiReading
from services.chat.providers.ollama.decode import OllamaReading
from services.chat.providers.ollama.embeddings import read_embeddings
from services.chat.providers.openai.decode import ChatReading
from services.chat.providers.openai.sheets import Sheet
from services.chat.servicer.events import EventWriter, ResponseWriter

Path = tuple[str | int, ...]
Frames = Sequence[Mapping[str, Any]]


def nested(levels: int, key: str = "") -> Any:
    """Return lists in lists, or objects with `key` in lists in such objects."""
    value: Any = 1
    for _ in range(levels):
        value = [{key: value}] if key else [value]
    return value


NONSENSE: Final[tuple[Any, ...]] = (
    None,
    True,
    "7",
    -1,
    1.5,
    10**30,
    10**4000,
    float("inf"),
    [],
    {},
    [None],
    "\ud800",
    [{"text": "\udfff"}],
    nested(900),
    nested(450, "text"),
)

OPENAI_CALL = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
OPENAI_DETAILS = [{"type": "reasoning.text", "text": "x", "signature": "s"}]
OPENAI_DELTA = {
    "content": "a",
    "reasoning_content": "r",
    "reasoning_details": OPENAI_DETAILS,
    "tool_calls": [{**OPENAI_CALL, "extra_content": {"google": {"thought_signature": "z"}}}],
}
OPENAI_USAGE = {
    "prompt_tokens": 1,
    "completion_tokens": 2,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
OPENAI: Frames = (
    {"choices": [{"delta": OPENAI_DELTA, "finish_reason": None}]},
    {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": OPENAI_USAGE},
)
OLLAMA_CALL = {"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}
OLLAMA: Frames = (
    {"message": {"content": "a", "thinking": "t", "tool_calls": [OLLAMA_CALL]}, "done": False},
    {"message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 1},
)
ANTHROPIC: Frames = (
    {"type": "message_start", "message": {"usage": {"input_tokens": 1, "cache_read_input_tokens": 2}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "signature": "s"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "d"}},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "t", "name": "f"},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
)
GEMINI_CALL = {"functionCall": {"id": "i", "name": "f", "args": {"a": 1}}, "thoughtSignature": "q"}
GEMINI: Frames = (
    {
        "candidates": [
            {
                "content": {"parts": [{"text": "a", "thoughtSignature": "s"}, GEMINI_CALL]},
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "thoughtsTokenCount": 1},
    },
)

READINGS: Final[Mapping[str, tuple[Callable[[Composer], Reading], Frames]]] = {
    "openai": (lambda composer: ChatReading(composer, Sheet()), OPENAI),
    "ollama": (OllamaReading, OLLAMA),
    "anthropic": (AnthropicReading, ANTHROPIC),
    "gemini": (GeminiReading, GEMINI),
}


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield where there is something in a value."""
    members = value.items() if isinstance(value, Mapping) else enumerate(value)
    for name, member in members:
        yield (*path, name)
        if isinstance(member, Mapping | list | tuple):
            yield from places(member, (*path, name))


def with_nonsense(value: Any, path: Path, nonsense: Any) -> Any:
    """Return a value with `nonsense` in one place."""
    if not path:
        return nonsense
    changed: Any = dict(value) if isinstance(value, Mapping) else list(value)
    changed[path[0]] = with_nonsense(changed[path[0]], path[1:], nonsense)
    return changed


def read(name: str, frames: Frames) -> tuple[list[Piece], Usage]:
    """Return what frames are read as."""
    reading, _ = READINGS[name]
    composer = Composer(lambda number: f"call_{number}")
    decoder = Decoder(JsonLines(), reading(composer), composer)
    pieces = [piece for frame in frames for piece in decoder.feed(json.dumps(frame).encode() + b"\n")]
    return [*pieces, *decoder.end()], composer.usage


def write(pieces: Sequence[Piece], usage: Usage) -> None:
    """Write an answer both ways, as callers get it."""
    content: list[Step] = [piece for piece in pieces if not isinstance(piece, Stopped)]
    steps = [Started("p", "m"), *content, Finished("stop", usage, None, (), 1.0, None, 0.5)]
    for event in EventWriter("r", "m").events(steps):
        event.SerializeToString()
    writer = ResponseWriter("r", "m")
    writer.add(steps)
    writer.response().SerializeToString()


@pytest.mark.parametrize("name", READINGS)
def test_nonsense_anywhere_is_understood_or_a_failure_of_the_provider(name: str) -> None:
    """Whatever stands in whichever place, the answer can be passed on or is `Failure`; nothing else."""
    _, frames = READINGS[name]
    for path in places(frames):
        for nonsense in NONSENSE:
            try:
                pieces, usage = read(name, with_nonsense(frames, path, nonsense))
            except Failure:
                continue
            write(pieces, usage)


@pytest.mark.parametrize("arguments", ['{"a": NaN}', '{"a": [-Infinity]}', "\x1f"])
def test_arguments_that_only_python_can_read_are_refused(arguments: str) -> None:
    """They would come back in the next turn, where they are no JSON."""
    call = {**OPENAI_CALL, "function": {"name": "f", "arguments": arguments}}
    frames = [{"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}]
    with pytest.raises(Failure) as caught:
        read("openai", frames)
    assert caught.value.kind is FailureKind.MALFORMED


def test_halves_of_characters_in_ids_and_names_are_replaced() -> None:
    """An id is still one that differs from all others, and fits into a message."""
    calls = [{"id": text, "function": {"name": "f\ud800"}} for text in ("\ud800", "\udfff")]
    frames: Frames = [
        {"message": {"tool_calls": calls}},
        {"message": {}, "done": True, "done_reason": "stop"},
    ]
    pieces, _ = read("ollama", frames)
    found = [piece for piece in pieces if isinstance(piece, ToolCallPiece) and piece.name]
    assert [piece.name for piece in found] == ["f?", "f?"]
    assert len({piece.id for piece in found}) == 2


def test_counts_that_no_call_can_have_are_unknown() -> None:
    """None, and not the largest number that there is room for: costs are made of them."""
    assert Usage(input_tokens=MOST_TOKENS, output_tokens=MOST_TOKENS + 1) == Usage(input_tokens=MOST_TOKENS)


def test_components_of_hundreds_of_digits_are_refused() -> None:
    """They are no numbers that could be computed with."""
    with pytest.raises(Failure) as caught:
        read_embeddings({"embeddings": [[10**400]]}, 1, None)
    assert caught.value.kind is FailureKind.MALFORMED
