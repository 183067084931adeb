"""Requests of Chat Completions: https://platform.openai.com/docs/api-reference/chat/create."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from inglenook.chat.v1 import (
    ChatRequest,
    CompleteRequest,
    JsonFormat,
    JsonSchemaFormat,
    ReasoningOptions,
    ResponseFormat,
    TextFormat,
    Tool,
    ToolChoice,
)

from services.chassis.errors import CallError, Reason
from services.router.http.chat_turns import read_messages
from services.router.http.fields import MAX_INT64, Fields

NUMBERS: Final = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
IGNORED: Final = frozenset(
    {"user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier", "store"}
)
"""For OpenAI's own bookkeeping; nothing is stored here, whatever `store` says."""
READ: Final = frozenset(
    {
        "model", "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "top_k",
        "stop", "seed", "max_tokens", "max_completion_tokens", "reasoning_effort", "metadata", "stream",
        "stream_options", *NUMBERS,
    }
)  # fmt: skip
HARMLESS: Final[Mapping[str, tuple[Any, ...]]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "functions": (),
    "function_call": (),
    "web_search_options": (),
    "verbosity": ("medium",),
}
"""Parameters that are not supported, and their values that ask for nothing."""
MODES: Final[Mapping[str, ToolChoice.Mode.ValueType]] = {
    "auto": ToolChoice.MODE_AUTO,
    "none": ToolChoice.MODE_NONE,
    "required": ToolChoice.MODE_REQUIRED,
}
EFFORTS: Final[Mapping[str, ReasoningOptions.Effort.ValueType]] = {
    "none": ReasoningOptions.EFFORT_NONE,
    "minimal": ReasoningOptions.EFFORT_LOW,
    "low": ReasoningOptions.EFFORT_LOW,
    "medium": ReasoningOptions.EFFORT_MEDIUM,
    "high": ReasoningOptions.EFFORT_HIGH,
    "xhigh": ReasoningOptions.EFFORT_HIGH,
}


class NotSupported(CallError):
    """OpenAI has this parameter, and this router nothing that it could become."""

    reason = Reason.NOT_SUPPORTED

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is not supported", violations=[(path, "is not supported")])


@dataclass(frozen=True, slots=True)
class ChatAsk:
    """What a request asks for.

    Attributes:
        request: For Chat if it is to be streamed, else for Complete.
        with_usage: The stream ends with the tokens used.
    """

    request: ChatRequest | CompleteRequest
    with_usage: bool


def read_chat(content: Mapping[str, Any]) -> ChatAsk:
    """Return what a body asks for.

    Raises:
        InvalidRequest: Something in it is wrong; the first such thing is told. What needs no JSON to be seen
            is checked by the chat service.
        NotSupported: Something in it asks for what is not to be had here.
    """
    body = Fields(content)
    _check_supported(body)
    fields: dict[str, Any] = {name: body.number(name) for name in NUMBERS if body.has(name)}
    fields |= {
        "model": body.text("model") or "",
        "messages": read_messages(body),
        "tools": [_tool(tool) for tool in body.objects("tools")],
        "tool_choice": _tool_choice(body),
        "parallel_tool_calls": body.flag("parallel_tool_calls"),
        "response_format": _response_format(body),
        "reasoning": _reasoning(body),
        "top_k": body.count("top_k"),
        "stop": body.texts("stop"),
        "seed": body.count("seed", MAX_INT64),
        "max_output_tokens": _max_tokens(body),
        "metadata": _metadata(body),
    }
    options = body.inner("stream_options")
    with_usage = bool(options and options.flag("include_usage"))
    if body.flag("stream"):
        return ChatAsk(ChatRequest(**fields), with_usage)
    return ChatAsk(CompleteRequest(**fields), with_usage=False)


def _check_supported(body: Fields) -> None:
    for name, harmless in HARMLESS.items():
        if body.has(name) and body.take(name) not in harmless:
            raise NotSupported(body.path(name))
    body.check_known(READ | IGNORED | HARMLESS.keys())


def _tool(tool: Fields) -> Tool:
    if tool.required_text("type") != "function":
        tool.refuse("type", "must be function")
    function = tool.required_inner("function")
    return Tool(
        name=function.required_text("name"),
        description=function.text("description") or "",
        parameters_schema=function.json("parameters"),
    )


def _tool_choice(body: Fields) -> ToolChoice | None:
    if not body.has("tool_choice"):
        return None
    if isinstance(body.take("tool_choice"), str):
        mode = MODES.get(body.required_text("tool_choice"))
        if mode is None:
            body.refuse("tool_choice", f"must be one of {', '.join(MODES)}, or a function")
        return ToolChoice(mode=mode)
    choice = body.required_inner("tool_choice")
    if choice.required_text("type") != "function":
        choice.refuse("type", "must be function")
    return ToolChoice(tool=choice.required_inner("function").required_text("name"))


def _response_format(body: Fields) -> ResponseFormat | None:
    wanted = body.inner("response_format")
    if wanted is None:
        return None
    kind = wanted.required_text("type")
    if kind == "text":
        return ResponseFormat(text=TextFormat())
    if kind == "json_object":
        return ResponseFormat(json=JsonFormat())
    if kind != "json_schema":
        wanted.refuse("type", "must be text, json_object or json_schema")
    inner = wanted.required_inner("json_schema")
    schema = JsonSchemaFormat(name=inner.text("name") or "", schema=inner.json("schema"))
    return ResponseFormat(json_schema=schema)


def _reasoning(body: Fields) -> ReasoningOptions | None:
    effort = body.text("reasoning_effort")
    if effort is None:
        return None
    if effort not in EFFORTS:
        body.refuse("reasoning_effort", f"must be one of {', '.join(EFFORTS)}")
    return ReasoningOptions(effort=EFFORTS[effort])


def _max_tokens(body: Fields) -> int | None:
    most = body.count("max_completion_tokens")
    return body.count("max_tokens") if most is None else most


def _metadata(body: Fields) -> dict[str, str]:
    labels = body.inner("metadata")
    given = body.take("metadata") or {}
    return {label: labels.required_text(label) for label in given} if labels is not None else {}
