"""Pydantic's validation errors, told as problems that a person can mend."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, Final, get_args, get_origin

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
    "string_type": "must be a string",
    "tuple_type": "must be a list",
    "string_pattern_mismatch": "is not a name of at most 128 characters",
}
"""What pydantic calls differently from TOML."""


def explain(error: ValidationError, root: type[BaseModel]) -> Iterator[Problem]:
    """Yield one problem per validation error. Values from the file are never repeated."""
    for detail in error.errors(include_url=False, include_input=False):
        path = dotted(*(part for part in detail["loc"] if part != "[key]"))
        if detail["type"] == "extra_forbidden":
            yield _unknown_setting(path, detail, root)
        else:
            yield Problem(path, _message(detail), _hint(detail))


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


def _unknown_setting(path: str, detail: ErrorDetails, root: type[BaseModel]) -> Problem:
    known = _settings_beside(detail["loc"], root)
    unknown = str(detail["loc"][-1])
    if close := difflib.get_close_matches(unknown, known, n=1):
        hint = f"did you mean {close[0]}?"
    else:
        hint = f"known here: {', '.join(sorted(known))}" if known else "remove it"
    return Problem(path, "is not a setting", hint)


def _settings_beside(loc: tuple[int | str, ...], root: type[BaseModel]) -> list[str]:
    """Return the settings of the table in which `loc` was found, following the schema from its root."""
    annotation: Any = root
    for part in loc[:-1]:
        if get_origin(annotation) is dict:  # a table with names of its own: their values are sections
            annotation = get_args(annotation)[-1]
        else:
            annotation = annotation.model_fields[str(part)].annotation
    return list(annotation.model_fields)
