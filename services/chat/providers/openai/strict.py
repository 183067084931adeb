"""Whether a JSON Schema may be used in OpenAI's strict mode.

https://platform.openai.com/docs/guides/structured-outputs: every object lists all of its properties as
required and allows no others, the root is an object, and composition is by `anyOf` and `$ref` only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

SAYS_WHAT: Final = frozenset({"type", "$ref", "anyOf", "enum", "const"})
REFUSED: Final = frozenset(
    {
        "allOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "dependentRequired",
        "dependentSchemas",
        "patternProperties",
        "propertyNames",
        "unevaluatedProperties",
        "unevaluatedItems",
        "contains",
        "prefixItems",
        "uniqueItems",
        "$dynamicRef",
    }
)


def fits_strict_mode(schema: Mapping[str, Any]) -> bool:
    """Return whether strict mode would take a schema; where not, it is asked for without."""
    return schema.get("type") == "object" and "anyOf" not in schema and all(map(_fits, _schemas(schema)))


def _fits(schema: Any) -> bool:
    if not isinstance(schema, dict) or not SAYS_WHAT & schema.keys() or REFUSED & schema.keys():
        return False
    kinds = schema.get("type")
    if kinds != "object" and not (isinstance(kinds, list) and "object" in kinds):
        return "properties" not in schema
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return False
    complete = len(properties) == len(required) and all(name in required for name in properties)
    return complete and schema.get("additionalProperties") is False


def _schemas(schema: Any) -> Iterator[Any]:
    """Yield a schema and the schemas in it, however deep."""
    waiting = [schema]
    while waiting:
        schema = waiting.pop()
        yield schema
        if not isinstance(schema, dict):
            continue
        for name in ("properties", "$defs", "definitions"):
            members = schema.get(name)
            waiting += members.values() if isinstance(members, dict) else ()
        if "items" in schema:
            waiting.append(schema["items"])
        choices = schema.get("anyOf")
        waiting += choices if isinstance(choices, list) else ()
