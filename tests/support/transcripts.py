"""Recorded-shape answers of providers, and what has to be read out of them however the bytes are cut.

A transcript is a folder `tests/golden/chat/<dialect>/<name>/` with

- `stream.txt`: the body of the streamed answer, byte for byte;
- `whole.json`: the body of the same answer when it is not streamed, if the API has such a form;
- `expected.json`: what both mean, see `Expected`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from services.chat.answer import (
    Piece,
    ReasoningPiece,
    SignaturePiece,
    Stopped,
    TextPiece,
    ToolCallPiece,
    Usage,
    UsageReport,
)
from services.chat.conversation import Conversation, Message, Text
from services.chat.providers.dialect import Ask, Dialect, new_decoder
from services.chat.providers.failure import Failure

FOLDER: Final = Path(__file__).parents[1] / "golden" / "chat"
ASK: Final = Ask(
    conversation=Conversation(messages=(Message("user", (Text("Hello"),)),)),
    provider="golden",
    upstream_model="golden-model",
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What an answer means.

    Attributes:
        parts: The parts of the message in order: {"text": …}, {"reasoning": …} or
            {"tool_call": {"id", "name", "arguments"}}, each perhaps with "signature" (as text).
        stopped: Why it stopped; empty if it failed.
        usage: The fields of `Usage` that are known.
        failure: {"kind": …} and perhaps "code", "retry_after_seconds"; empty if it is complete.
    """

    parts: Sequence[dict[str, Any]] = ()
    stopped: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    failure: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transcript:
    """One recorded answer."""

    path: Path

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def stream(self) -> bytes:
        """The streamed body."""
        return (self.path / "stream.txt").read_bytes()

    @property
    def whole(self) -> bytes | None:
        """The body in one piece, if there is one."""
        file = self.path / "whole.json"
        return file.read_bytes() if file.is_file() else None

    @property
    def expected(self) -> Expected:
        """What it means."""
        return Expected(**json.loads((self.path / "expected.json").read_text(encoding="utf-8")))


def transcripts(dialect: str) -> list[Transcript]:
    """Return the transcripts of a dialect in the order of their names."""
    return [Transcript(path.parent) for path in sorted((FOLDER / dialect).glob("*/expected.json"))]


def pieces_of(
    dialect: Dialect, portions: Sequence[bytes], *, streamed: bool = True, ask: Ask = ASK
) -> tuple[list[Piece], Failure | None]:
    """Return the pieces that an answer in these portions is read as, and the failure that ended it."""
    decoder = new_decoder(dialect, ask, streamed=streamed, new_id=lambda number: f"call_{number}")
    pieces: list[Piece] = []
    try:
        for portion in portions:
            pieces += decoder.feed(portion)
        pieces += decoder.end()
    except Failure as failure:
        return pieces, failure
    return pieces, None


def every_cut(body: bytes) -> Iterator[list[bytes]]:
    """Yield the body whole, cut in two at every position, and in pieces of one byte."""
    yield [body]
    for position in range(1, len(body)):
        yield [body[:position], body[position:]]
    yield [body[position : position + 1] for position in range(len(body))]


def meaning(pieces: Sequence[Piece], failure: Failure | None) -> Expected:
    """Return what pieces add up to."""
    parts: dict[int, dict[str, Any]] = {}
    stopped, usage = "", Usage()
    for piece in pieces:
        match piece:
            case TextPiece(part, text):
                _append(parts, part, "text", text)
            case ReasoningPiece(part, text):
                _append(parts, part, "reasoning", text)
            case ToolCallPiece(part, identity, name, arguments):
                call = parts.setdefault(part, {"tool_call": {"id": identity, "name": name, "arguments": ""}})
                call["tool_call"]["arguments"] += arguments
            case SignaturePiece(part, data):
                parts.setdefault(part, {"reasoning": ""})["signature"] = data.decode()
            case UsageReport(total):
                usage = total
            case Stopped(reason):
                stopped = reason
    return Expected([parts[position] for position in sorted(parts)], stopped, _known(usage), _told(failure))


def _append(parts: dict[int, dict[str, Any]], position: int, kind: str, text: str) -> None:
    part = parts.setdefault(position, {kind: ""})
    part[kind] += text


def _known(usage: Usage) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Decimal) else value
        for name, value in asdict(usage).items()
        if value is not None
    }


def _told(failure: Failure | None) -> dict[str, Any]:
    if failure is None:
        return {}
    told: dict[str, Any] = {"kind": failure.kind.value}
    if failure.told.code:
        told["code"] = failure.told.code
    if failure.told.retry_after_seconds is not None:
        told["retry_after_seconds"] = failure.told.retry_after_seconds
    return told
