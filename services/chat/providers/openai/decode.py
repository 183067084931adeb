"""An answer, streamed or whole.

A whole answer is read as one chunk whose delta is the message, so that the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.chat.answer import FinishReason
from services.chat.providers.composer import Composer
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.openai.calls import Calls
from services.chat.providers.openai.carried import DETAILS, Details
from services.chat.providers.openai.errors import reported_failure
from services.chat.providers.openai.sheets import Sheet
from services.chat.providers.openai.usage import reported, usage_of

FINISHED: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "refusal": "content_filter",
    "sensitive": "content_filter",
}
"""Why answers end. A word that is not among them still says that the provider was done."""

FAILED: Final = frozenset({"error", "abort", "network_error", "insufficient_system_resource"})
"""Words with which services give up in the middle of an answer."""

REFUSAL: Final = "refusal"


class ChatReading:
    """Reads one answer into a composer."""

    def __init__(self, composer: Composer, sheet: Sheet) -> None:
        self._composer = composer
        self._sheet = sheet
        self._calls = Calls(composer)
        self._details = Details()
        self._thinking = False
        self._refused = False

    def event(self, name: str, data: Mapping[str, Any]) -> None:
        """Read one chunk.

        Raises:
            Failure: The provider reports an error, or it cannot be understood.
        """
        del name
        self._read(data, "delta")

    def whole(self, data: Mapping[str, Any]) -> None:
        """Read an answer in one piece.

        Raises:
            Failure: As for `event`.
        """
        if "choices" not in data and reported_failure(data, self._sheet) is None:
            raise Failure(FailureKind.MALFORMED, "the response is no answer; check the provider's url")
        self._read(data, "message")

    def _read(self, data: Mapping[str, Any], content: str) -> None:
        """Read usage first: it is owed even for an answer that fails."""
        usage = reported(data)
        if usage is not None:
            self._composer.report(usage_of(usage, charges_usd=self._sheet.charges_usd))
        choices = data.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        choice = first if isinstance(first, dict) else {}
        message = choice.get(content)
        if isinstance(message, dict):
            self._message(message)
        failure = reported_failure(data, self._sheet) or reported_failure(choice, self._sheet)
        if failure is not None:
            raise failure
        if isinstance(choice.get("finish_reason"), str):
            self._finish(choice["finish_reason"])

    def _message(self, message: Mapping[str, Any]) -> None:
        shown = self._details.add(message.get(DETAILS))
        # Servers in between two names for it send both.
        if thoughts := _text(message.get("reasoning_content")) or _text(message.get("reasoning")) or shown:
            self._thinking = True
            self._composer.reasoning(thoughts)
        text, refusal = _text(message.get("content")), _text(message.get(REFUSAL))
        calls, call = message.get("tool_calls"), message.get("function_call")
        if text or refusal or calls or call:
            self._sign_thoughts()
        self._composer.text(text)
        self._composer.text(refusal, REFUSAL)
        self._refused = self._refused or bool(refusal)
        self._calls.read(calls)
        self._calls.legacy(call)

    def _sign_thoughts(self) -> None:
        """Sign the reasoning that has just ended. What is told of it later goes with the last part."""
        if self._thinking and (data := self._details.take()):
            self._composer.sign(data)
        self._thinking = False

    def _finish(self, reason: str) -> None:
        word = reason.strip().lower()
        if word in FAILED:
            raise Failure(FailureKind.UNAVAILABLE, "the provider gave up in the middle of the answer")
        if not word:
            return  # what ends without a reason is not complete
        if data := self._details.take():
            self._composer.sign(data)
        complete = FINISHED.get(word.partition(":")[0], "stop")
        self._composer.stop("content_filter" if self._refused and complete == "stop" else complete)


def _text(value: Any) -> str:
    """Return text that is written as such or as a list of parts; thoughts among these are not text."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""
