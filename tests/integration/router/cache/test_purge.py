"""Purges: what was computed before is gone, and nothing else is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from inglenook.router.v1 import GetStatusRequest, GetStatusResponse, PurgeCacheRequest

from services.router.cache.errors import CacheUnavailable
from tests.support.caches import answers, entries, keep, keys, opened, read, until_available
from tests.support.polling import until
from tests.support.redis_server import RedisServer
from tests.support.routing import Routed, failed, routed
from tests.support.stubs import LIMIT_SECONDS

SOME, MORE = keys(700, "some"), keys(5, "more")
QUICK = "failure_threshold = 1\nprobe_seconds = 0.05\n"
FOREIGN = {b"session:1": b"theirs", b"inglenook:other": b"ours, and no answer", SOME[0][16:]: b"alike"}


async def test_purging_a_model_leaves_all_others_and_what_is_not_ours(server: RedisServer) -> None:
    """Answers count once, wherever they are."""
    server.asking.mset(FOREIGN)
    await keep(server.url, [*SOME, *MORE])
    async with opened(server.url) as cache:
        await cache.get_many(SOME[:10])
        assert await cache.purge("nobody") == 0
        assert await cache.purge("some") == 700
        assert await cache.purge("some") == 0
        assert await cache.get_many([*SOME, *MORE]) == [*[None] * 700, *answers(MORE)]
    assert {key: server.asking.get(key) for key in FOREIGN} == FOREIGN
    assert server.asking.dbsize() == len(FOREIGN) + len(MORE)


async def test_purging_all_leaves_what_is_not_ours(server: RedisServer) -> None:
    """Answers of other formats of keys go, too; a database is never flushed."""
    server.asking.mset(FOREIGN)
    server.asking.set(b"inglenook:cache:0:of an older router", b"answer")
    await keep(server.url, [*SOME, *MORE])
    async with opened(server.url) as cache:
        assert await cache.purge() == 706
    assert {key: server.asking.get(key) for key in FOREIGN} == FOREIGN
    assert server.asking.dbsize() == len(FOREIGN)


async def test_what_was_computed_before_a_purge_is_not_kept_after_it(server: RedisServer) -> None:
    """Neither in memory nor in Redis, nor what waited to be written when it came."""
    async with opened(server.url) as cache:
        before = cache.generation
        cache.put_many(entries(SOME), before)
        await cache.purge()
        cache.put_many(entries(MORE), before)
        assert cache.get_memory([*SOME, *MORE]) == [None] * 705
        assert cache.generation != before
    assert server.asking.dbsize() == 0


async def test_what_a_call_reads_while_a_purge_goes_on_does_not_stay(server: RedisServer) -> None:
    """A purge ends with nothing of what was there when it began."""
    await keep(server.url, SOME)
    async with opened(server.url) as cache:

        async def look(turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await cache.get_many(SOME)

        await asyncio.gather(cache.purge(), *(look(turns) for turns in range(0, 60, 3)))
        assert cache.get_memory(SOME) == [None] * 700
    assert await read(server.url, SOME) == [None] * 700


async def test_a_purge_that_redis_fails_says_so_and_empties_the_memory(server: RedisServer) -> None:
    """The operator has to come again."""
    await keep(server.url, MORE)
    async with opened(server.url, timeout_seconds=0.1, failure_threshold=2, probe_seconds=3600.0) as cache:
        await cache.get_many(MORE)
        server.freeze()
        try:
            for _ in range(3):
                with pytest.raises(CacheUnavailable) as raised:
                    await cache.purge("more")
                assert raised.value.retry_after_seconds == 3600.0
            assert cache.get_memory(MORE) == [None] * 5
            assert not cache.snapshot().redis_available
        finally:
            server.thaw()
    assert await read(server.url, MORE) == answers(MORE)


async def status(router: Routed) -> GetStatusResponse:
    """Return the router's status."""
    return await router.router.GetStatus(GetStatusRequest(), timeout=LIMIT_SECONDS)


def redis_toml(server: RedisServer) -> str:
    """Return settings of a router that keeps answers there."""
    return (
        f'[cache]\nurl = "{server.url}"\nmemory_bytes = 1000000\nfailure_threshold = 1\nprobe_seconds = 0.05'
    )


async def test_operators_purge_through_the_router_and_see_how_the_cache_is(
    tmp_path: Path, server: RedisServer
) -> None:
    """A Redis that cannot be purged is UNAVAILABLE with CACHE_UNAVAILABLE, and when to come again."""
    await keep(server.url, [*SOME, *MORE])
    async with routed(tmp_path, {}, more=redis_toml(server)) as router:
        told = (await status(router)).cache
        assert (told.url, told.redis_available, told.max_memory_bytes) == (server.url, True, 1_000_000)
        assert (told.memory_entries, told.memory_bytes, told.redis_errors) == (0, 0, 0)
        purged = await router.router.PurgeCache(PurgeCacheRequest(model="some"), timeout=LIMIT_SECONDS)
        assert purged.purged_entries == 700
        server.kill()
        refused = await failed(router.router.PurgeCache(PurgeCacheRequest(), timeout=LIMIT_SECONDS))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "CACHE_UNAVAILABLE")
        assert refused.retry_after_seconds == 0.05
        told = (await status(router)).cache
        assert not told.redis_available
        assert told.redis_errors >= 1


async def test_without_redis_a_purge_empties_the_memory(tmp_path: Path) -> None:
    """And the status says where answers are kept."""
    async with opened("memory:") as cache:
        cache.put_many(entries([*SOME, *MORE]), cache.generation)
        assert await cache.purge("some") == 700
        assert await cache.get_many(MORE) == answers(MORE)
        assert await cache.purge() == 5
    for url in ("memory:", "off"):
        async with routed(tmp_path, {}, more=f'[cache]\nurl = "{url}"') as router:
            assert (await status(router)).cache.url == url
            purged = await router.router.PurgeCache(PurgeCacheRequest(), timeout=LIMIT_SECONDS)
            assert purged.purged_entries == 0


async def test_another_router_forgets_by_itself_what_was_purged(server: RedisServer) -> None:
    """Within `memory_seconds`; until then its own memory has it."""
    await keep(server.url, MORE)
    async with opened(server.url, memory_seconds=0.5) as other, opened(server.url) as cache:
        assert await other.get_many(MORE) == answers(MORE)
        assert await cache.purge() == 5
        await until_available(other, available=True)

        async def has_forgotten() -> bool:
            return await other.get_many(MORE) == [None] * 5

        await until(has_forgotten)
