"""The cache without Redis, and what keeps it from being opened."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.config import ConfigurationInvalid
from services.config.sections.cache import Cache as CacheSection
from services.router.cache.cache import Cache, open_cache
from services.router.cache.metrics import CacheMetrics, Result
from tests.support.caches import answers, entries, keys

KNOWN = keys(3)


def cache(**settings: object) -> Cache:
    """Return a cache with settings."""
    return open_cache(CacheSection.model_validate(settings), CacheMetrics(CollectorRegistry()))


async def test_what_was_kept_is_found_at_once() -> None:
    """With nothing configured, the router's memory is the cache."""
    kept = cache()
    assert (kept.enabled, kept.remote) == (True, False)
    kept.put_many(entries(KNOWN[:2]), kept.generation)
    assert kept.get_memory(KNOWN) == await kept.get_many(KNOWN) == [*answers(KNOWN[:2]), None]
    assert kept.snapshot().memory_entries == 2


async def test_one_that_is_off_keeps_nothing() -> None:
    """And says so."""
    off = cache(url="off")
    assert not off.enabled
    off.put_many(entries(KNOWN), off.generation)
    assert await off.get_many(KNOWN) == [None] * 3
    assert await off.purge() == 0
    assert off.snapshot().max_memory_bytes == 0
    await off.close()


async def test_what_was_computed_before_a_purge_is_not_kept_after_it() -> None:
    """The generation says when an answer's computation began."""
    kept = cache()
    before = kept.generation
    await kept.purge("another model")
    kept.put_many(entries(KNOWN), before)
    assert kept.get_memory(KNOWN) == [None] * 3


def test_lookups_are_counted_for_metrics_and_status() -> None:
    """What was found where, and what was not found, for all caches of the process together."""
    registry = CollectorRegistry()
    metrics = CacheMetrics(registry)
    first = open_cache(CacheSection(), metrics)
    first.observe()
    first.put_many(entries(KNOWN), first.generation)
    metrics.request("embed", Result.HIT_MEMORY, 3)
    metrics.request("nli", Result.MISS)
    metrics.request("nli", Result.HIT_REDIS, 0)
    second = open_cache(CacheSection(memory_bytes=7), metrics)
    told = second.snapshot()
    assert (told.memory_hits, told.redis_hits, told.misses) == (3, 0, 1)
    labels = {"capability": "embed", "result": "hit_memory"}
    assert registry.get_sample_value("inglenook_cache_requests_total", labels) == 3
    assert registry.get_sample_value("inglenook_cache_entries") == 3
    second.observe()
    assert registry.get_sample_value("inglenook_cache_entries") == 0
    assert registry.get_sample_value("inglenook_cache_breaker_open") == 0


def test_a_reload_keeps_the_cache_unless_its_settings_or_password_changed(tmp_path: Path) -> None:
    """What is in memory stays there; a password that was replaced needs new connections."""
    metrics = CacheMetrics(CollectorRegistry())
    secret = tmp_path / "secret"
    secret.write_text("old")
    section = CacheSection(url="redis://127.0.0.1:1", password=f"file:{secret}")
    before = open_cache(section, metrics)
    assert open_cache(section.model_copy(), metrics, before) is before
    assert open_cache(CacheSection(), metrics, before) is not before
    secret.write_text("new")
    assert open_cache(section, metrics, before) is not before


def test_a_password_that_cannot_be_had_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    """It names the setting and the reference."""
    with pytest.raises(ConfigurationInvalid, match=r"cache\.password: file:.*cannot be read"):
        cache(url="redis://host", password=f"file:{tmp_path}/none")


def test_a_library_that_is_not_installed_is_a_problem_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says what to install; a router without Redis never needs it."""
    monkeypatch.delitem(sys.modules, "services.router.cache.redis", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationInvalid, match=r"cache\.url: .* \(install inglenook\[cache\]"):
        cache(url="redis://host")
    assert cache().enabled
