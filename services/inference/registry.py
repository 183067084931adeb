"""The models of one service, and where each is in its life.

    available ──load──▶ loading ──▶ ready ──unload──▶ unloading ──▶ available
                           └──▶ failed ──load──▶ loading

One model is loaded at a time, so that what it adds to the process's memory can be measured; meanwhile
the others answer as ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from services.config import EmbedModel
from services.inference.embedding import EmbeddingModel
from services.inference.errors import (
    ArtifactProblem,
    InvalidInput,
    ModelFailed,
    ModelNotFound,
    ModelNotReady,
)
from services.inference.loading import ModelFacts

RETRY_LOADING_SECONDS: Final = 1.0

log: Final = logging.getLogger(__name__)


class ModelState(StrEnum):
    """Where a model is in its life."""

    AVAILABLE = "available"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    UNLOADING = "unloading"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What is known of one model.

    Attributes:
        name: Its public name.
        section: What the configuration says about it.
        state: Where it is in its life.
        problem: Why it failed; empty otherwise.
        facts: What the last load found out; None if it never succeeded.
    """

    name: str
    section: EmbedModel
    state: ModelState = ModelState.AVAILABLE
    problem: str = ""
    facts: ModelFacts | None = None


Load = Callable[[str, EmbedModel], Awaitable[tuple[EmbeddingModel, ModelFacts]]]


class Registry:
    """The models of one service. Belongs to one event loop.

    Args:
        sections: The models by name, in the order of the configuration.
        load: Loads one of them.
        changed: Awaited after every change of a model's state.
    """

    def __init__(
        self,
        sections: Mapping[str, EmbedModel],
        load: Load,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._statuses = {name: ModelStatus(name, section) for name, section in sections.items()}
        self._models: dict[str, EmbeddingModel] = {}
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._load = load
        self._changed = changed
        self._tasks: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._moving = {name: asyncio.Lock() for name in sections}

    @property
    def names(self) -> list[str]:
        """Names of all models, in the order of the configuration."""
        return list(self._statuses)

    def statuses(self) -> Sequence[ModelStatus]:
        """Return what is known of every model, in the order of the configuration."""
        return tuple(self._statuses.values())

    def status(self, name: str) -> ModelStatus:
        """Return what is known of a model.

        Raises:
            ModelNotFound: There is no model of that name.
        """
        if name not in self._statuses:
            raise ModelNotFound(name, self.names)
        return self._statuses[name]

    def loaded(self) -> Mapping[str, EmbeddingModel]:
        """Return the models that are in memory."""
        return self._models

    def resolve(self, name: str) -> str:
        """Return the model that a request means: `name`, or the only one if `name` is empty.

        Raises:
            InvalidInput: The name is empty and there are several models.
            ModelNotFound: There is no model of that name, or none at all.
        """
        if not name and len(self._statuses) > 1:
            raise InvalidInput([("model", f"must name one of: {', '.join(self.names)}")])
        chosen = name or next(iter(self._statuses), "")
        return self.status(chosen).name

    def ready(self, name: str) -> EmbeddingModel:
        """Return a model that answers calls.

        Raises:
            ModelNotFound: There is no model of that name.
            ModelNotReady: It is not loaded, or on its way in or out.
            ModelFailed: Its last load failed.
        """
        status = self.status(name)
        if status.state is ModelState.FAILED:
            raise ModelFailed(name, status.problem)
        if status.state is not ModelState.READY:
            told = "not loaded; load it first" if status.state is ModelState.AVAILABLE else status.state
            waiting_helps = status.state is ModelState.LOADING
            raise ModelNotReady(name, told, RETRY_LOADING_SECONDS if waiting_helps else None)
        return self._models[name]

    async def load(self, name: str) -> ModelStatus:
        """Load a model unless it is loaded, and return how it then stands.

        Any number of callers share one load, and a caller that leaves does not stop it. A model that
        cannot be loaded ends in state failed, with the problem; that is not raised.

        Raises:
            ModelNotFound: There is no model of that name.
        """
        state = self.status(name).state
        if state is ModelState.READY:
            return self._statuses[name]
        task = self._loads.get(name)
        if task is None:
            task = self._loads[name] = self._spawn(self._load_one(name))
            task.add_done_callback(lambda _: self._loads.pop(name, None))
        await asyncio.shield(task)
        return self._statuses[name]

    async def load_all(self) -> None:
        """Load the models that the configuration wants loaded from the start, one after the other."""
        for status in self.statuses():
            if status.section.preload:
                await self.load(status.name)

    async def unload(self, name: str) -> ModelStatus:
        """Take a model out of memory once the calls it accepted have finished.

        Raises:
            ModelNotFound: There is no model of that name.
            ModelNotReady: It is being loaded.
        """
        if self.status(name).state is ModelState.LOADING:
            raise ModelNotReady(name, "loading", RETRY_LOADING_SECONDS)
        await asyncio.shield(self._spawn(self._unload_one(name)))
        return self._statuses[name]

    async def close(self) -> None:
        """Stop loading, finish accepted calls, and give everything back."""
        for task in self._loads.values():
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for name in list(self._models):
            await self._models.pop(name).close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a transition as a task of its own: the caller that asked for it may leave."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _unload_one(self, name: str) -> None:
        async with self._moving[name]:
            model = self._models.pop(name, None)
            if model is not None:
                await self._move(name, ModelState.UNLOADING)
                await model.close()
            await self._move(name, ModelState.AVAILABLE)

    async def _load_one(self, name: str) -> None:
        async with self._moving[name], self._one_at_a_time:
            await self._move(name, ModelState.LOADING)
            try:
                model, facts = await self._load(name, self._statuses[name].section)
            except asyncio.CancelledError:
                self._statuses[name] = replace(self._statuses[name], state=ModelState.AVAILABLE)
                raise
            except ArtifactProblem as problem:
                log.error("a model could not be loaded", extra={"model": name, "problem": str(problem)})  # noqa: TRY400  # the problem says it all
                await self._move(name, ModelState.FAILED, problem=str(problem))
            except Exception as error:
                log.exception("loading a model failed with a bug", extra={"model": name})
                await self._move(name, ModelState.FAILED, problem=f"internal error: {type(error).__name__}")
            else:
                self._models[name] = model
                self._statuses[name] = replace(self._statuses[name], facts=facts)
                log.info(
                    "model ready",
                    extra={"model": name, "load_seconds": round(facts.load_seconds, 3)},
                )
                await self._move(name, ModelState.READY)

    async def _move(self, name: str, state: ModelState, problem: str = "") -> None:
        self._statuses[name] = replace(self._statuses[name], state=state, problem=problem)
        await self._changed()
