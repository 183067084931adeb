"""The steps from a section to a model: prepare without taking memory, then open."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from services.artifacts import Artifacts, Report
from services.config import Model
from services.inference.batching import Batcher, BatchStats
from services.inference.lifecycle import LoadedModel, ModelFacts
from services.inference.loading.engine import Opened, open_engine
from services.inference.loading.materials import Materials, gather
from services.inference.loading.purpose import Purpose
from services.inference.loading.recipes import Parts, Recipe
from services.inference.loading.threads import in_own_thread
from services.inference.loading.workshop import Workshop
from services.inference.tokenizer import Tokenizer

S = TypeVar("S", bound=Model)
M = TypeVar("M", bound=LoadedModel)

Observe = Callable[[BatchStats], None]


class ModelLoader(Generic[S, M]):
    """Loads models of one kind. Satisfies `lifecycle.Loader`.

    Args:
        workshop: What every model is loaded with.
        recipe: What is particular about the kind.
        observer: Returns, for a model's name, what is told of its finished batches.
    """

    def __init__(self, workshop: Workshop, recipe: Recipe[S, M], observer: Callable[[str], Observe]) -> None:
        self._workshop = workshop
        self._recipe = recipe
        self._observer = observer

    async def prepare(self, name: str, section: S, report: Report) -> PreparedModel[S, M]:
        """Fetch, read and hash a model's files, and build its graph, in a worker thread.

        Raises:
            ArtifactProblem: Files are missing, damaged or not understood, or do not fit the section.
        """

        def choose(artifacts: Artifacts) -> Purpose:
            return self._recipe.purpose(section, artifacts)

        work = partial(gather, section, self._workshop, choose, report)
        materials = await in_own_thread(work, f"prepare-{name}")
        return PreparedModel(self, name, section, materials)

    async def open(self, prepared: PreparedModel[S, M]) -> tuple[M, Opened]:
        """Open a prepared model: what `PreparedModel.open` does."""
        work = partial(open_engine, prepared.materials, self._workshop)
        opened = await in_own_thread(work, f"open-{prepared.name}")
        self._recipe.check(prepared.materials.purpose, opened.width)
        batcher = Batcher(prepared.name, opened.runner, opened.policy, self._observer(prepared.name))
        parts = Parts(
            limits=self._workshop.limits,
            tokenizer=Tokenizer(opened.vocabulary, prepared.materials.max_tokens),
            batcher=batcher,
            width=opened.width,
            labels=prepared.materials.purpose.labels,
        )
        return self._recipe.make(prepared.section, parts), opened

    @property
    def execution_provider(self) -> str:
        """What models run on."""
        return self._workshop.engine.execution_provider


class PreparedModel(Generic[S, M]):
    """A model that is about to be opened. Satisfies `lifecycle.Prepared`.

    Attributes:
        name: Its public name.
        section: What the configuration says about it.
        materials: Its files, and what was chosen.
        weight_bytes: Size of what will be opened.
        facts: What is known of it; `dimensions` once it was opened.
    """

    def __init__(self, loader: ModelLoader[S, M], name: str, section: S, materials: Materials) -> None:
        self._loader = loader
        self.name = name
        self.section = section
        self.materials = materials
        self.weight_bytes = materials.weight_bytes
        self.facts = self._facts(None)

    async def open(self) -> M:
        """Read the weights, open sessions and warm them up, in a worker thread.

        Raises:
            ArtifactProblem: The graph cannot be loaded, does not run, or does not fit the section.
        """
        model, opened = await self._loader.open(self)
        self.facts = self._facts(opened.width)
        return model

    def _facts(self, width: int | None) -> ModelFacts:
        materials = self.materials
        purpose = materials.purpose
        return ModelFacts(
            fingerprint=materials.fingerprint,
            architecture=materials.artifacts.architecture,
            precision=materials.precision,
            execution_provider=self._loader.execution_provider,
            pooling=purpose.pooling,
            dimensions=width if purpose.pooling else None,
            max_input_tokens=materials.max_tokens,
            labels=purpose.labels,
        )
