"""Rerankers without a model: all of them is real but the sessions, whose answers a test chooses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.config import Limits
from services.inference.batching import Batcher, Policy
from services.inference.encoding import Encoding
from services.inference.models.cross_encoder import CrossEncoder
from services.inference.models.reranking import Ranking
from services.inference.tokenizer import Tokenizer
from tests.support.engine_parts import LIMIT_SECONDS, ignore
from tests.support.runners import ROOMY
from tests.support.tiny import SPECIALS, write_tokenizer

MAX_TOKENS: Final = 32

Pair = tuple[str, str]


class PairRunner:
    """Answers pairs of texts with what a function says of them. Satisfies `batching.Runner`.

    Attributes:
        batches: The pairs of each run, in the order in which runs began.
        begun: Set when a run has begun.
        gate: What runs wait for; open until a test closes it.
    """

    lanes = 1
    has_wide = False

    def __init__(self, folder: Path, answer: Callable[[str, str], Sequence[float]]) -> None:
        self._library = write_tokenizer(folder / "tokenizer.json")
        self._answer = answer
        self.batches: list[list[Pair]] = []
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def run(self, encodings: Sequence[Encoding], *, wide: bool) -> Sequence[NDArray[Any]]:
        """Wait for the gate, then answer."""
        del wide
        pairs = [self._read(one) for one in encodings]
        self.batches.append(pairs)
        self.begun.set()
        self.gate.wait(LIMIT_SECONDS)
        return [np.array(self._answer(*pair), dtype=np.float32) for pair in pairs]

    @property
    def pairs(self) -> list[Pair]:
        """All pairs that were run."""
        return [pair for batch in self.batches for pair in batch]

    def tokenizer(self) -> Tokenizer:
        """Return a tokenizer whose encodings it understands, in the event loop of the test."""
        return Tokenizer(self._library, MAX_TOKENS)

    def _read(self, encoding: Encoding) -> Pair:
        types = encoding.type_ids or [0] * len(encoding)
        texts = tuple(
            [one for one, of in zip(encoding.ids, types, strict=True) if of == text and one >= len(SPECIALS)]
            for text in (0, 1)
        )
        return self._library.decode(texts[0]), self._library.decode(texts[1])


@asynccontextmanager
async def cross_encoder(
    folder: Path,
    answer: Callable[[str, str], Sequence[float]],
    *,
    limits: Limits | None = None,
    policy: Policy = ROOMY,
) -> AsyncIterator[tuple[CrossEncoder, PairRunner]]:
    """Make a cross-encoder over a runner that answers as the test says. In the end it is closed."""
    runner = PairRunner(folder, answer)
    batcher = Batcher("tiny", runner, policy, ignore)
    model = CrossEncoder(limits or Limits(), runner.tokenizer(), batcher)
    try:
        yield model, runner
    finally:
        runner.gate.set()
        async with asyncio.timeout(LIMIT_SECONDS):
            await model.close()


def order(ranking: Ranking) -> list[int]:
    """Return which document is where in a ranking, best first."""
    return [one.index for one in ranking.results]


def scores(ranking: Ranking) -> list[float]:
    """Return the scores of a ranking, best first."""
    return [one.score for one in ranking.results]
