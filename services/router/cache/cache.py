"""The cache: the router's memory in front of Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.config import ConfigurationInvalid, Problem, Secret, SecretUnavailable, resolve
from services.config.sections.cache import OFF
from services.config.sections.cache import Cache as CacheSection
from services.router.cache.flights import Flights
from services.router.cache.key import keys_of
from services.router.cache.memory import Memory
from services.router.cache.metrics import REDIS_ERRORS, CacheMetrics, Result
from services.router.cache.remote import Remote


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How the cache is, as `inglenook.router.v1.CacheStatus` tells it, which explains each."""

    url: str
    memory_entries: int
    memory_bytes: int
    max_memory_bytes: int
    memory_hits: int
    redis_hits: int
    misses: int
    redis_errors: int
    redis_available: bool


class Cache:
    """Answers by key. Looking for them and keeping them never fails, whatever Redis does.

    Args:
        section: The settings.
        metrics: Where everything is counted; the same for all caches of a process.
        remote: Redis, if answers are kept there, too.
        password: That of Redis.

    Attributes:
        enabled: False when the configuration says `off`: nothing is found, and nothing kept.
        remote: Whether answers are kept in Redis, too.
        flights: Who computes what now; those that a purge finds go on, and nobody boards them any more.
        metrics: Where lookups are counted.
        generation: Changes with every purge.
    """

    def __init__(
        self,
        section: CacheSection,
        metrics: CacheMetrics,
        remote: Remote | None = None,
        password: Secret | None = None,
    ) -> None:
        self.section = section
        self.password = password
        self.enabled = section.url != OFF
        self.remote = remote is not None
        self.flights = Flights()
        self.metrics = metrics
        self.generation = 0
        self._memory = Memory(section.memory_bytes if self.enabled else 0, section.memory_seconds)
        self._remote = remote

    def get_memory(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what the router's own memory has under each key."""
        return [self._memory.get(key) for key in keys]

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what is kept under each key: in memory, else in Redis, asked once for all of them.

        What Redis has is then in memory, too. A caller that is cancelled meanwhile disturbs nothing.
        """
        found = self.get_memory(keys)
        missing = [position for position, answer in enumerate(found) if answer is None]
        if self._remote is None or not missing:
            return found
        generation = self.generation
        answers = await self._remote.read([keys[position] for position in missing])
        for position, answer in zip(missing, answers, strict=True):
            if answer is not None:
                found[position] = answer
                if generation == self.generation:  # else: it may have been purged meanwhile
                    self._memory.put(keys[position], answer)
        return found

    def put_many(self, entries: Sequence[tuple[bytes, bytes]], generation: int) -> None:
        """Keep answers by key: in memory at once, in Redis soon, without anyone waiting for it.

        Args:
            entries: Keys and answers.
            generation: `self.generation` as it was before they were computed. If there was a purge since,
                they are not kept.
        """
        if generation != self.generation or not self.enabled:
            return
        for key, answer in entries:
            self._memory.put(key, answer)
        if self._remote is not None:
            self._remote.write(entries)

    async def purge(self, model: str = "") -> int:
        """Forget the answers of a model, by its public name, or all, and return how many there were.

        Raises:
            CacheUnavailable: They are gone from memory, and not all of them from Redis.
        """
        self._turn()
        known = await self._memory.purge(keys_of(model))
        if self._remote is None:
            return len(known)
        try:
            return len(known) + await self._remote.purge(model, known)
        finally:
            # Calls that came meanwhile may have found in Redis what was still to be deleted there.
            self._turn()
            await self._memory.purge(keys_of(model))

    def _turn(self) -> None:
        """Have nobody keep, or wait for, what is being computed now."""
        self.generation += 1
        self.flights = Flights()

    def snapshot(self) -> Snapshot:
        """Say how it is."""
        tally = self.metrics.tally
        return Snapshot(
            url=self.section.url,
            memory_entries=len(self._memory),
            memory_bytes=self._memory.bytes,
            max_memory_bytes=self._memory.max_bytes,
            memory_hits=tally[Result.HIT_MEMORY],
            redis_hits=tally[Result.HIT_REDIS],
            misses=tally[Result.MISS],
            redis_errors=tally[REDIS_ERRORS],
            redis_available=self._remote is not None and self._remote.breaker.well,
        )

    def observe(self) -> None:
        """Show its numbers whenever Prometheus asks, in place of those of the cache before it."""
        self.metrics.follow(
            size=lambda: self._memory.bytes,
            entries=lambda: len(self._memory),
            breaker_open=lambda: self._remote is not None and self._remote.breaker.open,
        )

    async def close(self) -> None:
        """Write to Redis what is still to be written, as far as that is soon done, and leave it."""
        if self._remote is not None:
            await self._remote.close()


def open_cache(
    section: CacheSection, metrics: CacheMetrics, before: Cache | None = None, *, path: Path | None = None
) -> Cache:
    """Return the cache that a configuration describes: `before` if that is the same.

    Nothing is connected before something is looked for.

    Args:
        section: The settings.
        metrics: Where everything is counted.
        before: The cache so far.
        path: The configuration file, for errors.

    Raises:
        ConfigurationInvalid: Its password cannot be had, or Redis's library is not installed.
    """
    place, password = section.place, None
    if section.password is not None:
        try:
            password = resolve(section.password)
        except SecretUnavailable as error:
            raise _unusable(path, "cache.password", str(error), "set it before starting") from error
    if before is not None and (before.section, before.password) == (section, password):
        return before
    if place is None:
        return Cache(section, metrics)
    try:
        from services.router.cache.redis import connect, kind_of  # its library is an extra
    except ImportError as error:
        hint = "install inglenook[cache], or say memory:"
        raise _unusable(path, "cache.url", "needs the library of Redis", hint) from error
    remote = Remote(section, connect(section, place, password), kind_of, metrics)
    return Cache(section, metrics, remote, password)


def _unusable(path: Path | None, setting: str, message: str, hint: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(path or Path("inglenook.toml"), [Problem(setting, message, hint)])
