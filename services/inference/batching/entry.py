"""One input in the queue, and the call that it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from services.inference.encoding import Encoding
from services.inference.errors import DeadlinePassed, InferenceError, InferenceFailed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call gets.

    Attributes:
        rows: The model's output for each input, in the order of the inputs.
        queue_seconds: The longest that an input waited before its batch began.
        inference_seconds: The longest run of a batch that carried an input.
    """

    rows: list[NDArray[Any]]
    queue_seconds: float
    inference_seconds: float


@dataclass(slots=True, eq=False)
class Ticket:
    """One call: where the answers to its entries are put together.

    It resolves exactly once: with all rows, with the first error, or by its caller's cancellation.

    Attributes:
        future: What the caller waits for.
        name: What the caller calls the input of an index, for error messages.
        size: How many inputs it has.
        deadline: When the caller stops waiting, in seconds of `time.monotonic`; None for never.
        entered: When it came.
        queued: How many of its entries are in the queue.
        next_tag: Where its next entry stands in the fair order, at the earliest.
        entries: All of its entries.
    """

    future: asyncio.Future[Outcome]
    name: Callable[[int], str]
    size: int
    deadline: float | None
    entered: float
    queued: int = 0
    next_tag: float = 0.0
    entries: list[Entry] = field(default_factory=list)
    _rows: dict[int, NDArray[Any]] = field(default_factory=dict)
    _queue_seconds: float = 0.0
    _inference_seconds: float = 0.0

    def began(self, now: float) -> None:
        """Note that a batch with one of its entries begins."""
        self._queue_seconds = max(self._queue_seconds, now - self.entered)

    def deliver(self, index: int, row: NDArray[Any], seconds: float) -> None:
        """Take the answer to one entry; the last one resolves the call."""
        if self.future.done():
            return
        self._rows[index] = row
        self._inference_seconds = max(self._inference_seconds, seconds)
        if len(self._rows) == self.size:
            rows = [self._rows[position] for position in range(self.size)]
            self.future.set_result(Outcome(rows, self._queue_seconds, self._inference_seconds))

    def fail(self, error: InferenceError) -> None:
        """Resolve the call with an error, unless it is resolved."""
        if not self.future.done():
            self.future.set_exception(error)

    def leave(self) -> None:
        """Note that the caller is gone, whether or not it was told how the call ended."""
        if not self.future.cancel() and not self.future.cancelled():
            self.future.exception()  # a future complains about an exception that nobody looked at

    def is_over(self, now: float) -> bool:
        """Say whether nobody waits for more rows; a call whose deadline has passed is resolved with that."""
        if self.future.done():
            return True
        if self.deadline is None or now < self.deadline:
            return False
        self.fail(DeadlinePassed())
        return True


@dataclass(slots=True, eq=False)
class Entry:
    """One input.

    Attributes:
        encoding: Its tokens.
        ticket: The call that it belongs to.
        index: Its place in that call.
        tag: Its place in the fair order (`queue.EntryQueue`).
        number: Order of arrival; decides between equal tags.
        waiting: Whether it is in the queue.
    """

    encoding: Encoding
    ticket: Ticket
    index: int
    tag: float = 0.0
    number: int = 0
    waiting: bool = False

    def fail(self) -> None:
        """Resolve its call with the news that the model could not compute this input."""
        self.ticket.fail(InferenceFailed(self.ticket.name(self.index)))
