"""Requests of Anthropic's Messages API, https://platform.claude.com/docs/en/api/messages.

The API cannot express a seed or penalties for repetition; they are left out, as the contract has them as far
as a provider can. While a model thinks it draws tokens its own way: temperature and `top_k` are then left out
as well, and `top_p` unless it is in the range that the API takes. Models from 4.7 on never take any of the
three; asking them for one while they do not think is an error here, as it would be there. Nothing is ever put
into the model's mouth: newer models refuse a prefilled answer.
"""

from __future__ import annotations

from typing import Any, Final

from services.chat.conversation import Conversation, Tool
from services.chat.providers.anthropic.schemas import compilable
from services.chat.providers.anthropic.thinking import Thinking, can_be_sampled, thinking
from services.chat.providers.anthropic.turns import instructions, turns
from services.chat.providers.dialect import Ask
from services.chat.providers.failure import Failure, FailureKind

MAX_TEMPERATURE: Final = 1.0
LEAST_TOP_P_THINKING: Final = 0.95


def body(ask: Ask) -> dict[str, Any]:
    """Return the body of the request that asks for a streamed answer.

    Raises:
        Failure: NOT_SUPPORTED: it cannot be asked for this.
    """
    conversation = ask.conversation
    plan = thinking(conversation, ask.upstream_model)
    request: dict[str, Any] = {
        "model": ask.upstream_model,
        "max_tokens": plan.max_tokens,
        "stream": True,
    }
    if system := instructions(conversation.messages):
        request["system"] = system
    request["messages"] = turns(ask)
    if conversation.tools:
        request["tools"] = [_tool(tool) for tool in conversation.tools]
        if choice := _tool_choice(conversation, plan):
            request["tool_choice"] = choice
    if plan.config is not None:
        request["thinking"] = plan.config
    if config := _output_config(ask, plan):
        request["output_config"] = config
    return request | _sampling(ask, plan)


def _tool(tool: Tool) -> dict[str, Any]:
    description = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **description, "input_schema": tool.parameters}


def _tool_choice(conversation: Conversation, plan: Thinking) -> dict[str, Any]:
    """Return how free the model is; nothing where the API's default says it already."""
    choice = conversation.tool_choice
    if choice.mode == "none":
        return {"type": "none"}
    one_at_a_time = {"disable_parallel_tool_use": True} if conversation.parallel_tool_calls is False else {}
    if choice.mode == "auto":
        return {"type": "auto", **one_at_a_time} if one_at_a_time else {}
    if plan.is_on:
        message = "this provider's models cannot both think and be made to call a tool"
        raise Failure(FailureKind.NOT_SUPPORTED, message)
    which = {"type": "tool", "name": choice.tool} if choice.tool else {"type": "any"}
    return which | one_at_a_time


def _output_config(ask: Ask, plan: Thinking) -> dict[str, Any]:
    """Return what holds the answer to a schema. For JSON without a schema there is nothing of the kind."""
    config: dict[str, Any] = {"effort": plan.effort} if plan.effort else {}
    wanted = ask.conversation.response_format
    if wanted.kind == "json_schema" and ask.facts.json_schema is not False:
        config["format"] = {"type": "json_schema", "schema": compilable(wanted.schema)}
    return config


def _sampling(ask: Ask, plan: Thinking) -> dict[str, Any]:
    sampling = ask.conversation.sampling
    if sampling.temperature is not None and sampling.temperature > MAX_TEMPERATURE:
        message = f"temperature must be {MAX_TEMPERATURE:g} or less for this provider"
        raise Failure(FailureKind.NOT_SUPPORTED, message)
    fields: dict[str, Any] = {"stop_sequences": list(sampling.stop)} if sampling.stop else {}
    top_p = sampling.top_p
    if plan.is_on:
        drawing = {"top_p": top_p if top_p is not None and top_p >= LEAST_TOP_P_THINKING else None}
    else:
        drawing = {"temperature": sampling.temperature, "top_p": top_p, "top_k": sampling.top_k}
    drawing = {name: value for name, value in drawing.items() if value is not None}
    if can_be_sampled(ask.upstream_model):
        return fields | drawing
    if drawing and not plan.is_on:
        message = f"this model cannot be told how to draw tokens; leave out {' and '.join(drawing)}"
        raise Failure(FailureKind.NOT_SUPPORTED, message)
    return fields
