"""Answering a call item by item: what is known is not computed, what two callers want is computed once.

One answer is of one model. What is kept was computed under the fingerprint that the model had then; an
answer that carries another one, as while replicas are being replaced, is not mixed with it. And what is
computed is kept under the fingerprint that came with it, never under one that was only expected.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from services.chassis.errors import DeadlinePassed
from services.router.cache.flights import Flights
from services.router.cache.key import space_of
from services.router.cache.metrics import Result as Counted
from services.router.errors import Garbled
from services.router.items.asking import Computed, ask, compute, join
from services.router.items.call import Call, Lookup, Reply
from services.router.items.messages import SLICE, SLICE_BYTES, slices
from services.router.items.mode import Mode, Result
from services.router.items.question import Facts, Question, Unfit
from services.router.items.wire import timings_of

FLIGHTS: Final = 2
"""How often a call relies on others to compute what it wants. Whoever leads may leave or fail; those who
waited then share a second flight, and after that each of them computes for itself."""


async def answer(call: Call, question: Question | None) -> Reply:
    """Answer a call from what is kept, and have the rest computed.

    Without a question, and for a model whose fingerprint is not known, a backend answers the call as it came.

    Raises:
        NoBackend: No replica could answer.
        DeadlinePassed: The deadline passed first.
        Relayed: A replica answered with an error.
        Garbled: A replica's answer is none to what it was asked.
    """
    if question is not None and (fingerprint := await _fingerprint(call, question)):
        with suppress(Unfit):
            return await _Answering(call, question, fingerprint).run()
    call.cache.metrics.request(call.route.capability, Counted.BYPASS, question.count if question else 1)
    return await call.pass_on()


async def _fingerprint(call: Call, question: Question) -> str:
    """Return the fingerprint of the model that is asked, if there is a reason to take the call apart."""
    if _cached(call) or question.count > call.split_inputs > 0:
        return await call.route.fingerprint(call.model)
    return ""


def _cached(call: Call) -> bool:
    """Say whether the cache has a part in a call."""
    return call.cache.enabled and call.mode is not Mode.OFF


class _Answering:
    """One call while it is being answered."""

    def __init__(self, call: Call, question: Question, fingerprint: str) -> None:
        self._began = time.perf_counter()
        self._call = call
        self._question = question
        self._fingerprint = fingerprint
        self._cached = _cached(call)
        self._generation = call.cache.generation
        self._found = Lookup((), {})
        self._computed: Computed | None = None
        self._fresh: frozenset[bytes] | set[bytes] = frozenset()
        self._whole = False
        """One replica has computed all of it."""

    async def run(self) -> Reply:
        """Answer it."""
        self._found = found = Lookup(await self._keys(self._fingerprint), {})
        if self._call.mode.reads and self._cached:
            await self._look_up(found)
        if (missing := found.missing()) and not await self._fill(missing):
            await self._start_over()
        try:
            return await self._reply()
        except Garbled:
            if self._whole:
                raise
        self._computed = None  # its parts do not go together, or not with what is known, and never would
        await self._start_over()
        return await self._reply()

    async def _keys(self, fingerprint: str) -> list[bytes]:
        """Return what the items are found by, if a model of this fingerprint answers."""
        question, size = self._question, len(self._call.content)
        space = space_of(question.task, self._call.model, (fingerprint, *question.fields))
        at_once = SLICE if size <= SLICE_BYTES else max(1, SLICE_BYTES * question.count // size)
        if question.count <= at_once:
            return question.keys(space, slice(0, question.count))
        keys: list[bytes] = []
        async for part in slices(question.count, min(SLICE, at_once)):
            keys += question.keys(space, part)
        return keys

    async def _look_up(self, found: Lookup) -> None:
        """Find out what is known, in the router's own memory first."""
        cache, values = self._call.cache, found.values
        async for part in slices(len(found.keys)):
            keys = found.keys[part]
            for key, value in zip(keys, cache.get_memory(keys), strict=True):
                if value is not None:
                    values[key] = value
        self._count(Counted.HIT_MEMORY, values)
        if cache.remote and (missing := list(found.missing())):
            kept = zip(missing, await cache.get_many(missing), strict=True)
            remote = {key: value for key, value in kept if value is not None}
            values.update(remote)
            self._count(Counted.HIT_REDIS, remote)

    async def _fill(self, missing: Mapping[bytes, int]) -> bool:
        """Have computed what is missing, by others where they do already.

        Return False if a model of another fingerprint computed it.
        """
        if self._call.mode is Mode.ON and self._cached:
            for _ in range(FLIGHTS):
                flights = self._call.cache.flights  # a purge has others
                led, awaited = flights.board(missing)
                led = self._landed_since(led)
                if led and not await self._lead(flights, {key: missing[key] for key in led}):
                    return False
                if not (left := await self._share(awaited)):
                    return True
                missing = {key: missing[key] for key in left}
        return await self._compute(missing)

    def _landed_since(self, led: list[bytes]) -> list[bytes]:
        """Land at once what came to be known while Redis was asked; return the other keys."""
        cache = self._call.cache
        if not cache.remote:
            return led
        kept = zip(led, cache.get_memory(led), strict=True)
        landed = {key: value for key, value in kept if value is not None}
        cache.flights.land(landed)
        self._found.values.update(landed)
        self._count(Counted.SHARED, landed)
        return [key for key in led if key not in landed]

    async def _lead(self, flights: Flights, missing: Mapping[bytes, int]) -> bool:
        """Compute for all who want the same. Return False as `_fill` does."""
        try:
            if not await self._compute(missing):
                return False
            flights.land({key: self._found.values[key] for key in missing})
            return True
        finally:
            flights.abandon(missing)  # what has landed is not touched

    async def _share(self, awaited: Mapping[bytes, asyncio.Future[bytes | None]]) -> list[bytes]:
        """Take what others compute; return the keys for which they failed."""
        if not awaited:
            return []
        _, pending = await asyncio.wait(awaited.values(), timeout=self._call.left())
        if pending:
            raise DeadlinePassed
        shared = {key: value for key, future in awaited.items() if (value := future.result()) is not None}
        self._found.values.update(shared)
        self._count(Counted.SHARED, shared)
        return [key for key in awaited if key not in shared]

    async def _compute(self, missing: Mapping[bytes, int]) -> bool:
        """Have items computed and keep them. Return False as `_fill` does."""
        count = self._question.count
        positions = range(count) if len(missing) == count else list(missing.values())
        computed = await compute(self._call, self._question, positions)
        self._computed = join([self._computed, computed]) if self._computed else computed
        if computed.fingerprint != self._fingerprint:
            return False
        self._take(computed, missing)
        return True

    async def _start_over(self) -> None:
        """Answer with what one model computes, which is not the one whose answers are kept."""
        computed, question = self._computed, self._question
        self._whole = True
        self._found = everything = Lookup(self._found.keys, {})
        wanted = everything.missing()
        if computed is None or not computed.united or len(computed.values) != len(wanted):
            positions = range(question.count) if len(wanted) == question.count else list(wanted.values())
            self._computed = computed = await ask(self._call, question, positions)
        if computed.fingerprint and self._cached:
            self._found = Lookup(await self._keys(computed.fingerprint), {})
        self._take(computed, self._found.missing())

    def _take(self, computed: Computed, keys: Mapping[bytes, int]) -> None:
        """Answer with what was computed, and keep it."""
        fresh = dict(zip(keys, computed.values, strict=True))
        self._found.values.update(fresh)
        self._fresh = self._fresh | fresh.keys()
        if self._cached and self._call.mode.keeps and computed.lasting and computed.fingerprint:
            self._call.cache.put_many(list(fresh.items()), self._generation)

    async def _reply(self) -> Reply:
        found, computed, fresh = self._found, self._computed, self._fresh
        values = [found.values[key] for key in found.keys]
        known = len(values) if not fresh else sum(key not in fresh for key in found.keys)
        facts = Facts(
            model=computed.model if computed else self._call.model,
            input_tokens=computed.input_tokens if computed else 0,
            timings=timings_of(computed.timings if computed else (), time.perf_counter() - self._began),
            cached_inputs=known,
        )
        content = await self._question.write(values, facts)
        counted, result = Counted.MISS, Result.PARTIAL if known else Result.MISS
        if not fresh:
            result = Result.HIT
        elif not self._cached:
            counted, result = Counted.BYPASS, Result.BYPASS
        self._call.cache.metrics.request(self._call.route.capability, counted, len(values) - known)
        return Reply(content, computed.trailing if computed else None, result)

    def _count(self, result: Counted, found: Mapping[bytes, bytes]) -> None:
        """Count the items whose answers were found so."""
        if found:
            keys = self._found.keys
            number = len(keys) if len(found) == len(keys) else sum(key in found for key in keys)
            self._call.cache.metrics.request(self._call.route.capability, result, number)
