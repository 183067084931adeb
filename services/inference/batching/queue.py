"""Who runs next, and who runs along.

Who is next is fair queueing (Demers, Keshav, Shenker 1989, "Analysis and simulation of a fair queueing
algorithm") with calls as flows and tokens as packet lengths: each entry gets a tag, the virtual time of
its arrival plus the tokens of its call that stand before it, and the smallest tag is next. Among calls
with one input that is the order of arrival; a call with a thousand inputs takes turns with the others.
Virtual time advances with every token served, so no tag stays ahead of it for ever: nothing starves.

Who runs along is a matter of length. A batch is a rectangle, its longest entry times its size. The entry
nearest in length joins as long as `LEAST_EFFICIENCY` of the rectangle are real tokens, or the padding that
it causes is small change beside the fixed cost of a run of its own. Entries that are left may find a batch
that fits them better.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.inference.batching.entry import Entry, Ticket

LEAST_EFFICIENCY: Final = 0.88
SMALL_CHANGE: Final = 0.25
"""Share of a run's fixed cost that the padding caused by one entry may always be worth."""

Key = tuple[float, int, Entry]


@dataclass(frozen=True, slots=True)
class Budget:
    """How large a batch may get.

    Attributes:
        tokens: Most tokens, padding included. The first entry is taken even if it alone has more.
        size: Most entries.
        overhead_tokens: What the fixed cost of a run is worth, in tokens.
    """

    tokens: int
    size: int
    overhead_tokens: float


class EntryQueue:
    """Entries by length, each length in fair order.

    Attributes:
        tokens: Tokens of all entries, without padding.
    """

    def __init__(self) -> None:
        self._by_length: dict[int, list[Key]] = {}
        self._lengths: list[int] = []
        self._size = 0
        self._arrivals = 0
        self._virtual_time = 0.0
        self._calls: dict[Ticket, None] = {}  # that have entries here, in the order in which they came
        self.tokens = 0

    def __len__(self) -> int:
        return self._size

    def add(self, entries: Iterable[Entry]) -> None:
        """Add entries of one call, in their order."""
        for entry in entries:
            entry.tag = max(self._virtual_time, entry.ticket.next_tag)
            entry.ticket.next_tag = entry.tag + len(entry.encoding)
            entry.number = self._arrivals
            self._arrivals += 1
            self._insert(entry)

    def discard(self, entries: Iterable[Entry]) -> None:
        """Remove those of the entries that are still in the queue."""
        for entry in entries:
            if entry.waiting:
                self._remove(entry)

    def oldest(self) -> Entry:
        """Return the entry that is next; the queue must not be empty."""
        return min(bucket[0] for bucket in self._by_length.values())[2]

    def longest_waiting(self) -> Ticket:
        """Return the call that has been here longest, whoever is next; the queue must not be empty."""
        return next(iter(self._calls))

    def take(self, budget: Budget) -> list[Entry]:
        """Remove and return a batch: the next entry and those nearest to it in length.

        The queue must not be empty.
        """
        first = self.oldest()
        batch = [first]
        longest = real = len(first.encoding)
        self._remove(first)
        while len(batch) < budget.size and self._size:
            nearest = self._nearest(longest, real, len(batch), budget)
            if nearest is None:
                break
            longest = max(longest, len(nearest.encoding))
            real += len(nearest.encoding)
            self._remove(nearest)
            batch.append(nearest)
        finished = {entry.ticket for entry in batch if not entry.ticket.queued}
        self._virtual_time += real / (len(self._calls) + len(finished))
        return batch

    def _nearest(self, longest: int, real: int, size: int, budget: Budget) -> Entry | None:
        """Return the entry that causes least padding in a batch of `size` entries, if one is worth adding."""
        place = bisect_left(self._lengths, longest + 1)
        best: tuple[int, int] | None = None
        for length in self._lengths[max(0, place - 1) : place + 1]:  # the nearest below and above
            width = max(longest, length)
            if width * (size + 1) > budget.tokens:
                continue
            padding = width * (size + 1) - real - length
            if best is None or padding < best[0]:
                best = (padding, length)
        if best is None:
            return None
        padding, length = best
        worth_it = padding <= (1 - LEAST_EFFICIENCY) * max(longest, length) * (size + 1)
        caused = padding - (longest * size - real)
        if not worth_it and caused > SMALL_CHANGE * budget.overhead_tokens:
            return None
        return self._by_length[length][0][2]

    def _insert(self, entry: Entry) -> None:
        length = len(entry.encoding)
        bucket = self._by_length.get(length)
        if bucket is None:
            bucket = self._by_length[length] = []
            insort(self._lengths, length)
        insort(bucket, (entry.tag, entry.number, entry))
        entry.waiting = True
        self._size += 1
        self.tokens += length
        if not entry.ticket.queued:
            self._calls[entry.ticket] = None
        entry.ticket.queued += 1

    def _remove(self, entry: Entry) -> None:
        length = len(entry.encoding)
        bucket = self._by_length[length]
        del bucket[bisect_left(bucket, (entry.tag, entry.number))]
        if not bucket:
            del self._by_length[length]
            del self._lengths[bisect_left(self._lengths, length)]
        entry.waiting = False
        self._size -= 1
        self.tokens -= length
        entry.ticket.queued -= 1
        if not entry.ticket.queued:
            del self._calls[entry.ticket]
