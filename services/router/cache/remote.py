"""Redis as calls see it: it answers soon or not at all, and never fails them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from services.config.sections.cache import Cache as CacheSection
from services.router.cache.backlog import Backlog
from services.router.cache.breaker import Breaker
from services.router.cache.errors import CacheUnavailable
from services.router.cache.key import NAMESPACE, keys_of, pattern_of
from services.router.cache.metrics import CacheMetrics, Drop, Failure, Operation
from services.router.cache.value import MAX_ANSWER_BYTES, seal, unseal

if TYPE_CHECKING:
    from services.router.cache.redis import Client  # imports the library, which is an extra

T = TypeVar("T")

READ_AT_ONCE: Final = 512
"""How many keys are read in one request; more would hold up other calls of Redis and of this router."""
PREPARE_SECONDS: Final = 5.0
"""How long a probe may take to learn where the nodes of a cluster are."""
FLUSH_SECONDS: Final = 1.0
"""How long closing waits for what is still to be written."""
PROBE_KEY: Final = NAMESPACE + b"probe"


class Remote:
    """Reads, writes in the background, and leaves Redis alone while it fails.

    Everything that Redis is asked runs in a task of its own: a caller that is cancelled meanwhile leaves
    the connection as it has to be, and the task is never longer than `timeout_seconds`.

    Args:
        section: The settings.
        client: Redis.
        kind_of: Says what kind of failure an error of the client is.
        metrics: Where failures are counted.
    """

    def __init__(
        self,
        section: CacheSection,
        client: Client,
        kind_of: Callable[[Exception], Failure],
        metrics: CacheMetrics,
    ) -> None:
        self.breaker = Breaker(section.failure_threshold, section.probe_seconds, self._probe)
        self._timeout_seconds = section.timeout_seconds
        self._probe_seconds = section.probe_seconds
        self._client = client
        self._kind_of = kind_of
        self._metrics = metrics
        self._backlog = Backlog()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writer: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._closed = False

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what Redis has under each key; nothing while it fails."""
        answers: list[bytes | None] = []
        for start in range(0, len(keys), READ_AT_ONCE):
            if self.breaker.open or self._closed:
                break
            some = keys[start : start + READ_AT_ONCE]
            values = await self._apart(Operation.READ, partial(self._client.read, some))
            if values is None:
                break  # the rest would have to wait as long
            answers += self._unsealed(some, values)
        return answers + [None] * (len(keys) - len(answers))

    def _unsealed(self, keys: Sequence[bytes], values: Sequence[object]) -> list[bytes | None]:
        """Return the answers in envelopes; those that are damaged are deleted in the background."""
        answers: list[bytes | None] = []
        damaged: list[bytes] = []
        for key, value in zip(keys, values, strict=True):
            answer = None if value is None else unseal(key, value)
            answers.append(answer)
            if answer is None and value is not None:
                damaged.append(key)
                self._metrics.error(Operation.READ, Failure.DAMAGED)
        if damaged:
            self._start(self._timed(Operation.DELETE, partial(self._client.delete, damaged)))
        return answers

    def write(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Let answers be written in the background, those that there is room for."""
        if self.breaker.open or self._closed:
            self._metrics.dropped(Drop.UNAVAILABLE, len(entries))
            return
        for key, answer in entries:
            if len(answer) > MAX_ANSWER_BYTES:
                self._metrics.dropped(Drop.TOO_LARGE)
            elif not self._backlog.add(key, answer):
                self._metrics.dropped(Drop.BACKLOG)
        if self._backlog and (self._writer is None or self._writer.done()):
            self._writer = self._start(self._write_all())

    async def _write_all(self) -> None:
        while self._backlog:
            async with self._writing:
                chunk = self._backlog.chunk()
                sealed = [(key, seal(key, answer)) for key, answer in chunk]
                refusals = await self._timed(Operation.WRITE, partial(self._client.write, sealed))
            if refusals is None:
                self._metrics.dropped(Drop.UNAVAILABLE, len(chunk))
            else:
                self._metrics.dropped(Drop.REFUSED, len(refusals))
                for kind in refusals:
                    self._metrics.error(Operation.WRITE, kind)
            if self.breaker.open:
                self._metrics.dropped(Drop.UNAVAILABLE, self._backlog.drop(lambda _: True))

    async def purge(self, model: str, known: set[bytes]) -> int:
        """Forget the answers of a model, or all; return how many there were besides those `known`.

        Raises:
            CacheUnavailable: Redis fails, and may still have some.
        """
        if self.breaker.open or self._closed:
            raise CacheUnavailable(self._probe_seconds)
        beginning = keys_of(model)
        self._backlog.drop(lambda key: key.startswith(beginning))
        async with self._writing:
            pass  # what was being written is there now, to be found
        prepare = partial(self._prepare, anew=False)
        if not await self._apart(Operation.PROBE, prepare, PREPARE_SECONDS):
            raise CacheUnavailable(self._probe_seconds)
        return sum([await self._purge(pattern_of(model), part, known) for part in self._client.parts()])

    async def _purge(self, pattern: bytes, part: object, known: set[bytes]) -> int:
        """Delete the keys of one part of Redis that fit a pattern."""
        cursor, forgotten, begun = 0, 0, False
        while cursor or not begun:
            begun = True
            cursor, keys = await self._asked(partial(self._client.step, pattern, part, cursor))
            if keys:
                deleted = await self._asked(partial(self._client.delete, keys))
                forgotten += sum(gone and key not in known for key, gone in zip(keys, deleted, strict=True))
        return forgotten

    async def _asked(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what Redis says to a step of a purge."""
        if (result := await self._apart(Operation.PURGE, work)) is None:
            raise CacheUnavailable(self._probe_seconds)
        return result

    async def close(self) -> None:
        """Write what waits, as far as that is soon done, and end the connections."""
        self._closed = True
        await self.breaker.close()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=FLUSH_SECONDS)
            self._writer.cancel()
        if self._tasks:  # none takes longer than Redis may; cancelling them would cancel those who wait
            await asyncio.wait(self._tasks)
        try:
            await self._client.close()
        except Exception as error:  # its connections are ended all the same
            self._metrics.error(Operation.CLOSE, self._kind_of(error))

    async def _probe(self) -> bool:
        """Say whether Redis answers reads; a cluster is looked at anew."""
        return (
            await self._timed(Operation.PROBE, partial(self._prepare, anew=True), PREPARE_SECONDS) is not None
            and await self._timed(Operation.PROBE, partial(self._client.read, [PROBE_KEY])) is not None
        )

    async def _prepare(self, *, anew: bool) -> bool:
        await self._client.prepare(anew=anew)
        return True

    async def _apart(
        self, operation: Operation, work: Callable[[], Awaitable[T]], seconds: float | None = None
    ) -> T | None:
        """Do work in a task of its own, which goes on when the caller is cancelled."""
        task: asyncio.Task[T | None] = self._start(self._timed(operation, work, seconds))
        return await asyncio.shield(task)

    async def _timed(
        self, operation: Operation, work: Callable[[], Awaitable[T]], seconds: float | None = None
    ) -> T | None:
        """Return what `work` does; None if it fails or takes too long, which the breaker learns."""
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(seconds or self._timeout_seconds):
                result = await work()
        except Exception as error:  # whatever it is: nobody's call fails for it
            kind = self._kind_of(error)
            self._metrics.error(operation, kind)
            if operation is not Operation.PROBE and kind is not Failure.BUSY:
                self.breaker.failed(kind)
            return None
        finally:
            self._metrics.took(operation, time.perf_counter() - begun)
        if operation is not Operation.PROBE:
            self.breaker.succeeded()
        return result

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name="ask-redis")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
