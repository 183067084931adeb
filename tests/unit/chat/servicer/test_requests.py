from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from inglenook.chat.v1 import ChatRequest, CompleteRequest

from services.chassis.errors import InvalidRequest
from services.chat.conversation import (
    Conversation,
    Image,
    Message,
    Reasoning,
    Sampling,
    Signature,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from services.chat.servicer import requests
from services.chat.servicer.requests import read_conversation

HELLO = {"role": "ROLE_USER", "parts": [{"text": "Hello"}]}


def request(**fields: Any) -> ChatRequest:
    """Return a request with these fields, and one turn unless they say otherwise."""
    return json_format.ParseDict({"messages": [HELLO], **fields}, ChatRequest())


def refused(**fields: Any) -> dict[str, str]:
    """Return the fields that are refused, and why."""
    with pytest.raises(InvalidRequest) as caught:
        read_conversation(request(**fields))
    return dict(caught.value.violations)


def turn(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """Return a turn in protobuf's JSON."""
    return {"role": f"ROLE_{role.upper()}", "parts": list(parts)}


CALL = {"toolCall": {"id": "call_1", "name": "weather", "arguments": '{"city": "Ulm"}'}}
RESULT = {"toolResult": {"toolCallId": "call_1", "content": "rain"}}


def test_least_request_leaves_everything_to_the_model() -> None:
    """What a request does not say stays unsaid; no default of ours is sent upstream."""
    read = read_conversation(request())
    assert read == Conversation(messages=(Message("user", (Text("Hello"),)),))
    assert read.sampling == Sampling()


def test_both_methods_are_read_alike() -> None:
    """CompleteRequest has the same fields with the same numbers, so the same bytes mean the same."""
    content = request(temperature=0.5, stop=["END"]).SerializeToString()
    assert read_conversation(CompleteRequest.FromString(content)) == read_conversation(
        ChatRequest.FromString(content)
    )


def test_tool_conversation_is_read_with_names_and_signatures() -> None:
    """Results know the name of their tool, and opaque state stays with its part."""
    signed = {**CALL, "signature": {"provider": "gemini", "data": "c2lnbmVk"}}
    thought = {"reasoning": {"text": "hm"}, "signature": {"provider": "anthropic", "data": "eA=="}}
    read = read_conversation(
        request(
            messages=[
                turn("system", {"text": "Be brief."}),
                HELLO,
                turn("assistant", thought, {"text": ""}, signed),
                turn("tool", RESULT),
            ]
        )
    )
    assert read.messages[2] == Message(
        "assistant",
        (
            Reasoning("hm", Signature("anthropic", b"x")),
            ToolCall("call_1", "weather", '{"city": "Ulm"}', Signature("gemini", b"signed")),
        ),
    )
    assert read.messages[3] == Message("tool", (ToolResult("call_1", "weather", "rain"),))


def test_numbers_arrive_as_they_were_meant() -> None:
    """The wire has floats of 32 bits; 0.7 must not reach a provider as 0.699999988079071."""
    read = read_conversation(request(temperature=0.7, topP=0.95, frequencyPenalty=-0.1))
    assert read.sampling == Sampling(temperature=0.7, top_p=0.95, frequency_penalty=-0.1)


def test_zero_is_said_and_not_left_out() -> None:
    """A temperature of 0 and a seed of 0 are wishes, not their absence."""
    assert read_conversation(request(temperature=0, seed="0")).sampling == Sampling(temperature=0.0, seed=0)


def test_tools_keep_the_order_of_their_properties() -> None:
    """The order of properties matters to models."""
    schema = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "string"}}}
    read = read_conversation(
        request(tools=[{"name": "f", "description": "d", "parametersSchema": json.dumps(schema)}])
    )
    assert json.dumps(read.tools[0].parameters) == json.dumps(schema)


def test_tool_without_schema_takes_no_arguments() -> None:
    """A tool that says nothing about its arguments has none."""
    read = read_conversation(request(tools=[{"name": "f"}]))
    assert read.tools == (Tool("f", "", {"type": "object", "properties": {}}),)


def test_named_tool_is_required_whatever_the_mode() -> None:
    """`mode` is ignored when `tool` is set."""
    read = read_conversation(request(tools=[{"name": "f"}], toolChoice={"mode": "MODE_NONE", "tool": "f"}))
    assert read.tool_choice == ToolChoice("required", "f")


def test_image_is_a_file_or_an_address() -> None:
    """Both sources are read."""
    read = read_conversation(
        request(
            messages=[
                turn(
                    "user",
                    {"image": {"data": "iVBO", "mediaType": "image/png"}},
                    {"image": {"url": "https://example.org/cat.png"}},
                )
            ]
        )
    )
    assert read.messages[0].parts == (
        Image("image/png", data=b"\x89PN"),
        Image("", url="https://example.org/cat.png"),
    )


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [turn("assistant", {"text": " "})]}, "messages"),
        ({"messages": [{"parts": [{"text": "x"}]}]}, "messages[0].role"),
        ({"messages": [{"role": "ROLE_USER"}]}, "messages[0].parts"),
        ({"messages": [turn("user", {})]}, "messages[0].parts[0]"),
        ({"messages": [turn("user", {"text": " \n"})]}, "messages[0].parts[0].text"),
        ({"messages": [turn("system", {"image": {"url": "https://x"}})]}, "messages[0].parts[0].image"),
        ({"messages": [turn("user", {"image": {}})]}, "messages[0].parts[0].image"),
        ({"messages": [turn("user", {"image": {"data": "eA=="}})]}, "messages[0].parts[0].image.media_type"),
        ({"messages": [turn("user", {"image": {"url": "file:///x"}})]}, "messages[0].parts[0].image.url"),
        ({"messages": [HELLO, turn("tool", RESULT)]}, "messages[1].parts[0].tool_result.tool_call_id"),
        ({"messages": [turn("assistant", CALL, CALL)]}, "messages[0].parts[1].tool_call.id"),
        (
            {"messages": [turn("assistant", {"toolCall": {"id": "1", "name": "f", "arguments": "[]"}})]},
            "messages[0].parts[0].tool_call.arguments",
        ),
        ({"tools": [{"name": "two words"}]}, "tools[0].name"),
        ({"tools": [{"name": "f"}, {"name": "f"}]}, "tools"),
        ({"tools": [{"name": "f", "parametersSchema": "{"}]}, "tools[0].parameters_schema"),
        ({"toolChoice": {"tool": "f"}}, "tool_choice.tool"),
        ({"toolChoice": {"mode": "MODE_REQUIRED"}}, "tool_choice.mode"),
        ({"toolChoice": {"mode": 99}}, "tool_choice.mode"),
        ({"responseFormat": {"jsonSchema": {"schema": "7"}}}, "response_format.json_schema.schema"),
        (
            {"responseFormat": {"jsonSchema": {"schema": '{"type": "nonsense"}'}}},
            "response_format.json_schema.schema",
        ),
        (
            {"responseFormat": {"jsonSchema": {"name": "a b", "schema": "{}"}}},
            "response_format.json_schema.name",
        ),
        ({"reasoning": {"effort": 99}}, "reasoning.effort"),
        ({"reasoning": {"maxTokens": 0}}, "reasoning.max_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "NaN"}, "temperature"),
        ({"topP": 0}, "top_p"),
        ({"topK": 0}, "top_k"),
        ({"frequencyPenalty": 3}, "frequency_penalty"),
        ({"presencePenalty": -3}, "presence_penalty"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": [""]}, "stop[0]"),
        ({"maxOutputTokens": 0}, "max_output_tokens"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
        ({"metadata": {"": "x"}}, "metadata"),
        ({"metadata": {"x" * 65: "x"}}, "metadata"),
        ({"metadata": {"x": "x" * 513}}, "metadata"),
    ],
)
def test_wrong_field_is_named(fields: dict[str, Any], path: str) -> None:
    """Each promise of the contract is checked here, before anybody is asked."""
    assert path in refused(**fields)


def test_image_is_20_mib_at_most() -> None:
    """One byte more is refused, whatever the provider would take."""
    wire = request(messages=[turn("user", {"image": {"data": "eA==", "mediaType": "image/png"}})])
    wire.messages[0].parts[0].image.data = b"x" * (20 * 1024 * 1024)
    read_conversation(wire)
    wire.messages[0].parts[0].image.data += b"x"
    with pytest.raises(InvalidRequest) as caught:
        read_conversation(wire)
    assert [path for path, _ in caught.value.violations] == ["messages[0].parts[0].image.data"]


def test_answer_without_a_word_can_be_sent_back() -> None:
    """What a model answered is ready to be appended, even if that was nothing."""
    read = read_conversation(request(messages=[HELLO, {"role": "ROLE_ASSISTANT"}, HELLO]))
    assert [message.role for message in read.messages] == ["user", "user"]


def test_everything_wrong_is_told_at_once() -> None:
    """A caller mends all fields in one go."""
    assert set(refused(messages=[], temperature=9, stop=[""])) == {"messages", "temperature", "stop[0]"}


def test_refusal_does_not_repeat_what_was_said() -> None:
    """Texts of callers do not end up in logs by way of errors."""
    secret = "the-launch-code-is-0000"
    with pytest.raises(InvalidRequest) as caught:
        read_conversation(
            request(
                messages=[
                    turn("assistant", {"toolCall": {"id": "", "name": secret * 9, "arguments": secret}})
                ]
            )
        )
    assert secret not in str(caught.value)


def test_a_schema_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools come again with every turn of a conversation, and checking fifty takes a tenth of a second."""
    checked: list[object] = []

    def check(schema: object) -> str:
        checked.append(schema)
        return "is wrong"

    monkeypatch.setattr(requests, "schema_problem", check)
    schema = '{"type": "object", "title": "seen for the first time"}'
    for _ in range(2):
        assert refused(tools=[{"name": "f", "parametersSchema": schema}]) == {
            "tools[0].parameters_schema": "is wrong"
        }
    assert len(checked) == 1
