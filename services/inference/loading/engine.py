"""Opening a graph, warming it up, and finding out how large batches should be."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Final

from tokenizers import Tokenizer as Library

from services.artifacts import ArtifactProblem
from services.config import Limits
from services.inference.batching import Policy
from services.inference.calibration import BATCHES, BUILT_IN, Calibration, cached, calibrate
from services.inference.cpus import usable_cpus
from services.inference.encoding import Encoding
from services.inference.loading.materials import Materials
from services.inference.loading.workshop import Workshop
from services.inference.runner import SessionRunner, open_runner
from services.inference.session import SessionSettings
from services.inference.tokenizer import read_tokenizer

SHORT_TOKENS: Final = 8

LONGEST_WARMED: Final = 512
"""Longer inputs are not run while warming up. What attention takes grows with the square of the length, and
memory that was taken once stays taken: a model of 8192 tokens would hold gigabytes for inputs that may never
come."""

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """A graph in memory, warm.

    Attributes:
        runner: Its sessions.
        policy: How to batch for them.
        vocabulary: Its tokenizer.
        width: Length of the row that it gives for each input: an embedding's dimensions, or the logits.
    """

    runner: SessionRunner
    policy: Policy
    vocabulary: Library
    width: int


def open_engine(materials: Materials, workshop: Workshop) -> Opened:
    """Open sessions over a graph and warm them up. Blocks for seconds.

    Raises:
        ArtifactProblem: The graph cannot be loaded, or does not run.
    """
    max_tokens = materials.max_tokens
    vocabulary = read_tokenizer(materials.tokenizer, max_tokens, pairs=materials.purpose.reads_pairs)
    runner = _open(materials, workshop)
    width = _warm_up(runner, max_tokens)
    calibration = _calibrate(runner, workshop, (materials.fingerprint, runner.lanes), max_tokens)
    calibration = _fill(runner, workshop, calibration, max_tokens)
    return Opened(runner, _policy(workshop.limits, calibration), vocabulary, width)


def _open(materials: Materials, workshop: Workshop) -> SessionRunner:
    engine = workshop.engine
    settings = SessionSettings(
        execution_provider=engine.execution_provider,
        device_id=engine.device_id,
        bf16=materials.precision == "bf16",
    )
    return open_runner(materials.graph, settings, engine.threads or usable_cpus(), materials.purpose.pooling)


def _warm_up(runner: SessionRunner, max_tokens: int) -> int:
    """Run the smallest input each way there is, and the longest one once; return a row's length.

    One session is enough to find out whether the graph takes the longest input, and the wide one alone has
    the memory for it then: it is where a lonely long text is run.
    """
    width = 0
    inputs = [(1, wide) for wide in {False, runner.has_wide}]
    for length, wide in [*inputs, (min(max_tokens, LONGEST_WARMED), runner.has_wide)]:
        try:
            width = len(runner.run([Encoding([0] * length)], wide=wide)[0])
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            message = f"the model does not run on an input of {length} tokens: {error}"
            raise ArtifactProblem(message) from error
    return width


def _fill(
    runner: SessionRunner, workshop: Workshop, calibration: Calibration, max_tokens: int
) -> Calibration:
    """Run batches of the size that will be used on all lanes at once.

    Memory that runs work in is taken once and kept. Taken now, it is part of what loading the model costs,
    and the process does not grow later. A size that nobody asked for and that does not run, for want of
    memory on a device, is halved; the calibration is returned with the size that ran.
    """
    sizes = BATCHES[workshop.engine.execution_provider]
    configured = workshop.limits.max_batch_tokens
    tokens = min(configured or calibration.max_batch_tokens, sizes[-1])
    while True:
        try:
            _run_on_all_lanes(runner, tokens, max_tokens)
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            if configured or tokens <= sizes[0]:
                message = f"the model does not run on batches of {tokens} tokens" + (
                    f", set limits.max_batch_tokens to fewer: {error}"
                    if configured
                    else f"; does it take one text at a time? {error}"
                )
                raise ArtifactProblem(message) from error
            log.warning("a size of batches does not run", extra={"tokens": tokens, "error": str(error)})
            tokens = max(sizes[0], tokens // 2)
        else:
            return replace(calibration, max_batch_tokens=tokens)


def _run_on_all_lanes(runner: SessionRunner, tokens: int, max_tokens: int) -> None:
    """Run batches that cost `tokens`, padding included: one of short texts and one of long texts per lane."""
    with ThreadPoolExecutor(runner.lanes) as threads:
        for length in (min(one, max_tokens, tokens) for one in (SHORT_TOKENS, LONGEST_WARMED)):
            batch = [Encoding([0] * length)] * (tokens // length)
            runs = [threads.submit(runner.run, batch, wide=False) for _ in range(runner.lanes)]
            wait(runs)  # one that has failed does not end the others
            for run in runs:
                run.result()


def _calibrate(
    runner: SessionRunner, workshop: Workshop, key: tuple[object, ...], max_tokens: int
) -> Calibration:
    engine = workshop.engine
    if workshop.limits.max_batch_tokens or not engine.calibrate:
        return BUILT_IN[engine.execution_provider]
    file = cached(workshop.cache, key)
    calibration = file.read()
    if calibration is None:
        calibration = calibrate(runner, engine.execution_provider, max_tokens)
        file.write(calibration)
    return calibration


def _policy(limits: Limits, calibration: Calibration) -> Policy:
    return Policy(
        max_batch_tokens=limits.max_batch_tokens or calibration.max_batch_tokens,
        max_batch_size=limits.max_batch_size,
        max_queue_size=limits.max_queue_size,
        max_queue_delay_seconds=limits.max_queue_delay_ms / 1000,
        overhead_tokens=calibration.overhead_tokens,
        tokens_per_second=calibration.tokens_per_second,
    )
