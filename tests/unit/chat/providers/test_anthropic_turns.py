from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from services.chat.answer import SignaturePiece
from services.chat.conversation import (
    Conversation,
    Image,
    Message,
    Part,
    Reasoning,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from services.chat.providers.anthropic.dialect import AnthropicDialect
from services.chat.providers.dialect import Ask
from services.chat.providers.failure import Failure, FailureKind
from tests.support.anthropic_requests import BUDGETED, HELLO, NOW, PROVIDER, WEATHER, encoded, refusal
from tests.support.transcripts import Transcript, pieces_of, transcripts


def user(*parts: Part) -> Message:
    """Return a turn of the user's."""
    return Message("user", parts)


def assistant(*parts: Part) -> Message:
    """Return a turn of the assistant's."""
    return Message("assistant", parts)


def result(identity: str, content: str, *, is_error: bool = False) -> Message:
    """Return a turn with the result of one tool call."""
    return Message("tool", (ToolResult(identity, "get_weather", content, is_error),))


def test_instructions_go_to_the_top() -> None:
    """All of them, joined, and no turn has the role `system`."""
    body = encoded(
        Message("system", (Text("Be brief."), Text("Be kind."))), HELLO, Message("system", (Text("Rhyme."),))
    )
    assert body["system"] == "Be brief.\n\nBe kind.\n\nRhyme."
    assert [turn["role"] for turn in body["messages"]] == ["user"]


def test_turns_of_one_role_in_a_row_become_one() -> None:
    """In their order; user and assistant then alternate."""
    body = encoded(
        user(Text("a")), user(Text("b")), assistant(Text("c")), assistant(Text("d")), user(Text("e"))
    )
    assert [[block["text"] for block in turn["content"]] for turn in body["messages"]] == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]


def test_tool_results_are_one_turn_of_the_user_and_come_first() -> None:
    """However many turns they were, and even if the user said something in between."""
    body = encoded(
        HELLO,
        assistant(
            ToolCall("t1", "get_weather", '{"city":"Rome"}'), ToolCall("t2", "get_weather", '{"city":"Oslo"}')
        ),
        result("t1", "sunny"),
        user(Text("Well?")),
        result("t2", "no such city", is_error=True),
        tools=(WEATHER,),
    )
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Rome"}},
                {"type": "tool_use", "id": "t2", "name": "get_weather", "input": {"city": "Oslo"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"},
                {"type": "tool_result", "tool_use_id": "t2", "content": "no such city", "is_error": True},
                {"type": "text", "text": "Well?"},
            ],
        },
    ]


def test_a_result_without_content_has_none() -> None:
    """The API refuses empty texts, and takes a result without any."""
    body = encoded(HELLO, assistant(ToolCall("t1", "now", "{}")), result("t1", ""), tools=(NOW,))
    assert body["messages"][-1]["content"] == [{"type": "tool_result", "tool_use_id": "t1"}]


def test_ids_that_the_api_would_refuse_are_replaced_alike_everywhere() -> None:
    """Another provider may have made them; call and result still find each other, and no two meet."""
    first, second = "functions.now:0", "functions.now:1"
    calls = assistant(ToolCall(first, "now", "{}"), ToolCall(second, "now", "{}"))
    body = encoded(HELLO, calls, result(first, "1"), result(second, "2"), tools=(NOW,))
    asked = [block["id"] for block in body["messages"][1]["content"]]
    assert asked == [block["tool_use_id"] for block in body["messages"][2]["content"]]
    assert len({*asked, first, second}) == 4
    assert all(one.replace("_", "").isalnum() for one in asked)


def test_images_are_sent_or_named() -> None:
    """Bytes as base64 with their media type, addresses as they are."""
    body = encoded(user(Image("image/png", b"\x89PNG"), Image("", url="https://example.org/a.png")))
    assert [block["source"] for block in body["messages"][0]["content"]] == [
        {"type": "base64", "media_type": "image/png", "data": "iVBORw=="},
        {"type": "url", "url": "https://example.org/a.png"},
    ]


def test_images_of_other_kinds_are_not_supported() -> None:
    """Another target may know them."""
    assert refusal(user(Image("image/tiff", b"II*"))).kind is FailureKind.NOT_SUPPORTED


@pytest.mark.parametrize("messages", [(), (Message("system", (Text("x"),)),), (HELLO, assistant(Text("I")))])
def test_the_models_words_are_never_put_into_its_mouth(messages: tuple[Message, ...]) -> None:
    """A conversation that does not end with the user or a tool would be continued, not answered."""
    with pytest.raises(Failure) as caught:
        AnthropicDialect().encode(Ask(Conversation(messages=messages), PROVIDER, BUDGETED))
    assert caught.value.kind is FailureKind.NOT_SUPPORTED


def test_blank_texts_of_the_assistant_are_left_out() -> None:
    """Models write them around tool calls, and the API refuses to read them again; the user's are kept."""
    turn = assistant(Text("\n\n"), ToolCall("t1", "now", "{}"))
    body = encoded(user(Text(" ")), turn, result("t1", "1"), tools=(NOW,))
    assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_use"]
    assert body["messages"][0]["content"] == [{"type": "text", "text": " "}]


@pytest.mark.parametrize(
    "signature",
    [
        None,
        Signature("another", b"thinking:abc"),
        Signature(PROVIDER, b"abc"),
        Signature(PROVIDER, b""),
        Signature(PROVIDER, b"thinking:\xff"),
    ],
)
def test_thoughts_that_this_provider_did_not_sign_are_dropped(signature: Signature | None) -> None:
    """The API refuses them; a turn that held nothing else is dropped with them."""
    body = encoded(HELLO, assistant(Reasoning("Hm.", signature)), user(Text("Well?")))
    assert [[block["text"] for block in turn["content"]] for turn in body["messages"]] == [["Hello", "Well?"]]


SIGNED = [one for one in transcripts("anthropic") if "reasoning" in str(one)]


@pytest.mark.parametrize("transcript", SIGNED, ids=map(str, SIGNED))
def test_thoughts_go_back_as_they_came(transcript: Transcript) -> None:
    """What the API sent is what it is sent, block for block, with what came after it."""
    pieces, _ = pieces_of(AnthropicDialect(), [transcript.stream])
    signatures = {piece.part: piece.data for piece in pieces if isinstance(piece, SignaturePiece)}
    parts: list[Part] = []
    for position, part in enumerate(transcript.expected.parts):
        if "reasoning" in part:
            parts.append(Reasoning(part["reasoning"], Signature(PROVIDER, signatures[position])))
        else:
            parts.append(Text(part["text"]))
    body = encoded(HELLO, assistant(*parts), user(Text("Why?")))
    assert transcript.whole is not None
    sent = TypeAdapter(dict[str, Any]).validate_json(transcript.whole)["content"]
    assert body["messages"][1]["content"] == sent
