from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from services.chat.providers.composer import Composer
from services.chat.providers.failure import Failure, FailureKind

REASONS: list[FinishReason] = ["stop", "length", "tool_calls", "content_filter"]

Step = Callable[[Composer], None]


def composer() -> Composer:
    """Return a composer that numbers tool calls without an id."""
    return Composer(lambda number: f"call_{number}")


def finished(*steps: Step, reason: FinishReason = "stop") -> list[Piece]:
    """Return the pieces of an answer that these steps make."""
    made = composer()
    for step in steps:
        step(made)
    made.stop(reason)
    return made.take() + made.finish()


def call(
    key: Hashable = 0, identity: str = "", name: str = "now", arguments: str = "{}"
) -> Callable[[Composer], None]:
    """Return the step that begins a tool call."""
    return lambda made: made.tool_call(key, identity=identity, name=name, arguments=arguments)


def test_parts_of_one_kind_and_key_are_one() -> None:
    """Another kind or key in between begins a new one."""
    assert finished(
        lambda made: made.reasoning("a"),
        lambda made: made.reasoning("b"),
        lambda made: made.text("c"),
        lambda made: made.text("d", 1),
        lambda made: made.reasoning("e"),
    ) == [
        ReasoningPiece(0, "a"),
        ReasoningPiece(0, "b"),
        TextPiece(1, "c"),
        TextPiece(2, "d"),
        ReasoningPiece(3, "e"),
        Stopped("stop"),
    ]


def test_empty_text_is_nothing() -> None:
    """It begins no part and is no content."""
    made = composer()
    made.text("")
    made.reasoning("")
    assert (made.take(), made.has_content) == ([], False)


def test_a_part_that_never_says_anything_has_no_place() -> None:
    """So positions have no gaps."""
    assert finished(lambda made: made.reasoning(""), lambda made: made.text("a"))[0] == TextPiece(0, "a")


def test_a_signature_belongs_to_what_came_last() -> None:
    """To a part without text, if that was begun; to one of its own, if there is nothing."""
    made = composer()
    made.sign(b"alone")
    made.text("a")
    made.sign(b"text")
    made.reasoning("", "secret")
    made.sign(b"thought")
    assert made.take() == [
        SignaturePiece(0, b"alone"),
        TextPiece(1, "a"),
        SignaturePiece(1, b"text"),
        SignaturePiece(2, b"thought"),
    ]


@pytest.mark.parametrize("step", [lambda made: made.sign(b"x"), lambda made: made.report(Usage(1, 1))])
def test_signatures_and_usage_are_no_content(step: Step) -> None:
    """Nobody has been told anything yet."""
    made = composer()
    step(made)
    assert not made.has_content


def test_arguments_go_to_their_own_call() -> None:
    """Calls may grow in turns; id and name are told once."""
    assert finished(
        call("a", "one", arguments='{"x"'),
        call("b", "two", arguments=""),
        lambda made: made.tool_call("a", identity="one", name="now", arguments=":1}"),
        lambda made: made.tool_call("b", arguments=""),
    ) == [
        ToolCallPiece(0, "one", "now", '{"x"'),
        ToolCallPiece(1, "two", "now", ""),
        ToolCallPiece(0, "", "", ":1}"),
        ToolCallPiece(1, "", "", "{}"),
        Stopped("tool_calls"),
    ]


@pytest.mark.parametrize(
    ("given_ids", "ids"),
    [
        (("", ""), ["call_0", "call_1"]),
        (("same", "same"), ["same", "call_1"]),
        (("call_1", ""), ["call_1", "call_2"]),
        (("", "call_0"), ["call_0", "call_1"]),
    ],
)
def test_every_call_has_an_id_of_its_own(given_ids: tuple[str, ...], ids: list[str]) -> None:
    """The provider's, if it gave one that is not taken."""
    pieces = finished(*(call(number, identity) for number, identity in enumerate(given_ids)))
    assert [piece.id for piece in pieces if isinstance(piece, ToolCallPiece)] == ids


def test_halves_of_characters_are_replaced() -> None:
    """JSON can hold them, and nothing that is sent on can."""
    assert finished(lambda made: made.text("a\ud83e"), call(arguments='{"\ud800":1}'))[:2] == [
        TextPiece(0, "a?"),
        ToolCallPiece(1, "call_0", "now", '{"?":1}'),
    ]


def test_a_composer_is_closed_when_it_is_told_to_be() -> None:
    """Stopping alone does not do it: usage may follow."""
    made = composer()
    made.stop("stop")
    assert not made.closed
    made.close()
    assert made.closed


def test_a_call_without_a_name_is_malformed() -> None:
    """There would be nothing to call."""
    with pytest.raises(Failure) as caught:
        composer().tool_call(0, identity="a", arguments="{}")
    assert caught.value.kind is FailureKind.MALFORMED


@pytest.mark.parametrize("arguments", ["[]", "1", '{"a"', "{}{}", "null", "[" * 100_000, "{'a': 1}"])
def test_arguments_must_be_one_json_object(arguments: str) -> None:
    """Unless the answer was cut off or filtered in the middle of them."""
    with pytest.raises(Failure) as caught:
        finished(call(arguments=arguments))
    assert caught.value.kind is FailureKind.MALFORMED
    assert finished(call(arguments=arguments), reason="length")[-1] == Stopped("length")
    assert finished(call(arguments=arguments), reason="content_filter")[-1] == Stopped("content_filter")


@pytest.mark.parametrize(
    ("reason", "with_calls", "without"),
    [
        ("stop", "tool_calls", "stop"),
        ("tool_calls", "tool_calls", "stop"),
        ("length", "length", "length"),
        ("content_filter", "content_filter", "content_filter"),
    ],
)
def test_an_answer_ends_with_tool_calls_if_it_has_some(
    reason: FinishReason, with_calls: FinishReason, without: FinishReason
) -> None:
    """Whatever the provider calls it, unless it was cut off or filtered."""
    assert finished(call(), lambda made: made.text("x"), reason=reason)[-1] == Stopped(with_calls)
    assert finished(reason=reason)[-1] == Stopped(without)


def test_the_first_reason_for_stopping_holds() -> None:
    """What a provider says after it is not heard."""
    made = composer()
    made.stop("length")
    made.stop("stop")
    assert made.finish() == [Stopped("length")]


def test_an_answer_that_never_stopped_is_broken_off() -> None:
    """Truncation is never passed off as success."""
    made = composer()
    made.text("a")
    with pytest.raises(Failure) as caught:
        made.finish()
    assert caught.value.kind is FailureKind.BROKEN_OFF


def test_usage_is_the_last_total_and_keeps_what_is_no_longer_said() -> None:
    """It is told when it changes, and not otherwise."""
    made = composer()
    made.report(Usage())
    made.report(Usage(input_tokens=9, output_tokens=1, charged_usd=Decimal("0.1")))
    made.report(Usage(output_tokens=1))
    made.report(Usage(output_tokens=5, reasoning_tokens=0))
    assert made.take() == [
        UsageReport(Usage(9, 1, charged_usd=Decimal("0.1"))),
        UsageReport(Usage(9, 5, reasoning_tokens=0, charged_usd=Decimal("0.1"))),
    ]


TEXTS = st.text(max_size=3)
KEYS = st.integers(0, 3)
STEPS = st.one_of(
    st.builds(lambda text, key: lambda made: made.text(text, key), TEXTS, KEYS),
    st.builds(lambda text, key: lambda made: made.reasoning(text, key), TEXTS, KEYS),
    st.builds(lambda data: lambda made: made.sign(data), st.binary(max_size=3)),
    st.builds(call, KEYS, st.sampled_from(["", "a", "call_0", "call_1", "call_2"]), st.just("now"), TEXTS),
    st.builds(lambda tokens: lambda made: made.report(Usage(output_tokens=tokens)), KEYS),
    st.builds(lambda reason: lambda made: made.stop(reason), st.sampled_from(REASONS)),
)


@given(st.lists(STEPS, max_size=12), st.sampled_from(REASONS))
def test_whatever_a_provider_sends_the_pieces_obey(steps: list[Step], reason: FinishReason) -> None:
    """Places are in order without gaps, parts have one kind, ids are unique, and the end is the end."""
    try:
        pieces = finished(*steps, reason=reason)
    except Failure:
        return  # arguments that are no object: see above
    kinds: dict[int, str] = {}
    arguments: dict[int, str] = {}
    ids: list[str] = []
    for piece in pieces[:-1]:
        assert not isinstance(piece, Stopped)
        if isinstance(piece, UsageReport):
            continue
        assert piece.part <= len(kinds), "a place was left out"
        if isinstance(piece, SignaturePiece):
            kinds.setdefault(piece.part, "ReasoningPiece")
            continue
        assert kinds.setdefault(piece.part, type(piece).__name__) == type(piece).__name__
        if isinstance(piece, ToolCallPiece):
            assert bool(piece.id) == bool(piece.name) == (piece.part not in arguments)
            ids += [piece.id] if piece.id else []
            arguments[piece.part] = arguments.get(piece.part, "") + piece.arguments
        else:
            assert piece.text
    assert len(ids) == len(set(ids)) == len(arguments)
    last = pieces[-1]
    assert isinstance(last, Stopped)
    if last.reason in ("stop", "tool_calls"):
        assert (last.reason == "tool_calls") == bool(arguments)
        assert all(isinstance(json.loads(text), dict) for text in arguments.values())
