from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chat.answer import Piece, ReasoningPiece, SignaturePiece, TextPiece, ToolCallPiece
from services.chat.answering.replay import Diverged, Replay
from services.chat.conversation import Conversation, Message, Sampling, Text

ANSWER: tuple[Piece, ...] = (
    ReasoningPiece(0, "hm, "),
    ReasoningPiece(0, "yes"),
    SignaturePiece(0, b"signed"),
    TextPiece(1, "It will "),
    TextPiece(1, "rain."),
    ToolCallPiece(2, "call_1", "umbrella", ""),
    ToolCallPiece(2, "", "", '{"size":'),
    ToolCallPiece(2, "", "", '"big"}'),
)


def texts(pieces: tuple[Piece, ...] | list[Piece]) -> dict[int, str]:
    """Return what each part says."""
    said: dict[int, str] = {}
    for piece in pieces:
        if isinstance(piece, TextPiece | ReasoningPiece):
            said[piece.part] = said.get(piece.part, "") + piece.text
        elif isinstance(piece, ToolCallPiece):
            said[piece.part] = said.get(piece.part, piece.name) + piece.arguments
    return said


@given(st.integers(0, len(ANSWER)), st.integers(1, 4))
def test_same_answer_is_gone_on_with_wherever_it_broke_off(broke_off: int, portion: int) -> None:
    """What was passed on and what follows make the whole answer, nothing twice and nothing left out."""
    replay = Replay(1000)
    replay.note(ANSWER[:broke_off])
    replay.begin()
    rest: list[Piece] = []
    for first in range(0, len(ANSWER), portion):
        rest += replay.rest(ANSWER[first : first + portion])
    replay.check_all_came()
    assert texts([*ANSWER[:broke_off], *rest]) == texts(ANSWER)
    assert sum(isinstance(one, SignaturePiece) for one in (*ANSWER[:broke_off], *rest)) == 1


def test_it_does_not_matter_how_the_words_are_cut() -> None:
    """A provider may send the same answer in other pieces."""
    replay = Replay(1000)
    replay.note([TextPiece(0, "It will"), TextPiece(0, " rain t")])
    replay.begin()
    assert replay.rest([TextPiece(0, "It"), TextPiece(0, " will rain today")]) == [TextPiece(0, "oday")]


@pytest.mark.parametrize(
    "other",
    [
        [TextPiece(0, "It may")],
        [TextPiece(0, "It w"), TextPiece(0, "on't")],
        [ReasoningPiece(0, "It will")],
        [ToolCallPiece(0, "call_1", "umbrella", "")],
    ],
)
def test_other_answer_is_not_gone_on_with(other: list[Piece]) -> None:
    """Half of one answer and half of another are no answer."""
    replay = Replay(1000)
    replay.note([TextPiece(0, "It will")])
    replay.begin()
    with pytest.raises(Diverged):
        replay.rest(other)


def test_shorter_answer_is_another_answer() -> None:
    """The caller has read more than this one says."""
    replay = Replay(1000)
    replay.note([TextPiece(0, "It will rain")])
    replay.begin()
    assert replay.rest([TextPiece(0, "It will")]) == []
    with pytest.raises(Diverged):
        replay.check_all_came()


def test_what_is_too_long_to_be_remembered_cannot_be_gone_on_with() -> None:
    """The memory of one stream is bounded."""
    replay = Replay(4)
    replay.note([TextPiece(0, "It")])
    assert replay.is_possible
    replay.note([TextPiece(0, " will")])
    assert not replay.is_possible


@pytest.mark.parametrize(
    ("sampling", "suits"),
    [
        (Sampling(), False),
        (Sampling(temperature=0.7), False),
        (Sampling(temperature=0.0), True),
        (Sampling(temperature=0.7, seed=0), True),
    ],
)
def test_only_answers_without_chance_are_asked_for_again(sampling: Sampling, *, suits: bool) -> None:
    """Others would differ, and be paid for in vain."""
    conversation = Conversation((Message("user", (Text("Hello"),)),), sampling=sampling)
    assert Replay.suits(conversation) is suits


def test_nothing_new_comes_before_what_was_passed_on() -> None:
    """Another model may number its parts otherwise: what it says first is not a part that is still open."""
    replay = Replay(1000)
    replay.note([SignaturePiece(0, b"hidden"), TextPiece(1, "Hel")])
    replay.begin()
    with pytest.raises(Diverged):
        replay.rest([TextPiece(0, "Hello")])
