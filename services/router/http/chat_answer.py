"""Answers of Chat Completions, whole: https://platform.openai.com/docs/api-reference/chat/object.

What OpenAI has no name for is where clients find it elsewhere: thoughts in `reasoning_content`, signatures in
`extra_content.inglenook`.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any, Final

from inglenook.chat.v1 import ChatResponse, Finish, FinishReason, Message, Signature
from inglenook.common.v1 import Usage

from services.router.http.chat_turns import EXTRA, OURS, SIGNATURE

REASONS: Final[Mapping[int, str]] = {
    FinishReason.FINISH_REASON_STOP: "stop",
    FinishReason.FINISH_REASON_LENGTH: "length",
    FinishReason.FINISH_REASON_TOOL_CALLS: "tool_calls",
    FinishReason.FINISH_REASON_CONTENT_FILTER: "content_filter",
}
NANO: Final = 1_000_000_000


def completion(response: ChatResponse) -> dict[str, Any]:
    """Return a whole answer."""
    choice = {
        "index": 0,
        "message": _message(response.message),
        "logprobs": None,
        "finish_reason": finish_reason(response.finish),
    }
    answer = {
        "id": response.response_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": response.model,
        "choices": [choice],
    }
    if (used := usage(response.finish.usage)) is not None:
        answer["usage"] = used
    return answer


def who_answered(provider: str, upstream_model: str) -> dict[str, str]:
    """Return the headers that say who answered; names that no header can carry are left out."""
    named = {"x-inglenook-provider": provider, "x-inglenook-model": upstream_model}
    return {name: value for name, value in named.items() if value.isascii() and value.isprintable()}


def what_it_took(finish: Finish) -> dict[str, str]:
    """Return the headers that say what an answer cost, in US dollars if that is known, and if it was kept."""
    cost = {"x-inglenook-cost": dollars(finish)} if finish.HasField("cost") else {}
    return cost | ({"x-inglenook-cached": "true"} if finish.cached else {})


def dollars(finish: Finish) -> str:
    """Return what an answer cost, exactly, as in `0.00123`."""
    whole, rest = divmod(finish.cost.nano_usd, NANO)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")


def finish_reason(finish: Finish) -> str:
    """Return why an answer ended."""
    return REASONS.get(finish.reason, "stop")


def usage(used: Usage) -> dict[str, Any] | None:
    """Return tokens used; None where the provider does not say all that OpenAI's clients expect."""
    if not (used.HasField("input_tokens") and used.HasField("output_tokens")):
        return None
    told: dict[str, Any] = {
        "prompt_tokens": used.input_tokens,
        "completion_tokens": used.output_tokens,
        "total_tokens": used.input_tokens + used.output_tokens,
    }
    if used.HasField("cached_input_tokens"):
        told["prompt_tokens_details"] = {"cached_tokens": used.cached_input_tokens}
    if used.HasField("reasoning_tokens"):
        told["completion_tokens_details"] = {"reasoning_tokens": used.reasoning_tokens}
    return told


def extra(signature: Signature, part: str = "") -> dict[str, Any]:
    """Return the member that carries a signature; `part` says what of a message it belongs to."""
    told = {"provider": signature.provider, "data": base64.b64encode(signature.data).decode()}
    return {EXTRA: {OURS: {SIGNATURE: {**told, "part": part} if part else told}}}


def _message(message: Message) -> dict[str, Any]:
    texts: dict[str, list[str]] = {"text": [], "reasoning": []}
    calls: list[dict[str, Any]] = []
    told: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    for part in message.parts:
        kind = part.WhichOneof("kind")
        if kind == "tool_call":
            function = {"name": part.tool_call.name, "arguments": part.tool_call.arguments}
            call = {"id": part.tool_call.id, "type": "function", "function": function}
            calls.append(call | extra(part.signature) if part.HasField("signature") else call)
            continue
        place = "reasoning" if kind == "reasoning" else "text"
        texts[place].append(part.reasoning.text if kind == "reasoning" else part.text)
        if part.HasField("signature"):
            told |= extra(part.signature, place)
    if texts["text"] or not calls:
        told["content"] = "".join(texts["text"])
    if any(texts["reasoning"]):
        told["reasoning_content"] = "".join(texts["reasoning"])
    if calls:
        told["tool_calls"] = calls
    return told
