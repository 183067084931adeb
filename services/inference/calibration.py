"""Measuring how large batches should be on this machine, once per graph and machine.

Time per batch is close to a fixed part plus a part per padded token, up to the size where caches overflow
and long rows of attention scores make every token dearer. Two numbers describe that well enough to batch
by: the smallest batch that runs at nearly the best rate, and what the fixed part is worth in tokens.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from services.artifacts import ArtifactProblem
from services.inference.batching import Runner
from services.inference.encoding import Encoding
from services.inference.session import ExecutionProvider, version

CALIBRATION_VERSION: Final = 3
TYPICAL_TOKENS: Final = 32
BATCHES: Final = {
    "cpu": (64, 128, 256, 384, 512, 768, 1024),
    "openvino": (64, 128, 256, 384, 512, 768, 1024),
    "cuda": (256, 1024, 4096, 8192, 16_384, 32_768, 65_536),
}
GOOD_ENOUGH: Final = 0.98
MOST_PASSES: Final = 8
TIME_LIMIT_SECONDS: Final = 1.5

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured.

    Attributes:
        max_batch_tokens: Smallest batch, in padded tokens, that runs at nearly the best rate.
        overhead_tokens: What the fixed cost of a run is worth, in tokens.
        tokens_per_second: Rate of all lanes together at that size.
    """

    max_batch_tokens: int
    overhead_tokens: float
    tokens_per_second: float


BUILT_IN: Final[dict[ExecutionProvider, Calibration]] = {
    "cpu": Calibration(384, 16.0, 10_000.0),
    "openvino": Calibration(384, 16.0, 10_000.0),
    "cuda": Calibration(16_384, 1_024.0, 200_000.0),
}
"""Used where calibration is switched off."""


def calibrate(runner: Runner, execution_provider: ExecutionProvider, max_tokens: int) -> Calibration:
    """Run batches of all sizes on all lanes at once, again and again for `TIME_LIMIT_SECONDS`.

    The best time of each size counts: whatever else the machine does only ever makes a run slower. A model
    that is slow gets through the smaller sizes only, once. A size that does not run, for which a device has
    too little memory for example, is passed over with all that are larger.

    Raises:
        ArtifactProblem: Not even the smallest size runs.
    """
    length = min(TYPICAL_TOKENS, max_tokens)
    batches = [[Encoding([0] * length)] * max(1, size // length) for size in BATCHES[execution_provider]]
    best: dict[int, float] = {}
    ends = time.perf_counter() + TIME_LIMIT_SECONDS
    largest = math.inf
    with ThreadPoolExecutor(runner.lanes) as threads:
        for batch in batches * MOST_PASSES:
            tokens = length * len(batch)
            if tokens > largest:
                continue
            try:
                best[tokens] = min(best.get(tokens, math.inf), _time(runner, threads, batch))
            except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
                _pass_over(best, tokens, error)
                largest = tokens - 1
            if time.perf_counter() > ends:
                break
    return _choose(sorted(best.items()), runner.lanes)


def cached(folder: Path, key: Sequence[object]) -> CalibrationFile:
    """Return where the calibration for `key`, on this kind of machine, is remembered."""
    parts = [CALIBRATION_VERSION, version(), platform.machine(), _processor(), *map(str, key)]
    name = hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
    return CalibrationFile(folder / "calibrations" / f"{name}.json")


@dataclass(frozen=True, slots=True)
class CalibrationFile:
    """A remembered calibration. One that is missing or damaged is measured again."""

    path: Path

    def read(self) -> Calibration | None:
        """Return what was remembered, or None."""
        with suppress(OSError, ValueError, TypeError):
            remembered = Calibration(**json.loads(self.path.read_text(encoding="utf-8")))
            if all(number > 0 for number in asdict(remembered).values()):
                return remembered
        return None

    def write(self, calibration: Calibration) -> None:
        """Remember a calibration; a cache that cannot be written is not worth failing for."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            scratch = self.path.with_suffix(".writing")
            scratch.write_text(json.dumps(asdict(calibration)), encoding="utf-8")
            scratch.replace(self.path)
        except OSError as error:
            log.warning("a calibration could not be remembered", extra={"error": error.strerror})


def _pass_over(best: dict[int, float], tokens: int, error: Exception) -> None:
    """Forget the sizes from `tokens` on, which do not run; refuse the model if none is left."""
    for size in [size for size in best if size >= tokens]:
        del best[size]
    if not best:
        message = (
            f"the model does not run on batches, not even of {tokens} tokens; does it take one text at a "
            f"time? {error}"
        )
        raise ArtifactProblem(message) from error
    log.warning("a size of batches does not run", extra={"tokens": tokens, "error": str(error)})


def _time(runner: Runner, threads: ThreadPoolExecutor, batch: list[Encoding]) -> float:
    """Return how long all lanes take to run `batch` once each, in seconds."""
    began = time.perf_counter()
    runs = [threads.submit(runner.run, batch, wide=False) for _ in range(runner.lanes)]
    wait(runs)  # one that has failed does not end the others
    for run in runs:
        run.result()
    return time.perf_counter() - began


def _choose(measured: Sequence[tuple[int, float]], lanes: int) -> Calibration:
    rates = [tokens / seconds for tokens, seconds in measured]
    best = max(rates)
    chosen = next(index for index, rate in enumerate(rates) if rate >= GOOD_ENOUGH * best)
    tokens, seconds = measured[chosen]
    overhead = tokens / 8
    if chosen > 0:
        sizes, times = np.array(measured[: chosen + 1]).T
        slope, intercept = np.polyfit(sizes, times, 1)
        if slope > 0:
            overhead = float(np.clip(intercept / slope, 1.0, tokens / 2))
    return Calibration(tokens, overhead, lanes * tokens / seconds)


def _processor() -> str:
    """Return the name of the CPU, as far as the system tells."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
