"""OpenAI's own client as the judge of what is sent and of the transcripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter

from services.chat.conversation import (
    Conversation,
    Image,
    Message,
    Reasoning,
    ResponseFormat,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from services.chat.providers.dialect import Ask
from services.chat.providers.openai.encode import encode
from services.chat.providers.openai.sheets import OPENAI
from tests.support.transcripts import Transcript, transcripts

REQUEST: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsStreaming)

STRICT = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = Tool("weather", "How the weather is.", STRICT)
NOW = Tool("now", "", {})

CONVERSATIONS = {
    "text": Conversation((Message("user", (Text("Hello"),)),)),
    "turns": Conversation(
        (
            Message("system", (Text("Be brief."),)),
            Message("user", (Text("Hi"),)),
            Message("assistant", (Reasoning("Greet."), Text("Hi!"))),
            Message("user", (Text("What is this?"), Image("image/png", b"\x89PNG"))),
            Message("user", (Image("", url="https://example.org/a.png"),)),
        ),
        max_output_tokens=100,
    ),
    "tools": Conversation(
        (
            Message("user", (Text("Weather?"),)),
            Message("assistant", (ToolCall("call_1", "weather", '{"city":"Zürich"}'),)),
            Message("tool", (ToolResult("call_1", "weather", "sunny"),)),
        ),
        tools=(WEATHER, NOW),
        tool_choice=ToolChoice("required", "weather"),
        parallel_tool_calls=False,
    ),
    "must call": Conversation(
        (Message("user", (Text("Now?"),)),), tools=(NOW,), tool_choice=ToolChoice("required")
    ),
    "schema": Conversation(
        (Message("user", (Text("Zürich"),)),), response_format=ResponseFormat("json_schema", "place", STRICT)
    ),
    "json": Conversation((Message("user", (Text("Zürich"),)),), response_format=ResponseFormat("json")),
    "sampling": Conversation(
        (Message("user", (Text("Hello"),)),),
        sampling=Sampling(0.5, 0.9, 40, 0.1, -0.1, ("END",), 7),
        effort="none",
        reasoning_tokens=100,
    ),
}


def plain(value: Any) -> Any:
    """Return a validated value with its lazy lists as lists."""
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple) or (not isinstance(value, str) and isinstance(value, Iterator)):
        return [plain(member) for member in value]
    return value


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-5-mini"])
def test_requests_are_what_the_official_client_would_send(name: str, model: str) -> None:
    """Every body validates against the client's parameters, which know every field in it."""
    body = encode(Ask(CONVERSATIONS[name], "openai", model), OPENAI)
    validated = plain(REQUEST.validate_python(body, strict=False))
    assert validated == body


@pytest.mark.parametrize("transcript", transcripts("openai"), ids=str)
def test_transcripts_of_openai_have_the_shape_that_the_official_client_knows(transcript: Transcript) -> None:
    """Every chunk and every whole answer is one of the client's, without conversions."""
    for line in transcript.stream.decode().split("\n\n"):
        data = line.removeprefix("data: ")
        if data and data != "[DONE]" and "error" not in json.loads(data):
            ChatCompletionChunk.model_validate_json(data, strict=True)
    if transcript.whole is not None:
        ChatCompletion.model_validate_json(transcript.whole, strict=True)
