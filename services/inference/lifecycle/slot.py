"""One model's place: where it is in its life, and who uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from services.config import LocalModel
from services.inference.lifecycle.kinds import LoadedModel, Prepared
from services.inference.lifecycle.states import ModelFacts, ModelState, ModelStatus

M = TypeVar("M", bound=LoadedModel)

Prepare = Callable[[Callable[[str], None]], Awaitable[Prepared[M]]]
"""Prepares one model; takes what is to be told of its progress, from any thread."""

LOAD_SECONDS_UNKNOWN: Final = 1.0
RETRY_SECONDS: Final = (0.5, 30.0)
"""When to come back to a model that is being loaded: never sooner, never later."""


@dataclass(frozen=True, slots=True)
class Opened(Generic[M]):
    """A model that has been opened.

    Attributes:
        model: The model.
        facts: What is known of it.
        memory_bytes: How much the process grew, as far as that is known.
        load_seconds: How long preparing and opening took.
        open_seconds: How long opening alone took.
    """

    model: M
    facts: ModelFacts
    memory_bytes: int
    load_seconds: float
    open_seconds: float


class Slot(Generic[M]):
    """One model's state and leases. Belongs to one event loop.

    Its methods change the state at once, without waiting: between a decision and what follows from it,
    nobody else gets a turn.

    Args:
        name: The model's name.
        section: What the configuration says about it.
        prepare: Prepares it for being opened.
        clock: Seconds that only grow.

    Attributes:
        section: As given; a later configuration may say otherwise when it is to be in memory.
        state: Where the model is in its life.
        is_retired: It has no place in the configuration any more, and never gives a lease again.
        detail: What is being done while it is loading.
        is_preparing: Whether its load has not come to memory yet.
        measured_bytes: The most that the process grew by opening it; None if that was never seen.
        least_bytes: The least that it grew; None if that was never seen.
        memory_bytes: What it counts with: measured or estimated, 0 before it was opened.
        leases: How many calls use it.
        load: What loads it; None if nothing does.
        unload: What unloads it; None if nothing does.
    """

    def __init__(
        self, name: str, section: LocalModel, prepare: Prepare[M], clock: Callable[[], float]
    ) -> None:
        self.name: Final = name
        self.section = section
        self.prepare: Final = prepare
        self.state = ModelState.AVAILABLE
        self.is_retired = False
        self.detail = ""
        self.is_preparing = False
        self.measured_bytes: int | None = None
        self.least_bytes: int | None = None
        self.memory_bytes = 0
        self.leases = 0
        self.load: asyncio.Task[None] | None = None
        self.unload: asyncio.Task[None] | None = None
        self._clock = clock
        self._model: M | None = None
        self._problem = ""
        self._facts: ModelFacts | None = None
        self._load_seconds = 0.0
        self._last_used: float | None = None
        self._ready_since = 0.0
        self._open_seconds = 0.0
        self._waiting: list[asyncio.Future[M | None]] = []
        self._no_leases = asyncio.Event()

    @property
    def status(self) -> ModelStatus:
        """What is known of the model."""
        return ModelStatus(
            name=self.name,
            section=self.section,
            state=self.state,
            problem=self._problem,
            detail=self.detail,
            is_preparing=self.is_preparing,
            facts=self._facts,
            memory_bytes=self.memory_bytes,
            load_seconds=self._load_seconds,
            last_used=self._last_used,
        )

    @property
    def model(self) -> M | None:
        """The model, if it is in memory; it may be on its way out."""
        return self._model

    @property
    def problem(self) -> str:
        """Why the last load failed; empty if it did not."""
        return self._problem

    @property
    def is_busy(self) -> bool:
        """Whether it is in memory, or on its way there or out."""
        return self._model is not None or self.load is not None or self.unload is not None

    @property
    def last_use(self) -> float:
        """When it was last used; for one that never was, when it was loaded."""
        return max(self._last_used or 0.0, self._ready_since)

    @property
    def stays_until(self) -> float:
        """When it has been in memory for as long as opening it took."""
        return self._ready_since + self._open_seconds

    @property
    def retry_seconds(self) -> float:
        """When to come back while it is being loaded."""
        least, most = RETRY_SECONDS
        return min(max(self._load_seconds or LOAD_SECONDS_UNKNOWN, least), most)

    def try_lease(self) -> M | None:
        """Return the model, leased, if it is ready."""
        if self.state is not ModelState.READY:
            return None
        return self._lease()

    def release(self) -> None:
        """End a lease."""
        self.leases -= 1
        self._last_used = self._clock()
        if not self.leases:
            self._no_leases.set()

    async def lease_when_ready(self) -> M | None:
        """Wait for the load that is going on; return the model, leased, or None if the load failed."""
        waiting: asyncio.Future[M | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.result() is not None:
                self.release()  # it was granted in the same turn in which the caller left
            raise
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def begin_loading(self) -> None:
        """Start over, whatever became of the last load."""
        self.state, self._problem, self.detail = ModelState.LOADING, "", ""

    def become_ready(self, opened: Opened[M]) -> None:
        """Answer calls from now on; those who waited for it get their leases first."""
        self.state, self.detail, self.load = ModelState.READY, "", None
        self._model, self._facts = opened.model, opened.facts
        self.memory_bytes = opened.memory_bytes
        self._load_seconds, self._open_seconds = opened.load_seconds, opened.open_seconds
        self._ready_since = self._clock()
        for waiting in self._drop_waiting():
            waiting.set_result(self._lease())

    def fail(self, problem: str) -> None:
        """Keep the problem until somebody loads again."""
        self.state, self.detail, self.load = ModelState.FAILED, "", None
        self._problem = problem
        self._send_away()

    def give_up_loading(self) -> None:
        """Be as before the load, which was cancelled."""
        self.load, self.detail = None, ""
        if self.state is ModelState.LOADING:
            self.state = ModelState.AVAILABLE
        self._send_away()

    def retire(self) -> None:
        """Have no place in the configuration any more: who waits for it looks for another of its name."""
        self.is_retired = True
        self._send_away()

    def begin_unloading(self) -> None:
        """Give no leases from now on."""
        self.state = ModelState.UNLOADING

    async def take(self) -> M:
        """Return the model for closing, once no lease is left. It is not in here any more then."""
        while self.leases:
            self._no_leases.clear()
            await self._no_leases.wait()
        model, self._model = self._model, None
        assert model is not None, "only what is ready is unloaded"
        return model

    def become_available(self) -> None:
        """Be out of memory; a problem is forgotten."""
        self.state, self._problem, self.unload = ModelState.AVAILABLE, "", None

    def _lease(self) -> M:
        assert self._model is not None, "what is ready has a model"
        self.leases += 1
        self._last_used = self._clock()
        return self._model

    def _drop_waiting(self) -> list[asyncio.Future[M | None]]:
        waiting, self._waiting = self._waiting, []
        return [one for one in waiting if not one.done()]

    def _send_away(self) -> None:
        for waiting in self._drop_waiting():
            waiting.set_result(None)
