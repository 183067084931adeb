"""Answers of Google's Gemini API, streamed as server-sent events or in one piece.

Both consist of the same objects, https://ai.google.dev/api/generate-content#generatecontentresponse: parts of
the content, running totals of usage, and the reason for which it ends, after which nothing marks the end of
the stream. Tool calls are whole, and may come before the reason does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.chat.answer import FinishReason, Usage
from services.chat.providers.composer import Composer
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.gemini.errors import failure_within, no_answer

FINISHES: Final[Mapping[str, FinishReason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "IMAGE_OTHER": "content_filter",
    "NO_IMAGE": "content_filter",
}
"""What the reasons for which an answer ends mean."""
FAILURES: Final[Mapping[str, FailureKind]] = {
    "MALFORMED_FUNCTION_CALL": FailureKind.MALFORMED,
    "UNEXPECTED_TOOL_CALL": FailureKind.MALFORMED,
    "TOO_MANY_TOOL_CALLS": FailureKind.MALFORMED,
    "MALFORMED_RESPONSE": FailureKind.MALFORMED,
    "MISSING_THOUGHT_SIGNATURE": FailureKind.NOT_SUPPORTED,
}
"""Reasons that mean that there is no answer. So does every other one, `OTHER` among them: only `STOP` says
that the model was done, and what is not done must not pass for it."""
TEXT_FIELDS: Final = frozenset({"text", "thought", "thoughtSignature"})
UNSPECIFIED: Final = "FINISH_REASON_UNSPECIFIED"
WRITTEN: Final = ("candidatesTokenCount", "thoughtsTokenCount")
TOTALS: Final = (
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    *WRITTEN,
    "totalTokenCount",
)


class GeminiReading:
    """Reads one answer into a composer."""

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._totals: dict[str, int] = {}
        self._calls = 0
        self._signatures = 0
        self._in_text = False

    def event(self, name: str, data: Mapping[str, Any]) -> None:
        """Read one object of a stream.

        Raises:
            Failure: It reports an error, says that there is no answer, or cannot be understood.
        """
        del name
        if data.get("error") is not None:
            raise failure_within(data)
        candidates = _list(data.get("candidates"))
        candidate = _mapping(candidates[0]) if candidates else {}
        for part in _list(_mapping(candidate.get("content")).get("parts")):
            self._part(_mapping(part))
        reason = _text(candidate, "finishReason")
        ended = reason not in {"", UNSPECIFIED}
        blocked = _text(_mapping(data.get("promptFeedback")), "blockReason")
        self._report(_mapping(data.get("usageMetadata")), ended=ended)
        if blocked and not candidates:
            raise no_answer(FailureKind.CONTENT_FILTERED, blocked)
        if ended:
            self._stop(reason)

    def whole(self, data: Mapping[str, Any]) -> None:
        """Read an answer that came in one piece: it is the only object of its stream."""
        self.event("", data)

    def _part(self, part: Mapping[str, Any]) -> None:
        """Read one part, unless its kind is not known here. A signature ends the part that it signs."""
        signature, text = _text(part, "thoughtSignature"), _text(part, "text")
        if "functionCall" in part:
            self._call(_mapping(part["functionCall"]))
        elif not part.keys() <= TEXT_FIELDS:
            return
        elif text and part.get("thought") is not True:
            self._composer.text(text, self._signatures)
            self._in_text = True
        elif text or (signature and not self._in_text):
            self._think(text)  # without text, it signs nothing that can be seen
        if signature:
            self._composer.sign(signature.encode())
            self._signatures += 1
            self._in_text = False

    def _think(self, text: str) -> None:
        self._composer.reasoning(text, self._signatures)
        self._in_text = False

    def _call(self, call: Mapping[str, Any]) -> None:
        try:
            arguments = json.dumps(
                _mapping(call.get("args")), ensure_ascii=False, separators=(",", ":"), allow_nan=False
            )
        except ValueError as error:  # a number beyond what JSON's readers agree on
            raise _malformed() from error
        identity, name = _text(call, "id"), _text(call, "name")
        self._composer.tool_call(self._calls, identity=identity, name=name, arguments=arguments)
        self._calls += 1
        self._in_text = False

    def _report(self, usage: Mapping[str, Any], *, ended: bool) -> None:
        """Take over running totals. Thoughts are counted apart; what is 0 is left out."""
        self._totals |= {name: count for name in TOTALS if (count := _count(usage.get(name))) is not None}
        totals = self._totals
        read, total = totals.get("promptTokenCount"), totals.get("totalTokenCount")
        if read is not None:
            read += totals.get("toolUsePromptTokenCount", 0)
        counted = [totals[name] for name in WRITTEN if name in totals]
        written = sum(counted) if counted else None
        if written is None and ended and read is not None and total is not None:
            written = max(0, total - read)  # before the end it may just not have been counted yet
        self._composer.report(
            Usage(
                input_tokens=read,
                output_tokens=written,
                cached_input_tokens=totals.get("cachedContentTokenCount"),
                reasoning_tokens=totals.get("thoughtsTokenCount"),
            )
        )

    def _stop(self, reason: str) -> None:
        finish = FINISHES.get(reason)
        if finish is None:
            raise no_answer(FAILURES.get(reason, FailureKind.BROKEN_OFF), reason)
        self._composer.stop(finish)


def _mapping(value: object) -> Mapping[str, Any]:
    if value is None or isinstance(value, Mapping):
        return value or {}
    raise _malformed()


def _list(value: object) -> Sequence[Any]:
    if value is None or isinstance(value, list):
        return value or []
    raise _malformed()


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if value is None or isinstance(value, str):
        return value or ""
    raise _malformed()


def _malformed() -> Failure:
    return Failure(FailureKind.MALFORMED, "what the provider sent is not what Gemini's API says")


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
