"""Whether a complete answer fits the response format that was asked for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from services.chassis.errors import CallError
from services.chat.answer import FinishReason
from services.chat.answering import structured
from services.chat.answering.holding import Holding
from services.chat.conversation import Conversation, ResponseFormat
from services.chat.errors import ContentRejected, InvalidOutput


@dataclass(frozen=True, slots=True)
class Misfit:
    """An answer does not fit.

    Attributes:
        error: What the caller is told of it.
        problem: What the model may be shown to do better; empty where that would not help.
    """

    error: CallError
    problem: str = ""


def _checked(wanted: ResponseFormat, said: str, *, whole: bool) -> tuple[str, str]:
    """Return the text that counts, and what is wrong with it."""
    text = structured.extract(said) if whole else said
    return text, structured.problem(wanted, text)


async def misfit(
    target: str, conversation: Conversation, answer: Holding, reason: FinishReason
) -> Misfit | None:
    """Return what is wrong with an answer; None if nothing is.

    An answer with tool calls is not the last word and has no format yet. Text that fits when a fence around
    it is taken away, loses it.
    """
    wanted = conversation.response_format
    if wanted.kind == "text" or (reason == "tool_calls" and answer.has_tool_calls):
        return None
    if reason == "length":
        message = f"{target}: the answer was cut off before it was complete; allow more max_output_tokens"
        return Misfit(InvalidOutput(message))
    whole = len(answer.text_parts) == 1
    # A caller's schema may be large, and the check may take a second.
    text, problem = await asyncio.to_thread(_checked, wanted, answer.text, whole=whole)
    if not problem:
        if whole:
            answer.say(text)
        return None
    if reason == "content_filter":
        return Misfit(ContentRejected(f"{target}: the provider refuses to answer because of what is said"))
    return Misfit(InvalidOutput(f"{target}: {problem}"), problem)
