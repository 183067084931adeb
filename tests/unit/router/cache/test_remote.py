"""What the cache does around Redis, step by step: the order of things that on a real one is chance."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.config.sections.cache import Cache as CacheSection
from services.router.cache.backlog import CHUNK_ENTRIES
from services.router.cache.cache import Cache
from services.router.cache.errors import CacheUnavailable
from services.router.cache.metrics import CacheMetrics, Failure
from services.router.cache.remote import Remote
from services.router.cache.value import seal
from tests.support.caches import answers, counted, entries, keys, until_available

KNOWN = keys(3)


class Staged:
    """A Redis in memory that goes on only while its gate is open, and fails when it is told to."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.failing = False
        self.begun: list[str] = []
        self.ended: list[str] = []

    async def _do(self, what: str) -> None:
        self.begun.append(what)
        await self.gate.wait()
        if self.failing:
            raise OSError
        self.ended.append(what)

    async def prepare(self, *, anew: bool) -> None:
        """Nothing to learn."""

    async def read(self, keys: Sequence[bytes]) -> list[Any]:
        """Return what there was when it was asked."""
        found = [self.kept.get(key) for key in keys]
        await self._do("read")
        return found

    async def write(self, entries: Sequence[tuple[bytes, bytes]]) -> list[Failure]:
        """Keep values."""
        await self._do("write")
        self.kept.update(entries)
        return []

    async def delete(self, keys: Sequence[bytes]) -> list[bool]:
        """Forget values."""
        await self._do("delete")
        return [self.kept.pop(key, None) is not None for key in keys]

    async def step(self, pattern: bytes, node: Any, cursor: int) -> tuple[int, list[bytes]]:
        """Return all keys, half of them twice."""
        await self._do("step")
        found = sorted(self.kept)
        return (0, found) if cursor else (1, found[: len(found) // 2])

    def parts(self) -> Sequence[Any]:
        """It is one."""
        return (None,)

    async def close(self) -> None:
        """Fail, as connections may that were broken."""
        raise OSError


def staged() -> tuple[Cache, Staged]:
    """Return a cache in front of such a Redis."""
    redis = Staged()
    section = CacheSection(url="redis://nowhere", failure_threshold=2, timeout_seconds=5.0)
    metrics = CacheMetrics(CollectorRegistry())
    return Cache(section, metrics, Remote(section, redis, lambda _: Failure.CONNECTION, metrics)), redis


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_caller_that_leaves_does_not_end_what_redis_was_asked() -> None:
    """The connection gets its answer, and the next caller its own."""
    cache, redis = staged()
    redis.gate.clear()
    call = asyncio.create_task(cache.get_many(KNOWN))
    await turns()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert redis.ended == []
    redis.gate.set()
    await turns()
    assert redis.ended == ["read"]
    assert cache.snapshot().redis_errors == 0
    await cache.close()


async def test_no_call_waits_for_a_write() -> None:
    """Not even while Redis takes its time, and one writer does it all in pieces."""
    cache, redis = staged()
    redis.gate.clear()
    many = keys(2 * CHUNK_ENTRIES)
    cache.put_many(entries(many[:1]), cache.generation)
    await turns()
    cache.put_many(entries(many[1:]), cache.generation)
    await turns()
    assert redis.begun == ["write"]
    redis.gate.set()
    await cache.close()
    assert redis.kept == {key: seal(key, answer) for key, answer in entries(many)}
    assert len(redis.ended) == 3


async def test_a_purge_waits_for_what_is_being_written_and_forgets_that_too() -> None:
    """What was on its way when it came is there when it looks."""
    cache, redis = staged()
    redis.gate.clear()
    cache.put_many(entries(KNOWN), cache.generation)
    await turns()
    purge = asyncio.create_task(cache.purge("tiny"))
    await turns()
    assert redis.begun == ["write"]
    redis.gate.set()
    assert await purge == 3
    assert redis.kept == {}
    await cache.close()


async def test_what_redis_said_before_a_purge_does_not_stay_in_memory_after_it() -> None:
    """The call that asked gets it, for it came before; the next one does not."""
    cache, redis = staged()
    redis.kept = {key: seal(key, answer) for key, answer in entries(KNOWN)}
    redis.gate.clear()
    call = asyncio.create_task(cache.get_many(KNOWN))
    await turns()
    held, redis.gate = redis.gate, asyncio.Event()
    redis.gate.set()
    assert await cache.purge() == 3
    held.set()
    assert await call == answers(KNOWN)
    assert cache.get_memory(KNOWN) == [None] * 3
    await cache.close()


async def test_when_redis_is_left_alone_what_waits_to_be_written_is_dropped() -> None:
    """It is not tried piece by piece, and every answer is counted."""
    cache, redis = staged()
    redis.failing = True
    cache.put_many(entries(keys(10 * CHUNK_ENTRIES)), cache.generation)
    await until_available(cache, available=False)
    await turns()
    assert redis.begun == ["write", "write"]
    assert counted(cache, "dropped_writes") == {"unavailable": 10 * CHUNK_ENTRIES}
    with pytest.raises(CacheUnavailable):
        await cache.purge()
    assert redis.begun == ["write", "write"]
    await cache.close()


async def test_a_cache_that_was_closed_still_answers_from_memory() -> None:
    """Calls that began before a reload may come after it."""
    cache, redis = staged()
    cache.put_many(entries(KNOWN), cache.generation)
    await cache.close()
    assert redis.ended == ["write"]
    assert await cache.get_many([*KNOWN, b"another"]) == [*answers(KNOWN), None]
    cache.put_many(entries(keys(1, "late")), cache.generation)
    with pytest.raises(CacheUnavailable):
        await cache.purge("tiny")
    await turns()
    assert redis.begun == ["write"]
