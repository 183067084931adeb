"""Redis refuses, hangs, dies, is full, is none at all: calls find nothing and never hear of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.router.cache.cache import Cache
from tests.support.caches import (
    PATIENT_SECONDS,
    answers,
    counted,
    entries,
    keep,
    keys,
    left_alone,
    opened,
    read,
    until_available,
)
from tests.support.polling import until
from tests.support.redis_server import RedisServer, free_port, redis_server

QUICK = {"timeout_seconds": 0.25, "failure_threshold": 2, "probe_seconds": 0.05, "memory_bytes": 0}
"""Settings of a cache whose Redis will not answer."""

KNOWN = keys(3)
NOTHING: list[bytes | None] = [None] * 3


async def fail(cache: Cache) -> None:
    """Look for answers until Redis is left alone; it counts as not available from the first failure on."""
    assert cache.snapshot().redis_available
    for _ in range(cache.section.failure_threshold):
        assert not left_alone(cache)
        assert await cache.get_many(KNOWN) == NOTHING
        assert not cache.snapshot().redis_available
    assert left_alone(cache)


async def test_a_frozen_redis_costs_a_few_calls_its_timeout_and_others_nothing(
    server: RedisServer,
) -> None:
    """After some failures in a row it is left alone; when it has thawed, its answers are found again."""
    await keep(server.url, KNOWN)
    async with opened(server.url, **QUICK) as cache:
        assert await cache.get_many(KNOWN) == answers(KNOWN)
        server.freeze()
        try:
            await fail(cache)
            before = counted(cache, "errors")
            for _ in range(100):
                assert await cache.get_many(KNOWN) == NOTHING
            cache.put_many(entries(KNOWN), cache.generation)
            assert counted(cache, "dropped_writes") == {"unavailable": 3}
            assert before["timeout"] == cache.section.failure_threshold
        finally:
            server.thaw()
        await until_available(cache, available=True)

        async def is_found() -> bool:
            return await cache.get_many(KNOWN) == answers(KNOWN)

        await until(is_found)


async def test_while_redis_is_left_alone_no_call_touches_it(server: RedisServer) -> None:
    """The probe does, at its own pace."""
    async with opened(server.url, timeout_seconds=0.1, failure_threshold=2, probe_seconds=3600.0) as cache:
        server.freeze()
        try:
            await fail(cache)
        finally:
            server.thaw()

        async def connected() -> list[str]:
            return [one["name"] for one in server.asking.client_list() if one["name"] == "inglenook-router"]

        before = server.asking.info("commandstats")
        assert await cache.get_many(KNOWN) == NOTHING
        cache.put_many(entries(KNOWN), cache.generation)
        await asyncio.sleep(0)
        after = server.asking.info("commandstats")
        assert {name for name in after if "mget" in name or "set" in name} == {
            name for name in before if "mget" in name or "set" in name
        }
        assert server.asking.dbsize() == 0
        assert await connected() == []


async def test_a_redis_that_was_killed_and_started_again_is_used_again(server: RedisServer) -> None:
    """What it had is lost, and that is all."""
    await keep(server.url, KNOWN)
    async with opened(server.url, **QUICK) as cache:
        assert await cache.get_many(KNOWN) == answers(KNOWN)
        server.kill()
        await fail(cache)
        server.start()
        await until_available(cache, available=True)
        assert await cache.get_many(KNOWN) == NOTHING
        cache.put_many(entries(KNOWN), cache.generation)

        async def is_back() -> bool:
            return await cache.get_many(KNOWN) == answers(KNOWN)

        await until(is_back)


async def test_a_redis_that_was_not_there_at_the_start_is_used_when_it_comes(tmp_path: Path) -> None:
    """The router starts without it."""
    server = RedisServer(tmp_path, port=free_port())
    async with opened(server.url, **QUICK) as cache:
        await fail(cache)
        assert set(counted(cache, "errors")) <= {"connection", "timeout"}
        try:
            server.start()
            await until_available(cache, available=True)
        finally:
            server.kill()


REFUSING: dict[str, Callable[[RedisServer], object]] = {
    "full": lambda server: server.asking.config_set("maxmemory", "1"),
    "read_only": lambda server: server.asking.execute_command("REPLICAOF", "127.0.0.1", server.port),
}


@pytest.mark.parametrize("kind", REFUSING)
async def test_a_redis_that_takes_no_writes_still_answers(server: RedisServer, kind: str) -> None:
    """Refused writes are counted, and are no reason to leave it alone."""
    await keep(server.url, KNOWN)
    REFUSING[kind](server)
    more = keys(5, "another")
    async with opened(server.url, memory_bytes=0) as cache:
        cache.put_many(entries(more), cache.generation)

        async def refused() -> bool:
            return counted(cache, "dropped_writes") == {"refused": 5}

        await until(refused)
        assert counted(cache, "errors") == {kind: 5}
        assert await cache.get_many([*KNOWN, *more]) == [*answers(KNOWN), *[None] * 5]
        assert cache.snapshot().redis_available


async def test_a_redis_that_was_emptied_has_nothing_and_is_well(server: RedisServer) -> None:
    """FLUSHALL is an operator's right."""
    await keep(server.url, KNOWN)
    async with opened(server.url, memory_bytes=0) as cache:
        assert await cache.get_many(KNOWN) == answers(KNOWN)
        server.asking.flushall()
        assert await cache.get_many(KNOWN) == NOTHING
        assert counted(cache, "errors") == {}


async def test_a_wrong_password_is_told_by_its_kind_and_shown_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the right one, answers are kept; neither is in logs, status or repr."""
    for name in ("right", "wrong"):
        (tmp_path / name).write_text(f"s3cret-{name}\n", encoding="utf-8")
    right, wrong = (f"file:{tmp_path / name}" for name in ("right", "wrong"))
    with redis_server(tmp_path, "--requirepass", "s3cret-right") as server, caplog.at_level(logging.DEBUG):
        await keep(server.url, KNOWN, password=right)
        assert await read(server.url, KNOWN, password=right) == answers(KNOWN)
        for settings in ({"password": wrong}, {}):
            async with opened(server.url, **QUICK, **settings) as cache:
                await fail(cache)
                assert set(counted(cache, "errors")) == {"authentication"}
                shown = [
                    repr(cache.snapshot()),
                    repr(cache),
                    repr(cache.section),
                    caplog.text,
                    str(vars(cache)),
                ]
                assert not any("s3cret" in one for one in shown)


@asynccontextmanager
async def speaking(said: bytes) -> AsyncIterator[str]:
    """Run a server that answers everything with the same bytes, and return its URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            writer.write(said)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        yield f"redis://127.0.0.1:{other.sockets[0].getsockname()[1]}"


GARBAGE = {
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "no words": bytes(range(256)),
    "too little": b"+OK\r\n",
    "too much": b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n" * 3,
    "an error": b"-ERR you have to love me first\r\n",
    "an endless answer": b"*1000000\r\n$1000000000\r\n",
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE.keys())
async def test_what_is_no_redis_is_left_alone(said: bytes) -> None:
    """Whatever it says, the call finds nothing."""
    async with speaking(said) as url, opened(url, **QUICK) as cache:
        await fail(cache)
        cache.put_many(entries(KNOWN), cache.generation)
        assert await cache.get_many(KNOWN) == NOTHING


async def test_closing_does_not_wait_for_a_redis_that_hangs(server: RedisServer) -> None:
    """What was still to be written is lost, and nothing else waits for it."""
    server.freeze()
    try:
        begun = time.monotonic()
        await keep(server.url, KNOWN, timeout_seconds=0.1)
        assert time.monotonic() - begun < 5 * PATIENT_SECONDS
    finally:
        server.thaw()
