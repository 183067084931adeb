from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from services.chat.conversation import (
    Conversation,
    Image,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    Role,
    Sampling,
    Signature,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from services.chat.providers.dialect import Ask
from services.chat.providers.facts import UNKNOWN, Facts
from services.chat.providers.failure import Failure, FailureKind
from services.chat.providers.gemini.dialect import GeminiDialect

SCHEMA = {
    "type": "object",
    "properties": {"city": {"$ref": "#/$defs/city"}},
    "$defs": {"city": {"type": "string"}},
}
WEATHER = Tool("get_weather", "Tells the weather.", SCHEMA)
NOW = Tool("now", "", {"type": "object", "properties": {}})
OWN = Signature("google", b"RXBn")
FOREIGN = Signature("anthropic", b"RXBn")


def said(role: Role, *parts: Part) -> Message:
    """Return one turn."""
    return Message(role, parts)


HELLO = said("user", Text("Hello"))


def ask(*messages: Message, model: str = "gemini-2.5-flash", facts: Facts = UNKNOWN, **more: Any) -> Ask:
    """Return what is asked in these turns."""
    return Ask(Conversation(messages or (HELLO,), **more), "google", model, facts)


def body(*messages: Message, **more: Any) -> dict[str, Any]:
    """Return the body of the request for these turns."""
    outgoing = GeminiDialect().encode(ask(*messages, **more))
    return json.loads(json.dumps(outgoing.body, allow_nan=False))  # type: ignore[no-any-return]


def parts(*more: Part, model: str = "gemini-2.5-flash") -> list[dict[str, Any]]:
    """Return what the parts of an assistant's turn are to the API."""
    contents = body(HELLO, said("assistant", *more), model=model)["contents"]
    return contents[1]["parts"]  # type: ignore[no-any-return]


def generation(**more: Any) -> dict[str, Any]:
    """Return the `generationConfig` of a request."""
    return body(**more).get("generationConfig", {})  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-flash", "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
        ("models/gemini-2.5-flash", "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
        (
            "a/../b?key=c#d é",
            "/v1beta/models/a%2F..%2Fb%3Fkey%3Dc%23d%20%C3%A9:streamGenerateContent?alt=sse",
        ),
    ],
)
def test_the_model_is_one_segment_of_the_path(model: str, path: str) -> None:
    """Whatever its name, it cannot lead elsewhere; the prefix of the API's own lists may be there."""
    assert GeminiDialect().encode(ask(model=model)).path == path


def test_a_plain_question_asks_for_nothing_else() -> None:
    """What is not set is left to the model."""
    assert body() == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


def test_instructions_are_apart_and_turns_of_one_role_are_one() -> None:
    """The API has one place for instructions, and two roles that take turns."""
    found = body(
        said("system", Text("Be brief.")),
        HELLO,
        said("user", Text("Anyone?")),
        said("assistant", Text("Yes.")),
        said("system", Text("Be kind.")),
        said("assistant", Text("What is it?")),
        HELLO,
    )
    assert found["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}
    assert [(turn["role"], len(turn["parts"])) for turn in found["contents"]] == [
        ("user", 2),
        ("model", 2),
        ("user", 1),
    ]


def test_a_conversation_of_instructions_alone_cannot_be_asked() -> None:
    """The API wants a turn to answer."""
    with pytest.raises(Failure) as caught:
        body(said("system", Text("Be brief.")))
    assert caught.value.kind is FailureKind.NOT_SUPPORTED


def test_images_are_files_or_addresses() -> None:
    """Files go along; an address is for the API to fetch."""
    turn = said("user", Image("image/png", b"\x89PNG"), Image("", url="https://example.org/a.png"))
    assert body(turn)["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
        {"fileData": {"fileUri": "https://example.org/a.png"}},
    ]


def test_calls_and_results_go_back_with_names_and_objects() -> None:
    """Results are the user's, under the name of the tool; all those of one turn are in one."""
    found = body(
        HELLO,
        said("assistant", ToolCall("c1", "get_weather", '{"city":"Bern"}'), ToolCall("c2", "now", "{}")),
        said("tool", ToolResult("c1", "get_weather", '{"degrees":7}')),
        said("tool", ToolResult("c2", "now", "noon")),
    )["contents"]
    assert [turn["role"] for turn in found] == ["user", "model", "user"]
    assert found[1]["parts"] == [
        {"functionCall": {"id": "c1", "name": "get_weather", "args": {"city": "Bern"}}},
        {"functionCall": {"id": "c2", "name": "now", "args": {}}},
    ]
    assert [part["functionResponse"] for part in found[2]["parts"]] == [
        {"id": "c1", "name": "get_weather", "response": {"degrees": 7}},
        {"id": "c2", "name": "now", "response": {"output": "noon"}},
    ]


@pytest.mark.parametrize(
    ("content", "is_error", "response"),
    [
        ("", False, {"output": ""}),
        ("[1,2]", False, {"output": "[1,2]"}),
        ('{"a":NaN}', False, {"output": '{"a":NaN}'}),
        ("broken", True, {"error": "broken"}),
        ('{"a":1}', True, {"error": '{"a":1}'}),
    ],
)
def test_a_result_is_always_an_object(content: str, is_error: bool, response: dict[str, Any]) -> None:
    """What is no object is put into one, under the API's own names for output and errors."""
    turn = said("tool", ToolResult("c1", "now", content, is_error))
    [part] = body(turn)["contents"][0]["parts"]
    assert part["functionResponse"]["response"] == response


def test_signatures_go_back_on_the_parts_that_they_came_with() -> None:
    """On calls, texts and thoughts; one that signed nothing visible is a part by itself."""
    found = parts(
        Reasoning("Hm.", OWN), Text("I look.", OWN), ToolCall("c1", "now", "{}", OWN), Reasoning("", OWN)
    )
    assert [part["thoughtSignature"] for part in found] == ["RXBn"] * 4
    assert found[0] == {"text": "Hm.", "thought": True, "thoughtSignature": "RXBn"}
    assert found[3] == {"text": "", "thoughtSignature": "RXBn"}


def test_signatures_of_others_are_dropped_and_so_are_thoughts_without_one() -> None:
    """To this provider they mean nothing."""
    found = parts(Reasoning("Hm."), Reasoning("Hm.", FOREIGN), Text("a", FOREIGN), Text("", FOREIGN))
    assert found == [{"text": "a"}]


@pytest.mark.parametrize("model", ["gemini-3-pro-preview", "models/gemini-3.1-flash", "gemini-10-pro"])
def test_a_call_that_another_model_made_is_marked_as_such_where_signatures_are_wanted(model: str) -> None:
    """Without the mark the request would be refused; only the first call of a turn is signed at all."""
    found = parts(ToolCall("c1", "now", "{}", FOREIGN), ToolCall("c2", "now", "{}"), model=model)
    assert [part.get("thoughtSignature") for part in found] == ["skip_thought_signature_validator", None]
    [signed] = parts(ToolCall("c1", "now", "{}", OWN), model=model)
    assert signed["thoughtSignature"] == "RXBn"


@pytest.mark.parametrize("model", ["gemini-2.5-pro", "gemini-1.5-flash-001", "gemma-3-27b-it"])
def test_no_mark_is_made_where_signatures_are_not_wanted(model: str) -> None:
    """Older models take calls as they are."""
    assert parts(ToolCall("c1", "now", "{}"), model=model)[0].keys() == {"functionCall"}


def test_tools_are_declared_with_their_schemas_as_they_are() -> None:
    """In the field for JSON Schema, which takes references; a tool that takes nothing has none."""
    [tools] = body(tools=(WEATHER, NOW))["tools"]
    assert tools["functionDeclarations"] == [
        {"name": "get_weather", "description": "Tells the weather.", "parametersJsonSchema": SCHEMA},
        {"name": "now"},
    ]


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (ToolChoice("none"), {"mode": "NONE"}),
        (ToolChoice("required"), {"mode": "ANY"}),
        (ToolChoice("required", "now"), {"mode": "ANY", "allowedFunctionNames": ["now"]}),
    ],
)
def test_tool_choices_are_modes(choice: ToolChoice, config: dict[str, Any]) -> None:
    """One tool that must be called is the only one that may be."""
    assert body(tools=(WEATHER, NOW), tool_choice=choice)["toolConfig"] == {"functionCallingConfig": config}


def test_a_free_choice_is_not_spelled_out() -> None:
    """It is the API's default."""
    assert "toolConfig" not in body(tools=(NOW,), parallel_tool_calls=True)


@pytest.mark.parametrize(
    "more",
    [
        {"tools": (NOW,), "parallel_tool_calls": False},
        {"sampling": Sampling(stop=tuple("abcdef"))},
        {"effort": "low", "facts": Facts(reasoning=False)},
        {"reasoning_tokens": 5, "facts": Facts(reasoning=False)},
    ],
)
def test_what_cannot_be_asked_for_fails_before_it_is_sent(more: dict[str, Any]) -> None:
    """Another target may be able to do it."""
    with pytest.raises(Failure) as caught:
        body(**more)
    assert caught.value.kind is FailureKind.NOT_SUPPORTED


def test_sampling_has_the_apis_names() -> None:
    """And the API's ranges: a seed has 31 bits there."""
    sampling = Sampling(0.5, 0.9, 40, 0.25, -0.25, ("END",), 2**40 + 7)
    assert generation(sampling=sampling, max_output_tokens=9) == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "frequencyPenalty": 0.25,
        "presencePenalty": -0.25,
        "stopSequences": ["END"],
        "seed": 7,
        "maxOutputTokens": 9,
    }


def test_zero_is_not_left_out() -> None:
    """It is a temperature and a seed like any other."""
    assert generation(sampling=Sampling(temperature=0.0, seed=0)) == {"temperature": 0.0, "seed": 0}


@pytest.mark.parametrize(
    ("wanted", "facts", "config"),
    [
        (ResponseFormat("json"), UNKNOWN, {"responseMimeType": "application/json"}),
        (
            ResponseFormat("json_schema", schema=SCHEMA),
            UNKNOWN,
            {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
        ),
        (
            ResponseFormat("json_schema", schema=SCHEMA),
            Facts(json_schema=False),
            {"responseMimeType": "application/json"},
        ),
        (ResponseFormat("json_schema", schema=SCHEMA), Facts(json=False, json_schema=False), {}),
    ],
)
def test_formats_are_asked_for_as_strictly_as_the_model_takes_them(
    wanted: ResponseFormat, facts: Facts, config: dict[str, Any]
) -> None:
    """JSON Schema as it is; what comes back is checked anyway."""
    assert generation(response_format=wanted, facts=facts) == config


@pytest.mark.parametrize(
    ("effort", "tokens", "config"),
    [
        ("none", None, {"thinkingBudget": 0}),
        ("none", 77, {"thinkingBudget": 0}),
        ("low", None, {"includeThoughts": True, "thinkingBudget": 1024}),
        ("medium", None, {"includeThoughts": True, "thinkingBudget": 8192}),
        ("high", None, {"includeThoughts": True, "thinkingBudget": 24576}),
        ("high", 77, {"includeThoughts": True, "thinkingBudget": 77}),
        (None, 77, {"includeThoughts": True, "thinkingBudget": 77}),
    ],
)
def test_effort_is_a_budget(effort: Any, tokens: int | None, config: dict[str, Any]) -> None:
    """A number of tokens goes before it, unless nothing is to be thought."""
    assert generation(effort=effort, reasoning_tokens=tokens)["thinkingConfig"] == config


def test_a_model_that_does_not_think_is_not_told_not_to() -> None:
    """It refuses the field."""
    assert "thinkingConfig" not in generation(effort="none", facts=Facts(reasoning=False))


def test_nothing_is_asked_twice_for_the_same_question() -> None:
    """A dialect keeps nothing between calls."""
    dialect, question = GeminiDialect(), ask(tools=(WEATHER,))
    assert dialect.encode(question) == dialect.encode(replace(question))
