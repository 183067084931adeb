"""A call that may be answered from what is kept, and what it is answered with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from services.chassis.errors import DeadlinePassed
from services.router.cache.cache import Cache
from services.router.items.mode import Mode, Result
from services.router.items.whole import SHAPES, check
from services.router.routing.call import Ask, Metadata
from services.router.routing.route import Route


@dataclass(frozen=True, slots=True)
class Call:
    """What came, and what it can be answered with.

    Attributes:
        method: `/package.Service/Method`.
        content: The request as it came.
        model: Public name of the model that it is for; empty if that is for the backend to say.
        mode: What it wants of the cache.
        until: When its caller stops waiting, in seconds of `time.monotonic`. Asking for the event loop
            costs a system call.
        safe: The contract marks the method NO_SIDE_EFFECTS.
        route: Where it goes.
        cache: What is kept.
        split_inputs: Of more items than this, replicas get a part each; 0 for never.
    """

    method: str
    content: bytes
    model: str
    mode: Mode
    until: float
    safe: bool
    route: Route
    cache: Cache
    split_inputs: int

    def left(self) -> float:
        """Return how many seconds the caller still waits.

        Raises:
            DeadlinePassed: It does not wait any more.
        """
        seconds = self.until - time.monotonic()
        if seconds <= 0:
            raise DeadlinePassed
        return seconds

    def ask(self, method: str, content: bytes, accept: Callable[[bytes], object] | None = None) -> Ask:
        """Return what to pass to a backend, and what reads its answer. Errors: as for `left`."""
        return Ask(method, content, self.left(), safe=self.safe, model=self.model, accept=accept)

    async def pass_on(self) -> Reply:
        """Have a backend answer the call as it came. Errors: those of the route."""
        accept = partial(check, self.method, self.content) if self.method in SHAPES else None
        answer = await self.route.unary(self.ask(self.method, self.content, accept))
        return Reply(answer.content, answer.trailing, Result.BYPASS)


class Reply(NamedTuple):
    """What a call is answered with.

    Attributes:
        content: The response.
        trailing: Trailing metadata of the backends that computed a part of it; None if none did.
        result: What the cache was to the call.
    """

    content: bytes
    trailing: Metadata | None
    result: Result


@dataclass(frozen=True, slots=True)
class Lookup:
    """What was found of a call's items.

    Attributes:
        keys: What each item is found by, in order.
        values: What is known, by key.
    """

    keys: Sequence[bytes]
    values: dict[bytes, bytes]

    def missing(self) -> dict[bytes, int]:
        """Return the keys of what is not known, each with the position where it comes first."""
        firsts: dict[bytes, int] = {}
        for position, key in enumerate(self.keys):
            if key not in self.values:
                firsts.setdefault(key, position)
        return firsts
