from __future__ import annotations

import json
import time
from typing import Any

import pytest

from services.chat.answering.structured import extract, prepare, problem, repair, schema_problem
from services.chat.conversation import Conversation, Message, ResponseFormat, Text
from services.chat.providers.facts import Facts

REASONABLE_SECONDS = 10.0
"""Checking is bounded to about a second on a machine that has nothing else to do."""

ORDER = {
    "type": "object",
    "properties": {
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["items"],
    "additionalProperties": False,
    "$defs": {
        "item": {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]},
    },
}
JSON = ResponseFormat("json")
USER = Message("user", (Text("What do I pay?"),))


def fits(schema: dict[str, Any]) -> ResponseFormat:
    """Return the format that wants JSON of `schema`, which must be one that is let in."""
    assert schema_problem(schema) == ""
    return ResponseFormat("json_schema", "order", schema)


def asked(wanted: ResponseFormat, *turns: Message) -> Conversation:
    """Return a conversation that wants `wanted`."""
    return Conversation(turns or (USER,), response_format=wanted)


@pytest.mark.parametrize("facts", [Facts(), Facts(json_schema=True, json=True), Facts(json=False)])
def test_target_that_may_be_held_to_a_schema_is_asked_its_own_way(facts: Facts) -> None:
    """What is not known is tried."""
    conversation = asked(fits(ORDER))
    assert prepare(conversation, facts) is conversation


def test_target_that_cannot_be_held_to_a_schema_is_told_the_schema_in_words() -> None:
    """After the caller's own instructions, before the turns."""
    system = Message("system", (Text("Be polite."),))
    prepared = prepare(asked(fits(ORDER), system, USER), Facts(json_schema=False))
    first, told, last = prepared.messages
    assert (first, last) == (system, USER)
    assert told.role == "system"
    (text,) = told.parts
    assert isinstance(text, Text)
    assert json.dumps(ORDER) in text.text
    assert prepared.response_format == ResponseFormat()


def test_target_that_can_be_held_to_json_alone_still_is() -> None:
    """Half of the way by the provider, the other half by the words."""
    prepared = prepare(asked(fits(ORDER)), Facts(json_schema=False, json=True))
    assert prepared.response_format == ResponseFormat("json")
    assert len(prepared.messages) == 2


def test_target_that_cannot_be_held_to_json_is_told_so_in_words() -> None:
    """And nothing of schemas."""
    prepared = prepare(asked(JSON), Facts(json=False))
    assert prepared.response_format == ResponseFormat()
    assert [turn.role for turn in prepared.messages] == ["system", "user"]
    assert prepare(asked(JSON), Facts(json_schema=False)).response_format == JSON


def test_conversation_without_a_format_stays_as_it_is() -> None:
    """Whatever the target cannot do."""
    conversation = asked(ResponseFormat())
    assert prepare(conversation, Facts(json=False, json_schema=False)) is conversation


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        (' {"a": 1}\n', '{"a": 1}'),
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('\n```\n{"a": 1}\n```\n', '{"a": 1}'),
        ('```JSON \r\n{"a": 1}\r\n```', '{"a": 1}'),
        ('Here:\n```json\n{"a": 1}\n```', 'Here:\n```json\n{"a": 1}\n```'),
        ("```\n1\n```\n```\n2\n```", "```\n1\n```\n```\n2\n```"),
    ],
)
def test_one_fence_around_everything_is_removed_and_nothing_else(text: str, bare: str) -> None:
    """What is passed on is the JSON itself."""
    assert extract(text) == bare
    assert extract(bare) == bare


@pytest.mark.parametrize("text", ["{}", "[]", '"x"', "1", "null", ' {"a": [1, 2]} '])
def test_any_json_value_is_json(text: str) -> None:
    """As the contract says."""
    assert problem(JSON, text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "{",
        "{} {}",
        "{'a': 1}",
        '{"a": NaN}',
        "[-Infinity]",
        "```json\n{}\n```",
        '{"a": 1,}',
        "9" * 5000,
        "[" * 100_000,
    ],
)
def test_what_is_not_json_is_a_problem(text: str) -> None:
    """Strictly: no NaN, no trailing comma, no fence."""
    found = problem(JSON, text)
    assert found.startswith("the answer is ")
    assert problem(ResponseFormat(), text) == ""


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"items": [{"price": 1}, {"price": 2.5}]}, ""),
        ({"items": [{"price": 1}, {"price": "secret"}]}, "at $.items[1].price: it violates `type`"),
        ({"items": [{}]}, "at $.items[0]: the required property `price` is missing"),
        ({}, "at $: the required property `items` is missing"),
        ({"items": [], "secret": 1}, "at $: it violates `additionalProperties`"),
        ({"items": [], "tags": {"secret": 1}}, "at $.tags.*: it violates `type`"),
        (["secret"], "at $: it violates `type`"),
    ],
)
def test_problem_names_the_place_and_the_keyword_and_nothing_that_was_written(answer: Any, told: str) -> None:
    """What a model wrote does not belong into messages; names that the schema has do."""
    found = problem(fits(ORDER), json.dumps(answer))
    assert found == (f"the answer does not fit the schema {told}" if told else "")
    assert "secret" not in found


@pytest.mark.parametrize(
    ("keyword", "fine", "wrong"),
    [
        ({"pattern": "^[a-z]+-[0-9]{2}$"}, "ab-12", "ab-1"),
        ({"pattern": "a|b"}, "xb", "x"),
        (
            {"patternProperties": {"^n_": {"type": "number"}}, "additionalProperties": False},
            {"n_a": 1},
            {"m": 1},
        ),
        ({"enum": ["a", "b"]}, "a", "c"),
        ({"uniqueItems": True}, [{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 1}]),
        ({"multipleOf": 0.5}, 1.5, 1.3),
        ({"anyOf": [{"type": "null"}, {"minLength": 2}]}, None, "a"),
        ({"const": {"a": [1]}}, {"a": [1]}, {"a": [2]}),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}}, "x", 1),
        ({"$ref": "#there", "$defs": {"x": {"$anchor": "there", "type": "string"}}}, "x", 1),
        ({"$id": "https://example.com/x", "$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}}, "x", 1),
        ({"properties": {"$ref": {"const": 1}, "default": {"type": "null"}}}, {"$ref": 1}, {"default": 1}),
    ],
)
def test_keyword_is_checked(keyword: dict[str, Any], fine: Any, wrong: Any) -> None:
    """The whole of the draft, by the library that knows it."""
    assert problem(fits(keyword), json.dumps(fine)) == ""
    assert problem(fits(keyword), json.dumps(wrong)) != ""


def test_format_is_a_note() -> None:
    """As the draft has it unless one asks for more."""
    assert problem(fits({"type": "string", "format": "date"}), '"soon"') == ""


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"properties": {"a": 5}},
        {"required": "a"},
        {"pattern": "("},
        {"pattern": "a{99999999999999999999}"},
        {"patternProperties": {"[": {}}},
        {"patternProperties": {"(a+)+$": {}}},
        {"$ref": "https://example.com/schema"},
        {"$ref": "other.json"},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "#nowhere"},
        {"$ref": "#/type", "type": "object"},
        {"$ref": "#/default", "default": {"type": 5}},
        {"$dynamicRef": "#x"},
        {"properties": {"a": {"$id": "https://example.com/a"}}},
        {"properties": {f"p{number}": {} for number in range(1001)}},
        {"description": "x" * 200_000},
    ],
)
def test_schema_by_which_nothing_could_be_checked_is_refused(schema: dict[str, Any]) -> None:
    """When the question is asked, not when the answer is there."""
    found = schema_problem(schema)
    assert found
    assert "example.com" not in found


def test_schema_that_is_nested_too_deeply_is_refused() -> None:
    """Before anything walks down into it without an end."""
    schema: dict[str, Any] = {}
    for _ in range(200):
        schema = {"items": schema}
    assert "deep" in schema_problem(schema)
    for _ in range(100_000):
        schema = {"items": schema}
    assert "deep" in schema_problem(schema)


def test_schema_of_the_largest_size_is_judged_quickly() -> None:
    """Judging happens where all other calls wait for it."""
    schema = {"properties": {f"p{number}": {"type": "string"} for number in range(990)}}
    began = time.perf_counter()
    assert schema_problem(schema) == ""
    assert time.perf_counter() - began < REASONABLE_SECONDS


def doubling(levels: int) -> dict[str, Any]:
    """Return a schema that has everything checked 2 ** levels times."""
    steps = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/l0", "$defs": {**steps, f"l{levels}": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        (doubling(40), "x"),
        ({"$ref": "#"}, 1),
        ({"uniqueItems": True}, [{"a": n} for n in range(20_000)]),
        ({"items": {"enum": [str(n) for n in range(5000)]}}, ["x"] * 5000),
        ({"unevaluatedProperties": False, **doubling(40)}, {"a": 1}),
        ({"multipleOf": 0.1}, 10**4000),
        ({"patternProperties": {"^a*b*c$": {}}}, {"a" * 50_000: 1}),
        ({"items": {"anyOf": [{"type": "string"}] * 500}}, [[["x"] * 1000] * 30] * 30),
    ],
)
def test_answer_that_would_take_for_ever_to_check_is_too_large(schema: dict[str, Any], answer: Any) -> None:
    """Small schemas and small answers can make work without an end; the whole service would stand still."""
    began = time.perf_counter()
    assert "too large" in problem(fits(schema), json.dumps(answer))
    assert time.perf_counter() - began < REASONABLE_SECONDS


@pytest.mark.parametrize(
    "pattern",
    ["^(a+)+$", "^(a|aa)+$", "a*a*a*a*a*a*b", "(?=a+b)", "^(x?){40}y", "a?" * 40 + "a" * 40, r"(.)\1"],
)
def test_pattern_that_could_take_for_ever_is_left_to_the_provider(pattern: str) -> None:
    """Nothing can stop a regular expression once it is tried."""
    began = time.perf_counter()
    assert problem(fits({"pattern": pattern}), json.dumps("a" * 2000 + "!")) == ""
    assert time.perf_counter() - began < REASONABLE_SECONDS


def test_usual_patterns_are_tried() -> None:
    """Addresses, dates and identifiers are why there is a keyword for it."""
    email = r"^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$"
    assert problem(fits({"pattern": email}), '"a@example.com"') == ""
    assert problem(fits({"pattern": email}), '"nobody"') != ""
    assert problem(fits({"pattern": r"^\d{4}-\d{2}-\d{2}$"}), '"2027-1-1"') != ""
    assert problem(fits({"pattern": "^(red|green|blue)$"}), '"pink"') != ""


def test_model_is_shown_its_answer_and_what_is_wrong_with_it() -> None:
    """As the turns of one conversation; what it was told before stays."""
    conversation = asked(fits(ORDER))
    told = problem(fits(ORDER), "{}")
    repaired = repair(conversation, "{}", told)
    question, answer, request = repaired.messages
    assert question == USER
    assert answer == Message("assistant", (Text("{}"),))
    assert request.role == "user"
    (text,) = request.parts
    assert isinstance(text, Text)
    assert text.text.startswith("The answer does not fit the schema at $: the required property `items`")
    assert repaired.response_format == conversation.response_format


def test_empty_answer_is_not_shown() -> None:
    """Providers refuse turns without text."""
    assert [turn.role for turn in repair(asked(JSON), " ", "x").messages] == ["user", "user"]


def test_schema_in_words_has_no_halves_of_characters() -> None:
    """JSON can hold them as escapes, and a text for a provider cannot."""
    prepared = prepare(asked(fits({"const": "\ud800"})), Facts(json_schema=False))
    [text] = prepared.messages[0].parts
    assert isinstance(text, Text)
    assert "?" in text.text.encode().decode()
