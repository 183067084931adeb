"""Requests to `/api/chat`."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import ollama
import pytest
from ollama._types import ChatRequest, Options, Tool

from services.chat import conversation as asked
from services.chat.conversation import Conversation, Message, ResponseFormat, Sampling, Text, ToolChoice
from services.chat.providers.dialect import Ask
from services.chat.providers.facts import Facts
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.ollama.dialect import OllamaDialect

HELLO = Conversation((Message("user", (Text("Hello"),)),))
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = asked.Tool("get_weather", "The weather.", SCHEMA)
PICTURE = asked.Image("image/png", b"\x89PNG\xff")


def _body(
    conversation: Conversation,
    *,
    model: str = "gemma3n:e2b",
    facts: Facts | None = None,
    context_length: int | None = None,
    dialect: OllamaDialect | None = None,
) -> dict[str, Any]:
    """Return the body, which the official client would send as it is."""
    ask = Ask(conversation, "ollama", model, facts or Facts(), context_length)
    outgoing = (dialect or OllamaDialect()).encode(ask)
    assert outgoing.path == "/api/chat"
    assert outgoing.body is not None
    body: dict[str, Any] = json.loads(json.dumps(outgoing.body))
    ChatRequest.model_validate(body)
    for message in body["messages"]:
        ollama.Message.model_validate({name: value for name, value in message.items() if name != "images"})
    for tool in body.get("tools", ()):
        Tool.model_validate(tool)
    Options.model_validate(body.get("options", {}), strict=True)
    return body


def _refusal(conversation: Conversation, facts: Facts | None = None) -> Failure:
    with pytest.raises(Failure) as caught:
        _body(conversation, facts=facts)
    assert caught.value.kind is FailureKind.NOT_SUPPORTED
    return caught.value


def test_a_plain_request_says_nothing_that_was_not_asked() -> None:
    """What is left out is what the model's own file says. Only forgetting is switched off."""
    assert _body(HELLO) == {
        "model": "gemma3n:e2b",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "truncate": False,
        "shift": False,
    }


def test_a_conversation_with_tools_is_told_whole() -> None:
    """Thoughts, calls and results of earlier turns are what the next one stands on."""
    turns = (
        Message("system", (Text("Be brief."), Text("Be kind."))),
        Message("user", (Text("Weather?"), PICTURE, Text("Here."))),
        Message(
            "assistant",
            (
                asked.Reasoning("I look ", asked.Signature("anthropic", b"x")),
                asked.Reasoning("it up."),
                Text("One "),
                asked.ToolCall("call_1", "get_weather", '{"city": "Köln"}'),
                Text("moment."),
                asked.ToolCall("call_2", "get_time", "{}"),
            ),
        ),
        Message(
            "tool",
            (
                asked.ToolResult("call_1", "get_weather", "Sun"),
                asked.ToolResult("call_2", "get_time", "no clock", is_error=True),
            ),
        ),
    )
    assert _body(Conversation(turns, tools=(TOOL,)))["messages"] == [
        {"role": "system", "content": "Be brief.\nBe kind."},
        {"role": "user", "content": "Weather?\nHere.", "images": [base64.b64encode(PICTURE.data).decode()]},
        {
            "role": "assistant",
            "content": "One moment.",
            "thinking": "I look it up.",
            "tool_calls": [
                {"id": "call_1", "function": {"name": "get_weather", "arguments": {"city": "Köln"}}},
                {"id": "call_2", "function": {"name": "get_time", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "Sun", "tool_name": "get_weather", "tool_call_id": "call_1"},
        {"role": "tool", "content": "no clock", "tool_name": "get_time", "tool_call_id": "call_2"},
    ]


def test_an_image_is_sent_as_the_official_client_sends_it() -> None:
    """Base64 without a prefix."""
    [message] = _body(Conversation((Message("user", (PICTURE,)),)))["messages"]
    assert message["images"] == [ollama.Image(value=PICTURE.data).model_dump()]
    assert message["content"] == ""


def test_an_image_by_address_is_refused() -> None:
    """An Ollama fetches nothing."""
    picture = asked.Image("", url="https://example.com/cat.png")
    assert "example" not in str(_refusal(Conversation((Message("user", (picture,)),))))


def test_parameters_become_options_of_the_right_types() -> None:
    """A wrong type is answered with a status that means that the Ollama broke."""
    sampling = Sampling(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        frequency_penalty=0.1,
        presence_penalty=-0.2,
        stop=("END", "\n"),
        seed=7,
    )
    conversation = replace(HELLO, sampling=sampling, max_output_tokens=100)
    assert _body(conversation, context_length=16384)["options"] == {
        "num_ctx": 16384,
        "num_predict": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "frequency_penalty": 0.1,
        "presence_penalty": -0.2,
        "stop": ["END", "\n"],
        "seed": 7,
    }


@pytest.mark.parametrize("seed", [-1, -(2**63), 2**63 - 1, 2**32])
def test_every_seed_is_one_that_a_runner_can_keep(seed: int) -> None:
    """To a runner, -1 means any seed, which is the opposite of what was asked for."""
    sent = _body(replace(HELLO, sampling=Sampling(seed=seed)))["options"]["seed"]
    assert 0 <= sent < 2**31


def test_zero_is_sent_and_not_taken_for_nothing() -> None:
    """Temperature 0 and seed 0 are choices."""
    assert _body(replace(HELLO, sampling=Sampling(temperature=0.0, seed=0)))["options"] == {
        "temperature": 0.0,
        "seed": 0,
    }


def test_tools_are_sent() -> None:
    """As functions, with the schema as it was given."""
    bare = asked.Tool("get_time", "", {})
    body = _body(replace(HELLO, tools=(TOOL, bare), parallel_tool_calls=True))
    assert [tool["function"] for tool in body["tools"]] == [
        {"name": "get_weather", "description": "The weather.", "parameters": SCHEMA},
        {"name": "get_time", "description": "", "parameters": {"type": "object", "properties": {}}},
    ]


def test_tools_that_must_not_be_called_are_not_shown() -> None:
    """There is no other way to say so."""
    conversation = replace(HELLO, tools=(TOOL,), tool_choice=ToolChoice("none"), parallel_tool_calls=False)
    assert "tools" not in _body(conversation)


@pytest.mark.parametrize(
    "restriction",
    [
        {"tool_choice": ToolChoice("required")},
        {"tool_choice": ToolChoice("auto", "get_weather")},
        {"tool_choice": ToolChoice("none", "get_weather")},
        {"parallel_tool_calls": False},
    ],
)
def test_a_restriction_on_tools_that_cannot_be_told_is_refused(restriction: dict[str, Any]) -> None:
    """It would be broken without anybody noticing."""
    assert str(_refusal(replace(HELLO, tools=(TOOL,), **restriction))).startswith("Ollama cannot be told")


@pytest.mark.parametrize(
    ("wanted", "facts", "sent"),
    [
        (ResponseFormat("text"), Facts(), None),
        (ResponseFormat("json"), Facts(), "json"),
        (ResponseFormat("json"), Facts(json=False), None),
        (ResponseFormat("json_schema", schema=SCHEMA), Facts(json_schema=True), SCHEMA),
        (ResponseFormat("json_schema", schema=SCHEMA), Facts(json_schema=False), None),
    ],
)
def test_a_format_is_sent_to_models_that_can_be_held_to_it(
    wanted: ResponseFormat, facts: Facts, sent: object
) -> None:
    """The order of a schema's properties is kept: models write in that order."""
    assert json.dumps(_body(replace(HELLO, response_format=wanted), facts=facts).get("format")) == json.dumps(
        sent
    )


@pytest.mark.parametrize(
    ("effort", "model", "reasoning", "think"),
    [
        (None, "qwen3:4b", True, None),
        (None, "gemma3:1b", False, None),
        ("none", "qwen3:4b", True, False),
        ("none", "qwen3:4b", None, False),
        ("none", "gemma3:1b", False, None),
        ("low", "qwen3:4b", True, True),
        ("high", "qwen3:4b", None, True),
        ("low", "gpt-oss:20b", True, "low"),
        ("high", "someone/GPT-OSS-abliterated:q4", None, "high"),
        ("none", "gpt-oss:20b", True, False),
    ],
)
def test_effort_becomes_what_the_model_understands(
    effort: asked.Effort | None, model: str, reasoning: bool | None, think: bool | str | None
) -> None:
    """Most models are told whether to think, some how hard, and those that cannot nothing at all."""
    body = _body(replace(HELLO, effort=effort), model=model, facts=Facts(reasoning=reasoning))
    assert body.get("think") == think
    assert ("think" in body) is (think is not None)


@pytest.mark.parametrize("effort", ["low", "medium", "high"])
def test_a_model_that_does_not_think_is_not_asked_to(effort: asked.Effort) -> None:
    """The Ollama would refuse, after the time that a request takes."""
    _refusal(replace(HELLO, effort=effort), Facts(reasoning=False))


@pytest.mark.parametrize("keep_alive", ["10m", 600, -1, 0])
def test_keep_alive_is_sent_if_it_is_set(keep_alive: int | str) -> None:
    """Zero and negative numbers are choices too."""
    assert _body(HELLO, dialect=OllamaDialect(keep_alive))["keep_alive"] == keep_alive
