"""The models of one service: what callers and operators ask for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from services.config import Capability, LocalModel
from services.inference.errors import (
    InvalidInput,
    ModelFailed,
    ModelNotFound,
    ModelNotReady,
    WrongCapability,
)
from services.inference.lifecycle.idle import IdleWatch
from services.inference.lifecycle.kinds import LoadedModel, Loader, Prepared
from services.inference.lifecycle.residency import Memory, Residency
from services.inference.lifecycle.roster import Roster
from services.inference.lifecycle.slot import Slot
from services.inference.lifecycle.states import (
    Cause,
    LifecycleEvent,
    LifecycleSettings,
    ModelState,
    ModelStatus,
)
from services.inference.lifecycle.transition import Transitions
from services.inference.memory import claimed_bytes, release_freed_memory

M = TypeVar("M", bound=LoadedModel)
S = TypeVar("S", bound=LocalModel)

NOWHERE: Final[Mapping[str, Capability]] = MappingProxyType({})

SLACK_SECONDS: Final = 0.25
SLACK_SHARE: Final = 0.1
"""How long before its deadline, and at most which share of its wait, a call is told to come back later."""

log: Final = logging.getLogger(__name__)


def ignore(_: LifecycleEvent) -> None:
    """Take the news of what happened to a model, and do nothing."""


class Registry(Generic[M]):
    """The models of one service. Belongs to one event loop; what only reads may be called in any thread.

    Args:
        sections: The models by name, in the order of the configuration.
        loader: What loads them.
        changed: Awaited after every change of a model's state.
        settings: By which rules models come and go.
        capability: What its models are for.
        elsewhere: Models of the same configuration that other services have, and what these are for. One for
            the same as its own is run by providers.
        observe: Told of every model that was loaded, unloaded or failed to load.
        memory: Returns how much memory the process has, in bytes; called in a worker thread.
        release: Gives memory that was freed back to the system; called in a worker thread.
        clock: Seconds that only grow; deadlines and idle times go by it.
    """

    def __init__(  # noqa: PLR0913  # three are what it is made of; the others are named and have defaults
        self,
        sections: Mapping[str, S],
        loader: Loader[M, S],
        changed: Callable[[], Awaitable[None]],
        *,
        settings: LifecycleSettings,
        capability: Capability = "embed",
        elsewhere: Mapping[str, Capability] = NOWHERE,
        observe: Callable[[LifecycleEvent], None] = ignore,
        memory: Callable[[], int] = claimed_bytes,
        release: Callable[[], None] = release_freed_memory,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loader: Loader[M, Any] = loader
        self._settings = settings
        self._capability = capability
        self._elsewhere = elsewhere
        self._observe = observe
        self._clock = clock
        self._roster: Roster[M] = Roster(self._new_slot, self._unloader("reconfigured"))
        slots = self._roster
        self._residency = Residency(
            slots, settings.memory_budget_bytes, Memory(memory, release), self._unloader("evicted"), clock
        )
        self._transitions = Transitions(slots, self._residency, changed, self._note, clock)
        self._idle = IdleWatch(slots, settings.idle_unload_seconds, self._unloader("idle"), clock)
        self._roster.change(sections)

    @property
    def names(self) -> list[str]:
        """Names of all models, in the order of the configuration."""
        return list(self._roster.current)

    def statuses(self) -> Sequence[ModelStatus]:
        """Return what is known of every model, in the order of the configuration."""
        return tuple(map(self._roster.status, self._roster.current.values()))

    def status(self, name: str) -> ModelStatus:
        """Return what is known of a model.

        Raises:
            ModelNotFound: There is no model of that name, or providers run it.
            WrongCapability: There is one, but another service has it.
        """
        return self._roster.status(self._slot(name))

    def problems(self) -> Mapping[str, str]:
        """Return, by name, why models answer as they did before their sections changed."""
        return self._roster.failed()

    def reconfigure(
        self,
        sections: Mapping[str, S],
        loader: Loader[M, S],
        *,
        settings: LifecycleSettings,
        elsewhere: Mapping[str, Capability] = NOWHERE,
    ) -> None:
        """Follow another configuration; what the arguments are, the class says.

        All of it holds when this returns, except that models are still to be loaded: those that are new and
        wanted from the start, and those that answer and whose sections have changed. The latter answer as
        before until their successors are ready, and go on if these cannot be loaded. With a memory budget
        that has no room for both, the old one leaves first as any other that was not used for long, and calls
        wait for the new one. Calls for a model that is not named any more are told so; those that have it
        keep it. A service that is stopping changes nothing.
        """
        if self._transitions.is_stopping:
            return
        self._loader, self._settings, self._elsewhere = loader, settings, elsewhere
        self._idle.default_seconds = settings.idle_unload_seconds
        self._residency.limit(settings.memory_budget_bytes)
        for slot in self._roster.change(sections):
            if slot.state is not ModelState.READY:
                self._transitions.begin_load(slot)
        self._idle.notice()

    def loaded(self) -> Mapping[str, M]:
        """Return the models that are in memory, those on their way out included."""
        models = ((name, slot.model) for name, slot in self._roster.current.items())
        return {name: model for name, model in models if model is not None}

    def resolve(self, name: str) -> str:
        """Return the model that a request means: `name`, or the only one if `name` is empty.

        Raises:
            InvalidInput: The name is empty and there are several models.
            ModelNotFound: There is no model of that name, or none at all.
            WrongCapability: There is one, but another service has it.
        """
        if not name and len(self._roster.current) > 1:
            raise InvalidInput([("model", f"must name one of: {', '.join(self.names)}")])
        return self._slot(name or next(iter(self._roster.current), "")).name

    def use(self, name: str, deadline: float | None = None) -> Lease[M]:
        """Return a lease of a model, for `async with`: the model is there until the block ends.

        What becomes of a call for a model that is not loaded, `LifecycleSettings.on_demand` says.

        Args:
            name: The model; it may be empty if there is only one.
            deadline: When the caller stops waiting, in seconds of the clock; None for never.

        Raises:
            InvalidInput: The name is empty and there are several models.
            ModelNotFound: There is no model of that name.
            WrongCapability: There is one, but another service has it.
            ModelNotReady: On entering: it is not loaded and this call does not wait for that, or its deadline
                is about to pass. A load that has begun goes on.
            ModelFailed: On entering: its last load failed.
        """
        return Lease(self, self._roster.current[self.resolve(name)], deadline)

    async def load(self, name: str) -> ModelStatus:
        """Load a model unless it is loaded as its section says, and return how it then stands.

        Any number of callers share one load, and a caller that leaves does not stop it. A model that
        cannot be loaded ends in state failed, with the problem; that is not raised.

        Raises:
            ModelNotFound: There is no model of that name.
            WrongCapability: There is one, but another service has it.
            ModelNotReady: The service is stopping, or somebody else unloaded the model meanwhile.
        """
        while (slot := self._newest(name)).state is not ModelState.READY:
            task = self._transitions.begin_load(slot)
            await asyncio.wait({task})
            if not task.cancelled():
                break
            self._transitions.check(slot)
            if not slot.is_retired:
                raise ModelNotReady(name, "not loaded; somebody unloaded it meanwhile", None)
        return slot.status

    async def load_all(self) -> None:
        """Load the models that the configuration wants loaded from the start.

        All at once, as far as memory goes: one that takes an hour to fetch holds up no other. Returns early
        when the service is stopping.
        """
        wanted = [self.load(slot.name) for slot in self._roster.current.values() if slot.section.preload]
        for ended in await asyncio.gather(*wanted, return_exceptions=True):
            if isinstance(ended, BaseException) and not isinstance(ended, ModelNotReady | ModelNotFound):
                raise ended  # the two: it was unloaded meanwhile, or the configuration does not name it now

    async def unload(self, name: str) -> ModelStatus:
        """Take a model out of memory once the calls that use it have finished.

        A caller that leaves does not stop it.

        Raises:
            ModelNotFound: There is no model of that name.
            WrongCapability: There is one, but another service has it.
            ModelNotReady: It is being opened. One whose files are still being fetched is given up.
        """
        self._slot(name)  # or it is told that there is none
        before = self._roster.succeed(name)
        slot = self._slot(name)
        if slot.load is not None and slot.is_preparing:
            await self._transitions.give_up(slot)
        if slot.load is not None:
            raise ModelNotReady(name, "loading", slot.retry_seconds)
        if slot.state is ModelState.FAILED:
            await self._transitions.forget_problem(slot)
        if slot.state is ModelState.READY:
            self._transitions.begin_unload(slot, "explicit")
        going = {one.unload for one in (slot, before) if one is not None and one.unload is not None}
        if going:
            await asyncio.wait(going)
        return slot.status

    async def sweep(self) -> None:
        """Unload the models that nobody has called for too long; happens by itself when one is due."""
        await self._idle.sweep()

    async def close(self) -> None:
        """Load nothing any more, let the calls that have a model finish, and give everything back.

        A model that is being opened is closed as soon as it is open: what threads do cannot be stopped.
        """
        await self._idle.close()
        await self._transitions.close()
        self._residency.end()

    async def _lease(self, slot: Slot[M], deadline: float | None) -> tuple[Slot[M], M]:
        """Return a model that was not ready just now, and its place, or say when to come back."""
        while True:
            if slot.is_retired:  # the configuration has changed since the call began
                slot = self._slot(slot.name)
            if (model := slot.try_lease()) is not None:
                return slot, model
            on_demand = self._settings.on_demand
            self._transitions.check(slot)
            if slot.state is ModelState.FAILED:
                raise ModelFailed(slot.name, slot.problem)
            if on_demand == "never" and slot.load is None:
                raise ModelNotReady(slot.name, "not loaded; load it first", None)
            self._transitions.begin_load(slot)
            if on_demand != "wait":
                raise ModelNotReady(slot.name, "loading", slot.retry_seconds)
            try:
                async with asyncio.timeout(self._patience(deadline)):
                    model = await slot.lease_when_ready()
            except TimeoutError:
                raise ModelNotReady(slot.name, "loading", slot.retry_seconds) from None
            if model is not None:
                return slot, model

    def _patience(self, deadline: float | None) -> float | None:
        """Return how many seconds a caller's wait may take: a little less than the caller waits.

        One who gives up first would never hear why, nor when to come back.
        """
        if deadline is None:
            return None
        remaining = deadline - self._clock()
        return remaining - min(SLACK_SECONDS, remaining * SLACK_SHARE)

    def _slot(self, name: str) -> Slot[M]:
        slot = self._roster.current.get(name)
        if slot is not None:
            return slot
        does = self._elsewhere.get(name)
        if does is not None and does != self._capability:
            raise WrongCapability(name, does, self._capability)
        raise ModelNotFound(name, self.names, by_providers=does is not None)

    def _newest(self, name: str) -> Slot[M]:
        """Return the slot of a model as the configuration has it now."""
        slot = self._slot(name)
        return self._roster.successors.get(name, slot)

    def _new_slot(self, name: str, section: LocalModel) -> Slot[M]:
        def prepare(report: Callable[[str], None]) -> Awaitable[Prepared[M]]:
            return self._loader.prepare(name, section, report)  # with what is in force when it is loaded

        return Slot(name, section, prepare, self._clock)

    def _unloader(self, cause: Cause) -> Callable[[Slot[M]], asyncio.Task[None]]:
        """Return what begins to unload a model that is ready; who is to succeed it has its place at once."""

        def unload(slot: Slot[M]) -> asyncio.Task[None]:
            task = self._transitions.begin_unload(slot, cause)
            successor = self._roster.successors.get(slot.name)
            if successor is not None and successor.load is not None and not slot.is_retired:
                self._roster.succeed(slot.name)
            return task

        return unload

    def _note(self, event: LifecycleEvent) -> None:
        successor = self._roster.successors.get(event.model)
        if successor is not None and successor.state is ModelState.READY:
            self._roster.succeed(event.model)
        self._roster.tidy()
        if event.kind == "loaded":
            self._idle.notice()
        try:
            self._observe(event)
        except Exception:
            log.exception("an event of a model's life could not be told", extra={"model": event.model})


class Lease(Generic[M]):
    """The use of a model by one call, for one `async with`. Made by `Registry.use`."""

    __slots__ = ("_deadline", "_registry", "_slot")

    def __init__(self, registry: Registry[M], slot: Slot[M], deadline: float | None) -> None:
        self._registry = registry
        self._slot = slot
        self._deadline = deadline

    async def __aenter__(self) -> M:
        model = self._slot.try_lease()
        if model is None:
            self._slot, model = await self._registry._lease(self._slot, self._deadline)
        return model

    async def __aexit__(self, *_: object) -> None:
        self._slot.release()

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the model that is used. Only within the block."""
        facts = self._slot.status.facts
        return facts.fingerprint if facts is not None else ""
