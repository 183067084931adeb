"""A validator that gives up instead of taking for ever.

Schemas come from callers and answers from models, and small ones of both can make checking take years. So
every keyword that is applied is counted with the work that it may make.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend
from referencing import Registry

from services.chat.answering.structured.patterns import may_be_tried

MAX_STEPS: Final = 200_000
"""About a second."""
CHARACTERS_PER_STEP: Final = 1_000

Keyword: TypeAlias = "Callable[[Any, Any, Any, Mapping[str, Any]], Iterator[ValidationError] | None]"

_steps: ContextVar[list[int]] = ContextVar("steps")


class TooMuch(Exception):
    """Checking takes too many steps."""


class _Object(dict[str, Any]):
    """An object that a message about it does not write out: the messages of the library are not used."""

    def __repr__(self) -> str:
        return "{...}"


class _Array(list[Any]):
    """An array, likewise."""

    def __repr__(self) -> str:
        return "[...]"


def first_error(schema: Mapping[str, Any], value: Any) -> ValidationError | None:
    """Return the most telling of the errors that `value` has; None if it has none.

    Raises:
        TooMuch: It cannot be found out in reasonable time.
    """
    validator = BOUNDED(_quiet(schema), registry=Registry())
    _steps.set([MAX_STEPS])
    try:
        error: ValidationError | None = best_match(validator.iter_errors(_quiet(value)))
    except (RecursionError, OverflowError) as endless:
        raise TooMuch from endless
    return error


def _quiet(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _Object((name, _quiet(one)) for name, one in value.items())
    if isinstance(value, list | tuple):
        return _Array(_quiet(one) for one in value)
    return value


def _counted(apply: Keyword) -> Keyword:
    def counted(
        validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]
    ) -> Iterator[ValidationError]:
        _spend(1 + _size(value) + _size(instance))
        yield from apply(validator, value, instance, schema) or ()

    return counted


def _spend(steps: int) -> None:
    left = _steps.get()
    left[0] -= steps
    if left[0] < 0:
        raise TooMuch


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value) // CHARACTERS_PER_STEP
    return len(value) if isinstance(value, list | dict) else 0


def _pattern(
    validator: Any, value: str, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """Apply `pattern` where that cannot take long; elsewhere it is left to the provider."""
    del validator, schema
    if isinstance(instance, str) and may_be_tried(value, len(instance)):
        _spend(len(instance))
        if not re.search(value, instance):
            yield ValidationError("does not match")


def _by_pattern(apply: Keyword) -> Keyword:
    """Wrap a keyword that tries the patterns of `patternProperties` on names of properties."""

    def applied(
        validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]
    ) -> Iterator[ValidationError]:
        patterns = schema.get("patternProperties") or ()
        if isinstance(instance, dict):
            _spend(len(patterns) * sum(map(len, instance)))
            if not all(may_be_tried(pattern, len(name)) for pattern in patterns for name in instance):
                raise TooMuch
        yield from apply(validator, value, instance, schema) or ()

    return applied


def _unique(apply: Keyword) -> Keyword:
    """Wrap `uniqueItems`, which compares everything with everything unless it can be sorted."""

    def applied(
        validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]
    ) -> Iterator[ValidationError]:
        if isinstance(instance, list) and (
            len({type(one) for one in instance}) > 1 or _holds_parts(instance)
        ):
            _spend(len(instance) ** 2)
        yield from apply(validator, value, instance, schema) or ()

    return applied


def _holds_parts(array: list[Any]) -> bool:
    return any(isinstance(one, list | dict) for one in array)


def _bounded() -> Any:
    plain: dict[str, Keyword] = dict(Draft202012Validator.VALIDATORS)
    plain["pattern"] = _pattern
    plain["uniqueItems"] = _unique(plain["uniqueItems"])
    for name in ("patternProperties", "additionalProperties", "unevaluatedProperties"):
        plain[name] = _by_pattern(plain[name])
    counted = {name: _counted(apply) for name, apply in plain.items()}
    return extend(Draft202012Validator, counted)  # type: ignore[no-untyped-call]


BOUNDED: Final = _bounded()
