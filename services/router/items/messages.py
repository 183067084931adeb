"""Reading messages: requests no further than their items need, responses with distrust."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message
from inglenook.common.v1 import Truncation, Usage

from services.router.errors import Garbled

SLICE: Final = 256
"""Items handled between two turns of the event loop."""
SLICE_BYTES: Final = 1024 * 1024
"""How large they are at most, if one is not larger by itself. It takes a millisecond to look at them."""

TRUNCATIONS: Final = {
    Truncation.TRUNCATION_UNSPECIFIED: "none",
    Truncation.TRUNCATION_NONE: "none",
    Truncation.TRUNCATION_RIGHT: "right",
    Truncation.TRUNCATION_LEFT: "left",
}

M = TypeVar("M", bound=Message)


def read_request(kind: type[M], content: bytes) -> M | None:
    """Return what the bytes mean; None if that is for the backend to say.

    A field that this version does not know may decide the answer, so a request that has one is passed on.
    """
    try:
        request = kind.FromString(content)
    except DecodeError:
        return None
    size = request.ByteSize()
    request.DiscardUnknownFields()
    return request if request.ByteSize() == size else None


def read_response(kind: type[M], content: bytes) -> M:
    """Return what the bytes mean.

    Raises:
        Garbled: Nothing.
    """
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise Garbled from error


def tokens_of(usage: Usage) -> int | None:
    """Return the input tokens that a backend tells of; None if it does not."""
    return usage.input_tokens if usage.HasField("input_tokens") else None


async def slices(count: int, size: int = SLICE) -> AsyncIterator[slice]:
    """Yield the slices that `count` items are handled in; the event loop goes on between two of them."""
    for first in range(0, count, size):
        if first:
            await asyncio.sleep(0)
        yield slice(first, min(first + size, count))
