"""What there is of a model before memory is taken: files, hashes, choices, and a graph to open."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from services.artifacts import (
    AdapterFiles,
    ArtifactProblem,
    Artifacts,
    Report,
    Wanted,
    examine,
    examine_adapter,
    locate,
)
from services.artifacts.folder import CONFIG, TOKENIZER, data_files
from services.config import Engine, Model
from services.inference.lifecycle import Precision
from services.inference.loading.choices import choose_max_tokens, choose_precision
from services.inference.loading.purpose import Purpose
from services.inference.loading.workshop import Workshop
from services.inference.tokenizer import read_tokenizer

if TYPE_CHECKING:
    from services.inference.graph.build import Plan

OF_HEADS: Final = ("id2label", "label2id", "num_labels", "problem_type")
"""What an adapter's `config.json` may change: the meaning of the outputs of a head that it brings."""

SHAPING: Final = (
    "model_type",
    "hidden_size",
    "hidden_act",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "type_vocab_size",
    "vocab_size",
)
"""What shapes the encoder. Not all of it shows in the shapes of the weights."""

ONE_AT_A_TIME: Final = threading.Lock()
"""Held while a graph is built. Building takes memory for a while; several at once could be too much for a
machine that has enough for all of the models."""


@dataclass(frozen=True, slots=True)
class Materials:
    """A model's files, and what was chosen.

    Attributes:
        artifacts: What its folder holds, its config with the labels of the adapter's.
        purpose: What its graph is run for.
        precision: Number format to run in.
        max_tokens: Longest input, special tokens included.
        fingerprint: Hash over everything that decides its answers, lowercase hex.
        graph: The ONNX file to open.
        weight_bytes: Size of the graph and of the files that it keeps weights in.
    """

    artifacts: Artifacts
    purpose: Purpose
    precision: Precision
    max_tokens: int
    fingerprint: str
    graph: Path
    weight_bytes: int

    @property
    def tokenizer(self) -> Path:
        """Its `tokenizer.json`."""
        return self.artifacts.folder / TOKENIZER


def gather(
    section: Model, workshop: Workshop, choose: Callable[[Artifacts], Purpose], report: Report
) -> Materials:
    """Fetch, hash and read a model's files, and build its graph unless there is one. May block for long.

    Args:
        section: What the configuration says about the model.
        workshop: What every model is loaded with.
        choose: Says what the graph is run for, by what the folder holds.
        report: Told what is going on, in a sentence for people.

    Raises:
        ArtifactProblem: Files are missing, damaged or not understood, or do not fit the section.
    """
    artifacts, adapter = _files(section, workshop, report)
    purpose = choose(artifacts)
    precision = choose_precision(section, workshop.engine, artifacts)
    max_tokens = choose_max_tokens(section, artifacts)
    # Before anything is built: it fails faster.
    read_tokenizer(artifacts.folder / TOKENIZER, max_tokens, pairs=purpose.reads_pairs)
    hashes = {
        **artifacts.sha256,
        **({f"adapter/{k}": v for k, v in adapter.sha256.items()} if adapter else {}),
    }
    graph = artifacts.graph
    if graph is None:
        report("building the graph")
        graph = _build(artifacts, adapter, _plan(purpose, precision, workshop.engine), workshop.cache)
    return Materials(
        artifacts=artifacts,
        purpose=purpose,
        precision=precision,
        max_tokens=max_tokens,
        fingerprint=_fingerprint(hashes, purpose, (precision, max_tokens), workshop.engine),
        graph=graph,
        weight_bytes=sum(path.stat().st_size for path in (graph, *data_files(graph))),
    )


def _files(section: Model, workshop: Workshop, report: Report) -> tuple[Artifacts, AdapterFiles | None]:
    build = section.build or section.adapter is not None
    wanted = Wanted(section.source, section.revision, section.onnx_file, build=build)
    artifacts = examine(locate(wanted, workshop.origins, report), section.onnx_file, build=build)
    if section.adapter is None:
        return artifacts, None
    wanted = Wanted(section.adapter, section.adapter_revision, adapter=True)
    adapter = examine_adapter(locate(wanted, workshop.origins, report))
    return replace(artifacts, config=overlaid(artifacts.config, adapter.model_config)), adapter


def overlaid(config: Mapping[str, Any], adapters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's `config.json` with what an adapter's says about the head that it brings.

    Raises:
        ArtifactProblem: They differ in what shapes the encoder.
    """
    for key in SHAPING:
        if key in config and key in adapters and config[key] != adapters[key]:
            message = (
                f"the adapter's {CONFIG} says {key} {adapters[key]}, the model's {config[key]}: "
                "it was made for other weights"
            )
            raise ArtifactProblem(message)
    return {**config, **{key: adapters[key] for key in OF_HEADS if key in adapters}}


def _fingerprint(
    hashes: dict[str, str], purpose: Purpose, choices: tuple[Precision, int], engine: Engine
) -> str:
    graph = (purpose.pooling, purpose.labels, purpose.prompts)
    decides = [sorted(hashes.items()), graph, choices, engine.execution_provider]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


def _plan(purpose: Purpose, precision: Precision, engine: Engine) -> Plan:
    from services.inference.graph.build import Plan
    from services.inference.graph.heads import ClassificationHead, EmbeddingHead

    return Plan(
        head=EmbeddingHead(purpose.pooling) if purpose.pooling else ClassificationHead(len(purpose.labels)),
        precision="fp16" if precision == "fp16" else "fp32",
        layout="packed" if engine.execution_provider == "cpu" else "padded",
    )


def _build(artifacts: Artifacts, adapter: AdapterFiles | None, plan: Plan, cache: Path) -> Path:
    # onnx is only needed to build, which happens once per machine: starting without it is faster and
    # leaner.
    from services.inference.graph.build import Checkpoint, build

    weights = artifacts.weights
    assert weights is not None, "artifacts without a graph have weights"
    checkpoint = Checkpoint(artifacts.config, weights, artifacts.sha256[weights.name], adapter)
    with ONE_AT_A_TIME:
        return build(checkpoint, plan, cache)
