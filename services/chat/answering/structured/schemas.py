"""Whether answers can be checked against a schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from services.chat.answering.structured.patterns import may_be_tried

MAX_CHARACTERS: Final = 128 * 1024
MAX_SUBSCHEMAS: Final = 1_000
MAX_DEPTH: Final = 64
NAME_CHARACTERS: Final = 40
"""Length of a property's name that every pattern for such names must be quick with."""

NOT_SCHEMAS: Final = frozenset({"const", "enum", "default", "examples"})
BY_NAME: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
UNSUPPORTED: Final = frozenset({"$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"})


@dataclass(frozen=True, slots=True)
class Subschema:
    """A schema inside a schema, and how deep inside."""

    node: Mapping[str, Any]
    depth: int


def subschemas(schema: Any, depth: int = 0) -> Iterator[Subschema]:
    """Yield a schema and all schemas in it. What only looks like one, as a constant does, is none."""
    if isinstance(schema, list):
        for one in schema:
            yield from subschemas(one, depth)
    if not isinstance(schema, Mapping):
        return
    yield Subschema(schema, depth)
    for keyword, value in schema.items():
        if keyword in BY_NAME and isinstance(value, Mapping):
            yield from subschemas(list(value.values()), depth + 1)
        elif keyword not in NOT_SCHEMAS:
            yield from subschemas(value, depth + 1)


def schema_problem(schema: Mapping[str, Any]) -> str:
    """Return what is wrong with a schema, as the end of a sentence; empty if answers can be checked by it.

    Nothing of the schema is in it but keywords of JSON Schema.
    """
    try:
        parts = list(subschemas(schema))
        if found := _size(schema, parts):
            return found
        Draft202012Validator.check_schema(schema)
        return _identity(parts) or _references(schema, parts) or _patterns(parts)
    except SchemaError as error:
        place = "/".join(str(step) for step in error.absolute_path if step in Draft202012Validator.VALIDATORS)
        return f"is not a JSON Schema (2020-12): {place or 'the schema'} is not what it must be"
    except (re.error, OverflowError):
        return "has a pattern that is not a regular expression"
    except RecursionError:
        return f"must be nested at most {MAX_DEPTH} deep"


def _size(schema: Mapping[str, Any], parts: list[Subschema]) -> str:
    if len(json.dumps(schema)) > MAX_CHARACTERS:
        return f"must be of at most {MAX_CHARACTERS} characters"
    if len(parts) > MAX_SUBSCHEMAS:
        return f"must consist of at most {MAX_SUBSCHEMAS} schemas"
    if max(part.depth for part in parts) > MAX_DEPTH:
        return f"must be nested at most {MAX_DEPTH} deep"
    return ""


def _identity(parts: list[Subschema]) -> str:
    for part in parts:
        if found := UNSUPPORTED & part.node.keys():
            return f"has {min(found)}, which is not supported; use $ref"
        if part.depth and isinstance(part.node.get("$id"), str):
            return "has $id in an inner schema, which is not supported; use $defs"
    return ""


def _references(schema: Mapping[str, Any], parts: list[Subschema]) -> str:
    """Return what is wrong with references: they may lead to schemas in the schema, and nowhere else."""
    resource = DRAFT202012.create_resource(schema)
    name = resource.id() or ""
    resolver = Registry().with_resource(name, resource).resolver(name)
    known = {id(part.node) for part in parts}
    for part in parts:
        reference = part.node.get("$ref")
        if reference is None:
            continue
        if not isinstance(reference, str) or not reference.startswith("#"):
            return "has a $ref to somewhere else; references must begin with #, nothing is fetched"
        try:
            contents = resolver.lookup(reference).contents
        except Unresolvable:
            return "has a $ref that leads nowhere"
        if not isinstance(contents, bool) and id(contents) not in known:
            return "has a $ref to something that is not a schema"
    return ""


def _patterns(parts: list[Subschema]) -> str:
    """Return what is wrong with patterns. Those for names decide what a property is, and must be tried."""
    for part in parts:
        if isinstance(pattern := part.node.get("pattern"), str):
            re.compile(pattern)
        for pattern in part.node.get("patternProperties") or ():
            re.compile(pattern)
            if not may_be_tried(pattern, NAME_CHARACTERS):
                return "has patternProperties with a pattern that may take too long; simplify it"
    return ""
