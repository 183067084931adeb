"""An answer that was asked for in a format has it, or there is no answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.chassis.errors import CallError
from services.chat.answer import (
    FinishReason,
    Piece,
    ReasoningPiece,
    SignaturePiece,
    Stopped,
    TextPiece,
    ToolCallPiece,
)
from services.chat.conversation import Conversation, ResponseFormat, Text
from services.chat.errors import ContentRejected, InvalidOutput, UpstreamUnavailable
from services.chat.providers.facts import Facts
from services.chat.providers.failure import FailureKind
from services.config import Chat
from tests.unit.chat.answering.scripted import QUESTION, Act, ScriptedProvider, Stage, fails, says

SCHEMA = {"type": "object", "properties": {"size": {"type": "integer"}}, "required": ["size"]}
AS_JSON = replace(QUESTION, response_format=ResponseFormat("json"))
BY_SCHEMA = replace(QUESTION, response_format=ResponseFormat("json_schema", schema=SCHEMA))


def ends(text: str, reason: FinishReason) -> Act:
    """Say something and end for this reason."""
    return ([TextPiece(0, text)], [Stopped(reason)])


@pytest.mark.parametrize(("conversation", "text"), [(AS_JSON, "[1]"), (BY_SCHEMA, '{"size": 3}')])
async def test_an_answer_that_fits_is_passed_on_whole(conversation: Conversation, text: str) -> None:
    """Only when it is complete is it known to fit."""
    stage = Stage()
    [target] = stage.targets(ScriptedProvider("one", says(*text)))
    answer = await stage.answer(target, conversation=conversation)
    assert (answer.text, len(answer.portions)) == (text, 1)
    assert stage.watcher.log[-1] == ("ended", "one/m", "OK")


@pytest.mark.parametrize("bad", ["no", '{"size": "large"}', ""])
async def test_a_model_is_shown_what_is_wrong_and_asked_again(bad: str) -> None:
    """The attempt that did not fit is reported as such."""
    stage = Stage()
    provider = ScriptedProvider("one", says(bad), says('{"size": 3}'))
    [target] = stage.targets(provider)
    answer = await stage.answer(target, conversation=BY_SCHEMA)
    assert answer.text == '{"size": 3}'
    assert [report.reason for report in answer.finished.attempts] == ["INVALID_OUTPUT", ""]
    assert answer.finished.attempts[0].cost_nano_usd == 20
    first, second = (ask.conversation.messages for ask in provider.asks)
    assert second[: len(first)] == first
    [part] = second[-1].parts
    assert isinstance(part, Text)
    assert "Answer again" in part.text


async def test_an_answer_that_never_fits_is_an_error_and_not_an_answer() -> None:
    """It names the place but not what the model wrote; no other target is asked."""
    stage = Stage(Chat(max_repairs=2))
    one, two = (
        ScriptedProvider("one", says('{"size": "secret"}')),
        ScriptedProvider("two", says('{"size": 3}')),
    )
    with pytest.raises(InvalidOutput, match=r"one/m: .*\$\.size") as caught:
        await stage.answer(*stage.targets(one, two), conversation=BY_SCHEMA)
    assert "secret" not in str(caught.value)
    assert caught.value.metadata["attempts"] == "; ".join(["one/m INVALID_OUTPUT"] * 3)
    assert (len(one.asks), two.asks) == (3, [])


async def test_repairs_count_as_attempts() -> None:
    """So that there are never more than allowed."""
    stage = Stage(Chat(max_attempts=2, max_repairs=5))
    provider = ScriptedProvider("one", says("no"))
    with pytest.raises(InvalidOutput):
        await stage.answer(*stage.targets(provider), conversation=AS_JSON)
    assert len(provider.asks) == 2


async def test_a_repair_that_fails_is_tried_again_and_then_left_to_another_target() -> None:
    """The other target is asked what the caller asked."""
    stage = Stage(Chat(max_retries=1, backoff_seconds=0.001))
    down = fails(FailureKind.UNAVAILABLE)
    one, two = ScriptedProvider("one", says("no"), down, down), ScriptedProvider("two", says("[1]"))
    answer = await stage.answer(*stage.targets(one, two), conversation=AS_JSON)
    assert answer.text == "[1]"
    assert one.asks[1].conversation == one.asks[2].conversation != one.asks[0].conversation
    assert two.asks[0].conversation == AS_JSON


async def test_a_failed_repair_does_not_turn_a_misfit_into_an_answer() -> None:
    """Without another target, the call fails with what failed."""
    stage = Stage(Chat(max_retries=0))
    provider = ScriptedProvider("one", says("no"), fails(FailureKind.UNAVAILABLE))
    with pytest.raises(UpstreamUnavailable) as caught:
        await stage.answer(*stage.targets(provider), conversation=AS_JSON)
    assert caught.value.metadata["attempts"] == "one/m INVALID_OUTPUT; one/m UPSTREAM_UNAVAILABLE"


@pytest.mark.parametrize(
    ("text", "reason", "error", "told"),
    [
        ("[1", "length", InvalidOutput, "max_output_tokens"),
        ("12", "length", InvalidOutput, "max_output_tokens"),
        ("I cannot", "content_filter", ContentRejected, "refuses to answer"),
    ],
)
async def test_an_answer_that_was_cut_off_or_refused_is_not_repaired(
    text: str, reason: FinishReason, error: type[CallError], told: str
) -> None:
    """It would end the same way again. A number that was cut off is still a number, but not the right one."""
    stage = Stage()
    provider = ScriptedProvider("one", ends(text, reason))
    with pytest.raises(error, match=told):
        await stage.answer(*stage.targets(provider), conversation=AS_JSON)
    assert len(provider.asks) == 1


async def test_tool_calls_have_no_format_yet() -> None:
    """The text beside them is not the last word."""
    stage = Stage()
    call = ToolCallPiece(1, "id", "look", "{}")
    act: Act = ([TextPiece(0, "Let me look."), call], [Stopped("tool_calls")])
    answer = await stage.answer(*stage.targets(ScriptedProvider("one", act)), conversation=AS_JSON)
    assert answer.steps[1:-1] == [TextPiece(0, "Let me look."), call]


async def test_a_fence_around_the_answer_is_taken_away() -> None:
    """What is passed on is JSON; everything else of the answer stays as it was."""
    stage = Stage()
    rest: list[Piece] = [ReasoningPiece(0, "hm"), SignaturePiece(1, b"s")]
    act: Act = ([rest[0], TextPiece(1, "```json\n[")], [TextPiece(1, "1]\n```"), rest[1]], [Stopped("stop")])
    answer = await stage.answer(*stage.targets(ScriptedProvider("one", act)), conversation=AS_JSON)
    assert answer.steps[1:-1] == [rest[0], TextPiece(1, "[1]"), rest[1]]


async def test_a_target_that_cannot_be_held_to_a_format_is_told_in_words() -> None:
    """And its answer is checked all the same."""
    stage = Stage()
    provider = ScriptedProvider(
        "one", says("[1]"), says('{"size": 3}'), facts=Facts(json_schema=False, json=False)
    )
    answer = await stage.answer(*stage.targets(provider), conversation=BY_SCHEMA)
    assert answer.text == '{"size": 3}'
    assert [ask.conversation.response_format.kind for ask in provider.asks] == ["text", "text"]
