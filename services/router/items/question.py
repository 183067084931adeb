"""A call that is a list of items, each of which has an answer of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from inglenook.common.v1 import Timings

from services.router.cache.key import Field, KeySpace


@dataclass(frozen=True, slots=True)
class Part:
    """What a backend answered to a request for some items.

    Attributes:
        values: One per item, in order, as they are kept.
        lasting: Whether they may be kept.
        model: Public name of the model that answered.
        input_tokens: Tokens that were computed; None if it does not say.
        timings: Where its time went.
    """

    values: Sequence[bytes]
    lasting: bool
    model: str
    input_tokens: int | None
    timings: Timings


class Facts(NamedTuple):
    """What a response says besides its results.

    Attributes:
        model: Public name of the model that answered.
        input_tokens: Tokens that were computed for the call; None if that is not known.
        timings: Where the time went.
        cached_inputs: How many items were not computed for the call.
    """

    model: str
    input_tokens: int | None
    timings: Timings | None
    cached_inputs: int


class Question(Protocol):
    """A call, taken apart. Its items have positions, from 0."""

    task: str
    """What is asked for; entries of different tasks are never taken for each other."""
    method: str
    """`/package.Service/Method` that items are asked for with."""
    fields: tuple[Field, ...]
    """Every parameter that decides what an item's answer is, besides the model."""
    count: int
    """How many items there are."""
    exact: bool
    """A refusal of all the items in order, asked for with `method`, is what the caller should be told."""

    def keys(self, space: KeySpace, part: slice) -> list[bytes]:
        """Return what the answers to these items are found by."""

    def request(self, positions: Sequence[int]) -> bytes:
        """Return a request for the items at these positions."""

    def read(self, content: bytes, count: int) -> Part:
        """Return what a response to a request for so many items holds.

        Raises:
            Garbled: It does not hold that.
            Unfit: It does, but what the caller asked for cannot be made of it.
        """

    async def write(self, values: Sequence[bytes], facts: Facts) -> bytes:
        """Return the caller's response, from the values of all items in order.

        Raises:
            Garbled: A value is not one.
        """


class Unfit(Exception):
    """Only the call as it came can be asked: what its items would be answered with is of no use to it."""
