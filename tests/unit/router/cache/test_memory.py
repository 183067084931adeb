"""The router's own memory: what was used last, within its bytes, and not for ever."""

from __future__ import annotations

import asyncio
import os
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from services.router.cache.memory import OVERHEAD_BYTES, PURGED_AT_ONCE, Memory
from tests.support.fakeclock import FakeClock

ENTRY = OVERHEAD_BYTES + 1 + 10
"""What a key of one byte with a value of ten takes."""


def test_what_was_not_used_for_longest_goes_first() -> None:
    """Looking at an entry is using it."""
    memory = Memory(2 * ENTRY, 60)
    memory.put(b"a", b"0" * 10)
    memory.put(b"b", b"1" * 10)
    assert memory.get(b"a") == b"0" * 10
    memory.put(b"c", b"2" * 10)
    assert [memory.get(key) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_what_is_too_large_displaces_nothing_but_what_it_replaces() -> None:
    """One huge answer must not cost all others."""
    memory = Memory(2 * ENTRY, 60)
    memory.put(b"a", b"0" * 10)
    memory.put(b"b", b"1" * 10)
    memory.put(b"b", b"2" * 2 * ENTRY)
    assert memory.get(b"a") == b"0" * 10
    assert memory.get(b"b") is None


def test_an_entry_is_found_until_it_is_too_old() -> None:
    """Age counts from when it was put, however often it is used; then its bytes are free."""
    clock = FakeClock()
    memory = Memory(10 * ENTRY, 60, clock)
    memory.put(b"a", b"0" * 10)
    clock.advance(59.9)
    assert memory.get(b"a") is not None
    clock.advance(0.1)
    assert memory.get(b"a") is None
    assert (len(memory), memory.bytes) == (0, 0)


def test_a_memory_of_no_bytes_keeps_nothing() -> None:
    """`memory_bytes = 0` leaves all of it to Redis."""
    memory = Memory(0, 60)
    memory.put(b"a", b"")
    assert memory.get(b"a") is None
    assert memory.bytes == 0


async def test_a_purge_forgets_what_begins_so_and_names_it() -> None:
    """Answers of other models stay."""
    memory = Memory(10 * ENTRY, 60)
    for key in (b"1", b"2", b"3"):
        memory.put(key, b"0" * 10)
    memory.put(b"11", b"0")
    assert await memory.purge(b"1") == {b"1", b"11"}
    assert (len(memory), memory.bytes) == (2, 2 * ENTRY)
    assert await memory.purge(b"") == {b"2", b"3"}
    assert memory.bytes == 0


async def test_other_calls_go_on_during_a_purge_of_many_entries() -> None:
    """And what they put or take meanwhile does no harm."""
    memory = Memory(3 * PURGED_AT_ONCE * ENTRY, 60)
    for number in range(3 * PURGED_AT_ONCE):
        memory.put(b"1%05d" % number, b"0" * 4)
    purging = asyncio.create_task(memory.purge(b"1"))
    turns = 0
    while not purging.done():
        await asyncio.sleep(0)
        memory.put(b"2%05d" % turns, b"0")
        memory.remove(b"1%05d" % (3 * PURGED_AT_ONCE - 1))
        turns += 1
    assert turns > 2
    assert len(await purging) == 3 * PURGED_AT_ONCE - 1
    assert len(memory) == turns


KEYS = st.binary(min_size=1, max_size=1)
STEPS = st.lists(st.tuples(KEYS, st.one_of(st.none(), st.binary(max_size=300))), max_size=50)


@given(STEPS, st.integers(0, 4 * OVERHEAD_BYTES))
def test_it_never_takes_more_than_it_may_and_knows_what_it_takes(
    steps: list[tuple[bytes, bytes | None]], limit: int
) -> None:
    """Whatever is put and removed, the count is the sum of what is there, and what is there is right."""
    memory = Memory(limit, 60)
    last: dict[bytes, bytes] = {}
    for key, value in steps:
        if value is None:
            memory.remove(key)
            last.pop(key, None)
        else:
            memory.put(key, value)
            last[key] = value
        kept = {key: found for key in last if (found := memory.get(key)) is not None}
        assert kept.items() <= last.items()
        assert memory.bytes == sum(len(key) + len(value) + OVERHEAD_BYTES for key, value in kept.items())
        assert memory.bytes <= limit


def test_the_interpreter_takes_no_more_than_is_counted() -> None:
    """An operator who gives it 256 MB does not lose 400."""
    memory = Memory(1 << 30, 60)
    tracemalloc.start()
    try:
        for _ in range(2000):
            memory.put(os.urandom(51), os.urandom(100))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken <= memory.bytes
