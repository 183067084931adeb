"""JSON Schemas as far as Anthropic's API can hold an answer to them.

It refuses a schema with a keyword that it cannot compile, and an object that does not say that it has no
further properties. So the answer is held to a little less in one place and a little more in another; what
comes back is checked against the schema as the caller wrote it. See
https://platform.claude.com/docs/en/build-with-claude/structured-outputs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

ONLY_TOLD: Final = frozenset(
    {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
        "minLength", "maxLength", "pattern",
        "minItems", "maxItems", "uniqueItems",
        "minProperties", "maxProperties",
    }
)  # fmt: skip
"""Keywords that are said in the description instead, for the model to read."""
NAMED: Final = ("properties", "$defs", "definitions")
"""Keywords whose values are schemas by name."""
LISTED: Final = ("anyOf", "allOf")
"""Keywords whose values are lists of schemas."""


def compilable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that the API takes and that every answer it wants fits, in the same order."""
    result: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in ONLY_TOLD:
            told[keyword] = value
        elif keyword in NAMED and isinstance(value, Mapping):
            result[keyword] = {name: _inner(one) for name, one in value.items()}
        elif keyword in LISTED and isinstance(value, list):
            result[keyword] = [_inner(one) for one in value]
        elif keyword == "oneOf" and isinstance(value, list) and "anyOf" not in schema:
            result["anyOf"] = [_inner(one) for one in value]
        else:
            result[keyword] = _inner(value) if keyword == "items" else value
    if "properties" in result and "additionalProperties" not in result:
        result["additionalProperties"] = False
    if told:
        description = result.get("description")
        told_so = "Must also satisfy: " + json.dumps(told, ensure_ascii=False)
        result["description"] = f"{description}\n\n{told_so}" if isinstance(description, str) else told_so
    return result


def _inner(value: Any) -> Any:
    return compilable(value) if isinstance(value, Mapping) else value
