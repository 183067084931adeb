"""Puts an answer together out of what a provider sends, and holds it to what callers rely on.

Whatever the dialect, the pieces that come out obey: parts are numbered from 0 in the order in which they
begin; a tool call has a unique id, a name, and arguments that are one JSON object when it is complete; an
answer with tool calls ends with `tool_calls` unless it was cut off or filtered; usage is the last total that
the provider told; `Stopped` comes last and once, and only if the provider said that it was done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn

from services.chat.answer import (
    FinishReason,
    Piece,
    ReasoningPiece,
    SignaturePiece,
    Stopped,
    TextPiece,
    ToolCallPiece,
    Usage,
    UsageReport,
)
from services.chat.providers.failure import Failure, FailureKind

Kind = Literal["text", "reasoning", "tool_call"]

JSON_SPACE: Final = " \t\r\n"
"""White space of JSON: fewer characters than Python's."""

CUT_OFF: Final = ("length", "content_filter")
"""Ends in whose tool calls the arguments may be cut off."""


@dataclass(slots=True)
class _Part:
    kind: Kind
    key: Hashable
    position: int | None = None
    arguments: list[str] = field(default_factory=list)


class Composer:
    """Collects one answer.

    Args:
        new_id: Makes the id of a tool call that came without one, out of its number within the answer; of
            another number if that id is taken. Different numbers have different ids.

    Attributes:
        stopped: Why the provider said it stopped; None as long as it has not.
        usage: The last total that it told.
        has_content: Something for the caller has been seen: text, reasoning or a tool call.
        closed: The provider said that nothing follows, not even usage.
    """

    def __init__(self, new_id: Callable[[int], str]) -> None:
        self._new_id = new_id
        self._pieces: list[Piece] = []
        self._parts: list[_Part] = []
        self._placed = 0
        self._calls: dict[Hashable, _Part] = {}
        self._ids: set[str] = set()
        self.stopped: FinishReason | None = None
        self.usage = Usage()
        self.has_content = False
        self.closed = False

    def text(self, text: str, key: Hashable = None) -> None:
        """Append to the text part that `key` names; another key or kind before it begins a new part."""
        if text:
            self._pieces.append(TextPiece(self._position(self._current("text", key)), _whole(text)))
            self.has_content = True

    def reasoning(self, text: str, key: Hashable = None) -> None:
        """Append to a reasoning part, as for `text`. Empty text begins the part: it may be signed only."""
        part = self._current("reasoning", key)
        if text:
            self._pieces.append(ReasoningPiece(self._position(part), _whole(text)))
            self.has_content = True

    def sign(self, data: bytes) -> None:
        """Attach a signature to the part that was appended to last; without one, to a new reasoning part."""
        part = self._parts[-1] if self._parts else self._current("reasoning", None)
        self._pieces.append(SignaturePiece(self._position(part), data))

    def tool_call(self, key: Hashable, *, identity: str = "", name: str = "", arguments: str = "") -> None:
        """Begin the tool call that `key` names, or append to its arguments.

        Raises:
            Failure: A call begins without a name.
        """
        identity, name, arguments = _whole(identity), _whole(name), _whole(arguments)
        part = self._calls.get(key)
        if part is not None:
            if arguments:
                part.arguments.append(arguments)
                self._pieces.append(ToolCallPiece(self._position(part), "", "", arguments))
            return
        if not name:
            raise Failure(FailureKind.MALFORMED, "a tool call came without the name of a tool")
        part = self._calls[key] = self._begin("tool_call", key)
        part.arguments.append(arguments)
        number = len(self._calls) - 1
        while not identity or identity in self._ids:
            identity = self._new_id(number)
            number += 1
        self._ids.add(identity)
        self._pieces.append(ToolCallPiece(self._position(part), identity, name, arguments))
        self.has_content = True

    def report(self, usage: Usage) -> None:
        """Take over what the provider says of tokens: totals so far, which replace those before."""
        total = self.usage.overwritten(usage)
        if total != self.usage:
            self.usage = total
            self._pieces.append(UsageReport(total))

    def stop(self, reason: FinishReason) -> None:
        """Note why the provider stopped; what it says after the first time is not heard."""
        if self.stopped is None:
            self.stopped = reason

    def close(self) -> None:
        """Note that nothing follows: the end of the response need not be waited for."""
        self.closed = True

    def take(self) -> list[Piece]:
        """Return the pieces since the last time."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def finish(self) -> list[Piece]:
        """Return the last pieces of a complete answer.

        Raises:
            Failure: The provider never said that it stopped, or a tool call is no JSON object.
        """
        if self.stopped is None:
            raise Failure(FailureKind.BROKEN_OFF, "the answer ended before it was complete")
        for part in self._calls.values():
            arguments = "".join(part.arguments)
            if not arguments.strip(JSON_SPACE):
                self._pieces.append(ToolCallPiece(self._position(part), "", "", "{}"))
            elif self.stopped not in CUT_OFF and not _is_object(arguments):
                raise Failure(FailureKind.MALFORMED, "the arguments of a tool call are not a JSON object")
        self._pieces.append(Stopped(self._reason(self.stopped)))
        return self.take()

    def _reason(self, reason: FinishReason) -> FinishReason:
        if reason == "stop" and self._calls:
            return "tool_calls"
        if reason == "tool_calls" and not self._calls:
            return "stop"
        return reason

    def _current(self, kind: Kind, key: Hashable) -> _Part:
        """Return the part to append to: the last one if it is of this kind and key, else a new one."""
        if self._parts and self._parts[-1].kind == kind and self._parts[-1].key == key:
            return self._parts[-1]
        return self._begin(kind, key)

    def _begin(self, kind: Kind, key: Hashable) -> _Part:
        part = _Part(kind, key)
        self._parts.append(part)
        return part

    def _position(self, part: _Part) -> int:
        """Return where a part stands: it gets its place with its first piece, so that none is left out."""
        if part.position is None:
            part.position = self._placed
            self._placed += 1
        return part.position


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, parse_constant=_refuse), dict)
    except (ValueError, RecursionError):
        return False


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _whole(text: str) -> str:
    """Return text without halves of characters, which JSON can hold and UTF-8 cannot."""
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode()
