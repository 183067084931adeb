"""A conversation as the body of a request.

Written for https://platform.openai.com/docs/api-reference/chat/create; what a service does not know is left
out, see `sheets`.
"""

from __future__ import annotations

from typing import Any, Final

from services.chat.conversation import Conversation, Text, Tool, ToolChoice
from services.chat.providers.dialect import Ask
from services.chat.providers.openai.messages import wire_messages
from services.chat.providers.openai.sheets import SAMPLING, Sheet
from services.chat.providers.openai.strict import fits_strict_mode
from services.chat.providers.openai.thinking import thinking

NO_PARAMETERS: Final = {"type": "object", "properties": {}}
ASK_FOR_JSON: Final = "Answer with one JSON object and nothing else."
"""JSON mode is refused unless the conversation speaks of JSON."""


def encode(ask: Ask, sheet: Sheet) -> dict[str, Any]:
    """Return the body that asks for the next turn, streamed if the service can."""
    conversation = ask.conversation
    body: dict[str, Any] = {
        "model": ask.upstream_model,
        "messages": wire_messages(conversation, ask.provider, sheet),
    }
    _add_tools(body, conversation, sheet)
    _add_format(body, ask, sheet)
    body |= _sampling(ask, sheet)
    if conversation.max_output_tokens is not None:
        body[sheet.max_tokens] = conversation.max_output_tokens
    _merge(body, thinking(ask, sheet.reasoning))
    _merge(body, sheet.extras)
    if sheet.streams_formats or "response_format" not in body:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    else:
        body["stream"] = False
    return body


def _merge(body: dict[str, Any], fields: Any) -> None:
    """Add fields; an object that is there already gains members."""
    for name, value in fields.items():
        there = body.get(name)
        body[name] = {**there, **value} if isinstance(there, dict) else value


def _add_tools(body: dict[str, Any], conversation: Conversation, sheet: Sheet) -> None:
    if not conversation.tools:
        return
    body["tools"] = [_tool(tool) for tool in conversation.tools]
    if conversation.tool_choice != ToolChoice():
        body["tool_choice"] = _choice(conversation.tool_choice)
    if conversation.parallel_tool_calls is not None and "parallel_tool_calls" in sheet.parameters:
        body["parallel_tool_calls"] = conversation.parallel_tool_calls


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = dict(tool.parameters) or NO_PARAMETERS
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice) -> str | dict[str, Any]:
    if choice.tool:
        return {"type": "function", "function": {"name": choice.tool}}
    return choice.mode


def _add_format(body: dict[str, Any], ask: Ask, sheet: Sheet) -> None:
    """Ask for the format as strictly as the model can be held to it; what comes back is checked anyway."""
    wanted = ask.conversation.response_format
    if wanted.kind == "text" or ("tools" in body and not sheet.streams_formats):
        return
    if wanted.kind == "json_schema" and ask.facts.json_schema is not False:
        strict = fits_strict_mode(wanted.schema)
        schema = {"name": wanted.name, "schema": dict(wanted.schema), "strict": strict}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif ask.facts.json is not False:
        body["response_format"] = {"type": "json_object"}
        if not _speaks_of_json(ask.conversation):
            body["messages"].insert(0, {"role": sheet.system_role, "content": ASK_FOR_JSON})


def _speaks_of_json(conversation: Conversation) -> bool:
    texts = (
        part.text for message in conversation.messages for part in message.parts if isinstance(part, Text)
    )
    return any("json" in text.lower() for text in texts)


def _sampling(ask: Ask, sheet: Sheet) -> dict[str, Any]:
    sampling = ask.conversation.sampling
    known = sheet.parameters
    thinks = ask.conversation.effort != "none" or sheet.fixed_without_thinking
    if thinks and sheet.fixed_sampling.fullmatch(ask.upstream_model):
        known -= SAMPLING
    wanted = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
    }
    return {name: value for name, value in wanted.items() if value is not None and name in known}
