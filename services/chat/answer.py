"""What comes back: an answer as a sequence of pieces.

A dialect makes these pieces out of what its provider sends, with the help of `providers.composer`. However
the bytes were cut on their way, the pieces are the same.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Final, Literal, TypeAlias

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]

MOST_TOKENS: Final = 2**31 - 1
"""More than any call uses. Providers may say anything, and what is said further on has to hold it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens used. None is unknown, never zero; a count that no call can have is unknown.

    Attributes:
        input_tokens: Tokens read, cached ones included.
        output_tokens: Tokens written, reasoning included.
        cached_input_tokens: The part of `input_tokens` that came from the provider's cache.
        cache_write_input_tokens: The part of `input_tokens` that was written to that cache.
        reasoning_tokens: The part of `output_tokens` that was reasoning.
        charged_usd: What the provider says that it charged, in US dollars; only some say so.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    charged_usd: Decimal | None = None

    def __post_init__(self) -> None:
        """Forget counts that cannot be."""
        for one in COUNTS:
            count = getattr(self, one)
            if count is not None and count > MOST_TOKENS:
                object.__setattr__(self, one, None)

    def overwritten(self, later: Usage) -> Usage:
        """Return this with everything that `later` knows in its place: providers report running totals."""
        known = {one.name: getattr(later, one.name) for one in fields(later)}
        return replace(self, **{name: value for name, value in known.items() if value is not None})


COUNTS: Final = tuple(one.name for one in fields(Usage) if one.name.endswith("tokens"))


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Text to append to the text part at position `part`."""

    part: int
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningPiece:
    """Text to append to the reasoning part at position `part`."""

    part: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallPiece:
    """A piece of the tool call at position `part`; `id` and `name` are set in its first piece only."""

    part: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class SignaturePiece:
    """The signature of the part at position `part`, whole."""

    part: int
    data: bytes


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Tokens used so far. Each replaces the one before."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Stopped:
    """The answer is complete. Last, once."""

    reason: FinishReason


Content: TypeAlias = TextPiece | ReasoningPiece | ToolCallPiece | SignaturePiece
Piece: TypeAlias = Content | UsageReport | Stopped
