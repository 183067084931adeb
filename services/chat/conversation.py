"""What is asked: a conversation so far, and how its next turn should be.

These are the domain's own values. The wire is turned into them by the servicer, and each provider dialect
turns them into what its provider understands. They are checked (`services.chat.checks`) before a dialect sees
them, so dialects may rely on what the docstrings say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Role = Literal["system", "user", "assistant", "tool"]
Effort = Literal["none", "low", "medium", "high"]
Format = Literal["text", "json", "json_schema"]


@dataclass(frozen=True, slots=True)
class Signature:
    """Opaque state that a provider attached to a part.

    Attributes:
        provider: Name of the provider that made it. To any other provider it means nothing: drop it.
        data: Its bytes, in whatever form the provider's dialect chose.
    """

    provider: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text; not empty, except in an assistant's turn that carries a signature."""

    text: str
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: either `data` or `url` is set, and `media_type` with `data`."""

    media_type: str
    data: bytes = b""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What a model thought. Without text the provider kept it to itself, and the signature is all."""

    text: str
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's request to call a tool.

    Attributes:
        id: Unique within the conversation.
        name: One of the tools.
        arguments: One JSON object as text; `{}` for none.
        signature: What the provider attached to it.
    """

    id: str
    name: str
    arguments: str
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a tool call. `name` is the name of the tool that was called, looked up by the id."""

    tool_call_id: str
    name: str
    content: str
    is_error: bool = False


Part: TypeAlias = Text | Image | Reasoning | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    """One turn.

    Which parts a role may have: system Text; user Text and Image; assistant Text, Reasoning and ToolCall;
    tool ToolResult.
    """

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model may ask for; `parameters` is a JSON Schema of type object, in the order given."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether tools are called. `tool`, if not empty, is the one that must be; `mode` is then required."""

    mode: Literal["auto", "none", "required"] = "auto"
    tool: str = ""


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """What the text of the answer must look like; `schema` is there for `json_schema` only."""

    kind: Format = "text"
    name: str = "response"
    schema: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; None leaves it to the model. Ranges are those of the contract."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation whose next turn is asked for.

    Attributes:
        messages: The turns so far, at least one.
        tools: What the model may call.
        tool_choice: Whether it may, must or must not.
        parallel_tool_calls: Whether it may call several in one turn; None leaves it to the provider.
        response_format: What the text must look like.
        effort: How hard to think; None leaves it to the model.
        reasoning_tokens: Most tokens of thought; None leaves it to the provider.
        sampling: How tokens are drawn.
        max_output_tokens: Longest answer, reasoning included; None leaves it to the provider.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat = ResponseFormat()
    effort: Effort | None = None
    reasoning_tokens: int | None = None
    sampling: Sampling = Sampling()
    max_output_tokens: int | None = None

    @property
    def has_images(self) -> bool:
        """Whether there is a picture in it."""
        return any(isinstance(part, Image) for message in self.messages for part in message.parts)
