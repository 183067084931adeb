"""Answers of Anthropic's API, streamed as server-sent events or in one piece.

Events: https://platform.claude.com/docs/en/build-with-claude/streaming. Content comes in blocks that have a
number; usage is a running total that replaces the one before; `message_stop` alone makes an answer complete.
Events, blocks and deltas of kinds that are not known here are passed over, as the API asks of its clients.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from services.chat.answer import FinishReason, Usage
from services.chat.providers.anthropic import signatures
from services.chat.providers.anthropic.errors import failure_within
from services.chat.providers.composer import Composer
from services.chat.providers.failure import Failure, FailureKind

FINISHES: Final[Mapping[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""What the reasons for stopping mean. One that is not among them is `stop`: the message is complete, and a
new reason must not turn it into a failure."""

TOTALS: Final = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class AnthropicReading:
    """Reads one answer into a composer."""

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._kinds: dict[int, str] = {}
        self._signatures: dict[int, str] = {}
        self._totals: dict[str, int] = {}
        self._stop_reason = ""

    def event(self, name: str, data: Mapping[str, Any]) -> None:
        """Read one event.

        Raises:
            Failure: It reports an error, or cannot be understood.
        """
        match data.get("type", name):
            case "message_start":
                self._report(_mapping(data, "message").get("usage"))
            case "content_block_start":
                self._begin(_index(data), _mapping(data, "content_block"))
            case "content_block_delta":
                self._append(_index(data), _mapping(data, "delta"))
            case "content_block_stop":
                self._end(_index(data))
            case "message_delta":
                self._stop_reason = _text(_mapping(data, "delta"), "stop_reason") or self._stop_reason
                self._report(data.get("usage"))
            case "message_stop":
                self._stop()
            case "error":
                raise failure_within(data)

    def whole(self, data: Mapping[str, Any]) -> None:
        """Read a message that came in one piece.

        Raises:
            Failure: It is an error, or cannot be understood.
        """
        if data.get("type") == "error":
            raise failure_within(data)
        content = data.get("content")
        if not isinstance(content, list):
            raise Failure(FailureKind.MALFORMED, "the answer has no content")
        for index, block in enumerate(content):
            if not isinstance(block, Mapping):
                raise Failure(FailureKind.MALFORMED, "a block of the answer is no object")
            self._begin(index, block)
            if self._kinds[index] == "tool_use":
                arguments = json.dumps(block.get("input", {}), ensure_ascii=False)
                self._composer.tool_call(index, arguments=arguments)
            self._end(index)
        self._report(data.get("usage"))
        self._stop_reason = _text(data, "stop_reason")
        self._stop()

    def _begin(self, index: int, block: Mapping[str, Any]) -> None:
        kind = self._kinds[index] = _text(block, "type")
        if kind == "text":
            self._composer.text(_text(block, "text"), index)
        elif kind == "thinking":
            self._signatures[index] = _text(block, "signature")
            self._think(index, _text(block, "thinking"))
        elif kind == "redacted_thinking":
            self._composer.reasoning("", index)
            self._composer.sign(signatures.of_redacted(_text(block, "data")))
        elif kind == "tool_use":
            self._composer.tool_call(index, identity=_text(block, "id"), name=_text(block, "name"))

    def _append(self, index: int, delta: Mapping[str, Any]) -> None:
        if index not in self._kinds:
            raise Failure(FailureKind.MALFORMED, "a block of the answer goes on that never began")
        match self._kinds[index], delta.get("type"):
            case "text", "text_delta":
                self._composer.text(_text(delta, "text"), index)
            case "thinking", "thinking_delta":
                self._think(index, _text(delta, "thinking"))
            case "thinking", "signature_delta":
                self._signatures[index] = _text(delta, "signature")
            case "tool_use", "input_json_delta":
                self._composer.tool_call(index, arguments=_text(delta, "partial_json"))

    def _end(self, index: int) -> None:
        if signature := self._signatures.pop(index, ""):
            self._composer.reasoning("", index)  # thoughts that are kept secret have a signature and no text
            self._composer.sign(signatures.of_thinking(signature))

    def _think(self, index: int, text: str) -> None:
        if text:
            self._composer.reasoning(text, index)

    def _report(self, usage: object) -> None:
        """Take over running totals. What is not read from or written to the cache is counted apart."""
        if not isinstance(usage, Mapping):
            return
        self._totals |= {name: count for name in TOTALS if (count := _count(usage.get(name))) is not None}
        details = usage.get("output_tokens_details")
        thoughts = details.get("thinking_tokens") if isinstance(details, Mapping) else None
        fresh = self._totals.get("input_tokens")
        written = self._totals.get("cache_creation_input_tokens")
        read = self._totals.get("cache_read_input_tokens")
        self._composer.report(
            Usage(
                input_tokens=None if fresh is None else fresh + (written or 0) + (read or 0),
                output_tokens=self._totals.get("output_tokens"),
                cached_input_tokens=read,
                cache_write_input_tokens=written,
                reasoning_tokens=_count(thoughts),
            )
        )

    def _stop(self) -> None:
        """Note the end of the answer. Without a reason for it, it did not end."""
        if self._stop_reason:
            self._composer.stop(FINISHES.get(self._stop_reason, "stop"))
            self._composer.close()


def _index(data: Mapping[str, Any]) -> int:
    index = _count(data.get("index"))
    if index is None:
        raise Failure(FailureKind.MALFORMED, "a block of the answer has no number")
    return index


def _mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    if not isinstance(value, Mapping):
        raise Failure(FailureKind.MALFORMED, "an event of the answer lacks what it is about")
    return value


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
