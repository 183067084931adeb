"""The ways to run one graph: several narrow lanes, or one wide run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.config import Pooling
from services.inference.encoding import Encoding
from services.inference.padding import pad
from services.inference.pooling import pool
from services.inference.session import Outputs, Session, SessionSettings

DEVICE_LANES: Final = 2
"""On a GPU: while one batch computes, the next one is padded and sent."""


@dataclass(frozen=True, slots=True)
class SessionRunner:
    """Computes embeddings, not normalized, or logits. Satisfies `batching.Runner`.

    On a CPU, lanes that run one thread each beat one run with all threads in throughput, and the other
    way round in the latency of a single text; so there are both, and the batcher chooses by load.

    Attributes:
        narrow: Runs with as few threads as it can; used by all lanes at once.
        wide: Runs with all threads; None where there is nothing to gain.
        lanes: How many runs of `narrow` go on at a time.
        pooling: How token vectors become one, where the graph does not do it itself; None for logits.
    """

    narrow: Session
    wide: Session | None
    lanes: int
    pooling: Pooling | None

    @property
    def has_wide(self) -> bool:
        """Whether one batch can be given all the threads."""
        return self.wide is not None

    def run(self, encodings: Sequence[Encoding], *, wide: bool) -> Sequence[NDArray[Any]]:
        """Return an embedding, or a row of logits, per encoding."""
        session = self.wide if wide and self.wide is not None else self.narrow
        output = session.run(pad(encodings, session.inputs))
        if not np.isfinite(output).all():
            message = "the model's output is not finite"
            raise ArithmeticError(message)
        if session.pooled or self.pooling is None:
            return list(output)
        return list(pool(output, encodings, self.pooling))


def open_runner(
    path: Path, settings: SessionSettings, threads: int, pooling: Pooling | None
) -> SessionRunner:
    """Open the sessions of a graph for `threads` CPU threads; without `pooling`, it is run for its logits.

    Raises:
        ArtifactProblem: The graph cannot be loaded.
    """
    outputs: Outputs = "embeddings" if pooling is not None else "logits"
    if settings.execution_provider == "cuda":
        session = Session(path, replace(settings, threads=1), outputs)
        return SessionRunner(session, None, DEVICE_LANES, pooling)
    narrow = Session(path, replace(settings, threads=1, lanes=threads), outputs)
    wide = Session(path, replace(settings, threads=threads), outputs) if threads > 1 else None
    return SessionRunner(narrow, wide, threads, pooling)
