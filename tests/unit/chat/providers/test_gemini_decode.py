from __future__ import annotations

import json
from typing import Any

import pytest

from services.chat.providers.gemini.dialect import GeminiDialect
from tests.support.replay import assert_reads_alike_however_cut, assert_whole_means_the_same
from tests.support.transcripts import Expected, Transcript, meaning, pieces_of, transcripts

DIALECT = GeminiDialect()
TRANSCRIPTS = transcripts("gemini")
NAMES = [str(transcript) for transcript in TRANSCRIPTS]


def read(*objects: dict[str, Any]) -> Expected:
    """Return what a stream of these objects means."""
    stream = b"".join(b"data: " + json.dumps(one).encode() + b"\r\n\r\n" for one in objects)
    return meaning(*pieces_of(DIALECT, [stream]))


def candidate(*parts: dict[str, Any], stop: str | None = None, **more: Any) -> dict[str, Any]:
    """Return an object with these parts."""
    one: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    return {"candidates": [one | ({"finishReason": stop} if stop else {})], **more}


def used(*, ended: bool = True, **counts: int) -> dict[str, Any]:
    """Return what an answer with this `usageMetadata` is said to have used."""
    stop = "STOP" if ended else None
    return read(candidate({"text": "Hi"}, stop=stop, usageMetadata=counts)).usage


def test_there_are_transcripts() -> None:
    """The tests below would hold for no transcripts at all."""
    assert len(TRANSCRIPTS) >= 20


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=NAMES)
def test_an_answer_reads_alike_however_it_is_cut(transcript: Transcript) -> None:
    """Every transcript means what its folder says, cut in two anywhere and in single bytes."""
    assert_reads_alike_however_cut(DIALECT, transcript)


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=NAMES)
def test_an_answer_in_one_piece_means_the_same(transcript: Transcript) -> None:
    """Parts, usage and end do not depend on whether the answer was streamed."""
    assert_whole_means_the_same(DIALECT, transcript)


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=NAMES)
def test_transcripts_are_small_and_framed_as_the_api_frames_them(transcript: Transcript) -> None:
    """They are cut at every byte, so their length counts twice; lines end with CR LF in all but one."""
    assert len(transcript.stream) < 1200
    assert (b"\r\n\r\n" in transcript.stream) != ("line_feeds" in str(transcript))


@pytest.mark.parametrize(
    ("reason", "meant"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        *(
            (reason, "content_filter")
            for reason in (
                "SAFETY",
                "RECITATION",
                "LANGUAGE",
                "BLOCKLIST",
                "PROHIBITED_CONTENT",
                "SPII",
                "IMAGE_SAFETY",
                "IMAGE_PROHIBITED_CONTENT",
                "IMAGE_RECITATION",
                "IMAGE_OTHER",
                "NO_IMAGE",
            )
        ),
    ],
)
def test_reasons_for_stopping_mean_what_the_table_says(reason: str, meant: str) -> None:
    """Those with which an answer can end, each by its name."""
    assert read(candidate({"text": "Hi"}, stop=reason)).stopped == meant


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("MALFORMED_FUNCTION_CALL", "malformed"),
        ("UNEXPECTED_TOOL_CALL", "malformed"),
        ("TOO_MANY_TOOL_CALLS", "malformed"),
        ("MALFORMED_RESPONSE", "malformed"),
        ("MISSING_THOUGHT_SIGNATURE", "not supported"),
        ("OTHER", "broken off"),
        ("SOMETHING_NEW", "broken off"),
    ],
)
def test_an_answer_that_ends_otherwise_is_no_success(reason: str, kind: str) -> None:
    """Also a reason that is not known: only `STOP` says that the model was done."""
    found = read(candidate({"text": "Hi"}, stop=reason))
    assert (found.stopped, found.failure) == ("", {"kind": kind, "code": reason})


def test_an_unspecified_reason_is_none() -> None:
    """It is the default of the field, and the answer goes on after it."""
    found = read(
        candidate({"text": "He"}, stop="FINISH_REASON_UNSPECIFIED"), candidate({"text": "y"}, stop="STOP")
    )
    assert (found.parts, found.stopped) == ([{"text": "Hey"}], "stop")


def test_a_blocked_prompt_fails_in_one_piece_as_it_does_in_a_stream() -> None:
    """There are no candidates then, only feedback."""
    body = json.dumps({"promptFeedback": {"blockReason": "SAFETY"}}).encode()
    found = meaning(*pieces_of(DIALECT, [body], streamed=False))
    assert found.failure == {"kind": "content filtered", "code": "SAFETY"}


def test_a_call_before_a_cut_off_end_is_not_taken_for_a_wish() -> None:
    """The reason of an answer that was cut off stays what it is."""
    call = {"functionCall": {"name": "now", "args": {}}}
    assert read(candidate(call), candidate(stop="MAX_TOKENS")).stopped == "length"


def test_text_after_a_signature_is_a_part_of_its_own() -> None:
    """A signature belongs to what came before it, and must not come to stand for more."""
    found = read(candidate({"text": "a", "thoughtSignature": "QQ=="}, {"text": "b"}, stop="STOP"))
    assert found.parts == [{"text": "a", "signature": "QQ=="}, {"text": "b"}]


def test_a_signature_after_a_signed_call_does_not_replace_its_own() -> None:
    """It is kept apart, for the model to see it again in its place."""
    call = {"functionCall": {"name": "now"}, "thoughtSignature": "QQ=="}
    found = read(candidate(call), candidate({"text": "", "thoughtSignature": "Qg=="}, stop="STOP"))
    assert [part["signature"] for part in found.parts] == ["QQ==", "Qg=="]


def test_a_thought_may_be_signed() -> None:
    """The signature goes with the thought, not with the text after it."""
    thought = {"text": "Hm.", "thought": True, "thoughtSignature": "QQ=="}
    found = read(candidate(thought, {"text": "Yes."}, stop="STOP"))
    assert found.parts == [{"reasoning": "Hm.", "signature": "QQ=="}, {"text": "Yes."}]


def test_empty_parts_leave_no_gap() -> None:
    """Empty texts and thoughts come at the ends of streams; they are no parts."""
    found = read(
        candidate({"text": "", "thought": True}, {"text": ""}), candidate({"text": "Hi"}, stop="STOP")
    )
    assert found.parts == [{"text": "Hi"}]


def test_ids_that_are_not_unique_are_replaced() -> None:
    """Two calls never share one."""
    call = {"functionCall": {"id": "same", "name": "now"}}
    found = read(candidate(call, call, stop="STOP"))
    assert [part["tool_call"]["id"] for part in found.parts] == ["same", "call_1"]


def test_thoughts_are_counted_as_output() -> None:
    """The API counts them apart from the rest of the answer."""
    counts = used(promptTokenCount=5, candidatesTokenCount=2, thoughtsTokenCount=40, totalTokenCount=47)
    assert counts == {"input_tokens": 5, "output_tokens": 42, "reasoning_tokens": 40}


def test_what_tools_of_the_provider_read_is_input() -> None:
    """The API counts it apart from the prompt; cached tokens are in the prompt."""
    counts = used(
        promptTokenCount=5, toolUsePromptTokenCount=7, cachedContentTokenCount=4, candidatesTokenCount=1
    )
    assert counts == {"input_tokens": 12, "output_tokens": 1, "cached_input_tokens": 4}


def test_an_output_that_is_not_counted_follows_from_the_total_once_all_is_said() -> None:
    """A number that is 0 is left out; before the end it may also not be known yet."""
    assert used(promptTokenCount=5, totalTokenCount=5) == {"input_tokens": 5, "output_tokens": 0}
    assert used(ended=False, promptTokenCount=5, totalTokenCount=5) == {"input_tokens": 5}
    assert used(promptTokenCount=5) == {"input_tokens": 5}


def test_totals_replace_those_before_one_by_one() -> None:
    """A later object that leaves out what did not change takes nothing back."""
    found = read(
        candidate(
            {"text": "Hm.", "thought": True}, usageMetadata={"promptTokenCount": 5, "thoughtsTokenCount": 9}
        ),
        candidate(
            {"text": "Hi"}, stop="STOP", usageMetadata={"promptTokenCount": 5, "candidatesTokenCount": 1}
        ),
    )
    assert found.usage == {"input_tokens": 5, "output_tokens": 10, "reasoning_tokens": 9}


@pytest.mark.parametrize(
    "data",
    [
        {"candidates": {}},
        {"candidates": [1]},
        {"candidates": [{"content": {"parts": {}}}]},
        {"candidates": [{"content": {"parts": [{"text": 1}]}}]},
        {"candidates": [{"content": {"parts": [{"functionCall": {"args": {}}}]}}]},
        {"candidates": [{"content": {"parts": [{"functionCall": {"name": "now", "args": [1]}}]}}]},
    ],
)
def test_what_is_not_of_the_apis_shape_is_malformed(data: dict[str, Any]) -> None:
    """It fails as that, and never with an error of ours."""
    assert read(data).failure["kind"] == "malformed"
