"""Whether an answer is the JSON that was wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final, NoReturn, cast

from jsonschema.exceptions import ValidationError

from services.chat.answering.structured.bounded import TooMuch, first_error
from services.chat.answering.structured.schemas import subschemas
from services.chat.conversation import ResponseFormat

FENCED: Final = re.compile(r"```(?:json|JSON)?[ \t]*\r?\n(.*)\r?\n[ \t]*```", re.DOTALL)
FENCE: Final = "```"
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


def extract(text: str) -> str:
    """Return `text` without white space around it, and without one Markdown fence, if that is all there is.

    Models that are held to nothing like to fence what they write. Nothing else is mended.
    """
    bare = text.strip()
    fenced = FENCED.fullmatch(bare)
    return bare if fenced is None or FENCE in fenced[1] else fenced[1].strip()


def problem(wanted: ResponseFormat, text: str) -> str:
    """Return what keeps `text` from being what was wanted, in one sentence; empty if nothing does.

    The sentence names the place, as `$.items[2].price`, and the keyword of the schema. Nothing of what the
    model wrote is in it: names that are not in the schema are `*`. Takes a second at most, and then says that
    the answer is too large.

    Args:
        wanted: What was wanted.
        text: The answer. A fence around it is a problem: `extract` removes it.
    """
    if wanted.kind == "text":
        return ""
    try:
        value = json.loads(text, parse_constant=_no_constant)
        error = first_error(wanted.schema, value) if wanted.kind == "json_schema" else None
    except json.JSONDecodeError as malformed:
        return f"the answer is not JSON: it goes wrong at line {malformed.lineno}, column {malformed.colno}"
    except ValueError:
        return "the answer is not JSON: it has NaN, Infinity or a number of too many digits"
    except RecursionError:
        return "the answer is nested too deeply"
    except TooMuch:
        return "the answer is too large to be checked against the schema"
    return "" if error is None else _explained(error, wanted)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _explained(error: ValidationError, wanted: ResponseFormat) -> str:
    names = {name for schema in subschemas(wanted.schema) for name in schema.node.get("properties") or ()}
    place = _place(error.absolute_path, names)
    if error.validator == "required":
        wanted_names, instance = cast(
            "tuple[list[str], dict[str, Any]]", (error.validator_value, error.instance)
        )
        missing = next(name for name in wanted_names if name not in instance)
        if NAME.fullmatch(missing):
            return (
                f"the answer does not fit the schema at {place}: the required property `{missing}` is missing"
            )
    return f"the answer does not fit the schema at {place}: it violates `{error.validator}`"


def _place(path: Iterable[Any], names: set[str]) -> str:
    """Return where something is, in terms of the schema."""
    return "$" + "".join(
        f"[{step}]"
        if isinstance(step, int)
        else f".{step if step in names and NAME.fullmatch(step) else '*'}"
        for step in path
    )
