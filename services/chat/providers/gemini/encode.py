"""Requests of Google's Gemini API, https://ai.google.dev/api/generate-content.

Schemas go where the API takes JSON Schema as it is (`parametersJsonSchema`, `responseJsonSchema`), not where
it takes a dialect of OpenAPI that lacks references and more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.chat.conversation import Conversation, Effort, Tool
from services.chat.providers.dialect import Ask
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.gemini.turns import contents, instructions

BUDGETS: Final[Mapping[Effort, int]] = {"none": 0, "low": 1024, "medium": 8192, "high": 24576}
"""Tokens of thought by effort; the highest is what all thinking models can do."""
MAX_STOPS: Final = 5
SEED_BITS: Final = 0x7FFF_FFFF
"""The API keeps a seed in 32 bits with a sign."""
NOTHING_TO_TAKE: Final = {"type", "properties", "required", "additionalProperties", "$schema"}


def body(ask: Ask) -> dict[str, Any]:
    """Return the body of a request for an answer; what is not set is not in it.

    Raises:
        Failure: NOT_SUPPORTED: it cannot be asked for this.
    """
    conversation = ask.conversation
    request: dict[str, Any] = {"contents": contents(ask)}
    if system := instructions(conversation.messages):
        request["systemInstruction"] = {"parts": system}
    if conversation.tools:
        request["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in conversation.tools]}]
        if choice := _calling(conversation):
            request["toolConfig"] = {"functionCallingConfig": choice}
    if config := _generation(ask):
        request["generationConfig"] = config
    return request


def _declaration(tool: Tool) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": tool.name}
    if tool.description:
        declaration["description"] = tool.description
    if not _takes_nothing(tool.parameters):
        declaration["parametersJsonSchema"] = tool.parameters
    return declaration


def _takes_nothing(schema: Mapping[str, Any]) -> bool:
    """Return whether a tool has no arguments; some models refuse an object without properties."""
    return (
        not schema.get("properties")
        and not schema.get("additionalProperties")
        and schema.keys() <= NOTHING_TO_TAKE
    )


def _calling(conversation: Conversation) -> dict[str, Any]:
    """Return how free the model is to call tools; nothing where the API's default says it already.

    Raises:
        Failure: NOT_SUPPORTED: one tool at a time.
    """
    choice = conversation.tool_choice
    if choice.mode == "none" and not choice.tool:
        return {"mode": "NONE"}
    if conversation.parallel_tool_calls is False:
        message = "Gemini cannot be told to call one tool at a time; leave parallel_tool_calls out"
        raise Failure(FailureKind.NOT_SUPPORTED, message)
    if choice.tool:
        return {"mode": "ANY", "allowedFunctionNames": [choice.tool]}
    return {"mode": "ANY"} if choice.mode == "required" else {}


def _generation(ask: Ask) -> dict[str, Any]:
    conversation = ask.conversation
    sampling = conversation.sampling
    if len(sampling.stop) > MAX_STOPS:
        raise Failure(FailureKind.NOT_SUPPORTED, f"Gemini takes {MAX_STOPS} stop texts at most")
    fields = {
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "topK": sampling.top_k,
        "frequencyPenalty": sampling.frequency_penalty,
        "presencePenalty": sampling.presence_penalty,
        "stopSequences": list(sampling.stop) or None,
        "seed": None if sampling.seed is None else sampling.seed & SEED_BITS,
        "maxOutputTokens": conversation.max_output_tokens,
        "thinkingConfig": _thinking(ask),
    }
    return {name: value for name, value in fields.items() if value is not None} | _format(ask)


def _format(ask: Ask) -> dict[str, Any]:
    """Return what holds the answer to a format, as far as the model can be held to it."""
    wanted = ask.conversation.response_format
    if wanted.kind == "text" or ask.facts.json is False:
        return {}
    fields: dict[str, Any] = {"responseMimeType": "application/json"}
    if wanted.kind == "json_schema" and ask.facts.json_schema is not False:
        fields["responseJsonSchema"] = wanted.schema
    return fields


def _thinking(ask: Ask) -> dict[str, Any] | None:
    """Return how much to think; a number of tokens goes before an effort, unless that is not to think.

    Raises:
        Failure: NOT_SUPPORTED: the model is known not to think, and should.
    """
    effort, tokens = ask.conversation.effort, ask.conversation.reasoning_tokens
    if effort is None and tokens is None:
        return None
    if ask.facts.reasoning is False:
        if effort == "none":
            return None
        raise Failure(FailureKind.NOT_SUPPORTED, "the model does not think; leave the effort out, or none")
    if effort == "none":
        return {"thinkingBudget": BUDGETS[effort]}
    # Thoughts are kept back unless they are asked for.
    return {
        "includeThoughts": True,
        "thinkingBudget": BUDGETS[effort or "medium"] if tokens is None else tokens,
    }
