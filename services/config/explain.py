"""Pydantic's validation errors, told as problems that a person can mend."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from services.config.problems import Problem, dotted
from services.config.sections.base import Decides, Refused

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
    for detail in error.errors(include_url=False):
        parts, table = _follow(detail["loc"], root)
        if detail["type"] == "extra_forbidden":
            yield _unknown_setting(parts, table)
        elif detail["type"] in {"union_tag_invalid", "union_tag_not_found"}:
            yield _unknown_variant(parts, _annotation_at(detail["loc"], root), detail)
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
    if elsewhere := getattr(table, "elsewhere", {}).get(parts[-1]):
        hint = elsewhere
    elif close := difflib.get_close_matches(str(parts[-1]), known, n=1):
        hint = f"did you mean {close[0]}?"
    else:
        hint = f"known here: {', '.join(sorted(known))}" if known else "remove it"
    return Problem(dotted(*parts), "is not a setting", hint)


def _unknown_variant(parts: Sequence[str | int], annotation: Any, detail: ErrorDetails) -> Problem:
    """Tell that the setting which decides what else a table may hold is missing or means nothing.

    Of the table, only whether it is one is looked at: values from the file are never repeated.
    """
    setting = deciding_setting(annotation)
    if not isinstance(detail["input"], dict):
        return Problem(dotted(*parts), PLAIN["model_type"])
    values = ", ".join(f"'{value}'" for value in dict.fromkeys(deciding_values(annotation)))
    if detail["type"] == "union_tag_not_found":
        return Problem(dotted(*parts, setting), PLAIN["missing"], _hint({**detail, "type": "missing"}))
    return Problem(dotted(*parts, setting), f"must be one of {values}")


def _annotation_at(loc: Sequence[int | str], root: type[BaseModel]) -> Any:
    """Return the annotation of what a location leads to."""
    here: Any = root
    for part in loc:
        variants = tables_by_tag(here)
        here = variants.get(str(part)) if variants else _inside(here, part)
    return here


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
    """Return the variants of a table of which one setting decides, by their tags; else nothing.

    A tag is the value of that setting, or what the union calls a variant that more than it decides.
    """
    if not deciding_setting(annotation):
        return {}
    setting, variants = deciding_setting(annotation), {}
    for variant in get_args(get_args(annotation)[0]):
        model, *metadata = get_args(variant) if get_origin(variant) is Annotated else (variant,)
        tag = next((one.tag for one in metadata if isinstance(one, Tag)), None)
        for value in [tag] if tag else get_args(model.model_fields[setting].annotation):
            variants[str(value)] = model
    return variants


def deciding_setting(annotation: Any) -> str:
    """Return the setting that decides which variant of a table it is; empty if there are no variants."""
    metadata = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((one.setting for one in metadata if isinstance(one, Decides)), "")


def deciding_values(annotation: Any) -> Iterator[str]:
    """Yield the values that the deciding setting may have."""
    for variant in tables_by_tag(annotation).values():
        yield from get_args(variant.model_fields[deciding_setting(annotation)].annotation)
