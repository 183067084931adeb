"""Answers with tool calls of several kinds of providers, and how they have to be sent back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.support.transcripts import FOLDER, Transcript

BLOCK: Final = b'event: content_block_start\ndata: {"type":"content_block_start","index":1'


def golden(name: str) -> bytes:
    """Return the stream of a transcript."""
    return Transcript(FOLDER / name).stream


def thinking_tool_call() -> bytes:
    """Return the stream of an Anthropic model that thinks and then calls a tool."""
    thoughts, block, _ = golden("anthropic/reasoning").partition(BLOCK)
    return thoughts + block + golden("anthropic/one_tool_call").partition(BLOCK)[2]


@dataclass(frozen=True)
class Case:
    """A first answer, and how its turn has to look when it is sent back.

    Attributes:
        kind: Type of the provider.
        model: The model there.
        stream: The first answer.
        turns: Where the request has its turns.
        back: The assistant's turn as the provider has to get it.
        secrets: What only that provider may get.
    """

    kind: str
    model: str
    stream: bytes
    turns: str
    back: Mapping[str, Any]
    secrets: Sequence[str]


def called(identity: str, name: str, arguments: str, **more: Any) -> dict[str, Any]:
    """Return a tool call of Chat Completions."""
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


CASES: Final = {
    "anthropic": Case(
        "anthropic",
        "claude-sonnet-4-5",
        thinking_tool_call(),
        "messages",
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Two and two.", "signature": "EqQB+/c2lnbg=="},
                {
                    "type": "tool_use",
                    "id": "toolu_01A",
                    "name": "get_weather",
                    "input": {"city": "München", "days": 3},
                },
            ],
        },
        ("EqQB+/c2lnbg==",),
    ),
    "gemini": Case(
        "gemini",
        "gemini-3-pro-preview",
        golden("gemini/one_tool_call"),
        "contents",
        {
            "role": "model",
            "parts": [
                {
                    "functionCall": {
                        "id": "fc_1",
                        "name": "get_weather",
                        "args": {"city": "Bern", "days": 2},
                    },
                    "thoughtSignature": "RXBnREN0Vg==",
                }
            ],
        },
        ("RXBnREN0Vg==",),
    ),
    "gemini behind Chat Completions": Case(
        "openai-compatible",
        "gemini-3-pro",
        golden("compatible/gemini_signature"),
        "messages",
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                called(
                    "function-call-1",
                    "now",
                    "{}",
                    extra_content={"google": {"thought_signature": "U2lnMQ=="}},
                ),
                called("function-call-2", "add", '{"x":1}'),
            ],
        },
        ("U2lnMQ==",),
    ),
    "openrouter": Case(
        "openrouter",
        "openai/gpt-5",
        golden("compatible/openrouter_encrypted"),
        "messages",
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [called("call_x", "now", "{}")],
            "reasoning_details": [
                {"type": "reasoning.encrypted", "data": "b3BhcXVl", "id": "rs_1", "index": 0}
            ],
        },
        ("b3BhcXVl", "reasoning_details"),
    ),
    "moonshot": Case(
        "moonshot",
        "kimi-k2.6",
        golden("compatible/moonshot_tool_call"),
        "messages",
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [called("weather:0", "weather", '{"city":"北京"}')],
            "reasoning_content": "需要天气",
        },
        (),
    ),
    "openai": Case(
        "openai",
        "gpt-4o",
        golden("openai/tool_call"),
        "messages",
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [called("call_a1", "weather", '{"city":"Zürich"}')],
        },
        (),
    ),
}
