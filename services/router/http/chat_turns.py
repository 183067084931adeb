"""Turns of a conversation: from OpenAI's JSON to the contract.

What other programs have added to the messages that they send back (`refusal`, `annotations`, `name`) is let
pass: clients append whole answers to the conversation.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from inglenook.chat.v1 import Image, Message, Part, Reasoning, Role, Signature, ToolCall, ToolResult

from services.router.http.fields import Fields

ROLES: Final[Mapping[str, Role.ValueType]] = {
    "system": Role.ROLE_SYSTEM,
    "developer": Role.ROLE_SYSTEM,
    "user": Role.ROLE_USER,
    "assistant": Role.ROLE_ASSISTANT,
    "tool": Role.ROLE_TOOL,
}
EXTRA: Final = "extra_content"
OURS: Final = "inglenook"
SIGNATURE: Final = "signature"
SIGNED: Final = {"reasoning": 0, "text": 1}
"""Which part of a message its signature belongs to; the first unless it says otherwise."""
DATA_URL: Final = "data:"


def read_messages(body: Fields) -> list[Message]:
    """Return the turns; each raises InvalidRequest where something is wrong."""
    return [_message(message) for message in body.objects("messages")]


def _message(message: Fields) -> Message:
    role = message.choice("role", ROLES)
    if role is None:
        message.refuse("role", "must be set")
    if role == Role.ROLE_TOOL:
        told = "".join(_texts(message))
        result = ToolResult(tool_call_id=message.required_text("tool_call_id"), content=told)
        return Message(role=role, parts=[Part(tool_result=result)])
    if role == Role.ROLE_ASSISTANT:
        return Message(role=role, parts=_said(message))
    if role == Role.ROLE_SYSTEM:
        return Message(role=role, parts=[Part(text=text) for text in _texts(message)])
    return Message(role=role, parts=_content(message))


def _texts(message: Fields) -> list[str]:
    """Return content that can be nothing but text."""
    if not message.has("content"):
        message.refuse("content", "must be set")
    if isinstance(message.take("content"), str):
        return [message.required_text("content")]
    return [_text(part) for part in message.objects("content")]


def _text(part: Fields) -> str:
    kind = part.required_text("type")
    if kind == "refusal":
        return part.required_text("refusal")
    if kind != "text":
        part.refuse("type", "must be text")
    return part.required_text("text")


def _content(message: Fields) -> Iterable[Part]:
    if not message.has("content"):
        message.refuse("content", "must be set")
    if isinstance(message.take("content"), str):
        return [Part(text=message.required_text("content"))]
    return [_part(part) for part in message.objects("content")]


def _part(part: Fields) -> Part:
    kind = part.required_text("type")
    if kind == "text":
        return Part(text=part.required_text("text"))
    if kind != "image_url":
        part.refuse("type", "must be text or image_url")
    if isinstance(part.take("image_url"), str):
        return Part(image=_image(part, "image_url"))
    return Part(image=_image(part.required_inner("image_url"), "url"))


def _image(image: Fields, name: str) -> Image:
    """Return an image by its address, which some programs write without an object around it."""
    url = image.required_text(name)
    if not url.startswith(DATA_URL):
        return Image(url=url)
    head, comma, data = url.removeprefix(DATA_URL).partition(",")
    kind, *attributes = head.split(";")
    if not comma or "base64" not in attributes:
        image.refuse(name, "must be data:<media type>;base64,<data>, or begin with http:// or https://")
    return Image(data=_decoded(image, name, data), media_type=kind)


def _said(message: Fields) -> Iterator[Part]:
    """Yield what an assistant said, in the order in which models say it: thoughts, text, tool calls."""
    signature, signed = _signature(message)
    thoughts = message.text("reasoning_content")
    if thoughts or (signature is not None and signed == SIGNED["reasoning"]):
        yield Part(
            reasoning=Reasoning(text=thoughts or ""),
            signature=signature if signed == SIGNED["reasoning"] else None,
        )
    texts = [text for text in _texts(message) if text] if message.has("content") else []
    of_text = signature if signed == SIGNED["text"] else None
    if of_text is not None and not texts:
        texts = [""]
    for index, text in enumerate(texts):
        last = index == len(texts) - 1
        yield Part(text=text, signature=of_text if last else None)
    for call in message.objects("tool_calls"):
        if call.text("type") not in {None, "function"}:
            call.refuse("type", "must be function")
        function = call.required_inner("function")
        called = ToolCall(
            id=call.required_text("id"),
            name=function.required_text("name"),
            arguments=function.text("arguments") or "{}",
        )
        yield Part(tool_call=called, signature=_signature(call)[0])


def _signature(holder: Fields) -> tuple[Signature | None, int]:
    """Return the signature that came with a message or a tool call, and what it belongs to."""
    extra = holder.inner(EXTRA)
    ours = extra.inner(OURS) if extra is not None else None
    told = ours.inner(SIGNATURE) if ours is not None else None
    if told is None:
        return None, SIGNED["reasoning"]
    data = _decoded(told, "data", told.required_text("data"))
    signature = Signature(provider=told.required_text("provider"), data=data)
    return signature, told.choice("part", SIGNED) or SIGNED["reasoning"]


def _decoded(holder: Fields, name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        holder.refuse(name, "must have valid base64")
