"""Parts of the engine for tests: sections, a workshop, and a runner that waits until it is told to go on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Library

from services.artifacts import Origins
from services.config import EmbedModel, Engine, Limits
from services.inference.batching import Batcher, BatchStats, Policy
from services.inference.encoding import Encoding
from services.inference.lifecycle import ModelFacts
from services.inference.loading import ModelLoader, Workshop, embedding_recipe
from services.inference.models.embedding import EmbeddingModel
from services.inference.tokenizer import Tokenizer

LIMIT_SECONDS: Final = 10
"""How long a thread waits for its gate, so that a test that fails ends."""

FACTS: Final = ModelFacts(
    fingerprint="f" * 64,
    architecture="bert",
    precision="fp32",
    execution_provider="cpu",
    pooling="mean",
    dimensions=4,
    max_input_tokens=64,
)

WIDTH: Final = 4
"""Length of the rows of a gated runner."""


def section(source: Path | str = "dir:somewhere", **settings: Any) -> EmbedModel:
    """Return a model's section; a path is the model's folder."""
    source = source if isinstance(source, str) else f"dir:{source}"
    return EmbedModel(capability="embed", source=source, **settings)


def workshop(base: Path, *, engine: Engine | None = None, limits: Limits | None = None) -> Workshop:
    """Return what models are loaded with: two threads, nothing calibrated, a cache below `base`."""
    engine = engine or Engine(threads=2, calibrate=False)
    return Workshop(engine, limits or Limits(), Origins(base, base / "cache"))


async def load_embedding_model(
    section: EmbedModel, place: Workshop, observe: Callable[[BatchStats], None] | None = None
) -> tuple[EmbeddingModel, ModelFacts]:
    """Load a model as the service does; return it and what is known of it."""
    loader = ModelLoader(place, embedding_recipe, lambda _: observe or ignore)
    prepared = await loader.prepare("tiny", section, lambda _: None)
    model = await prepared.open()
    return model, prepared.facts


async def turns() -> None:
    """Let every task of the event loop go as far as it can without other threads."""
    for _ in range(20):
        await asyncio.sleep(0)


def ignore(_: BatchStats) -> None:
    """Take the news of a finished batch, and do nothing."""


class GatedRunner:
    """Answers each encoding with its length, once the gate is open. Satisfies `batching.Runner`.

    Attributes:
        begun: Set when a run has begun.
        gate: What runs wait for.
    """

    lanes = 1
    has_wide = False

    def __init__(self, *, is_open: bool = False) -> None:
        self.begun = threading.Event()
        self.gate = threading.Event()
        if is_open:
            self.gate.set()

    def run(self, encodings: Sequence[Encoding], *, wide: bool) -> Sequence[NDArray[Any]]:
        """Wait, then answer."""
        del wide
        self.begun.set()
        self.gate.wait(LIMIT_SECONDS)
        return [np.full(WIDTH, len(encoding), dtype=np.float32) for encoding in encodings]


def gated_model(tokenizer_file: Path, runner: GatedRunner) -> EmbeddingModel:
    """Return a model over `runner`: all of it is real but the sessions."""
    policy = Policy(max_batch_tokens=256, max_batch_size=8, max_queue_size=100)
    tokenizer = Tokenizer(Library.from_file(str(tokenizer_file)), FACTS.max_input_tokens)
    return EmbeddingModel(section(), Limits(), tokenizer, Batcher("gated", runner, policy, ignore), WIDTH)
