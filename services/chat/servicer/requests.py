"""Requests: from the wire to a conversation, or to everything that is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from inglenook.chat.v1 import ChatRequest, CompleteRequest, ReasoningOptions
from inglenook.chat.v1 import Tool as WireTool
from inglenook.chat.v1 import ToolChoice as WireToolChoice

from services.chat.answering.structured import schema_problem
from services.chat.conversation import (
    Conversation,
    Effort,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)
from services.chat.servicer.turns import TurnReader
from services.chat.servicer.violations import Violations

Request: TypeAlias = ChatRequest | CompleteRequest

MAX_STOPS: Final = 16
MAX_METADATA: Final = 16
MAX_LABEL_CHARACTERS: Final = 64
MAX_VALUE_CHARACTERS: Final = 512
MAX_TEMPERATURE: Final = 2.0
MAX_PENALTY: Final = 2.0
SMALLEST_TOP_P: Final = 1e-30
DEFAULT_SCHEMA_NAME: Final = "response"
KEPT_SCHEMAS: Final = 2048
KEPT_CHARACTERS: Final = 8192
"""Of schemas that are no longer than that, so many are remembered."""
WITHOUT_ARGUMENTS: Final = {"type": "object", "properties": {}}

EFFORTS: Final[Mapping[int, Effort | None]] = {
    ReasoningOptions.EFFORT_UNSPECIFIED: None,
    ReasoningOptions.EFFORT_NONE: "none",
    ReasoningOptions.EFFORT_LOW: "low",
    ReasoningOptions.EFFORT_MEDIUM: "medium",
    ReasoningOptions.EFFORT_HIGH: "high",
}
MODES: Final[Mapping[int, ToolChoice]] = {
    WireToolChoice.MODE_UNSPECIFIED: ToolChoice("auto"),
    WireToolChoice.MODE_AUTO: ToolChoice("auto"),
    WireToolChoice.MODE_NONE: ToolChoice("none"),
    WireToolChoice.MODE_REQUIRED: ToolChoice("required"),
}


def read_conversation(request: Request) -> Conversation:
    """Return what a request asks for.

    Raises:
        InvalidRequest: Fields are missing or wrong; all of them are named.
    """
    violations = Violations()
    tools = tuple(_tool(f"tools[{index}]", tool, violations) for index, tool in enumerate(request.tools))
    if len({tool.name for tool in tools}) != len(tools):
        violations.add("tools", "must not have two tools of one name")
    effort, reasoning_tokens = _reasoning(request, violations)
    conversation = Conversation(
        messages=TurnReader(violations).read(request.messages),
        tools=tools,
        tool_choice=_tool_choice(request, violations),
        parallel_tool_calls=request.parallel_tool_calls if request.HasField("parallel_tool_calls") else None,
        response_format=_response_format(request, violations),
        effort=effort,
        reasoning_tokens=reasoning_tokens,
        sampling=_sampling(request, violations),
        max_output_tokens=_count(request, "max_output_tokens", violations),
    )
    _check_metadata(request, violations)
    violations.raise_any()
    return conversation


def _tool(path: str, tool: WireTool, violations: Violations) -> Tool:
    violations.check_name(f"{path}.name", tool.name)
    parameters = WITHOUT_ARGUMENTS
    if tool.parameters_schema.strip():
        parameters = violations.json_object(f"{path}.parameters_schema", tool.parameters_schema)
        if parameters and (problem := _problem(tool.parameters_schema, parameters)):
            violations.add(f"{path}.parameters_schema", problem)
    return Tool(tool.name, tool.description, parameters or WITHOUT_ARGUMENTS)


def _problem(text: str, schema: Mapping[str, Any]) -> str:
    """Return what is wrong with a schema. The same ones come with every turn, and checking one takes 2 ms."""
    return _known_problem(text) if len(text) <= KEPT_CHARACTERS else schema_problem(schema)


@lru_cache(KEPT_SCHEMAS)
def _known_problem(text: str) -> str:
    return schema_problem(json.loads(text))


def _tool_choice(request: Request, violations: Violations) -> ToolChoice:
    choice = request.tool_choice
    violations.check_known("tool_choice.mode", choice.mode, MODES)
    if choice.tool:
        if choice.tool not in {tool.name for tool in request.tools}:
            violations.add("tool_choice.tool", "must be one of the tools")
        return ToolChoice("required", choice.tool)
    if choice.mode == WireToolChoice.MODE_REQUIRED and not request.tools:
        violations.add("tool_choice.mode", "requires a tool call, but there are no tools")
    return MODES.get(choice.mode, ToolChoice())


def _response_format(request: Request, violations: Violations) -> ResponseFormat:
    match request.response_format.WhichOneof("format"):
        case "json":
            return ResponseFormat("json")
        case "json_schema":
            wanted, path = request.response_format.json_schema, "response_format.json_schema"
            name = wanted.name or DEFAULT_SCHEMA_NAME
            violations.check_name(f"{path}.name", name)
            schema = violations.json_object(f"{path}.schema", wanted.schema)
            if schema and (problem := _problem(wanted.schema, schema)):
                violations.add(f"{path}.schema", problem)
            return ResponseFormat("json_schema", name, schema)
        case _:
            return ResponseFormat()


def _reasoning(request: Request, violations: Violations) -> tuple[Effort | None, int | None]:
    options = request.reasoning
    violations.check_known("reasoning.effort", options.effort, EFFORTS)
    tokens = None
    if options.HasField("max_tokens"):
        tokens = violations.at_least("reasoning.max_tokens", options.max_tokens)
    return EFFORTS.get(options.effort), tokens


def _sampling(request: Request, violations: Violations) -> Sampling:
    def number(field: str, least: float, most: float) -> float | None:
        if not request.HasField(field):  # type: ignore[arg-type]  # the stubs know single names only
            return None
        return violations.number(field, getattr(request, field), least, most)

    if len(request.stop) > MAX_STOPS:
        violations.add("stop", f"must have {MAX_STOPS} texts at most")
    for index, stop in enumerate(request.stop):
        if not stop:
            violations.add(f"stop[{index}]", "must not be empty")
    return Sampling(
        temperature=number("temperature", 0.0, MAX_TEMPERATURE),
        top_p=number("top_p", SMALLEST_TOP_P, 1.0),
        top_k=_count(request, "top_k", violations),
        frequency_penalty=number("frequency_penalty", -MAX_PENALTY, MAX_PENALTY),
        presence_penalty=number("presence_penalty", -MAX_PENALTY, MAX_PENALTY),
        stop=tuple(request.stop),
        seed=request.seed if request.HasField("seed") else None,
    )


def _count(request: Request, field: str, violations: Violations) -> int | None:
    if not request.HasField(field):  # type: ignore[arg-type]  # the stubs know single names only
        return None
    return violations.at_least(field, getattr(request, field))


def _check_metadata(request: Request, violations: Violations) -> None:
    if len(request.metadata) > MAX_METADATA:
        violations.add("metadata", f"must have {MAX_METADATA} entries at most")
    for label, value in request.metadata.items():
        if not 1 <= len(label) <= MAX_LABEL_CHARACTERS or len(value) > MAX_VALUE_CHARACTERS:
            problem = f"must have labels of 1 to {MAX_LABEL_CHARACTERS} characters"
            violations.add("metadata", f"{problem} and values of {MAX_VALUE_CHARACTERS} at most")
            return
