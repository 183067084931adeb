"""Running one batch, in a worker thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from numpy.typing import NDArray

from services.inference.batching.policy import Runner
from services.inference.encoding import Encoding

Row = NDArray[Any] | None
"""The model's output for one entry; None if it cannot be computed."""

log: Final = logging.getLogger(__name__)


def execute(runner: Runner, encodings: Sequence[Encoding], *, wide: bool) -> tuple[list[Row], float]:
    """Run a batch and return a row per encoding, and how long that took in seconds."""
    began = time.perf_counter()
    rows = run_or_halve(runner, encodings, wide=wide)
    return rows, time.perf_counter() - began


def run_or_halve(runner: Runner, encodings: Sequence[Encoding], *, wide: bool) -> list[Row]:
    """Return a row per encoding. If the run fails, each half is run by itself, down to single entries.

    One poisonous entry among n costs at most 2 ceil(log2(n)) more runs, and its batch mates never notice.
    """
    try:
        rows: list[Row] = list(runner.run(encodings, wide=wide))
        if len(rows) == len(encodings):
            return rows
        message = f"the model returned {len(rows)} rows for {len(encodings)} inputs"
        raise ValueError(message)
    except Exception as error:
        if len(encodings) == 1:
            # The text of the error is ONNX Runtime's and names operators and shapes, not the input.
            log.warning(
                "an input could not be computed", extra={"tokens": len(encodings[0]), "error": str(error)}
            )
            return [None]
    middle = len(encodings) // 2
    return [
        *run_or_halve(runner, encodings[:middle], wide=wide),
        *run_or_halve(runner, encodings[middle:], wide=wide),
    ]
