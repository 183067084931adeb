from __future__ import annotations

import json
from typing import Any

import pytest

from services.chat.providers.anthropic.schemas import compilable


def test_a_schema_that_can_be_compiled_stays_as_it_is() -> None:
    """Down to the order of its properties."""
    schema = {
        "type": "object",
        "properties": {"b": {"enum": ["x", "y"]}, "a": {"type": "array", "items": {"type": "integer"}}},
        "required": ["b", "a"],
        "additionalProperties": False,
    }
    assert json.dumps(compilable(schema)) == json.dumps(schema)


def test_objects_are_closed_at_every_depth() -> None:
    """The API refuses an object that does not say so; one that says otherwise is left to the API."""
    inner = {"type": "object", "properties": {}}
    closed = {**inner, "additionalProperties": False}
    assert compilable({**inner, "additionalProperties": True})["additionalProperties"] is True
    schema = {
        "type": "object",
        "properties": {"minimum": inner, "list": {"type": "array", "items": inner}},
        "$defs": {"one": inner},
        "anyOf": [inner, {"type": "object", "additionalProperties": {"type": "string"}}],
    }
    found = compilable(schema)
    assert found["additionalProperties"] is False
    assert found["properties"] == {"minimum": closed, "list": {"type": "array", "items": closed}}
    assert found["$defs"] == {"one": closed}
    assert found["anyOf"] == [closed, schema["anyOf"][1]]  # type: ignore[index]


@pytest.mark.parametrize(
    ("schema", "description"),
    [
        ({"type": "integer", "minimum": 1}, 'Must also satisfy: {"minimum": 1}'),
        (
            {"type": "string", "description": "A name.", "maxLength": 9},
            'A name.\n\nMust also satisfy: {"maxLength": 9}',
        ),
    ],
)
def test_what_cannot_be_compiled_is_told(schema: dict[str, Any], description: str) -> None:
    """The model reads it, and the answer is checked against it later."""
    assert compilable(schema) == {"type": schema["type"], "description": description}


def test_one_of_becomes_any_of() -> None:
    """The answer is checked for more than one that fits."""
    assert compilable({"oneOf": [{"type": "null"}, True]}) == {"anyOf": [{"type": "null"}, True]}


def test_values_are_no_schemas() -> None:
    """What an enumeration or a default holds is never rewritten."""
    schema = {"enum": [{"minimum": 1}], "default": {"minimum": 1}, "const": {"oneOf": []}}
    assert compilable(schema) == schema
