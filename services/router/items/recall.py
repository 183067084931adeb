"""Calls that come again, word for word: what taking them apart gave is remembered.

The commonest call that a cache can answer is one that it has answered before. Parsing it, and hashing what
is in it, costs several times as much as looking up what it asks for.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import is_
from typing import Final

from services.config import ConfigurationFile
from services.router.cache.cache import Cache
from services.router.cache.key import space_of
from services.router.cache.metrics import Result as Counted
from services.router.errors import Garbled
from services.router.items.call import Reply
from services.router.items.mode import Result
from services.router.items.question import Facts, Question
from services.router.items.wire import took
from services.router.routing.route import Route

MOST_CALL_BYTES: Final = 4096
"""Larger calls are not remembered: taking them apart is a small part of what they cost."""
MOST_BYTES: Final = 4 * 1024 * 1024
"""How many bytes of requests are remembered; what was made of them takes a few times as much."""

FINGERPRINT_SECONDS: Final = 0.02
"""How long a model's fingerprint is taken to be what it was: far less than hearing of a change takes."""


@dataclass(slots=True)
class Remembered:
    """A call that was answered from the cache.

    Attributes:
        question: The call, taken apart.
        model: Public name of its model.
        fingerprint: The model's fingerprint at that time.
        keys: What its items are found by, in order.
        values: What was found when the answer was written.
        written: The answer, but for where the time went.
    """

    question: Question
    model: str
    fingerprint: str
    keys: Sequence[bytes]
    values: Sequence[bytes | None] = ()
    written: bytes = b""

    async def write(self, values: Sequence[bytes | None]) -> bytes:
        """Return the answer that these values make, without timings; none if one is missing.

        Values that are the very objects of the last time make the answer of the last time.

        Raises:
            Garbled: They do not go together.
        """
        if len(values) == len(self.values) and all(map(is_, values, self.values)):
            return self.written
        found = [value for value in values if value is not None]
        if len(found) != len(values):
            return b""
        facts = Facts(self.model, 0, None, len(found))
        self.written, self.values = await self.question.write(found, facts), values
        return self.written


class Recall:
    """Calls of one method, by their bytes. Those of another configuration are forgotten."""

    def __init__(self) -> None:
        self._calls: OrderedDict[bytes, Remembered] = OrderedDict()
        self._bytes = 0
        self._fingerprints: dict[str, tuple[str, float]] = {}
        self._file: ConfigurationFile | None = None

    def __len__(self) -> int:
        return len(self._calls)

    async def answer(
        self, content: bytes, file: ConfigurationFile, route: Route, cache: Cache
    ) -> Reply | None:
        """Answer a call that came before and whose items are all in memory; None for any other."""
        if file is not self._file:
            self._calls.clear()
            self._fingerprints.clear()
            self._bytes, self._file = 0, file
        began = time.perf_counter()
        call = self._calls.get(content)
        if call is None:
            return None
        fingerprint, due = self._fingerprints.get(call.model, ("", began))
        if began >= due:
            fingerprint = await route.fingerprint(call.model)
            self._fingerprints[call.model] = (fingerprint, began + FINGERPRINT_SECONDS)
        if fingerprint != call.fingerprint:
            return None
        written = b""
        with suppress(Garbled):
            written = await call.write(cache.get_memory(call.keys))
        if not written:
            return None
        cache.metrics.request(route.capability, Counted.HIT_MEMORY, len(call.keys))
        return Reply(written + took(time.perf_counter() - began), None, Result.HIT)

    async def remember(self, content: bytes, question: Question, model: str, route: Route) -> None:
        """Remember a call that the cache has just answered."""
        size = len(content)
        if size > MOST_CALL_BYTES or content in self._calls:
            return
        if not (fingerprint := await route.fingerprint(model)):
            return
        space = space_of(question.task, model, (fingerprint, *question.fields))
        keys = question.keys(space, slice(0, question.count))
        self._calls[content] = Remembered(question, model, fingerprint, keys)
        self._bytes += size
        while self._bytes > MOST_BYTES:
            oldest, _ = self._calls.popitem(last=False)
            self._bytes -= len(oldest)
