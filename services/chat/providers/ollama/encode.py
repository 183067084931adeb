"""A conversation as the body of a request to `/api/chat`.

Everything has the type that Ollama expects: it answers a wrong type with a status that means that it broke.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from services.chat.conversation import (
    Conversation,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from services.chat.providers.dialect import Ask
from services.chat.providers.facts import Facts
from services.chat.providers.failure import Failure, FailureKind

T = TypeVar("T")

KeepAlive = int | str
"""Whole seconds, or a duration such as `10m`. Ollama reads a number in quotes as a duration without a unit
and refuses it."""

LEVELS: Final = re.compile(r"gpt-?oss", re.IGNORECASE)
"""Names of the models that are told how hard to think. All others are only told whether."""
SEED_BITS: Final = 0x7FFF_FFFF
"""Runners keep a seed in 32 bits, and draw one of their own for -1."""


def chat_body(ask: Ask, keep_alive: KeepAlive | None) -> dict[str, Any]:
    """Return the body of a request for a streamed answer; what is not set is not in it.

    Raises:
        Failure: NOT_SUPPORTED: Ollama has no way to ask for this, or the model is known not to think.
    """
    conversation = ask.conversation
    body: dict[str, Any] = {
        "model": ask.upstream_model,
        "messages": [wired for message in conversation.messages for wired in _messages(message)],
        "stream": True,
        # Else it drops the oldest turns without a word when a conversation is too long, and goes on
        # forgetting while it answers.
        "truncate": False,
        "shift": False,
    }
    optional = {
        "tools": _tools(conversation),
        "format": _format(conversation, ask.facts),
        "options": _options(ask),
        "think": _think(ask),
        "keep_alive": keep_alive,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def _messages(message: Message) -> Iterator[dict[str, Any]]:
    """Yield what one turn is to Ollama: each tool result is a message of its own."""
    if message.role == "tool":
        for result in _of(ToolResult, message.parts):
            yield {
                "role": "tool",
                "content": result.content,
                "tool_name": result.name,
                "tool_call_id": result.tool_call_id,
            }
        return
    # What a model wrote is one text, wherever it paused; what others wrote are separate texts.
    separator = "" if message.role == "assistant" else "\n"
    wired: dict[str, Any] = {
        "role": message.role,
        "content": separator.join(part.text for part in _of(Text, message.parts)),
    }
    if thinking := "".join(part.text for part in _of(Reasoning, message.parts)):
        wired["thinking"] = thinking
    if images := [_image(part) for part in _of(Image, message.parts)]:
        wired["images"] = images
    if calls := [_tool_call(part) for part in _of(ToolCall, message.parts)]:
        wired["tool_calls"] = calls
    yield wired


def _of(kind: type[T], parts: Sequence[Part]) -> list[T]:
    return [part for part in parts if isinstance(part, kind)]


def _image(image: Image) -> str:
    if not image.data:
        message = "Ollama takes images as files, not as addresses"
        raise Failure(FailureKind.NOT_SUPPORTED, message)
    return base64.b64encode(image.data).decode("ascii")


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "function": {"name": call.name, "arguments": json.loads(call.arguments)}}


def _tools(conversation: Conversation) -> list[dict[str, Any]] | None:
    """Return the tools that may be called.

    Raises:
        Failure: NOT_SUPPORTED: how they may be called is restricted in a way that Ollama has no word for.
    """
    choice = conversation.tool_choice
    if not conversation.tools or (choice.mode == "none" and not choice.tool):
        return None
    if choice.tool or choice.mode == "required":
        message = "Ollama cannot be told that a tool must be called; use the tool choice auto or none"
        raise Failure(FailureKind.NOT_SUPPORTED, message)
    if conversation.parallel_tool_calls is False:
        message = "Ollama cannot be told to call one tool at a time; leave parallel_tool_calls out"
        raise Failure(FailureKind.NOT_SUPPORTED, message)
    return [_tool(tool) for tool in conversation.tools]


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {}, **tool.parameters}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _format(conversation: Conversation, facts: Facts) -> str | dict[str, Any] | None:
    """Return what the text must look like, if the model can be held to it; the answer is checked anyway."""
    wanted = conversation.response_format
    if wanted.kind == "json" and facts.json is not False:
        return "json"
    if wanted.kind == "json_schema" and facts.json_schema is not False:
        return dict(wanted.schema)
    return None


def _think(ask: Ask) -> bool | str | None:
    """Return whether and how hard to think; None where there is nothing to say.

    Raises:
        Failure: NOT_SUPPORTED: the model is known not to think, and should.
    """
    effort = ask.conversation.effort
    if effort is None:
        return None
    if ask.facts.reasoning is False:
        if effort == "none":
            return None
        raise Failure(FailureKind.NOT_SUPPORTED, "the model does not think; leave the effort out, or none")
    if effort != "none" and LEVELS.search(ask.upstream_model):
        return effort
    return effort != "none"


def _options(ask: Ask) -> Mapping[str, Any] | None:
    sampling = ask.conversation.sampling
    options = {
        "num_ctx": ask.context_length,
        "num_predict": ask.conversation.max_output_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "stop": list(sampling.stop) or None,
        "seed": None if sampling.seed is None else sampling.seed & SEED_BITS,
    }
    return {name: value for name, value in options.items() if value is not None} or None
