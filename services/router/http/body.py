"""A request's body as JSON: as RFC 8259 has it and no wider, and of a shape that is cheap to read and hold.

A body is looked at before it is parsed. A megabyte of `[[],[],…` would become twenty of Python's objects, and
a thousand brackets in a row are where its parser gives up.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Final, TypeVar

from services.chassis.errors import InvalidRequest

MAX_DEPTH: Final = 64
"""Nesting of a body. Schemas of tools are the deepest thing that programs send, at ten or so."""
MAX_NESTS: Final = 100_000
"""Lists and objects in a body."""
MAX_VALUES: Final = 1_000_000
"""Values in a body, two thousand texts of five hundred tokens."""
INLINE_BYTES: Final = 64 * 1024
"""What is made of more bytes is made in a thread, so that between one step and the next others get a turn."""

STRINGS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""Text, closed or not: what is left out cannot be searched again from each of its quotes."""
STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
NO_BRACKETS: Final = bytes(set(range(256)) - set(STEPS))
SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


T = TypeVar("T")
Made = TypeVar("Made")


class _Twice(ValueError):
    """An object has two members of one name."""


async def in_turns(size: int, work: Callable[[T], Made], given: T) -> Made:
    """Return what `work` makes of something that takes `size` bytes, without keeping everybody waiting."""
    return work(given) if size <= INLINE_BYTES else await asyncio.to_thread(work, given)


def parse(content: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is.

    Raises:
        InvalidRequest: It is not one; it has more values or is nested deeper than allowed; an object names a
            member twice, which programs read differently; or its text is not Unicode.
    """
    _check_shape(content)
    try:
        text = content.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_members)
        if SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # fails on half of a pair
    except _Twice as error:
        raise InvalidRequest([("", "the body has an object that names a member twice")]) from error
    except UnicodeError as error:
        raise InvalidRequest([("", "the body has text that is not valid Unicode")]) from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest([("", "the body is not valid JSON")]) from error
    if not isinstance(value, dict):
        raise InvalidRequest([("", "the body must be a JSON object")])
    return value


def _check_shape(content: bytes) -> None:
    """Refuse what is too deep or has too many values; brackets and commas in texts count only at first."""
    if content.count(b"[") + content.count(b"{") <= MAX_DEPTH and content.count(b",") < MAX_VALUES:
        return
    bare = STRINGS.sub(b"", content)
    nests = bare.count(b"[") + bare.count(b"{")
    if nests > MAX_NESTS:
        raise InvalidRequest([("", f"the body has more than {MAX_NESTS} lists and objects")])
    if bare.count(b",") >= MAX_VALUES:
        raise InvalidRequest([("", f"the body has more than {MAX_VALUES} values")])
    brackets = bare.translate(None, NO_BRACKETS)
    if nests > MAX_DEPTH and max(accumulate(map(STEPS.__getitem__, brackets))) > MAX_DEPTH:
        raise InvalidRequest([("", f"the body is nested deeper than {MAX_DEPTH} levels")])


def _members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _Twice
    return members


def _refuse_constant(name: str) -> float:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's
