"""Conversations: JSON to messages of the contract, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from inglenook.chat.v1 import (
    ChatEvent,
    ChatRequest,
    ChatResponse,
    CompleteRequest,
    Cost,
    Finish,
    FinishReason,
    Message,
    Part,
    Reasoning,
    Role,
    Signature,
    ToolCall,
)
from inglenook.common.v1 import Usage

from services.chassis.errors import InvalidRequest
from services.router.http.chat_answer import completion, dollars, what_it_took
from services.router.http.chat_chunks import ChunkWriter
from services.router.http.chat_request import NotSupported, read_chat

HI = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"z": {}, "a": {}}}


def read(**fields: Any) -> ChatRequest | CompleteRequest:
    """Return what a body asks for."""
    return read_chat({"messages": HI, **fields}).request


def test_every_parameter_arrives() -> None:
    """Under the name that the contract has for it."""
    request = read(
        model="m",
        temperature=0.5,
        top_p=0.25,
        top_k=3,
        frequency_penalty=-1,
        presence_penalty=1,
        stop="end",
        seed=2**40,
        max_completion_tokens=7,
        reasoning_effort="minimal",
        parallel_tool_calls=False,
        metadata={"team": "a"},
        user="ignored",
    )
    assert isinstance(request, CompleteRequest)
    assert (request.model, request.temperature, request.top_p, request.top_k) == ("m", 0.5, 0.25, 3)
    assert (request.frequency_penalty, request.presence_penalty) == (-1, 1)
    assert (list(request.stop), request.seed, request.max_output_tokens) == (["end"], 2**40, 7)
    assert request.reasoning.effort == request.reasoning.EFFORT_LOW
    assert request.HasField("parallel_tool_calls")
    assert dict(request.metadata) == {"team": "a"}


@pytest.mark.parametrize(
    "fields",
    [
        {"store": True, "user": "u", "service_tier": "auto", "metadata": {"a": "b"}, "max_tokens": 5},
        {"safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_retention": "24h"},
        {"n": 1, "logprobs": False, "logit_bias": {}, "modalities": ["text"], "top_logprobs": None},
        {"stream_options": {"include_usage": True, "include_obfuscation": False}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {}, "strict": True},
            }
        },
    ],
)
def test_what_programs_send_besides_breaks_nothing(fields: dict[str, Any]) -> None:
    """Labels for OpenAI's bookkeeping, and parameters whose value asks for nothing."""
    assert read(**fields).messages


def test_what_is_left_out_stays_absent() -> None:
    """The model's own defaults hold, and 0 is not one of them."""
    request = read()
    absent = ("temperature", "top_p", "top_k", "seed", "max_output_tokens", "parallel_tool_calls")
    assert not any(request.HasField(field) for field in absent)  # type: ignore[arg-type]  # single names only
    assert not request.HasField("tool_choice")
    assert not request.HasField("response_format")


def test_a_stream_is_another_method_of_the_contract() -> None:
    """The usage at its end is for whoever asks for it."""
    ask = read_chat({"messages": HI, "stream": True, "stream_options": {"include_usage": True}})
    assert isinstance(ask.request, ChatRequest)
    assert ask.with_usage


def test_schemas_keep_the_order_of_their_properties() -> None:
    """It matters to models."""
    function = {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
    request = read(
        tools=[{"type": "function", "function": function}],
        tool_choice={"type": "function", "function": {"name": "f"}},
        response_format=wanted,
    )
    assert json.loads(request.tools[0].parameters_schema) == SCHEMA
    assert request.tools[0].parameters_schema.index("z") < request.tools[0].parameters_schema.index('"a"')
    assert request.tool_choice.tool == "f"
    assert json.loads(request.response_format.json_schema.schema) == SCHEMA


def test_an_answer_goes_back_as_it_came() -> None:
    """Thoughts, text, tool calls, and the signatures where they belong."""
    said = Message(
        role=Role.ROLE_ASSISTANT,
        parts=[
            Part(reasoning=Reasoning(text="Hm."), signature=Signature(provider="p", data=b"\x00\xff")),
            Part(text="Let me look."),
            Part(
                tool_call=ToolCall(id="1", name="f", arguments='{"a":1}'),
                signature=Signature(provider="p", data=b"x"),
            ),
        ],
    )
    told = completion(ChatResponse(message=said))["choices"][0]["message"]
    assert (told["reasoning_content"], told["content"]) == ("Hm.", "Let me look.")
    assert read_chat({"messages": [json.loads(json.dumps(told))]}).request.messages[0] == said


@pytest.mark.parametrize(
    "part",
    [
        Part(text="Signed.", signature=Signature(provider="p", data=b"x")),
        Part(reasoning=Reasoning(), signature=Signature(provider="p", data=b"x")),
    ],
)
def test_a_signature_goes_back_to_the_part_that_it_belongs_to(part: Part) -> None:
    """Also to thoughts that the provider keeps to itself."""
    said = Message(role=Role.ROLE_ASSISTANT, parts=[part])
    told = completion(ChatResponse(message=said))["choices"][0]["message"]
    found = read_chat({"messages": [told]}).request.messages[0]
    assert [one for one in found.parts if one.HasField("signature")] == [part]


def test_a_picture_may_come_without_an_object_around_its_address() -> None:
    """Some programs write it so."""
    part = {"type": "image_url", "image_url": "https://example.com/a.png"}
    request = read(messages=[{"role": "user", "content": [part]}])
    assert request.messages[0].parts[0].image.url == "https://example.com/a.png"


def test_an_answer_from_the_cache_says_so() -> None:
    """Whole in a header, streamed in the chunk that ends it."""
    finish = Finish(cached=True, cost=Cost(nano_usd=0))
    assert what_it_took(finish) == {"x-inglenook-cost": "0", "x-inglenook-cached": "true"}
    (chunk,) = ChunkWriter(with_usage=False).chunks(ChatEvent(finish=finish))
    assert chunk["inglenook"] == {"cost_usd": "0", "cached": True}


def test_content_comes_as_text_or_in_parts() -> None:
    """Pictures as data or as an address, what tools say as one text, developers as systems."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAE="}}
    linked = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}
    text = {"type": "text", "text": "a"}
    request = read(
        messages=[
            {"role": "developer", "content": [text, text]},
            {"role": "user", "content": [text, picture, linked], "name": "x"},
            {"role": "assistant", "content": None, "refusal": None},
            {"role": "tool", "tool_call_id": "1", "content": [text, text]},
        ]
    )
    system, user, assistant, tool = request.messages
    assert (system.role, [part.text for part in system.parts]) == (Role.ROLE_SYSTEM, ["a", "a"])
    assert (user.parts[1].image.data, user.parts[1].image.media_type) == (b"\x00\x01", "image/png")
    assert user.parts[2].image.url == "https://example.com/a.png"
    assert not assistant.parts
    assert tool.parts[0].tool_result.content == "aa"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"functions": []}, "functions"),
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_k": 2**31}, "top_k"),
        ({"seed": 2**63}, "seed"),
        ({"stop": ["a", 1]}, "stop[1]"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": 1e999}}}]},
            "tools[0].function.parameters",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "data:a"}]}]},
            "messages[0].content[0].image_url",
        ),
        ({"tools": [{"type": "web"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"reasoning_effort": "heroic"}, "reasoning_effort"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"role": "function", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages[0].content[0].type"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:a"}}]}
                ]
            },
            "messages[0].content[0].image_url.url",
        ),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    """By its path, as `param` has it."""
    with pytest.raises((InvalidRequest, NotSupported)) as raised:
        read(**fields)
    assert raised.value.violations[0][0] == param


def test_tokens_are_told_whole_or_not_at_all() -> None:
    """A sum of something unknown would be made up."""
    known = Usage(input_tokens=5, output_tokens=7, cached_input_tokens=2, reasoning_tokens=3)
    told = completion(ChatResponse(finish=Finish(usage=known)))["usage"]
    assert told == {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert "usage" not in completion(ChatResponse(finish=Finish(usage=Usage(input_tokens=5))))


@pytest.mark.parametrize(
    ("nano", "told"), [(0, "0"), (1, "0.000000001"), (1_230_000, "0.00123"), (20 * 10**9, "20")]
)
def test_money_is_told_exactly(nano: int, told: str) -> None:
    """As decimal digits, never as a binary fraction."""
    assert dollars(Finish(cost=Cost(nano_usd=nano))) == told


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (FinishReason.FINISH_REASON_LENGTH, "length"),
        (FinishReason.FINISH_REASON_TOOL_CALLS, "tool_calls"),
        (FinishReason.FINISH_REASON_CONTENT_FILTER, "content_filter"),
    ],
)
def test_an_answer_says_why_it_ended(reason: FinishReason.ValueType, word: str) -> None:
    """In OpenAI's words."""
    told = completion(ChatResponse(finish=Finish(reason=reason)))
    assert told["choices"][0]["finish_reason"] == word
