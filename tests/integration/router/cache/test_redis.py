"""The cache on a real Redis: what one router keeps, another finds."""

from __future__ import annotations

import asyncio
import random

import pytest

from services.router.cache.value import MAX_ANSWER_BYTES, VERSION, seal
from tests.support.caches import answers, counted, entries, keep, keys, opened, read
from tests.support.polling import until
from tests.support.redis_server import RedisServer


async def test_what_one_router_keeps_another_finds(server: RedisServer) -> None:
    """In the order asked for, with nothing where there is nothing, and longer than one request."""
    known = keys(1300)
    await keep(server.url, known)
    strange = keys(3, "another")
    found = await read(server.url, [strange[0], *known, strange[1], known[0]])
    assert found == [None, *answers(known), None, *answers(known[:1])]


async def test_what_was_found_is_then_in_memory(server: RedisServer) -> None:
    """Redis is asked once for all keys together, and for none that memory has."""
    known = keys(100)
    await keep(server.url, known)
    async with opened(server.url) as cache:
        assert cache.get_memory(known) == [None] * 100
        for _ in range(2):
            assert await cache.get_many(known) == answers(known)
        assert cache.get_memory(known) == answers(known)
    stats = server.asking.info("commandstats")
    assert stats["cmdstat_mget"]["calls"] == 1


async def test_an_answer_is_kept_in_redis_for_its_time(server: RedisServer) -> None:
    """Redis forgets it by itself."""
    (key,) = keys(1)
    await keep(server.url, [key], ttl_seconds=1000.0)
    assert 990_000 < server.asking.pttl(key) <= 1_000_000


async def test_a_memory_of_no_bytes_leaves_all_to_redis(server: RedisServer) -> None:
    """Answers are found there all the same."""
    known = keys(3)
    await keep(server.url, known, memory_bytes=0)
    assert await read(server.url, known, memory_bytes=0) == answers(known)


async def test_what_is_very_large_stays_in_the_routers_memory(server: RedisServer) -> None:
    """Reading it from Redis would hold up everything else."""
    large, largest = keys(2)
    async with opened(server.url) as cache:
        cache.put_many([(large, b"x" * (MAX_ANSWER_BYTES + 1)), (largest, b"x" * MAX_ANSWER_BYTES)], 0)
        assert None not in cache.get_memory([large, largest])
        assert counted(cache, "dropped_writes") == {"too_large": 1}
    assert await read(server.url, [large, largest]) == [None, b"x" * MAX_ANSWER_BYTES]


KEY, OTHER = keys(2)
SEALED = seal(KEY, b"answer")

POISON = {
    "cut short": SEALED[:-1],
    "cut to nothing": b"",
    "garbage": b"\x93NUMPY garbage of another program",
    "that of another key": seal(OTHER, b"answer"),
    "of another version": b"\x00" + SEALED[len(VERSION) :],
    "longer than any": seal(KEY, b"x" * (MAX_ANSWER_BYTES + 1)),
}


@pytest.mark.parametrize("value", POISON.values(), ids=POISON.keys())
async def test_a_damaged_value_is_not_found_and_is_deleted(server: RedisServer, value: bytes) -> None:
    """It is counted, and the values beside it are found."""
    server.asking.set(KEY, value)
    await keep(server.url, [OTHER])
    async with opened(server.url) as cache:
        assert await cache.get_many([KEY, OTHER]) == [None, *answers([OTHER])]
        assert counted(cache, "errors") == {"damaged": 1}
        assert cache.snapshot().redis_available

        async def is_gone() -> bool:
            return not server.asking.exists(KEY)

        await until(is_gone)


async def test_a_key_that_holds_something_else_is_not_found_and_is_written_over(server: RedisServer) -> None:
    """A list of another program under our key."""
    server.asking.rpush(KEY, "a", "b")
    assert await read(server.url, [KEY]) == [None]
    await keep(server.url, [KEY])
    assert await read(server.url, [KEY]) == answers([KEY])


async def test_callers_that_leave_in_the_middle_disturb_no_later_read(server: RedisServer) -> None:
    """However far they were: each answer is that of its key, and no connection is lost."""
    known = keys(400)
    await keep(server.url, known)
    chance = random.Random(7)

    async with opened(server.url, memory_bytes=0) as cache:

        async def call() -> None:
            wanted = chance.sample(known, chance.randrange(1, 40))
            found = await cache.get_many(wanted)
            assert all(
                answer in {None, b"answer to " + key} for key, answer in zip(wanted, found, strict=True)
            )

        async def leave() -> None:
            task = asyncio.create_task(call())
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None

        for _ in range(15):
            await asyncio.gather(*(leave() for _ in range(20)))

        async def are_done() -> bool:
            return await cache.get_many(known) == answers(known)

        await until(are_done)
        for _ in range(50):
            wanted = chance.sample(known, 20)
            assert await cache.get_many(wanted) == answers(wanted)
        assert set(counted(cache, "errors")) <= {"busy"}
        assert len(server.asking.client_list()) <= 1 + 64

    async def have_left() -> bool:
        return not any(one["name"] == "inglenook-router" for one in server.asking.client_list())

    await until(have_left)


async def test_more_calls_than_connections_go_on_without_redis(server: RedisServer) -> None:
    """Those that find none free find nothing, and that is no fault of Redis."""
    known = keys(1)
    await keep(server.url, known)
    async with opened(server.url, memory_bytes=0) as cache:
        found = await asyncio.gather(*(cache.get_many(known) for _ in range(200)))
        assert [answers(known)] == [list(one) for one in {tuple(one) for one in found} - {(None,)}]
        assert set(counted(cache, "errors")) <= {"busy"}
        assert cache.snapshot().redis_available
        assert await cache.get_many(known) == answers(known)


async def test_a_backlog_that_is_full_is_dropped_and_counted(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call waits until Redis has taken what came before."""
    monkeypatch.setattr("services.router.cache.backlog.Backlog.__init__.__defaults__", (1000,))
    known = keys(100)
    async with opened(server.url) as cache:
        cache.put_many(entries(known), cache.generation)
        dropped = counted(cache, "dropped_writes")["backlog"]
        assert 0 < dropped < 100
    found = await read(server.url, known)
    assert found.count(None) == dropped
