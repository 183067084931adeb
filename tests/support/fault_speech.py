"""What a provider's stand-in says, in the language of the path that it is asked at."""

from __future__ import annotations

import json
from typing import Any, Final, Protocol

CREATED: Final = "2026-01-01T00:00:00Z"
INPUT_TOKENS: Final = 7
"""Tokens that every question has here."""


class Speech(Protocol):
    """One language: pieces of a streamed answer as bytes, and errors."""

    content_type: str
    model: str

    def opening(self) -> bytes:
        """Return what comes before the first content and is no content."""

    def token(self, text: str) -> bytes:
        """Return one piece of text."""

    def keep_alive(self) -> bytes:
        """Return what means nothing but that the provider is there."""

    def finish(self, reason: str, output_tokens: int) -> bytes:
        """Return what says why the answer ends, and the usage."""

    def done(self) -> bytes:
        """Return what comes after everything, if the language has such a thing."""

    def problem(self, message: str) -> bytes:
        """Return an error inside of a stream."""

    def error(self, message: str, code: str) -> bytes:
        """Return the body of a response with an error."""


class OpenAiSpeech:
    """Chat Completions: server-sent events."""

    content_type = "text/event-stream"
    model = "fault-model"

    def opening(self) -> bytes:
        """Return the chunk with the role."""
        return self._chunk({"role": "assistant", "content": ""})

    def token(self, text: str) -> bytes:
        """Return a chunk with text."""
        return self._chunk({"content": text})

    def keep_alive(self) -> bytes:
        """Return a comment."""
        return b": still here\n\n"

    def finish(self, reason: str, output_tokens: int) -> bytes:
        """Return the chunk with the reason and the one with the usage."""
        usage = {
            "prompt_tokens": INPUT_TOKENS,
            "completion_tokens": output_tokens,
            "total_tokens": INPUT_TOKENS + output_tokens,
        }
        return self._chunk({}, reason) + _event({**self._head(), "choices": [], "usage": usage})

    def done(self) -> bytes:
        """Return the last event."""
        return b"data: [DONE]\n\n"

    def problem(self, message: str) -> bytes:
        """Return an event with an error."""
        return b"data: " + self.error(message, "server_error") + b"\n\n"

    def error(self, message: str, code: str) -> bytes:
        """Return an error object."""
        error = {"message": message, "type": "error", "param": None, "code": code}
        return json.dumps({"error": error}, ensure_ascii=False).encode()

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return _event({**self._head(), "choices": [choice], "usage": None})

    def _head(self) -> dict[str, Any]:
        return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": self.model}


class OllamaSpeech:
    """Ollama's own API: a JSON object per line."""

    content_type = "application/x-ndjson"
    model = "fault-model"

    def opening(self) -> bytes:
        """Return a line without text."""
        return self.token("")

    def token(self, text: str) -> bytes:
        """Return a line with text."""
        return self._line({"message": {"role": "assistant", "content": text}, "done": False})

    def keep_alive(self) -> bytes:
        """Return a blank line."""
        return b"\n"

    def finish(self, reason: str, output_tokens: int) -> bytes:
        """Return the last line; durations are nanoseconds."""
        return self._line(
            {
                "message": {"role": "assistant", "content": ""},
                "done": True,
                "done_reason": reason,
                "total_duration": 1_000_000,
                "prompt_eval_count": INPUT_TOKENS,
                "eval_count": output_tokens,
            }
        )

    def done(self) -> bytes:
        """Return nothing: the last line has said it."""
        return b""

    def problem(self, message: str) -> bytes:
        """Return a line with an error."""
        return self.error(message, "") + b"\n"

    def error(self, message: str, code: str) -> bytes:
        """Return an error object; Ollama has no codes."""
        del code
        return json.dumps({"error": message}, ensure_ascii=False).encode()

    def _line(self, value: dict[str, Any]) -> bytes:
        told = {"model": self.model, "created_at": CREATED, **value}
        return json.dumps(told, ensure_ascii=False).encode() + b"\n"


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


SPEECHES: Final[dict[str, Speech]] = {
    "/v1/chat/completions": OpenAiSpeech(),
    "/api/chat": OllamaSpeech(),
}
"""What is spoken at the paths where answers are asked for."""

OTHERWISE: Final[Speech] = OpenAiSpeech()
"""What is spoken at any other path."""

SHOW: Final = {
    "details": {"family": "fault", "parameter_size": "1B", "quantization_level": "Q4_0"},
    "capabilities": ["completion", "tools"],
    "model_info": {"general.architecture": "fault", "fault.context_length": 8192},
}

DOCUMENTS: Final[dict[str, Any]] = {
    "/api/show": SHOW,
    "/api/tags": {"models": [{"name": OllamaSpeech.model, "model": OllamaSpeech.model, "size": 1}]},
    "/api/ps": {"models": []},
    "/api/version": {"version": "0.12.0"},
    "/v1/models": {"object": "list", "data": [{"id": OpenAiSpeech.model, "object": "model"}]},
}
"""What every stand-in answers about its models, without being told to."""
