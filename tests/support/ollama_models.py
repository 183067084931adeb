"""The models of a stand-in for an Ollama, and what they say."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

CREATED: Final = "2026-01-01T00:00:00.123456789Z"

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """What a chat request is answered with.

    Attributes:
        lines: The lines of the streamed answer; the model and the time are filled in.
        status: HTTP status. Other than 200, the first line is the body.
        hold_after: Wait after so many lines until `go_on` is set, or the client leaves.
        go_on: Ends the wait.
        reset: Break the connection after the last line instead of ending the response.
    """

    lines: Sequence[Line]
    status: int = 200
    hold_after: int | None = None
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    reset: bool = False


Answer = Reply | Callable[[Mapping[str, Any]], Reply]
"""A reply, or what makes one out of the body of the request."""


@dataclass(frozen=True)
class ServedModel:
    """A model that the server has.

    Attributes:
        name: With its tag.
        answer: What it says.
        capabilities: As `/api/show` lists them.
        context_length: Most tokens.
        remote_host: Where it runs, if not here.
        loaded: It is in memory.
        dimensions: Length of its embeddings.
    """

    name: str
    answer: Answer = Reply(())
    capabilities: Sequence[str] = ("completion", "tools")
    context_length: int = 8192
    remote_host: str = ""
    loaded: bool = False
    dimensions: int = 4


def says(
    *texts: str, thinking: str = "", reason: str = "stop", usage: tuple[int, int] | None = (9, 5)
) -> Reply:
    """Return an answer of texts, each a line; `usage` is how many tokens went in and came out."""
    lines = [_says("", thinking=thinking)] if thinking else []
    return Reply([*lines, *map(_says, texts), done(reason, usage=usage)])


def calls(*tools: tuple[str, Mapping[str, Any]], with_the_end: bool = False) -> Reply:
    """Return an answer of tool calls, in a line before the end or in that line itself."""
    wired = [{"function": {"index": 0, "name": name, "arguments": given}} for name, given in tools]
    if with_the_end:
        return Reply([done("stop", tool_calls=wired)])
    return Reply([_says("", tool_calls=wired), done("stop")])


def refuses(status: int, sentence: str) -> Reply:
    """Return an error."""
    return Reply([{"error": sentence}], status)


def done(reason: str = "stop", *, usage: tuple[int, int] | None = (9, 5), **message: Any) -> Line:
    """Return the last line of an answer."""
    counts = {} if usage is None else {"prompt_eval_count": usage[0], "eval_count": usage[1]}
    return {
        **_says("", **message),
        "done": True,
        "done_reason": reason,
        "total_duration": 1_000_000,
        **counts,
    }


def _says(text: str, **more: Any) -> Line:
    return {"message": {"role": "assistant", "content": text, **more}, "done": False}


def reply_of(model: ServedModel, body: Mapping[str, Any]) -> Reply:
    """Return what the model says, or why it does not."""
    wanted = {"chat": "completion"}
    wanted |= {"tools": "tools"} if body.get("tools") else {}
    wanted |= {"thinking": "thinking"} if body.get("think") else {}
    for word, capability in wanted.items():
        if capability not in model.capabilities:
            return refuses(400, f'"{model.name}" does not support {word}')
    return model.answer if isinstance(model.answer, Reply) else model.answer(body)


def in_one_piece(lines: Sequence[Line]) -> Line:
    """Return streamed lines as the one object that is sent where no stream is asked for."""
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    for line in lines:
        for name, value in line.get("message", {}).items():
            message[name] = value if name == "role" else message.get(name, type(value)()) + value
    return {**lines[-1], "message": message}


def shown(model: ServedModel) -> Line:
    """Return what `/api/show` says of a model."""
    info = {"general.architecture": "test", "test.context_length": model.context_length}
    return {
        "details": {"family": "test", "format": "gguf"},
        "model_info": info,
        "capabilities": list(model.capabilities),
        **_remote(model),
    }


def listed(model: ServedModel) -> Line:
    """Return what `/api/tags` says of a model."""
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": CREATED,
        "size": 1,
        "digest": f"{zlib.crc32(model.name.encode()):064x}",
        "details": {"family": "test", "context_length": model.context_length},
        "capabilities": list(model.capabilities),
        **_remote(model),
    }


def _remote(model: ServedModel) -> Line:
    return {"remote_host": model.remote_host, "remote_model": model.name} if model.remote_host else {}


def embedded(model: ServedModel, body: Mapping[str, Any]) -> Line:
    """Return embeddings that differ where inputs do."""
    inputs = [body["input"]] if isinstance(body["input"], str) else body["input"]
    length = body.get("dimensions") or model.dimensions
    vectors = [[zlib.crc32(text.encode(), place) / 2**32 for place in range(length)] for text in inputs]
    return {"model": model.name, "embeddings": vectors, "prompt_eval_count": sum(map(len, inputs))}
