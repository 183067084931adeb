"""The conversation as Gemini takes it: instructions apart, and turns of user and model only.

Models from Gemini 3 on refuse a conversation in which they called a tool unless the first call of the turn is
signed. The signature is theirs; https://ai.google.dev/gemini-api/docs/thought-signatures names a word that
stands for it where another model made the call.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.chat.conversation import Image, Message, Part, Reasoning, Signature, Text, ToolCall, ToolResult
from services.chat.providers.dialect import Ask
from services.chat.providers.failure import Failure, FailureKind

WireParts = list[dict[str, Any]]

SIGNATURE: Final = "thoughtSignature"
UNSIGNED: Final = "skip_thought_signature_validator"
"""Stands for the signature of a call that has none."""
WANTS_SIGNATURES: Final = re.compile(r"gemini-([3-9]|\d{2})(?!\d)")


def instructions(messages: Sequence[Message]) -> WireParts:
    """Return the texts of all system turns, wherever they stand: the API has one place for them."""
    return [
        {"text": part.text}
        for message in messages
        if message.role == "system"
        for part in message.parts
        if isinstance(part, Text)
    ]


def contents(ask: Ask) -> list[dict[str, Any]]:
    """Return the turns of user and model, those of one role in a row as one. Tool results are the user's.

    Raises:
        Failure: NOT_SUPPORTED: there is no turn but those of the system.
    """
    merged: list[dict[str, Any]] = []
    for message in ask.conversation.messages:
        if message.role == "system":
            continue
        role = "model" if message.role == "assistant" else "user"
        parts = [wire for part in message.parts if (wire := _part(part, ask.provider)) is not None]
        if merged and merged[-1]["role"] == role:
            merged[-1]["parts"] += parts
        elif parts:
            merged.append({"role": role, "parts": parts})
    if not merged:
        raise Failure(FailureKind.NOT_SUPPORTED, "the conversation needs a turn of the user")
    if WANTS_SIGNATURES.search(ask.upstream_model):
        for turn in merged:
            _sign_first_call(turn["parts"])
    return merged


def _sign_first_call(parts: WireParts) -> None:
    for part in parts:
        if "functionCall" in part:
            part.setdefault(SIGNATURE, UNSIGNED)
            return


def _part(part: Part, provider: str) -> dict[str, Any] | None:
    """Return a part as the API has it; None if it would mean nothing to the API."""
    match part:
        case Text(text, signature):
            signed = _signed(signature, provider)
            return {"text": text, **signed} if text or signed else None
        case Image():
            return _image(part)
        case Reasoning(text, signature):
            return _thought(text, _signed(signature, provider))
        case ToolCall(identity, name, arguments, signature):
            call = {"id": identity, "name": name, "args": json.loads(arguments)}
            return {"functionCall": call, **_signed(signature, provider)}
        case ToolResult(identity, name, content, is_error):
            response = _response(content, is_error=is_error)
            return {"functionResponse": {"id": identity, "name": name, "response": response}}


def _signed(signature: Signature | None, provider: str) -> dict[str, str]:
    """Return the signature as a field; nothing if another provider made it, or bytes that nobody made."""
    if signature is None or signature.provider != provider or not signature.data.isascii():
        return {}
    return {SIGNATURE: signature.data.decode("ascii")}


def _thought(text: str, signed: Mapping[str, str]) -> dict[str, Any] | None:
    """Return a thought that the model has to see again. Others were summaries for people, and cost tokens."""
    if not signed:
        return None
    return {"text": text, "thought": True, **signed} if text else {"text": "", **signed}


def _image(image: Image) -> dict[str, Any]:
    if image.url:
        media_type = {"mimeType": image.media_type} if image.media_type else {}
        return {"fileData": {**media_type, "fileUri": image.url}}
    data = base64.b64encode(image.data).decode("ascii")
    return {"inlineData": {"mimeType": image.media_type, "data": data}}


def _response(content: str, *, is_error: bool) -> Mapping[str, Any]:
    """Return what came of a tool call as the object that the API wants, under the names that it knows."""
    if is_error:
        return {"error": content}
    try:
        value = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"output": content}


def _refuse(constant: str) -> None:
    """Refuse what Python takes for a number and JSON does not."""
    raise ValueError(constant)
