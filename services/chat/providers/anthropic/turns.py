"""The conversation as Anthropic's API takes it: instructions apart, and turns of user and assistant only."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from services.chat.conversation import Image, Message, Part, Reasoning, Text, ToolCall, ToolResult
from services.chat.providers.anthropic import signatures
from services.chat.providers.dialect import Ask
from services.chat.providers.failure import Failure, FailureKind

Block = Mapping[str, Any]

MEDIA_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
"""What the API takes as images."""
PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Ids of tool calls that the API takes; those that other providers made may be different."""


def instructions(messages: tuple[Message, ...]) -> str:
    """Return the texts of all system turns, wherever they stand: the API has one place for them."""
    return "\n\n".join(
        part.text
        for message in messages
        if message.role == "system"
        for part in message.parts
        if isinstance(part, Text)
    )


def turns(ask: Ask) -> list[dict[str, Any]]:
    """Return the turns of user and assistant, those of one role in a row as one.

    Tool results are the user's, and come first in their turn: the API looks for them there. Thoughts that
    another provider signed, or nobody, are left out.

    Raises:
        Failure: NOT_SUPPORTED: an image of a kind that the API does not know; or the last turn is the
            assistant's, which the API would not answer but continue.
    """
    merged: list[dict[str, Any]] = []
    for message in ask.conversation.messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [block for part in message.parts if (block := _block(part, role, ask.provider)) is not None]
        if merged and merged[-1]["role"] == role:
            merged[-1]["content"] += blocks
        elif blocks:
            merged.append({"role": role, "content": blocks})
    for turn in merged:
        if turn["role"] == "user":
            turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    if not merged or merged[-1]["role"] == "assistant":
        problem = "the conversation has to end with a turn of the user or of a tool"
        raise Failure(FailureKind.NOT_SUPPORTED, problem)
    return merged


def _block(part: Part, role: str, provider: str) -> Block | None:
    """Return a part as a block; None if the API could not take it and loses nothing by it."""
    match part:
        case Text(text):
            # Models write blank texts around tool calls, and the API refuses to read them again.
            blank = role == "assistant" and not text.strip()
            return None if blank else {"type": "text", "text": text}
        case Image():
            return {"type": "image", "source": _source(part)}
        case Reasoning():
            return signatures.block(part, provider)
        case ToolCall(identity, name, arguments):
            return {"type": "tool_use", "id": _id(identity), "name": name, "input": _object(arguments)}
        case ToolResult(identity, _, content, is_error):
            return {
                "type": "tool_result",
                "tool_use_id": _id(identity),
                **({"content": content} if content else {}),
                **({"is_error": True} if is_error else {}),
            }


def _source(image: Image) -> Block:
    if image.url:
        return {"type": "url", "url": image.url}
    if image.media_type not in MEDIA_TYPES:
        message = f"images must be one of {', '.join(MEDIA_TYPES)} for this provider"
        raise Failure(FailureKind.NOT_SUPPORTED, message)
    data = base64.b64encode(image.data).decode()
    return {"type": "base64", "media_type": image.media_type, "data": data}


def _id(identity: str) -> str:
    """Return an id that the API takes, always the same for the same id."""
    if PLAIN_ID.fullmatch(identity):
        return identity
    return "call_" + hashlib.sha256(identity.encode()).hexdigest()[:32]


def _object(arguments: str) -> dict[str, Any]:
    try:
        value = json.loads(arguments)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        message = "the arguments of a tool call in the conversation are not a JSON object"
        raise Failure(FailureKind.REJECTED, message)
    return value
