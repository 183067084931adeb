"""A conversation as the `messages` of a request."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

from services.chat.conversation import (
    Conversation,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from services.chat.providers.openai.carried import DETAILS, EXTRA, details_of, extra_of
from services.chat.providers.openai.sheets import Sheet


def wire_messages(conversation: Conversation, provider: str, sheet: Sheet) -> list[dict[str, Any]]:
    """Return the turns of a conversation as `provider` wants them."""
    return [wire for message in conversation.messages for wire in _turn(message, provider, sheet)]


def _turn(message: Message, provider: str, sheet: Sheet) -> Iterator[dict[str, Any]]:
    match message.role:
        case "system":
            yield {"role": sheet.system_role, "content": _content(message.parts)}
        case "user":
            yield {"role": "user", "content": _content(message.parts)}
        case "assistant":
            yield _answer(message, provider, sheet)
        case "tool":
            for part in message.parts:
                if isinstance(part, ToolResult):
                    yield {"role": "tool", "tool_call_id": part.tool_call_id, "content": part.content}


def _content(parts: Sequence[Part]) -> str | list[dict[str, Any]]:
    """Return text as text where there is nothing else: not every server takes lists."""
    first = parts[0]
    if len(parts) == 1 and isinstance(first, Text):
        return first.text
    wire: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Text):
            wire.append({"type": "text", "text": part.text})
        elif isinstance(part, Image):
            wire.append({"type": "image_url", "image_url": {"url": _address(part)}})
    return wire


def _address(image: Image) -> str:
    if image.url:
        return image.url
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"


def _answer(message: Message, provider: str, sheet: Sheet) -> dict[str, Any]:
    """Return an assistant's turn. Its texts are one stream there, so they are joined without a gap."""
    text = "".join(part.text for part in message.parts if isinstance(part, Text))
    calls = [_call(part, provider) for part in message.parts if isinstance(part, ToolCall)]
    wire: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        wire["content"] = text or sheet.empty_content
        wire["tool_calls"] = calls
    if sheet.replays_reasoning and (thoughts := thoughts_of(message)):
        wire["reasoning_content"] = thoughts
    details: list[Any] = []
    for part in message.parts:
        if isinstance(part, Text | Reasoning | ToolCall):
            details += details_of(part.signature, provider)
    if details:
        wire[DETAILS] = details
    return wire


def _call(call: ToolCall, provider: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    wire: dict[str, Any] = {"id": call.id, "type": "function", "function": function}
    extra = extra_of(call.signature, provider)
    return wire if extra is None else {**wire, EXTRA: extra}


def thoughts_of(message: Message) -> str:
    """Return what an assistant thought in a turn; empty if it is not known."""
    return "".join(part.text for part in message.parts if isinstance(part, Reasoning))
