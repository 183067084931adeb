"""What each service that speaks Chat Completions is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from services.chat.conversation import (
    Conversation,
    Effort,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    Sampling,
    Signature,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from services.chat.providers.dialect import Ask
from services.chat.providers.facts import Facts
from services.chat.providers.openai.encode import ASK_FOR_JSON, encode
from services.chat.providers.openai.sheets import SHEETS

HELLO = Conversation((Message("user", (Text("Hello"),)),))
ALL_SAMPLING = Sampling(0.5, 0.9, 40, 0.1, -0.1, ("END",), 7)
NOW = Tool("now", "", {})


def body(
    service: str, conversation: Conversation = HELLO, model: str = "m", facts: Facts | None = None
) -> dict[str, Any]:
    """Return the body that a service is sent."""
    return encode(Ask(conversation, "mine", model, facts or Facts()), SHEETS[service])


def after(*parts: Part) -> Conversation:
    """Return a conversation that goes on after an assistant's turn with a tool call in it."""
    call = next(part for part in parts if isinstance(part, ToolCall))
    return Conversation(
        (
            Message("user", (Text("Hello"),)),
            Message("assistant", parts),
            Message("tool", (ToolResult(call.id, call.name, "ok"),)),
        ),
        tools=(NOW,),
    )


@pytest.mark.parametrize(
    ("service", "field"),
    [
        ("openai", "max_completion_tokens"),
        ("openrouter", "max_tokens"),
        ("groq", "max_completion_tokens"),
        ("moonshot", "max_completion_tokens"),
        ("venice", "max_completion_tokens"),
        ("together", "max_tokens"),
        ("cloudflare", "max_tokens"),
        ("huggingface", "max_tokens"),
        ("openai-compatible", "max_tokens"),
    ],
)
def test_each_service_has_its_field_for_the_longest_answer(service: str, field: str) -> None:
    """One of the two names is sent, and not the other."""
    sent = body(service, replace(HELLO, max_output_tokens=5))
    assert {name: sent[name] for name in sent if name.startswith("max_")} == {field: 5}


@pytest.mark.parametrize(
    ("service", "model", "left_out"),
    [
        ("openai", "gpt-4.1", {"top_k"}),
        ("openai", "gpt-5-mini", {"top_k", "temperature", "top_p", "frequency_penalty", "presence_penalty"}),
        ("openai", "gpt-5-chat-latest", {"top_k"}),
        ("openrouter", "m", set()),
        ("groq", "m", {"top_k", "frequency_penalty", "presence_penalty"}),
        ("moonshot", "moonshot-v1-8k", {"top_k", "seed"}),
        (
            "moonshot",
            "kimi-k2.6",
            {"top_k", "seed", "temperature", "top_p", "frequency_penalty", "presence_penalty"},
        ),
        ("together", "m", set()),
        ("huggingface", "m", {"top_k"}),
        ("openai-compatible", "m", set()),
    ],
)
def test_what_a_service_does_not_know_is_left_out(service: str, model: str, left_out: set[str]) -> None:
    """The rest of the sampling is sent as it is."""
    every = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "frequency_penalty": 0.1,
        "presence_penalty": -0.1,
        "stop": ["END"],
        "seed": 7,
    }
    sent = body(service, replace(HELLO, sampling=ALL_SAMPLING), model)
    assert {name: sent[name] for name in every if name in sent} == {
        name: value for name, value in every.items() if name not in left_out
    }


@pytest.mark.parametrize(
    ("service", "model", "effort", "expected"),
    [
        ("openai", "gpt-5", "low", {"reasoning_effort": "low"}),
        ("openai", "gpt-5", "none", {"reasoning_effort": "none"}),
        ("openai", "gpt-5", None, {}),
        ("openrouter", "m", "high", {"reasoning": {"effort": "high"}}),
        ("openrouter", "m", "none", {"reasoning": {"effort": "none"}}),
        ("groq", "openai/gpt-oss-20b", "low", {"reasoning_effort": "low"}),
        ("groq", "qwen/qwen3-32b", "low", {"reasoning_effort": "default", "reasoning_format": "parsed"}),
        ("groq", "qwen/qwen3-32b", "none", {"reasoning_effort": "none", "reasoning_format": "parsed"}),
        ("moonshot", "kimi-k2.6", "high", {"thinking": {"type": "enabled"}}),
        ("moonshot", "kimi-k2.6", "none", {"thinking": {"type": "disabled"}}),
        ("moonshot", "kimi-k2-thinking", "high", {}),
        ("together", "openai/gpt-oss-120b", "low", {"reasoning_effort": "low"}),
        ("together", "zai-org/GLM-5", "low", {"reasoning": {"enabled": True}}),
        ("together", "zai-org/GLM-5", "none", {"reasoning": {"enabled": False}}),
        ("openai-compatible", "m", "medium", {"reasoning_effort": "medium"}),
    ],
)
def test_each_service_is_told_in_its_way_how_hard_to_think(
    service: str, model: str, effort: Effort | None, expected: dict[str, Any]
) -> None:
    """No other field about thinking is sent."""
    sent = body(service, replace(HELLO, effort=effort), model)
    about = {"reasoning", "reasoning_effort", "reasoning_format", "thinking"}
    assert {name: sent[name] for name in about if name in sent} == expected


def test_a_number_of_thoughts_goes_before_an_effort_at_openrouter() -> None:
    """It takes one of the two."""
    sent = body("openrouter", replace(HELLO, effort="high", reasoning_tokens=2000))
    assert sent["reasoning"] == {"max_tokens": 2000}


def test_a_model_that_cannot_think_is_not_told_to() -> None:
    """It would refuse the request."""
    sent = body("openai", replace(HELLO, effort="low"), facts=Facts(reasoning=False))
    assert "reasoning_effort" not in sent


def test_venice_is_kept_from_its_own_instructions() -> None:
    """Also when it is told not to think, which goes into the same object."""
    assert body("venice")["venice_parameters"] == {"include_venice_system_prompt": False}
    assert body("venice", replace(HELLO, effort="none"))["venice_parameters"] == {
        "include_venice_system_prompt": False,
        "disable_thinking": True,
    }


def test_instructions_have_the_role_of_the_service() -> None:
    """OpenAI calls it developer, the others system."""
    conversation = Conversation((Message("system", (Text("Be brief."),)), *HELLO.messages))
    roles = {service: body(service, conversation)["messages"][0]["role"] for service in SHEETS}
    assert {service for service, role in roles.items() if role == "developer"} == {"openai"}


def test_moonshot_gets_back_what_it_thought_before_it_called_a_tool() -> None:
    """Others do not get it: some refuse the field."""
    conversation = after(Reasoning("想"), ToolCall("c", "now", "{}"))
    assert body("moonshot", conversation, "kimi-k2.6")["messages"][1]["reasoning_content"] == "想"
    assert "reasoning_content" not in body("groq", conversation)["messages"][1]
    assert "thinking" not in body("moonshot", conversation, "kimi-k2.6")


def test_moonshot_does_not_think_where_that_would_be_refused() -> None:
    """It refuses to think when a tool must be called, or when earlier calls come without thoughts."""
    foreign = after(ToolCall("c", "now", "{}"))
    forced = replace(HELLO, tools=(NOW,), tool_choice=ToolChoice("required"))
    for conversation in (foreign, forced):
        assert body("moonshot", conversation, "kimi-k2.6")["thinking"] == {"type": "disabled"}


def test_only_cloudflare_gets_empty_text_beside_tool_calls() -> None:
    """Its schema has no null there; OpenAI's own answers have."""
    contents = {
        service: body(service, after(ToolCall("c", "now", "{}")))["messages"][1]["content"]
        for service in SHEETS
    }
    assert {service for service, content in contents.items() if content == ""} == {"cloudflare"}


def test_what_a_provider_signed_goes_back_to_it_and_to_no_other() -> None:
    """Reasoning details and extra content return to where they came from."""
    details = [{"type": "reasoning.text", "text": "hm", "signature": "c2ln"}]
    extra = {"google": {"thought_signature": "U2ln"}}
    mine = after(
        Reasoning("hm", Signature("mine", json.dumps({"reasoning_details": details}).encode())),
        ToolCall("c", "now", "{}", Signature("mine", json.dumps({"extra_content": extra}).encode())),
    )
    sent = body("openrouter", mine)["messages"][1]
    assert sent["reasoning_details"] == details
    assert sent["tool_calls"][0]["extra_content"] == extra
    foreign = after(ToolCall("c", "now", "{}", Signature("other", b'{"extra_content": {}}')))
    assert "extra_content" not in body("openrouter", foreign)["messages"][1]["tool_calls"][0]


@pytest.mark.parametrize("data", [b"", b"\xff", b"[1]", b'{"content": "x"}', b'{"extra_content": 1}'])
def test_a_signature_that_is_none_of_ours_adds_nothing(data: bytes) -> None:
    """Signatures come back through callers, who can put anything into them."""
    call = ToolCall("c", "now", "{}", Signature("mine", data))
    assert body("openai", after(call)) == body("openai", after(replace(call, signature=None)))


STRICT = {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}


def strict(**properties: Any) -> dict[str, Any]:
    """Return an object's schema that strict mode takes, if it takes the properties."""
    return {**STRICT, "properties": properties, "required": list(properties)}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (strict(a={"type": "string"}), True),
        (strict(a=strict(b={"type": ["integer", "null"]})), True),
        ({**strict(a={"$ref": "#/$defs/n"}), "$defs": {"n": strict(b={"enum": [1, 2]})}}, True),
        (strict(a={"type": "array", "items": {"anyOf": [{"type": "null"}, strict()]}}), True),
        (strict(a={}), False),
        (strict(a={"type": "object"}), False),
        ({**strict(a={"type": "string"}), "required": []}, False),
        ({**strict(a={"type": "string"}), "additionalProperties": True}, False),
        (strict(a={"oneOf": [{"type": "string"}]}), False),
        (strict(a={"type": "array", "items": {"type": "object", "properties": {}}}), False),
        ({**strict(), "$defs": {"n": {"type": "object"}}}, False),
        ({"type": "array", "items": {"type": "string"}}, False),
        ({"anyOf": [strict()]}, False),
    ],
)
def test_a_schema_is_strict_only_where_strict_mode_takes_it(schema: dict[str, Any], expected: bool) -> None:
    """Otherwise OpenAI would refuse the request."""
    asked = replace(HELLO, response_format=ResponseFormat("json_schema", "place", schema))
    assert body("openai", asked)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "place", "schema": schema, "strict": expected},
    }


def test_a_model_without_schemas_is_asked_for_json() -> None:
    """JSON is the next best; where that is not to be had either, nothing is asked."""
    asked = replace(HELLO, response_format=ResponseFormat("json_schema", "place", STRICT))
    facts = Facts(json_schema=False)
    assert body("openai", asked, facts=facts)["response_format"] == {"type": "json_object"}
    assert "response_format" not in body("openai", asked, facts=replace(facts, json=False))


def test_json_is_spoken_of_once() -> None:
    """JSON mode is refused in a conversation that does not mention it."""
    silent = replace(HELLO, response_format=ResponseFormat("json"))
    assert body("groq", silent)["messages"][0] == {"role": "system", "content": ASK_FOR_JSON}
    spoken = replace(silent, messages=(Message("user", (Text("Some JSON?"),)),))
    assert len(body("groq", spoken)["messages"]) == 1


def test_groq_has_either_tools_or_a_format_and_streams_no_format() -> None:
    """With both, the format is left to the check that follows anyway."""
    asked = replace(HELLO, response_format=ResponseFormat("json_schema", "place", STRICT))
    assert body("groq", asked)["stream"] is False
    both = body("groq", replace(asked, tools=(NOW,)))
    assert "response_format" not in both
    assert both["stream"] is True


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("required", "now"), {"type": "function", "function": {"name": "now"}}),
    ],
)
def test_tool_choices_are_passed_on(choice: ToolChoice, expected: Any) -> None:
    """The model's own choice is the default and not sent."""
    assert body("openai", replace(HELLO, tools=(NOW,), tool_choice=choice))["tool_choice"] == expected
    assert "tool_choice" not in body("openai", replace(HELLO, tools=(NOW,)))
