"""Holds an answer until it may be passed on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from services.chat.answer import (
    Content,
    Piece,
    SignaturePiece,
    Stopped,
    TextPiece,
    ToolCallPiece,
    UsageReport,
)
from services.chat.answering.steps import Step

MOST_EARLY_STEPS: Final = 64
MOST_EARLY_BYTES: Final = 256 * 1024
"""Most that waits for the first content."""


class Holding:
    """The pieces of an answer so far, without its end.

    Attributes:
        pieces: The pieces, in order.
        size: Bytes of text, reasoning, arguments and signatures in them.
        has_tool_calls: There is a tool call among them.
    """

    def __init__(self) -> None:
        self.pieces: list[Content | UsageReport] = []
        self.size = 0
        self.has_tool_calls = False

    def add(self, portion: Iterable[Piece]) -> None:
        """Hold some more."""
        for piece in portion:
            if isinstance(piece, Stopped):
                continue
            if isinstance(piece, UsageReport) and self.pieces and isinstance(self.pieces[-1], UsageReport):
                self.pieces.pop()  # each replaces the one before, and there may be no end to them
            self.pieces.append(piece)
            self.size += _size(piece)
            self.has_tool_calls |= isinstance(piece, ToolCallPiece)

    @property
    def text(self) -> str:
        """All text of the answer, without reasoning."""
        return "".join(piece.text for piece in self.pieces if isinstance(piece, TextPiece))

    def say(self, text: str) -> None:
        """Have `text` in place of the text, which has to be in one part."""
        if text == self.text:
            return
        [part] = self.text_parts
        first = next(place for place, piece in enumerate(self.pieces) if isinstance(piece, TextPiece))
        rest = [piece for piece in self.pieces[first:] if not isinstance(piece, TextPiece)]
        self.pieces[first:] = [TextPiece(part, text), *rest]

    @property
    def text_parts(self) -> set[int]:
        """Positions of the parts that are text."""
        return {piece.part for piece in self.pieces if isinstance(piece, TextPiece)}


def early(waiting: Sequence[Step], pieces: Iterable[Content | UsageReport]) -> list[Step]:
    """Return what waits for the first content with some more; of totals, only the last."""
    steps: list[Step] = list(waiting)
    for piece in pieces:
        if isinstance(piece, UsageReport):
            steps = [step for step in steps if not isinstance(step, UsageReport)]
        steps.append(piece)
    return steps


def is_much(waiting: Sequence[Step]) -> bool:
    """Whether too much waits for the first content for it to wait any longer."""
    size = sum(len(step.data) for step in waiting if isinstance(step, SignaturePiece))
    return len(waiting) > MOST_EARLY_STEPS or size > MOST_EARLY_BYTES


def _size(piece: Content | UsageReport) -> int:
    if isinstance(piece, UsageReport):
        return 0
    if isinstance(piece, SignaturePiece):
        return len(piece.data)
    return len((piece.arguments if isinstance(piece, ToolCallPiece) else piece.text).encode())
