"""What is done to the Redis of a cluster, and undone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.chaos.cluster import Hurt

POISON_SECONDS: Final = 0.1
"""How often everything that is kept is spoilt again."""


@asynccontextmanager
async def redis_killed(hurt: Hurt, seconds: float) -> AsyncIterator[None]:
    """SIGKILL, and a start, empty, after a while."""
    await asyncio.to_thread(hurt.redis.kill)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(hurt.redis.start)
    yield


@asynccontextmanager
async def redis_frozen(hurt: Hurt, seconds: float) -> AsyncIterator[None]:
    """SIGSTOP, and SIGCONT after a while."""
    hurt.redis.freeze()
    try:
        await asyncio.sleep(seconds)
    finally:
        hurt.redis.thaw()
    yield


@asynccontextmanager
async def redis_full(hurt: Hurt, seconds: float) -> AsyncIterator[None]:
    """No memory for anything more, and nothing is thrown away for it."""
    await asyncio.to_thread(hurt.redis.asking.config_set, "maxmemory-policy", "noeviction")
    await asyncio.to_thread(hurt.redis.asking.config_set, "maxmemory", 1)
    try:
        await asyncio.sleep(seconds)
    finally:
        await asyncio.to_thread(hurt.redis.asking.config_set, "maxmemory", 0)
    yield


@asynccontextmanager
async def redis_poisoned(hurt: Hurt, seconds: float) -> AsyncIterator[None]:
    """Everything in it is replaced, again and again, by what does not belong there."""
    dice, due = random.Random(9), asyncio.get_running_loop().time() + seconds
    spoilt = 0
    while asyncio.get_running_loop().time() < due:
        spoilt += await asyncio.to_thread(_spoil, hurt.redis.asking, dice)
        await asyncio.sleep(POISON_SECONDS)
    assert spoilt, "there was nothing to spoil: the cluster keeps nothing in Redis"
    await asyncio.to_thread(hurt.redis.asking.flushall)
    yield


def _spoil(redis: Any, dice: random.Random) -> int:
    """Replace values: by others' values, by the same with a bit turned, cut, or of another kind."""
    keys = list(redis.scan_iter(count=1000))
    values = redis.mget(keys) if keys else []
    pipeline = redis.pipeline(transaction=False)
    for key, value in zip(keys, values, strict=True):
        if not value:  # gone meanwhile, or spoilt already
            continue
        how = dice.randrange(5)
        if how == 0:
            pipeline.set(key, dice.choice([one for one in values if one]))
        elif how == 1:
            place = dice.randrange(len(value))
            pipeline.set(key, value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :])
        elif how == 2:
            pipeline.set(key, value[: len(value) // 2])
        elif how == 3:
            pipeline.set(key, dice.randbytes(dice.randrange(2000)))
        else:
            pipeline.delete(key)
            pipeline.rpush(key, b"a list")
    pipeline.execute()
    return len(keys)
