"""Which models are in memory: who may come in, and who has to go for that."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from services.inference.lifecycle.budget import Budget, NoRoom, Reservation
from services.inference.lifecycle.kinds import LoadedModel, Prepared
from services.inference.lifecycle.slot import Slot
from services.inference.lifecycle.states import ModelState

M = TypeVar("M", bound=LoadedModel)
T = TypeVar("T")

MEMORY_PER_WEIGHT: Final = 2.5
"""Memory of a model that was never measured, per byte of its weights. A session keeps the weights and, packed
for its kernels, most of them once more; and there are what it works in and the tokenizer. Measured on
all-MiniLM-L6-v2: 2.2."""

LEAST_WAIT_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Memory:
    """The process's memory. Both are called in a worker thread.

    Attributes:
        resident: Returns how much the process has, in bytes.
        release: Gives what was freed back to the system.
    """

    resident: Callable[[], int]
    release: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Opening:
    """How opening a model went: how far the process grew, whether by nothing else, and how long it took."""

    grown_bytes: int
    is_clean: bool
    seconds: float


class Residency(Generic[M]):
    """Opens models within a budget. Belongs to one event loop.

    Whenever anything changes, everybody who waits decides anew. Reading how much memory the process has takes
    a turn of the event loop; what was read before a change is not used after it.

    Args:
        slots: All models.
        limit_bytes: Most resident memory; 0 for no budget.
        memory: The process's memory.
        evict: Begins to unload a model that is ready.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        slots: Collection[Slot[M]],
        limit_bytes: int,
        memory: Memory,
        evict: Callable[[Slot[M]], object],
        clock: Callable[[], float],
    ) -> None:
        self._slots = slots
        self._budget = Budget(limit_bytes)
        self._memory = memory
        self._evict = evict
        self._clock = clock
        # A thread of its own: those of the event loop may be busy with downloads for minutes.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="memory")
        self._news = asyncio.Event()
        self._one_first_open = asyncio.Lock()
        self._moving: set[object] = set()
        self._moves = 0

    def limit(self, limit_bytes: int) -> None:
        """Keep to another budget from the next opening on: a smaller one makes nobody leave by itself."""
        self._budget.limit_bytes = limit_bytes
        self.tell()

    async def open(self, slot: Slot[M], prepared: Prepared[M]) -> tuple[M, float]:
        """Open a model as soon as there is memory for it; return it and how many seconds opening took.

        Sets what the slot knows of its memory.

        Raises:
            NoRoom: It does not fit into the budget, even with nothing else in memory.
        """
        is_first = slot.measured_bytes is None
        estimate = math.ceil(MEMORY_PER_WEIGHT * prepared.weight_bytes)
        need = slot.measured_bytes or max(slot.memory_bytes, estimate)
        async with self._one_first_open if is_first else nullcontext():
            while True:
                reservation = await self._admit(slot, need)
                try:
                    slot.detail = "opening"
                    model, opening = await self._open(prepared, is_first=is_first)
                    reservation.need_bytes = 0
                    _learn(slot, opening, need)
                    if await self._fits(model):
                        return model, opening.seconds
                    with suppress(Exception):  # it is given up, whatever else is wrong with it
                        await model.close()
                    del model  # else it is still there when freed memory is given back
                    await self.release()
                    if self._budget.is_alone(reservation):
                        rest = await self._in_thread(self._memory.resident)
                        raise NoRoom(opening.grown_bytes, self._budget.limit_bytes - rest)
                    need = max(need, opening.grown_bytes)
                finally:
                    self._budget.give_back(reservation)
                    self.tell()

    async def close(self, slot: Slot[M]) -> None:
        """Close a model once it has no leases, and give its memory back to the system.

        Raises:
            Exception: What the model's own close raised; its memory is given back all the same.
        """
        model = await slot.take()
        with self._motion():
            try:
                await model.close()
            finally:
                del model  # else it is still there when freed memory is given back
                await self.release()

    async def release(self) -> None:
        """Give what was freed back to the system."""
        await self._in_thread(self._memory.release)

    def tell(self) -> None:
        """Let everybody who waits look again."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def end(self) -> None:
        """End the worker thread."""
        self._thread.shutdown(wait=False)

    async def _admit(self, slot: Slot[M], need: int) -> Reservation:
        """Wait until there is memory for a model, evicting others, and reserve it."""
        reservation = self._budget.reserve(need)
        self.tell()
        try:
            while True:
                news, resident = await self._look()
                excess = self._budget.excess(resident, reservation)
                if not excess:
                    reservation.is_granted = True
                    return reservation
                # What was measured may have been another's in part, which must not keep a model out for ever:
                # where there is nobody left to make room, the least that was ever measured is enough to try.
                spare = need - (need if slot.least_bytes is None else slot.least_bytes)
                if need - spare > self._budget.limit_bytes:
                    raise NoRoom(need - spare, self._budget.limit_bytes, "the whole budget is")
                leaving = self._leaving_bytes()
                if excess > leaving and self._evict_one(self._settled()):
                    continue
                moment = self._next_settled() if excess > leaving else None
                others = leaving or moment is not None or not self._budget.is_alone(reservation)
                if not others and excess <= spare:
                    reservation.need_bytes, need = need - spare, need - spare
                    continue
                if not others and not any(one.is_preparing for one in self._slots):
                    raise NoRoom(need - spare, need - excess)
                slot.detail = "waiting for memory"
                await self._wait(news, moment)
        except BaseException:
            self._budget.give_back(reservation)
            self.tell()
            raise

    async def _open(self, prepared: Prepared[M], *, is_first: bool) -> tuple[M, _Opening]:
        """Open a model and see how far the process grows.

        The first time it waits for a quiet moment, so that the growth is this model's. Those who come while
        it is being opened are not held up; then nothing is learned, and the next time is the first again.
        """
        earlier = set(self._moving) if is_first else set()
        while earlier & self._moving:
            await self._news.wait()
        with self._motion():
            moves, quiet = self._moves, len(self._moving) == 1
            if is_first:  # what was freed before would be used again, and the process would grow by less
                await self.release()
            before, began = await self._in_thread(self._memory.resident), self._clock()
            model = await _unless_cancelled(prepared.open())
            try:
                seconds = self._clock() - began
                await self.release()  # files are read into memory that sessions do not keep
                grown = max(0, await self._in_thread(self._memory.resident) - before)
            except asyncio.CancelledError:
                await model.close()
                raise
            return model, _Opening(grown, quiet and moves == self._moves, seconds)

    async def _fits(self, model: M) -> bool:
        """Evict others until the process is within the budget; False if that is not enough.

        Here nobody is spared for having come only just: the memory is in use already.
        """
        try:
            while True:
                news, resident = await self._look()
                over = self._budget.overrun(resident)
                if not over:
                    return True
                leaving = self._leaving_bytes()
                if over > leaving and self._evict_one(self._ready()):
                    continue
                if not leaving:
                    return False
                await self._wait(news, None)
        except asyncio.CancelledError:
            await model.close()
            raise

    def _ready(self) -> list[Slot[M]]:
        return [slot for slot in self._slots if slot.state is ModelState.READY]

    def _settled(self) -> list[Slot[M]]:
        """Return the models that have been here for as long as opening them took."""
        now = self._clock()
        return [slot for slot in self._ready() if slot.stays_until <= now]

    def _next_settled(self) -> float | None:
        """Return when the next model may be evicted; None if there is none."""
        return min((slot.stays_until for slot in self._ready()), default=None)

    def _leaving_bytes(self) -> int:
        return sum(slot.memory_bytes for slot in self._slots if slot.state is ModelState.UNLOADING)

    def _evict_one(self, candidates: Collection[Slot[M]]) -> bool:
        """Evict whoever was used longest ago, idle models first; False if there is nobody to evict."""
        if not candidates:
            return False
        self._evict(min(candidates, key=lambda slot: (slot.leases > 0, slot.last_use)))
        return True

    async def _look(self) -> tuple[asyncio.Event, int]:
        """Return how much memory the process has, and an event that is set when anything changes."""
        while True:
            news = self._news
            if not self._budget.limit_bytes:
                return news, 0
            resident = await self._in_thread(self._memory.resident)
            if not news.is_set():
                return news, resident

    async def _wait(self, news: asyncio.Event, moment: float | None) -> None:
        seconds = None if moment is None else max(LEAST_WAIT_SECONDS, moment - self._clock())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await news.wait()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @contextmanager
    def _motion(self) -> Iterator[None]:
        """Be seen by those who measure."""
        mark = object()
        self._moving.add(mark)
        self._moves += 1
        try:
            yield
        finally:
            self._moving.discard(mark)
            self.tell()


def _learn(slot: Slot[M], opening: _Opening, need: int) -> None:
    if opening.is_clean:
        grown = opening.grown_bytes
        slot.measured_bytes = max(slot.measured_bytes or 0, grown)
        slot.least_bytes = grown if slot.least_bytes is None else min(slot.least_bytes, grown)
    slot.memory_bytes = need if slot.measured_bytes is None else slot.measured_bytes


async def _unless_cancelled(opening: Awaitable[M]) -> M:
    """Open a model; who is cancelled meanwhile closes it, for threads cannot be stopped."""
    task = asyncio.ensure_future(opening)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(Exception):
            await (await task).close()
        raise
