"""Who runs next, and who runs along.

Who is next is fair queueing (Demers, Keshav, Shenker 1989, "Analysis and simulation of a fair queueing
algorithm") with calls as flows and tokens as packet lengths: each entry gets a tag, the virtual time of
its arrival plus the tokens of its call that stand before it, and the smallest tag is next. Among calls
with one input that is the order of arrival; a call with a thousand inputs takes turns with the others.
Virtual time advances with every token served, so no tag stays ahead of it for ever: nothing starves.

Who runs along is a matter of length. A batch costs as many tokens as its longest entry times its size,
plus a fixed part that is worth `overhead_tokens`. An entry joins only if that is cheaper than a run of
its own.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass

from services.inference.batching.entry import Entry, Ticket

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
        self._active_calls = 0
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

    def take(self, budget: Budget) -> list[Entry]:
        """Remove and return a batch: the next entry and those nearest to it in length.

        The queue must not be empty. Entries come by ascending length.
        """
        batch = [self.oldest()]
        self._remove(batch[0])
        longest = len(batch[0].encoding)
        while len(batch) < budget.size and self._size:
            nearest = self._nearest(longest, len(batch), budget)
            if nearest is None:
                break
            longest = max(longest, len(nearest.encoding))
            self._remove(nearest)
            batch.append(nearest)
        active = max(
            1, self._active_calls + len({entry.ticket for entry in batch if not entry.ticket.queued})
        )
        self._virtual_time += sum(len(entry.encoding) for entry in batch) / active
        batch.sort(key=lambda entry: len(entry.encoding))
        return batch

    def _nearest(self, longest: int, size: int, budget: Budget) -> Entry | None:
        """Return the entry that is cheapest to add to a batch of `size` entries, if one is worth adding."""
        place = bisect_left(self._lengths, longest + 1)
        shorter = self._lengths[place - 1] if place else None
        longer = self._lengths[place] if place < len(self._lengths) else None
        choices = []
        if shorter is not None and (size + 1) * longest <= budget.tokens:
            choices.append((longest - shorter, shorter))
        if longer is not None and (size + 1) * longer <= budget.tokens:
            choices.append((size * (longer - longest), longer))
        if not choices:
            return None
        waste, length = min(choices)
        return self._by_length[length][0][2] if waste <= budget.overhead_tokens else None

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
        self._count(entry.ticket, +1)

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
        self._count(entry.ticket, -1)

    def _count(self, ticket: Ticket, change: int) -> None:
        self._active_calls -= ticket.queued > 0
        ticket.queued += change
        self._active_calls += ticket.queued > 0
