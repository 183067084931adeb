"""Streams that break off after something was passed on."""

from __future__ import annotations

import sys
from contextlib import aclosing
from dataclasses import replace

import pytest

from services.chassis.errors import CallError
from services.chat.answer import Piece, SignaturePiece, Stopped, TextPiece
from services.chat.answering.steps import Started
from services.chat.conversation import Sampling
from services.chat.errors import UpstreamInterrupted
from services.chat.providers.failure import FailureKind
from tests.unit.chat.answering.scripted import QUESTION, Act, ScriptedProvider, Stage, fails, says
from tests.unit.chat.answering.virtual_time import in_virtual_time

CERTAIN = replace(QUESTION, sampling=Sampling(temperature=0.0))


def breaks_off(*texts: str, kind: FailureKind = FailureKind.BROKEN_OFF) -> Act:
    """Begin to answer with these pieces, and fail."""
    pieces: list[list[Piece]] = [[TextPiece(0, text)] for text in texts]
    return (*pieces, *fails(kind))


@in_virtual_time
async def test_answer_without_chance_is_gone_on_with() -> None:
    """The same target gives the same answer again; the caller gets the rest, once, and is told of both."""
    stage = Stage()
    one, other = (
        ScriptedProvider("one", breaks_off("Hel"), says("Hello", "!")),
        ScriptedProvider("other", says("x")),
    )
    answer = await stage.answer(*stage.targets(one, other), conversation=CERTAIN)
    assert answer.text == "Hello!"
    assert [step for step in answer.steps if isinstance(step, Started)] == [Started("one", "m")]
    assert [attempt.reason for attempt in answer.finished.attempts] == ["UPSTREAM_UNAVAILABLE", ""]
    assert (len(one.asks), len(other.asks)) == (2, 0)


@in_virtual_time
async def test_other_words_end_the_call() -> None:
    """Half of one answer and half of another are no answer; nobody is asked a third time."""
    stage = Stage()
    one = ScriptedProvider("one", breaks_off("Hel"), says("Howdy"), says("Hello"))
    read: list[str] = []

    async def reading() -> None:
        async with aclosing(stage.steps(*stage.targets(one), conversation=CERTAIN)) as portions:
            async for portion in portions:
                read.extend(step.text for step in portion if isinstance(step, TextPiece))

    with pytest.raises(UpstreamInterrupted):
        await reading()
    assert read == ["Hel"]
    assert len(one.asks) == 2


@pytest.mark.parametrize(
    ("conversation", "kind"),
    [(QUESTION, FailureKind.BROKEN_OFF), (CERTAIN, FailureKind.REJECTED)],
    ids=["left to chance", "refused"],
)
@in_virtual_time
async def test_nobody_is_asked_again_in_vain(conversation: object, kind: FailureKind) -> None:
    """Answers that chance makes differ, and who refuses would refuse again."""
    stage = Stage()
    one, other = (
        ScriptedProvider("one", breaks_off("Hel", kind=kind)),
        ScriptedProvider("other", says("Hello")),
    )
    with pytest.raises(CallError):
        await stage.answer(*stage.targets(one, other), conversation=conversation)
    assert (len(one.asks), len(other.asks)) == (1, 0)


@in_virtual_time
async def test_another_target_may_go_on_word_for_word() -> None:
    """Two replicas of one model give one answer; the caller is told when the speaker changes."""
    stage = Stage()
    one = ScriptedProvider("one", breaks_off("Hel", kind=FailureKind.TIMEOUT))
    other = ScriptedProvider("other", says("He", "llo"))
    answer = await stage.answer(*stage.targets(one, other), conversation=CERTAIN)
    assert answer.text == "Hello"
    assert [step.provider for step in answer.steps if isinstance(step, Started)] == ["one", "other"]
    assert len(one.asks) == 1


@in_virtual_time
async def test_answer_that_keeps_breaking_off_ends_the_call() -> None:
    """Retries are counted after the first content as before it."""
    stage = Stage()
    one = ScriptedProvider("one", breaks_off("Hel"))
    with pytest.raises(UpstreamInterrupted):
        await stage.answer(*stage.targets(one), conversation=CERTAIN)
    assert len(one.asks) == 1 + stage.settings.max_retries


@in_virtual_time
async def test_signature_that_nobody_got_is_not_forgotten() -> None:
    """What an attempt sent before it failed without content was not passed on, so it is still owed."""
    stage = Stage()
    lost: Act = ([SignaturePiece(0, b"lost")], *fails(FailureKind.UNAVAILABLE))
    whole: Act = ([TextPiece(0, "Hello"), SignaturePiece(0, b"signed")], [Stopped("stop")])
    one = ScriptedProvider("one", lost, breaks_off("Hel"), whole)
    answer = await stage.answer(*stage.targets(one), conversation=CERTAIN)
    assert [step.data for step in answer.steps if isinstance(step, SignaturePiece)] == [b"signed"]


@in_virtual_time
async def test_whoever_leaves_leaves_no_generator_behind() -> None:
    """Generators are closed by who uses them, and not at some time by the event loop."""
    stage = Stage()
    forgotten: list[object] = []
    one = ScriptedProvider("one", says("Hel", "lo"))
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=forgotten.append)
    try:
        async with aclosing(stage.steps(*stage.targets(one), conversation=CERTAIN)) as portions:
            await anext(portions)
    finally:
        sys.set_asyncgen_hooks(*before)
    assert forgotten == []
