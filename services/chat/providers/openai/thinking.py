"""How each service is told how hard to think."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from services.chat.conversation import Conversation, Message, ToolCall
from services.chat.providers.dialect import Ask
from services.chat.providers.openai.messages import thoughts_of
from services.chat.providers.openai.sheets import ReasoningStyle

KIMI_WITH_SWITCH: Final = re.compile(r"kimi-k2\.[56].*")
"""Those that think unless told not to. Other Kimis always think or never do, and refuse the switch."""


def thinking(ask: Ask, style: ReasoningStyle) -> dict[str, Any]:
    """Return the fields that say how hard to think; none where nothing is asked or the model cannot."""
    return {} if ask.facts.reasoning is False else STYLES[style](ask)


def _effort(ask: Ask) -> dict[str, Any]:
    effort = ask.conversation.effort
    return {"reasoning_effort": effort} if effort else {}


def _openrouter(ask: Ask) -> dict[str, Any]:
    """It takes an effort or a number of tokens, not both; who asks for none wants none."""
    effort, tokens = ask.conversation.effort, ask.conversation.reasoning_tokens
    if tokens is not None and effort != "none":
        return {"reasoning": {"max_tokens": tokens}}
    return {"reasoning": {"effort": effort}} if effort else {}


def _groq(ask: Ask) -> dict[str, Any]:
    """Qwen can only be switched, and puts thoughts into the text unless asked not to."""
    if not ask.upstream_model.startswith("qwen/"):
        return _effort(ask)
    effort = ask.conversation.effort
    format_ = {"reasoning_format": "parsed"}
    return {**format_, "reasoning_effort": "none" if effort == "none" else "default"} if effort else format_


def _moonshot(ask: Ask) -> dict[str, Any]:
    """While it thinks it cannot be made to call a tool, and wants all thoughts before earlier calls."""
    if not KIMI_WITH_SWITCH.fullmatch(ask.upstream_model):
        return {}
    effort = ask.conversation.effort
    if effort == "none" or _must_call(ask.conversation) or _lacks_thoughts(ask.conversation):
        return {"thinking": {"type": "disabled"}}
    return {"thinking": {"type": "enabled"}} if effort else {}


def _must_call(conversation: Conversation) -> bool:
    choice = conversation.tool_choice
    return bool(conversation.tools) and (choice.mode == "required" or bool(choice.tool))


def _lacks_thoughts(conversation: Conversation) -> bool:
    """Return whether tools were called without thinking, by another model for example."""

    def lacks(message: Message) -> bool:
        return any(isinstance(part, ToolCall) for part in message.parts) and not thoughts_of(message)

    return any(map(lacks, conversation.messages))


def _venice(ask: Ask) -> dict[str, Any]:
    if ask.conversation.effort == "none":
        return {"venice_parameters": {"disable_thinking": True}}
    return _effort(ask)


def _together(ask: Ask) -> dict[str, Any]:
    """Most of its models can only be switched."""
    effort = ask.conversation.effort
    if effort and effort != "none" and "gpt-oss" in ask.upstream_model:
        return _effort(ask)
    return {"reasoning": {"enabled": effort != "none"}} if effort else {}


STYLES: Final[Mapping[ReasoningStyle, Callable[[Ask], dict[str, Any]]]] = {
    "effort": _effort,
    "openrouter": _openrouter,
    "groq": _groq,
    "moonshot": _moonshot,
    "venice": _venice,
    "together": _together,
}
