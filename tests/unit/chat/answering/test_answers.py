"""What callers get: when, in which pieces, and what is told about it."""

from __future__ import annotations

from contextlib import suppress

import pytest

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
from services.chat.answering.steps import Finished, Started
from services.chat.errors import InvalidOutput, UpstreamInterrupted, UpstreamUnavailable
from services.chat.providers.failure import Failure, FailureKind, Told
from services.config import Chat
from tests.unit.chat.answering.scripted import USAGE, Act, ScriptedProvider, Stage, fails, says
from tests.unit.chat.answering.virtual_time import in_virtual_time, now


@in_virtual_time
async def test_pieces_are_passed_on_as_they_come() -> None:
    """The first list has who answers and the first content; the last one how it ended."""
    stage = Stage()
    [target] = stage.targets(ScriptedProvider("one", says("Hel", "lo")))
    answer = await stage.answer(target)
    *portions, last = answer.portions
    assert portions == [[Started("one", "m"), TextPiece(0, "Hel")], [TextPiece(0, "lo")]]
    assert last[0] == UsageReport(USAGE)
    assert isinstance(last[1], Finished)


@pytest.mark.parametrize(
    "content", [TextPiece(0, "x"), ReasoningPiece(0, "x"), ToolCallPiece(0, "id", "look", "")]
)
@in_virtual_time
async def test_nothing_is_passed_on_before_the_first_content(
    content: TextPiece | ReasoningPiece | ToolCallPiece,
) -> None:
    """Usage and signatures wait for it."""
    stage = Stage()
    usage, signature = UsageReport(Usage(input_tokens=7)), SignaturePiece(0, b"s")
    act: Act = ([usage], 2.0, [signature], 2.0, [content], [Stopped("stop")])
    answer = await stage.answer(*stage.targets(ScriptedProvider("one", act)))
    assert answer.portions[0] == [Started("one", "m"), usage, signature, content]


@in_virtual_time
async def test_of_what_waits_for_the_first_content_totals_replace_each_other() -> None:
    """However often a provider counts before it says anything, only the last count is kept."""
    stage = Stage()
    counts: list[list[Piece]] = [
        [UsageReport(Usage(input_tokens=7, output_tokens=count))] for count in range(1000)
    ]
    one = ScriptedProvider("one", (*counts, *says("Hello")))
    answer = await stage.answer(*stage.targets(one))
    assert answer.portions[0] == [Started("one", "m"), *counts[-1], TextPiece(0, "Hello")]


@pytest.mark.parametrize("data", [b"s", b"s" * 100_000])
@in_virtual_time
async def test_only_so_much_waits_for_the_first_content(data: bytes) -> None:
    """More than 64 steps or 256 KiB are passed on, and a failure after that ends the call."""
    stage = Stage()
    signatures: list[list[Piece]] = [[SignaturePiece(0, data)] for _ in range(100)]
    one = ScriptedProvider("one", (*signatures, *fails(FailureKind.UNAVAILABLE)))
    two = ScriptedProvider("two", says("Hello"))
    with pytest.raises(UpstreamInterrupted):
        await stage.answer(*stage.targets(one, two))
    assert two.asks == []


@in_virtual_time
async def test_an_answer_without_content_is_an_answer() -> None:
    """A model may have nothing to say."""
    stage = Stage()
    answer = await stage.answer(*stage.targets(ScriptedProvider("one", ([Stopped("stop")],))))
    assert answer.started.provider == "one"
    assert answer.finished.first_token_seconds is None
    assert answer.finished.usage == Usage()


@in_virtual_time
async def test_an_answer_is_passed_on_while_it_is_made() -> None:
    """A caller sees the first piece before the second one exists."""
    stage = Stage()
    [target] = stage.targets(ScriptedProvider("one", ([TextPiece(0, "Hel")], 5.0, *says("lo"))))
    began = now()
    times = [now() - began async for _ in stage.steps(target)]
    assert times == pytest.approx([0.0, 5.0, 5.0])


@in_virtual_time
async def test_a_held_answer_comes_whole() -> None:
    """In one list."""
    stage = Stage()
    answer = await stage.answer(*stage.targets(ScriptedProvider("one", says("Hel", "lo"))), hold=True)
    [portion] = answer.portions
    assert portion[:-1] == [Started("one", "m"), TextPiece(0, "Hel"), TextPiece(0, "lo"), UsageReport(USAGE)]
    assert isinstance(portion[-1], Finished)


@pytest.mark.parametrize("size", [1024, 1025])
@in_virtual_time
async def test_a_held_answer_that_is_too_long_fails(size: int) -> None:
    """Text counts in bytes, with reasoning, arguments and signatures; one byte makes the difference."""
    stage = Stage(Chat(max_answer_bytes=1024))
    pieces: list[Piece] = [
        TextPiece(0, "é" * 256),
        ReasoningPiece(1, "r" * 256),
        ToolCallPiece(2, "id", "look", "a" * 128),
        SignaturePiece(2, b"s" * (size - 896)),
    ]
    one, two = ScriptedProvider("one", (pieces, [Stopped("stop")])), ScriptedProvider("two", says("no"))
    targets = stage.targets(one, two)
    if size <= 1024:
        assert (await stage.answer(*targets, hold=True)).steps[1:-1] == pieces
        return
    with pytest.raises(InvalidOutput, match="longer than 1024 bytes") as caught:
        await stage.answer(*targets, hold=True)
    assert caught.value.metadata["attempts"] == "one/m INVALID_OUTPUT"
    assert (two.asks, one.open) == ([], 0)
    assert stage.money.log[-1] == ("kept", "one/m")


@in_virtual_time
async def test_a_streamed_answer_may_be_of_any_length() -> None:
    """Nothing of it is kept here."""
    stage = Stage(Chat(max_answer_bytes=1024))
    answer = await stage.answer(*stage.targets(ScriptedProvider("one", says(*["x" * 1000] * 10))))
    assert len(answer.text) == 10_000


@in_virtual_time
async def test_made_up_ids_name_the_answer_and_the_call() -> None:
    """So they are unique within a conversation."""
    stage = Stage()
    provider = ScriptedProvider("one", says("x"))
    [target] = stage.targets(provider)
    await stage.answer(target)
    await stage.answer(target)
    assert provider.ids == ["call_r1_0", "call_r1_1"]


@in_virtual_time
async def test_the_context_length_of_the_call_reaches_the_provider() -> None:
    """With the conversation and the names."""
    stage = Stage()
    provider = ScriptedProvider("one", says("x"))
    await stage.answer(*stage.targets(provider), context_length=4096)
    [ask] = provider.asks
    assert (ask.provider, ask.upstream_model, ask.context_length) == ("one", "m", 4096)


@in_virtual_time
async def test_every_attempt_is_reported_with_what_it_used_and_cost() -> None:
    """What an answer used that broke off is what was said; what it cost is not known."""
    stage = Stage(Chat(max_retries=0))
    partial = Usage(input_tokens=7)
    one = ScriptedProvider("one", ([UsageReport(partial)], *fails(FailureKind.BROKEN_OFF)))
    two = ScriptedProvider("two", fails(FailureKind.UNAVAILABLE, status=503))
    three = ScriptedProvider("three", says("x"))
    finished = (await stage.answer(*stage.targets(one, two, three))).finished
    told = [
        (a.provider, a.upstream_model, a.reason, a.status, a.usage, a.cost_nano_usd)
        for a in finished.attempts
    ]
    assert told == [
        ("one", "m", "UPSTREAM_UNAVAILABLE", None, partial, None),
        ("two", "m", "UPSTREAM_UNAVAILABLE", 503, Usage(), 0),
        ("three", "m", "", None, USAGE, 20),
    ]
    assert (finished.usage, finished.cost_nano_usd, finished.reason) == (USAGE, 20, "stop")
    assert stage.money.log == [
        ("reserved", "one/m"),
        ("kept", "one/m"),
        ("reserved", "two/m"),
        ("returned", "two/m"),
        ("reserved", "three/m"),
        ("settled", "three/m"),
    ]
    assert finished.first_token_seconds is not None
    assert 0 <= finished.first_token_seconds <= finished.total_seconds
    assert finished.upstream_seconds >= 0.003


@pytest.mark.parametrize(
    ("act", "entry"),
    [
        ((Failure(FailureKind.UNAVAILABLE, "it failed", Told(reached=False)),), "returned"),
        (fails(FailureKind.UNAVAILABLE), "kept"),
        (fails(FailureKind.UNAVAILABLE, status=500), "returned"),
        (fails(FailureKind.TIMEOUT), "kept"),
        (([], *fails(FailureKind.UNAVAILABLE)), "kept"),
        (([Stopped("stop")],), "kept"),
    ],
    ids=["no connection", "closed without a word", "refused", "silent", "broken", "no usage"],
)
@in_virtual_time
async def test_money_is_given_back_when_it_is_certain_that_none_was_spent(act: Act, entry: str) -> None:
    """An error is for free, an answer that nobody saw the end of may not be."""
    stage = Stage(Chat(max_retries=0))
    [target] = stage.targets(ScriptedProvider("one", act))
    with suppress(UpstreamUnavailable, UpstreamInterrupted):
        await stage.answer(target)
    assert stage.money.log == [("reserved", "one/m"), (entry, "one/m")]


@in_virtual_time
async def test_the_observer_is_told_what_happens() -> None:
    """In order, with reasons."""
    stage = Stage(Chat(max_retries=1))
    one = ScriptedProvider("one", fails(FailureKind.UNAVAILABLE), fails(FailureKind.MALFORMED))
    await stage.answer(*stage.targets(one, ScriptedProvider("two", says("x"))))
    assert stage.watcher.log == [
        ("ended", "one/m", "UPSTREAM_UNAVAILABLE"),
        ("retried", "one/m", "UPSTREAM_UNAVAILABLE"),
        ("ended", "one/m", "UPSTREAM_UNAVAILABLE"),
        ("fell back", "one/m", "UPSTREAM_UNAVAILABLE"),
        ("first token", "two/m", ""),
        ("ended", "two/m", "OK"),
    ]


@pytest.mark.parametrize("hold", [True, False])
@in_virtual_time
async def test_an_answer_that_is_complete_in_time_is_not_spoiled_by_what_follows(hold: bool) -> None:
    """Reading a response to its end is for the next call, not for this one."""
    stage = Stage()
    provider = ScriptedProvider("one", ([TextPiece(0, "x"), Stopped("stop")], 10.0))
    answer = await stage.answer(*stage.targets(provider), total_seconds=5.0, hold=hold)
    assert answer.finished.reason == "stop"


@in_virtual_time
async def test_a_bug_is_not_reported_as_a_caller_who_left() -> None:
    """And the money that was put aside for the attempt does not stay there."""
    stage = Stage()
    provider = ScriptedProvider("one", says("x"))
    provider.acts.clear()
    with pytest.raises(IndexError):
        await stage.answer(*stage.targets(provider))
    assert stage.watcher.log == [("ended", "one/m", "INTERNAL")]
    assert stage.money.log == [("reserved", "one/m"), ("returned", "one/m")]


@in_virtual_time
async def test_of_totals_in_a_row_only_the_last_is_held() -> None:
    """They have no size, so a provider that tells them without an end must not fill the memory."""
    stage = Stage()
    totals: list[Piece] = [UsageReport(Usage(output_tokens=number)) for number in range(10)]
    one = ScriptedProvider("one", ([TextPiece(0, "Hello")], totals, [Stopped("stop")]))
    answer = await stage.answer(*stage.targets(one), hold=True)
    assert [step for step in answer.steps if isinstance(step, UsageReport)] == totals[-1:]
