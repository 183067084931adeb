"""Goes on with a stream that broke off, where that can be done without a lie.

A model that is asked again begins again, and so does another one. If the answer begins with exactly what
was already passed on, the rest of it can follow, and the caller has an answer that a model has given in one
piece. If it differs anywhere, the call fails. Two answers are likely to be alike only if nothing is left to
chance, so it is tried for these calls only: the others would pay for a second answer in vain.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from services.chat.answer import Content, Piece, ReasoningPiece, SignaturePiece, TextPiece, ToolCallPiece
from services.chat.answering.steps import Step
from services.chat.conversation import Conversation

Name: TypeAlias = tuple[str, ...]
"""What a part is: its kind; for a tool call also id and name."""


class Diverged(Exception):
    """The answer does not begin with what was passed on."""


class Replay:
    """What of an answer has been passed on, and how much of it has come again.

    Args:
        most_bytes: Answers longer than that are not remembered, and cannot be gone on with.
    """

    def __init__(self, most_bytes: int) -> None:
        self._room = most_bytes
        self._told: dict[int, list[str]] = {}
        self._names: dict[int, Name] = {}
        self._signed: set[int] = set()
        self._again: dict[int, int] = {}
        self._whole: dict[int, str] = {}

    @staticmethod
    def suits(conversation: Conversation) -> bool:
        """Say whether an answer is likely to be given in the same words twice."""
        return conversation.sampling.temperature == 0 or conversation.sampling.seed is not None

    @property
    def is_possible(self) -> bool:
        """Whether everything that was passed on is remembered."""
        return self._room >= 0

    def note(self, steps: Iterable[Step | Piece]) -> None:
        """Remember what of these steps is content; they are passed on."""
        for piece in steps:
            if isinstance(piece, SignaturePiece):
                self._signed.add(piece.part)
            elif isinstance(piece, TextPiece | ReasoningPiece | ToolCallPiece):
                self._names.setdefault(piece.part, _name(piece))
                text = _text(piece)
                self._room -= len(text.encode())
                if self.is_possible:
                    self._told.setdefault(piece.part, []).append(text)

    def begin(self) -> None:
        """Expect the answer from its beginning."""
        self._whole = {part: "".join(texts) for part, texts in self._told.items()}
        self._again = dict.fromkeys(self._whole, 0)

    def rest(self, pieces: Iterable[Piece]) -> list[Piece]:
        """Return what of these pieces has not been passed on yet.

        Raises:
            Diverged: Something differs.
        """
        return [one for piece in pieces for one in self._rest(piece)]

    def check_all_came(self) -> None:
        """Return if everything that was passed on has come again.

        Raises:
            Diverged: The answer ended before that.
        """
        if any(self._again[part] < len(whole) for part, whole in self._whole.items()):
            raise Diverged

    def _rest(self, piece: Piece) -> Iterable[Piece]:
        if isinstance(piece, SignaturePiece):
            return () if piece.part in self._signed else (piece,)
        if not isinstance(piece, TextPiece | ReasoningPiece | ToolCallPiece):
            return (piece,)
        if piece.part not in self._whole:
            self.check_all_came()  # nothing new comes before what was passed on
            return (piece,)
        if isinstance(piece, ToolCallPiece) and not piece.name:
            pass  # goes on with a call whose name has been compared
        elif _name(piece) != self._names[piece.part]:
            raise Diverged
        return self._new_text(piece)

    def _new_text(self, piece: Content) -> Iterable[Piece]:
        """Compare the text of a piece with what was passed on of its part; return what goes beyond it."""
        whole, text, came = self._whole[piece.part], _text(piece), self._again[piece.part]
        missing = len(whole) - came
        known, new = text[:missing], text[missing:]
        if not whole.startswith(known, came):
            raise Diverged
        self._again[piece.part] += len(known)
        if not new:
            return ()
        match piece:
            case ToolCallPiece(part):
                return (ToolCallPiece(part, "", "", new),)
            case ReasoningPiece(part):
                return (ReasoningPiece(part, new),)
            case _:
                return (TextPiece(piece.part, new),)


def _name(piece: TextPiece | ReasoningPiece | ToolCallPiece) -> Name:
    if isinstance(piece, ToolCallPiece):
        return ("tool_call", piece.id, piece.name)
    return ("text",) if isinstance(piece, TextPiece) else ("reasoning",)


def _text(piece: Content) -> str:
    match piece:
        case ToolCallPiece():
            return piece.arguments
        case TextPiece() | ReasoningPiece():
            return piece.text
        case _:
            return ""
