"""Pydantic's validation errors, told as problems that a person can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from services.config.problems import Problem


def explain(error: ValidationError, root: type[BaseModel]) -> Iterator[Problem]:
    """Yield one problem per validation error. Values from the file are never repeated."""
    for detail in error.errors(include_url=False, include_input=False):
        path = ".".join(_quoted(part) for part in detail["loc"] if part != "[key]")
        if detail["type"] == "extra_forbidden":
            yield _unknown_setting(path, detail, root)
        else:
            yield Problem(path, _message(detail), _hint(detail))


def _quoted(part: int | str) -> str:
    text = str(part)
    return text if text.replace("_", "").replace("-", "").isalnum() else f'"{text}"'


def _message(detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        return "is missing"
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    text = detail["msg"]
    return text[:1].lower() + text[1:]


def _hint(detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        return "add it; docs/configuration.md lists every setting"
    if detail["type"] == "string_pattern_mismatch":
        return "use letters, digits and . _ : / -"
    return ""


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
        model = _section(annotation)
        if model is not None and part in model.model_fields:
            annotation = model.model_fields[str(part)].annotation
        else:  # an entry of a table with free names: its section is the table's value type
            annotation = get_args(annotation)[-1] if get_args(annotation) else None
    model = _section(annotation)
    return list(model.model_fields) if model else []


def _section(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *get_args(annotation))
    return next((one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)), None)
