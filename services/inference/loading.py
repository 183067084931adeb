"""From a model's section in the configuration to a model that answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tokenizers import Tokenizer as Library

from services.config import EmbedModel, Engine, Limits
from services.inference.artifacts import TOKENIZER, Artifacts, examine, locate
from services.inference.batching import Batcher, BatchStats, Policy
from services.inference.calibration import BATCHES, BUILT_IN, Calibration, cached, calibrate
from services.inference.cpus import usable_cpus
from services.inference.embedding import EmbeddingModel
from services.inference.encoding import Encoding
from services.inference.errors import ArtifactProblem
from services.inference.graph.heads import EmbeddingHead, Pooling
from services.inference.memory import resident_bytes
from services.inference.runner import EmbeddingRunner, open_runner
from services.inference.session import SessionSettings
from services.inference.tokenizer import Tokenizer, read_tokenizer

Precision = Literal["fp32", "fp16", "bf16"]

SHORT_TOKENS: Final = 8

MAX_TOKENS_UNKNOWN: Final = 512
"""Where neither the configuration nor the artifacts say how long an input may be."""

DEFAULT_PRECISION: Final[dict[str, Precision]] = {"cpu": "fp32", "cuda": "fp16", "openvino": "bf16"}
ALLOWED_PRECISION: Final[dict[str, tuple[Precision, ...]]] = {
    "cpu": ("fp32",),
    "cuda": ("fp32", "fp16"),
    "openvino": ("fp32", "bf16"),
}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model once it is loaded.

    Attributes:
        fingerprint: Hash over everything that decides its answers, lowercase hex.
        architecture: Model family, for example `bert`; empty if unknown.
        precision: Number format that it runs in.
        execution_provider: What it runs on.
        pooling: How token vectors become an embedding.
        dimensions: Length of a full embedding.
        max_input_tokens: Longest input, special tokens included.
        memory_bytes: How much the process grew by loading it.
        load_seconds: How long that took.
    """

    fingerprint: str
    architecture: str
    precision: Precision
    execution_provider: str
    pooling: Pooling
    dimensions: int
    max_input_tokens: int
    memory_bytes: int
    load_seconds: float


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every model is loaded with.

    Attributes:
        engine: How models are run.
        limits: How much is accepted.
        base: Where relative folders start.
        cache: Where built graphs and calibrations are kept.
    """

    engine: Engine
    limits: Limits
    base: Path
    cache: Path


@dataclass(frozen=True, slots=True)
class _Parts:
    runner: EmbeddingRunner
    facts: ModelFacts
    calibration: Calibration
    vocabulary: Library


async def load_embedding_model(
    name: str, section: EmbedModel, workshop: Workshop, observe: Callable[[BatchStats], None]
) -> tuple[EmbeddingModel, ModelFacts]:
    """Load a model and warm it up. Files are read and graphs built in a worker thread.

    Raises:
        ArtifactProblem: Its files are missing, damaged or not understood, or do not fit the section.
    """
    parts = await asyncio.to_thread(_load, section, workshop)
    tokenizer = Tokenizer(parts.vocabulary, parts.facts.max_input_tokens)
    policy = _policy(workshop.limits, parts.calibration)
    batcher = Batcher(name, parts.runner, policy, observe)
    model = EmbeddingModel(section, workshop.limits, tokenizer, batcher, parts.facts.dimensions)
    return model, parts.facts


def _load(section: EmbedModel, workshop: Workshop) -> _Parts:
    began, before = time.perf_counter(), resident_bytes()
    artifacts = examine(locate(section.source, workshop.base), section.onnx_file)
    pooling = section.pooling or artifacts.pooling
    if pooling is None:
        message = "neither the configuration nor the model's folder says how to pool; set pooling"
        raise ArtifactProblem(message)
    precision = _precision(section, workshop.engine, artifacts)
    max_tokens = _max_tokens(section, artifacts)
    vocabulary = read_tokenizer(artifacts.folder / TOKENIZER, max_tokens)
    fingerprint = _fingerprint(section, workshop.engine, artifacts, (pooling, precision, max_tokens))
    runner = _open(artifacts, workshop, pooling, precision)
    dimensions = _warm_up(runner, max_tokens)
    calibration = _calibrate(runner, workshop, (fingerprint, runner.lanes), max_tokens)
    _fill(runner, _largest_batch(workshop, calibration), max_tokens)
    facts = ModelFacts(
        fingerprint=fingerprint,
        architecture=artifacts.architecture,
        precision=precision,
        execution_provider=workshop.engine.execution_provider,
        pooling=pooling,
        dimensions=dimensions,
        max_input_tokens=max_tokens,
        memory_bytes=max(0, resident_bytes() - before),
        load_seconds=time.perf_counter() - began,
    )
    return _Parts(runner, facts, calibration, vocabulary)


def _precision(section: EmbedModel, engine: Engine, artifacts: Artifacts) -> Precision:
    provider = engine.execution_provider
    chosen = section.precision or DEFAULT_PRECISION[provider]
    if chosen not in ALLOWED_PRECISION[provider]:
        message = (
            f"precision {chosen} does not run on {provider}; use {' or '.join(ALLOWED_PRECISION[provider])}"
        )
        raise ArtifactProblem(message)
    if artifacts.graph is not None and chosen == "fp16":
        if section.precision is not None:
            message = "a ready-made .onnx file keeps the precision that it has; name an fp16 file instead"
            raise ArtifactProblem(message)
        return "fp32"
    return chosen


def _max_tokens(section: EmbedModel, artifacts: Artifacts) -> int:
    positions = artifacts.positions
    chosen = section.max_input_tokens or artifacts.max_tokens or MAX_TOKENS_UNKNOWN
    if positions is not None and chosen > positions:
        message = f"max_input_tokens {chosen} is more than the model's {positions} positions"
        raise ArtifactProblem(message)
    return chosen


def _fingerprint(
    section: EmbedModel, engine: Engine, artifacts: Artifacts, choices: tuple[Pooling, Precision, int]
) -> str:
    prompts = (section.query_prompt, section.document_prompt)
    decides = [sorted(artifacts.sha256.items()), choices, engine.execution_provider, prompts]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


def _open(
    artifacts: Artifacts, workshop: Workshop, pooling: Pooling, precision: Precision
) -> EmbeddingRunner:
    engine = workshop.engine
    threads = engine.threads or usable_cpus()
    settings = SessionSettings(
        execution_provider=engine.execution_provider,
        device_id=engine.device_id,
        bf16=precision == "bf16",
    )
    graph = artifacts.graph or _build(artifacts, workshop, pooling, precision)
    return open_runner(graph, settings, threads, pooling)


def _build(artifacts: Artifacts, workshop: Workshop, pooling: Pooling, precision: Precision) -> Path:
    # onnx is only needed to build, which happens once per machine: starting without it is faster and
    # leaner.
    from services.inference.graph.build import Checkpoint, Plan, build

    weights = artifacts.weights
    assert weights is not None, "artifacts without a graph have weights"
    checkpoint = Checkpoint(artifacts.config, weights, artifacts.sha256[weights.name])
    plan = Plan(
        head=EmbeddingHead(pooling),
        precision="fp16" if precision == "fp16" else "fp32",
        layout="packed" if workshop.engine.execution_provider == "cpu" else "padded",
    )
    return build(checkpoint, plan, workshop.cache)


def _warm_up(runner: EmbeddingRunner, max_tokens: int) -> int:
    """Run the smallest and the longest input once, each way there is; return the embedding's length."""
    dimensions = 0
    for length in (1, max_tokens):
        for wide in {False, runner.has_wide}:
            try:
                dimensions = len(runner.run([Encoding([0] * length)], wide=wide)[0])
            except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
                message = f"the model does not run on an input of {length} tokens: {error}"
                raise ArtifactProblem(message) from error
    return dimensions


def _largest_batch(workshop: Workshop, calibration: Calibration) -> int:
    """Return how many tokens a batch may have, or as many as are worth trying out."""
    allowed = workshop.limits.max_batch_tokens or calibration.max_batch_tokens
    return min(allowed, BATCHES[workshop.engine.execution_provider][-1])


def _fill(runner: EmbeddingRunner, tokens: int, max_tokens: int) -> None:
    """Run batches of `tokens` on all lanes at once.

    Memory that runs work in is taken once and kept. Taken now, it is part of what loading the model costs,
    and the process does not grow later.
    """
    try:
        with ThreadPoolExecutor(runner.lanes) as threads:
            for length in (min(SHORT_TOKENS, max_tokens), max_tokens):
                batch = [Encoding([0] * length)] * max(1, tokens // length)
                for run in [threads.submit(runner.run, batch, wide=False) for _ in range(runner.lanes)]:
                    run.result()
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        message = (
            f"the model does not run on batches of {tokens} tokens, set limits.max_batch_tokens: {error}"
        )
        raise ArtifactProblem(message) from error


def _calibrate(
    runner: EmbeddingRunner, workshop: Workshop, key: tuple[object, ...], max_tokens: int
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
