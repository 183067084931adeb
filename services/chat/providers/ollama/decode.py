"""What `/api/chat` answers, line by line or whole: the same objects either way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from services.chat.answer import FinishReason, Usage
from services.chat.providers.composer import Composer
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.ollama.errors import reported_failure

REASONS: Final[Mapping[str, FinishReason]] = {"stop": "stop", "length": "length"}
"""Why it stopped. There is no reason for tool calls; the composer sees to that. None at all comes from old
versions and from imitations; an Ollama that we are still connected to gives one."""
NO_ANSWER: Final = frozenset({"load", "unload"})
"""Reasons of responses that only say what became of the model."""


class OllamaReading:
    """Reads one answer into `composer`."""

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._calls = 0

    def event(self, name: str, data: Mapping[str, Any]) -> None:
        """Read one line.

        Raises:
            Failure: It reports an error, or cannot be understood.
        """
        del name
        if data.get("error") is not None:
            raise reported_failure(data)
        message = data.get("message")
        if message is not None:
            self._read(_mapping(message))
        if data.get("done") is True:
            self._stop(data)

    def whole(self, data: Mapping[str, Any]) -> None:
        """Read an answer that came in one piece: it is its only line."""
        self.event("", data)

    def _read(self, message: Mapping[str, Any]) -> None:
        if thinking := _text(message, "thinking"):
            self._composer.reasoning(thinking)
        self._composer.text(_text(message, "content"))
        calls = message.get("tool_calls") or ()
        if not isinstance(calls, list | tuple):
            raise _malformed()
        for call in calls:
            self._tool_call(_mapping(call))

    def _tool_call(self, call: Mapping[str, Any]) -> None:
        """Read a tool call, which is whole. They are counted here: to many versions each is the first."""
        function = _mapping(call.get("function"))
        self._composer.tool_call(
            self._calls,
            identity=_text(call, "id"),
            name=_text(function, "name"),
            arguments=_arguments(function.get("arguments")),
        )
        self._calls += 1

    def _stop(self, data: Mapping[str, Any]) -> None:
        """Read the end. A number of tokens is left out where it is 0, or was not counted."""
        reason = _text(data, "done_reason")
        if reason in NO_ANSWER:
            message = "the Ollama loaded or unloaded the model and did not answer"
            raise Failure(FailureKind.BROKEN_OFF, message)
        usage = Usage(
            input_tokens=count_of(data.get("prompt_eval_count")),
            output_tokens=count_of(data.get("eval_count")),
        )
        self._composer.report(usage)
        self._composer.stop(REASONS.get(reason, "stop"))
        self._composer.close()


def count_of(value: object) -> int | None:
    """Return a number of tokens; None if it is missing or none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _arguments(value: object) -> str:
    """Return arguments as JSON text. They are an object; some imitations send its text."""
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError as error:  # a number beyond what JSON's readers agree on
        raise _malformed() from error


def _mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    raise _malformed()


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if value is None or isinstance(value, str):
        return value or ""
    raise _malformed()


def _malformed() -> Failure:
    return Failure(FailureKind.MALFORMED, "what the provider sent is not what Ollama's API says")
