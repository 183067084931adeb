"""Looks for models that nobody calls any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final, Generic, TypeVar

from services.inference.lifecycle.kinds import LoadedModel
from services.inference.lifecycle.slot import Slot
from services.inference.lifecycle.states import ModelState

M = TypeVar("M", bound=LoadedModel)

LEAST_WAIT_SECONDS: Final = 0.05
"""Timers of event loops are early by a little; nobody needs a model to go in the very moment."""


class IdleWatch(Generic[M]):
    """Unloads models whose last use is too long ago. Belongs to one event loop.

    Args:
        slots: All models.
        default_seconds: After how long a model goes whose section does not say; 0 for never.
        unload: Begins to unload a model that is ready.
        clock: Seconds that only grow.

    Attributes:
        default_seconds: As given; who changes it says so with `notice`.
    """

    def __init__(
        self,
        slots: Collection[Slot[M]],
        default_seconds: float,
        unload: Callable[[Slot[M]], asyncio.Task[None]],
        clock: Callable[[], float],
    ) -> None:
        self.default_seconds = default_seconds
        self._slots = slots
        self._unload = unload
        self._clock = clock
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def notice(self) -> None:
        """Look again: a model has become ready, or there are other limits."""
        if not any(self._limit(slot) for slot in self._slots) and self._task is None:
            return
        self._more.set()
        if self._task is None:
            self._task = asyncio.create_task(self._watch())

    async def sweep(self) -> float | None:
        """Unload what is due and wait until it is gone; return when the next one may be due, if any."""
        now = self._clock()
        gone = [
            self._unload(slot)
            for slot, limit in self._limits()
            if slot.state is ModelState.READY and not slot.leases and slot.last_use + limit <= now
        ]
        if gone:
            await asyncio.wait(gone)
        now = self._clock()
        return min(
            (
                (now if slot.leases else slot.last_use) + limit
                for slot, limit in self._limits()
                if slot.state is ModelState.READY
            ),
            default=None,
        )

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _limit(self, slot: Slot[M]) -> float:
        return slot.section.idle_unload_seconds or self.default_seconds

    def _limits(self) -> list[tuple[Slot[M], float]]:
        """Return the models that may be idle for so long and no longer."""
        return [(slot, limit) for slot in self._slots if (limit := self._limit(slot))]

    async def _watch(self) -> None:
        """Sleep until something may be due; one that becomes ready later may be due sooner."""
        while True:
            self._more.clear()
            due = await self.sweep()
            seconds = None if due is None else max(LEAST_WAIT_SECONDS, due - self._clock())
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._more.wait()
