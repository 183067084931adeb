"""Caches of a router without the router, and what they have counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from services.config.sections.cache import Cache as CacheSection
from services.router.cache.cache import Cache, open_cache
from services.router.cache.key import KeySpace
from services.router.cache.metrics import CacheMetrics
from tests.support.polling import until

PATIENT_SECONDS = 2.0
"""How long Redis may take in tests of what it answers, on a busy machine."""


def keys(number: int, model: str = "tiny") -> list[bytes]:
    """Return the keys of so many texts of a model."""
    space = KeySpace("embed", model, ["fingerprint"])
    return [space.key(f"text {position}") for position in range(number)]


def entries(of: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Return keys with an answer that is each key's own."""
    return [(key, b"answer to " + key) for key in of]


def answers(of: Sequence[bytes]) -> list[bytes | None]:
    """Return the answers of `entries`."""
    return [answer for _, answer in entries(of)]


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[Cache]:
    """Open a cache; at the end, what it has to write is written."""
    section = CacheSection.model_validate({"url": url, "timeout_seconds": PATIENT_SECONDS, **settings})
    cache = open_cache(section, CacheMetrics(CollectorRegistry()))
    try:
        yield cache
    finally:
        await cache.close()


async def keep(url: str, of: Sequence[bytes], **settings: Any) -> None:
    """Let a router keep answers, and leave."""
    async with opened(url, **settings) as cache:
        cache.put_many(entries(of), cache.generation)


async def read(url: str, of: Sequence[bytes], **settings: Any) -> list[bytes | None]:
    """Return what a router that has just started finds."""
    async with opened(url, **settings) as cache:
        return await cache.get_many(of)


def counted(cache: Cache, counter: str) -> dict[str, float]:
    """Return a counter's values of a cache by the value of the last label: kind, cause or result."""
    found: dict[str, float] = {}
    for family in cache.metrics.registry.collect():
        for sample in family.samples:
            if sample.name == f"inglenook_cache_{counter}_total":
                label = list(sample.labels.values())[-1]
                found[label] = found.get(label, 0) + sample.value
    return found


def left_alone(cache: Cache) -> bool:
    """Say whether Redis gets no more calls for now."""
    return cache._remote is not None and cache._remote.breaker.open


async def until_available(cache: Cache, *, available: bool) -> None:
    """Wait until Redis is left alone, or asked again."""

    async def look() -> bool:
        return left_alone(cache) is not available

    await until(look)
