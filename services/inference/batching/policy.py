"""What a batcher is told, and what it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from services.inference.encoding import Encoding


class Runner(Protocol):
    """What computes batches, from worker threads.

    A runner has `lanes` narrow ways to run, which may be used at the same time, and perhaps a wide one,
    which takes the place of all of them.
    """

    @property
    def lanes(self) -> int:
        """How many batches may run at a time."""

    @property
    def has_wide(self) -> bool:
        """Whether one batch can be given all the threads."""

    def run(self, encodings: Sequence[Encoding], *, wide: bool) -> Sequence[NDArray[Any]]:
        """Return one output per encoding, or raise if any of them cannot be computed."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits and costs.

    Attributes:
        max_batch_tokens: Most tokens in a batch, padding included.
        max_batch_size: Most entries in a batch.
        max_queue_size: Most entries that wait.
        max_queue_delay_seconds: How long an idle runner waits for a batch to fill; 0 for not at all.
        overhead_tokens: What the fixed cost of a run is worth, in tokens.
        tokens_per_second: How fast all lanes together run, for saying when to come back.
    """

    max_batch_tokens: int
    max_batch_size: int
    max_queue_size: int
    max_queue_delay_seconds: float = 0.0
    overhead_tokens: float = 16.0
    tokens_per_second: float = 10_000.0


@dataclass(frozen=True, slots=True)
class BatchStats:
    """One finished batch.

    Attributes:
        tokens: Tokens of its entries.
        padded_tokens: Tokens that were computed, padding included.
        seconds: How long it ran.
        wide: Whether it had all the threads.
        failed: How many of its entries the model could not compute.
        waits: How long each entry waited, in seconds.
    """

    tokens: int
    padded_tokens: int
    seconds: float
    wide: bool
    failed: int
    waits: tuple[float, ...]

    @property
    def size(self) -> int:
        """How many entries it had."""
        return len(self.waits)
