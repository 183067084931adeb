"""How a model gets from one state to the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, NoReturn, TypeVar

from services.artifacts import ArtifactProblem
from services.inference.errors import ModelNotReady
from services.inference.lifecycle.budget import NoRoom
from services.inference.lifecycle.kinds import LoadedModel
from services.inference.lifecycle.residency import Residency
from services.inference.lifecycle.slot import Opened, Slot
from services.inference.lifecycle.states import Cause, LifecycleEvent, ModelState

M = TypeVar("M", bound=LoadedModel)

RETRY_STOPPING_SECONDS: Final = 1.0
"""When to come back to a service that is stopping: others of its kind take over."""

log: Final = logging.getLogger(__name__)


class LoadCancelled(Exception):
    """Nobody waits any more for the load that something is reported of."""


class Transitions(Generic[M]):
    """Loads and unloads models, each in a task of its own. Belongs to one event loop.

    A state changes at once, where the change is decided; what follows from it happens in the task. So two
    decisions never contradict each other, and who asked may leave.

    Args:
        slots: All models.
        residency: Opens and closes them.
        changed: Awaited after every change of a model's state.
        observe: Told of every model that was loaded, unloaded or failed to load.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        slots: Collection[Slot[M]],
        residency: Residency[M],
        changed: Callable[[], Awaitable[None]],
        observe: Callable[[LifecycleEvent], None],
        clock: Callable[[], float],
    ) -> None:
        self._slots = slots
        self._residency = residency
        self._changed = changed
        self._observe = observe
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def is_stopping(self) -> bool:
        """Whether the service is stopping."""
        return self._stopping

    def check(self, slot: Slot[M]) -> None:
        """Refuse what comes too late.

        Raises:
            ModelNotReady: The service is stopping.
        """
        if self._stopping:
            refuse_stopping(slot.name)

    def begin_load(self, slot: Slot[M]) -> asyncio.Task[None]:
        """Return the load of a model that is not ready; there is one at a time.

        Raises:
            ModelNotReady: The service is stopping.
        """
        self.check(slot)
        if slot.load is None:
            if slot.state is not ModelState.UNLOADING:
                slot.begin_loading()
            slot.load = task = self._spawn(self._load(slot))
            task.add_done_callback(partial(_give_up, slot))
        return slot.load

    def begin_unload(self, slot: Slot[M], cause: Cause) -> asyncio.Task[None]:
        """Unload a model that is ready. From this moment on it gives no leases."""
        slot.begin_unloading()
        slot.unload = self._spawn(self._unload(slot, cause))
        return slot.unload

    async def give_up(self, slot: Slot[M]) -> None:
        """Cancel a load, and return when it has ended."""
        if slot.load is not None:
            slot.load.cancel()
            await asyncio.wait({slot.load})
            await self._tell()

    async def forget_problem(self, slot: Slot[M]) -> None:
        """Make a model available whose load failed."""
        slot.become_available()
        await self._tell()

    async def close(self) -> None:
        """Cancel loads, unload what is ready, and wait until nothing goes on any more."""
        self._stopping = True
        # First every model stops being ready, then others are told: no change that is told on the way shows
        # a service that still answers.
        for slot in self._slots:
            if slot.state is ModelState.READY:
                self.begin_unload(slot, "stopping")
        for slot in self._slots:
            if slot.load is not None:
                slot.load.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._tell()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _load(self, slot: Slot[M]) -> None:
        if slot.unload is not None:
            await asyncio.wait({slot.unload})
        if slot.state is not ModelState.LOADING:
            slot.begin_loading()
        await self._tell()
        problem: str | None = None
        try:
            self._arrive(slot, await self._bring_in(slot))
        except (ArtifactProblem, NoRoom) as error:
            problem = str(error)
            log.error("a model could not be loaded", extra={"model": slot.name, "problem": problem})  # noqa: TRY400  # the problem says it all
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # what fails in native code may be no Exception
            problem = f"internal error: {type(error).__name__}"
            log.exception("loading a model failed with a bug", extra={"model": slot.name})
        if problem is not None:
            await self._residency.release()  # what a failed attempt took is freed only now
            slot.fail(problem)
            self._observe(LifecycleEvent("failed", slot.name))
        self._residency.tell()
        await self._tell()

    async def _bring_in(self, slot: Slot[M]) -> Opened[M]:
        loop, load = asyncio.get_running_loop(), asyncio.current_task()
        cancelled = False

        def show(detail: str) -> None:
            if slot.load is load and slot.is_preparing:  # else it comes too late
                slot.detail = detail

        def report(detail: str) -> None:
            if cancelled:  # threads cannot be stopped, but a download ends with what its report raises
                raise LoadCancelled
            with suppress(RuntimeError):  # the loop is closed: nobody is left to read it
                loop.call_soon_threadsafe(show, detail)

        slot.is_preparing, began = True, self._clock()
        try:
            prepared = await slot.prepare(report)
        except asyncio.CancelledError:
            cancelled = True
            raise
        finally:
            slot.is_preparing, slot.detail = False, ""
            self._residency.tell()
        prepare_seconds = self._clock() - began
        model, open_seconds = await self._residency.open(slot, prepared)
        load_seconds = prepare_seconds + open_seconds
        return Opened(model, prepared.facts, slot.memory_bytes, load_seconds, open_seconds)

    def _arrive(self, slot: Slot[M], opened: Opened[M]) -> None:
        slot.become_ready(opened)
        told = {"load_seconds": round(opened.load_seconds, 3), "memory_bytes": opened.memory_bytes}
        log.info("model ready", extra={"model": slot.name, **told})
        self._observe(LifecycleEvent("loaded", slot.name, seconds=opened.load_seconds))

    async def _unload(self, slot: Slot[M], cause: Cause) -> None:
        await self._tell()
        try:
            await self._residency.close(slot)
        except Exception:
            log.exception("closing a model failed with a bug", extra={"model": slot.name})
        slot.become_available()
        log.info("model unloaded", extra={"model": slot.name, "cause": cause})
        self._observe(LifecycleEvent("unloaded", slot.name, cause))
        self._residency.tell()
        await self._tell()

    async def _tell(self) -> None:
        try:
            await self._changed()
        except Exception:
            log.exception("a change of a model's state could not be told")


def refuse_stopping(name: str) -> NoReturn:
    """Say that the service is stopping.

    Raises:
        ModelNotReady: Always.
    """
    raise ModelNotReady(name, "not loaded; the service is stopping", RETRY_STOPPING_SECONDS)


def _give_up(slot: Slot[M], task: asyncio.Task[None]) -> None:
    """See that nobody waits for a load that was cancelled, even before it began."""
    if slot.load is task:
        slot.give_up_loading()
