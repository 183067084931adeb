"""Pydantic's validation errors, told as problems that a person can mend."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from services.config.problems import Problem, dotted
from services.config.sections.base import Refused

PLAIN: Final = {
    "missing": "is missing",
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "string_type": "must be a string",
    "tuple_type": "must be a list",
    "string_pattern_mismatch": "is not a name of at most 128 characters",
}
"""What pydantic calls differently from TOML."""


def explain(error: ValidationError, root: type[BaseModel]) -> Iterator[Problem]:
    """Yield one problem per validation error. Values from the file are never repeated."""
    for detail in error.errors(include_url=False, include_input=False):
        parts, table = _follow(detail["loc"], root)
        if detail["type"] == "extra_forbidden":
            yield _unknown_setting(parts, table)
        elif detail["type"] in {"union_tag_invalid", "union_tag_not_found"}:
            yield _unknown_variant(parts, detail)
        else:
            yield Problem(dotted(*parts), _message(detail), _hint(detail))


def _message(detail: ErrorDetails) -> str:
    if detail["type"] in PLAIN:
        return PLAIN[detail["type"]]
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    return re.sub(r"^\w+ should ", "must ", detail["msg"])


def _hint(detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        return "add it; docs/configuration.md lists every setting"
    if detail["type"] == "string_pattern_mismatch":
        return "use letters, digits and . _ : / -"
    refusal = detail.get("ctx", {}).get("error")
    return refusal.hint if isinstance(refusal, Refused) else ""


def _unknown_setting(parts: Sequence[str | int], table: type[BaseModel] | None) -> Problem:
    known = list(table.model_fields) if table is not None else []
    if close := difflib.get_close_matches(str(parts[-1]), known, n=1):
        hint = f"did you mean {close[0]}?"
    else:
        hint = f"known here: {', '.join(sorted(known))}" if known else "remove it"
    return Problem(dotted(*parts), "is not a setting", hint)


def _unknown_variant(parts: Sequence[str | int], detail: ErrorDetails) -> Problem:
    """Tell that the setting which decides what else a table may hold is missing or means nothing."""
    deciding = detail["ctx"]["discriminator"].strip("'")
    if detail["type"] == "union_tag_not_found":
        return Problem(dotted(*parts, deciding), PLAIN["missing"], _hint({**detail, "type": "missing"}))
    return Problem(dotted(*parts, deciding), f"must be one of {detail['ctx']['expected_tags']}", "")


def _follow(
    loc: Sequence[int | str], root: type[BaseModel]
) -> tuple[list[str | int], type[BaseModel] | None]:
    """Return a location without what pydantic puts in between, and the table that its last part is in.

    In between are the mark of a dictionary's key, and the variant of a table that has several.
    """
    parts: list[str | int] = []
    here: Any = root
    table: type[BaseModel] | None = None
    for part in loc:
        if part == "[key]":
            continue
        if variants := tables_by_tag(here):
            here = variants.get(str(part))
            continue
        parts.append(part)
        table = here if isinstance(here, type) and issubclass(here, BaseModel) else None
        here = _inside(here, part)
    return parts, table


def _inside(annotation: Any, part: int | str) -> Any:
    if get_origin(annotation) is dict:  # a table with names of its own: their values are sections
        return get_args(annotation)[-1]
    field = getattr(annotation, "model_fields", {}).get(str(part))
    return field.annotation if field is not None else None


def tables_by_tag(annotation: Any) -> dict[str, type[BaseModel]]:
    """Return the variants of a table of which one setting decides, by that setting's value; else nothing."""
    if get_origin(annotation) is not Annotated:
        return {}
    union, *metadata = get_args(annotation)
    deciding = next((one.discriminator for one in metadata if getattr(one, "discriminator", None)), None)
    if deciding is None:
        return {}
    variants = {}
    for variant in get_args(union):
        (tag,) = get_args(variant.model_fields[deciding].annotation)
        variants[str(tag)] = variant
    return variants
