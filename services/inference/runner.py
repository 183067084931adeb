"""The ways to run one embedding model: several narrow lanes, or one wide run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.inference.encoding import Encoding
from services.inference.graph.heads import Pooling
from services.inference.padding import pad
from services.inference.pooling import pool
from services.inference.session import Session, SessionSettings

DEVICE_LANES: Final = 2
"""On a GPU: while one batch computes, the next one is padded and sent."""


@dataclass(frozen=True, slots=True)
class EmbeddingRunner:
    """Computes embeddings, not normalized. Satisfies `batching.Runner`.

    On a CPU, lanes that run one thread each beat one run with all threads in throughput, and the other
    way round in the latency of a single text; so there are both, and the batcher chooses by load.

    Attributes:
        narrow: Runs with as few threads as it can; used by all lanes at once.
        wide: Runs with all threads; None where there is nothing to gain.
        lanes: How many runs of `narrow` go on at a time.
        pooling: How token vectors become one, where the graph does not do it itself.
    """

    narrow: Session
    wide: Session | None
    lanes: int
    pooling: Pooling

    @property
    def has_wide(self) -> bool:
        """Whether one batch can be given all the threads."""
        return self.wide is not None

    def run(self, encodings: Sequence[Encoding], *, wide: bool) -> Sequence[NDArray[Any]]:
        """Return an embedding per encoding."""
        session = self.wide if wide and self.wide is not None else self.narrow
        output = session.run(pad(encodings, session.inputs))
        if not np.isfinite(output).all():
            message = "the model's output is not finite"
            raise ArithmeticError(message)
        return list(output if session.pooled else pool(output, encodings, self.pooling))


def open_runner(path: Path, settings: SessionSettings, threads: int, pooling: Pooling) -> EmbeddingRunner:
    """Open the sessions of a graph for `threads` CPU threads.

    Raises:
        ArtifactProblem: The graph cannot be loaded.
    """
    if settings.execution_provider == "cuda":
        session = Session(path, replace(settings, threads=1))
        return EmbeddingRunner(session, None, DEVICE_LANES, pooling)
    narrow = Session(path, replace(settings, threads=1, lanes=threads))
    wide = Session(path, replace(settings, threads=threads)) if threads > 1 else None
    return EmbeddingRunner(narrow, wide, threads, pooling)
