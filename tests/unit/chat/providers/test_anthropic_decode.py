from __future__ import annotations

import json
from typing import Any

import pytest

from services.chat.providers.anthropic.dialect import AnthropicDialect
from services.chat.providers.failure import FailureKind
from tests.support.replay import assert_reads_alike_however_cut, assert_whole_means_the_same
from tests.support.transcripts import Expected, Transcript, meaning, pieces_of, transcripts

DIALECT = AnthropicDialect()
TRANSCRIPTS = transcripts("anthropic")
NAMES = [str(transcript) for transcript in TRANSCRIPTS]


def stream(*events: dict[str, Any]) -> bytes:
    """Return events as the API frames them, without naming them."""
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def read(*events: dict[str, Any]) -> Expected:
    """Return what a stream of these events means."""
    return meaning(*pieces_of(DIALECT, [stream(*events)]))


def began(index: int, **block: Any) -> dict[str, Any]:
    """Return the event with which a block begins."""
    return {"type": "content_block_start", "index": index, "content_block": block}


def went_on(index: int, **delta: Any) -> dict[str, Any]:
    """Return the event with which a block goes on."""
    return {"type": "content_block_delta", "index": index, "delta": delta}


def stopped(reason: str | None) -> list[dict[str, Any]]:
    """Return the events with which a message ends."""
    delta = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 1}}
    return [delta, {"type": "message_stop"}]


def test_there_are_transcripts() -> None:
    """The tests below would hold for no transcripts at all."""
    assert len(TRANSCRIPTS) >= 15


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=NAMES)
def test_an_answer_reads_alike_however_it_is_cut(transcript: Transcript) -> None:
    """Every transcript means what its folder says, cut in two anywhere and in single bytes."""
    assert_reads_alike_however_cut(DIALECT, transcript)


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=NAMES)
def test_an_answer_in_one_piece_means_the_same(transcript: Transcript) -> None:
    """Parts, usage and end do not depend on whether the answer was streamed."""
    assert_whole_means_the_same(DIALECT, transcript)


@pytest.mark.parametrize(
    ("reason", "meant"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("tool_use", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_reasons_for_stopping_mean_what_the_table_says(reason: str, meant: str) -> None:
    """All that are documented are known; a new one ends the answer and does not fail it."""
    assert read(*stopped(reason)).stopped == meant


def test_an_answer_whose_message_stop_is_missing_is_broken_off() -> None:
    """A reason for stopping is not yet the end: `message_stop` is."""
    assert read(stopped("end_turn")[0]).failure["kind"] == FailureKind.BROKEN_OFF


def test_an_answer_that_stops_for_no_reason_is_broken_off() -> None:
    """`message_stop` without any reason before it says nothing."""
    assert read(*stopped(None)).failure["kind"] == FailureKind.BROKEN_OFF


def test_what_follows_the_end_is_not_heard() -> None:
    """Neither text nor an error after `message_stop` changes the answer."""
    events = [*stopped("end_turn"), began(0, type="text", text="more"), {"type": "error", "error": {}}]
    assert read(*events) == Expected([], "stop", {"output_tokens": 1})


def test_blocks_that_alternate_keep_their_own_arguments() -> None:
    """Deltas belong to the block that they name, not to the last one."""
    events = [
        began(0, type="tool_use", id="a", name="one", input={}),
        began(1, type="tool_use", id="b", name="two", input={}),
        went_on(0, type="input_json_delta", partial_json='{"x"'),
        went_on(1, type="input_json_delta", partial_json="{}"),
        went_on(0, type="input_json_delta", partial_json=":1}"),
    ]
    calls = [part["tool_call"] for part in read(*events, *stopped("tool_use")).parts]
    assert [(call["id"], call["arguments"]) for call in calls] == [("a", '{"x":1}'), ("b", "{}")]


def test_input_of_a_tool_that_the_provider_runs_is_not_ours() -> None:
    """A `server_tool_use` block streams its input like a tool call, and is none."""
    events = [
        began(0, type="server_tool_use", id="srvtoolu_1", name="web_search", input={}),
        went_on(0, type="input_json_delta", partial_json='{"query"'),
        {"type": "content_block_stop", "index": 0},
        began(1, type="text", text="Found."),
    ]
    assert read(*events, *stopped("end_turn")).parts == [{"text": "Found."}]


def test_a_signature_belongs_to_its_own_block() -> None:
    """Also if the thoughts are kept secret and follow something else, or another block began meanwhile."""
    events = [
        began(0, type="text", text="Hm."),
        began(1, type="thinking", thinking="", signature=""),
        went_on(1, type="signature_delta", signature="abc="),
        {"type": "content_block_stop", "index": 1},
    ]
    thought = {"reasoning": "", "signature": "thinking:abc="}
    assert read(*events, *stopped("end_turn")).parts == [{"text": "Hm."}, thought]
    late = [events[1], events[0], *events[2:]]
    assert read(*late, *stopped("end_turn")).parts == [{"text": "Hm."}, thought]


def test_a_reason_for_stopping_holds_until_there_is_another() -> None:
    """A later `message_delta` may be about usage alone."""
    [delta, stop] = stopped("max_tokens")
    assert read(delta, {"type": "message_delta", "delta": {}, "usage": {}}, stop).stopped == "length"


def test_two_text_blocks_are_two_parts() -> None:
    """Blocks that follow each other are not run together."""
    events = [began(0, type="text", text="One."), began(1, type="text", text="Two.")]
    assert read(*events, *stopped("end_turn")).parts == [{"text": "One."}, {"text": "Two."}]


@pytest.mark.parametrize(
    "event",
    [
        went_on(0, type="text_delta", text="x"),
        {"type": "content_block_start", "content_block": {"type": "text", "text": "x"}},
        {"type": "content_block_start", "index": "0", "content_block": {"type": "text"}},
        {"type": "content_block_start", "index": True, "content_block": {"type": "text"}},
        {"type": "content_block_start", "index": 0, "content_block": []},
        {"type": "message_delta"},
        {"type": "message_start", "message": None},
        began(0, type="tool_use", id="a"),
    ],
)
def test_events_that_lack_what_they_are_about_are_malformed(event: dict[str, Any]) -> None:
    """They are a failure with a kind, never an exception of Python's."""
    assert read(event, *stopped("end_turn")).failure == {"kind": "malformed"}


def test_arguments_that_are_no_json_object_are_malformed() -> None:
    """A tool call that is complete has arguments that can be read."""
    events = [
        began(0, type="tool_use", id="a", name="one", input={}),
        went_on(0, type="input_json_delta", partial_json="[1]"),
    ]
    assert read(*events, *stopped("tool_use")).failure == {"kind": "malformed"}


@pytest.mark.parametrize(
    "usage",
    [None, [], {"input_tokens": "7"}, {"input_tokens": -1}, {"input_tokens": True}, {"output_tokens": None}],
)
def test_usage_that_is_nonsense_is_unknown(usage: Any) -> None:
    """Nothing is guessed, and nothing fails because of it."""
    start = {"type": "message_start", "message": {"usage": usage}}
    assert read(start, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}).usage == {}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"type": "error", "error": {"type": "overloaded_error"}}', FailureKind.UNAVAILABLE),
        (b'{"type": "message"}', FailureKind.MALFORMED),
        (b'{"type": "message", "content": ["x"], "stop_reason": "end_turn"}', FailureKind.MALFORMED),
        (b'{"type": "message", "content": [], "stop_reason": null}', FailureKind.BROKEN_OFF),
        (b"[]", FailureKind.MALFORMED),
        (b"<html>", FailureKind.MALFORMED),
    ],
)
def test_an_answer_in_one_piece_that_is_none_fails(body: bytes, kind: FailureKind) -> None:
    """An error inside of a response that began well, and what cannot be understood."""
    _, failure = pieces_of(DIALECT, [body], streamed=False)
    assert failure is not None
    assert failure.kind == kind
