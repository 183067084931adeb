"""From a checkpoint to an ONNX file in the cache directory.

A built graph is a folder with `model.onnx` and `model.onnx.data`, named by a hash of all that went into
it. It appears by a rename, whole or not at all, so that several processes may build at the same time.
The weights are written page-aligned into the data file, which ONNX Runtime maps into memory: sessions of
the same graph share those pages.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import onnx
from onnx import helper

from services.inference.errors import ArtifactProblem
from services.inference.graph.architectures import encoder_for
from services.inference.graph.layout import LayoutName, layout_for
from services.inference.graph.nodes import IR_VERSION, OPSET, GraphWriter
from services.inference.graph.weights import open_weights

BUILDER_VERSION: Final = 2
"""Part of every cache key. Raise it whenever the same checkpoint would give another graph."""

INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
GRAPH_FILE: Final = "model.onnx"
DATA_FILE: Final = "model.onnx.data"
PAGE: Final = 4096

Precision = Literal["fp32", "fp16"]

log: Final = logging.getLogger(__name__)


class Head(Protocol):
    """What stands on top of the encoder."""

    @property
    def key(self) -> str:
        """Names the head in cache keys."""

    def add(self, graph: GraphWriter, hidden: str) -> str:
        """Add the head over the last hidden state; return the name of the graph's output."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a graph is built from.

    Attributes:
        config: The parsed `config.json`.
        weights: The safetensors file.
        sha256: SHA-256 of the weights, lowercase hex.
    """

    config: Mapping[str, Any]
    weights: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is built from it.

    Attributes:
        head: What stands on top of the encoder.
        precision: Number format of weights and arithmetic.
        layout: How tokens are laid out between the layers.
    """

    head: Head
    precision: Precision = "fp32"
    layout: LayoutName = "packed"


def build(checkpoint: Checkpoint, plan: Plan, cache: Path) -> Path:
    """Return the ONNX file of `checkpoint` built as `plan` says; it is built unless the cache has it.

    Raises:
        ArtifactProblem: The checkpoint is damaged or cannot be built, or the cache cannot be written.
    """
    folder = cache / "graphs" / _key(checkpoint, plan)
    if (folder / GRAPH_FILE).is_file():
        return folder / GRAPH_FILE
    encoder = encoder_for(checkpoint.config)
    graph = GraphWriter(half=plan.precision == "fp16")
    log.info("building a graph", extra={"weights": str(checkpoint.weights), "head": plan.head.key})
    with open_weights(checkpoint.weights) as weights:
        output = plan.head.add(graph, encoder(graph, weights, layout_for(plan.layout, graph)))
        try:
            _publish(graph, output, folder)
        except OSError as error:
            message = f"the built graph cannot be written to {folder.parent}: {error.strerror}"
            raise ArtifactProblem(message) from error
    return folder / GRAPH_FILE


def _key(checkpoint: Checkpoint, plan: Plan) -> str:
    choices = [plan.head.key, plan.precision, plan.layout]
    parts = [BUILDER_VERSION, checkpoint.sha256, dict(checkpoint.config), choices]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _publish(graph: GraphWriter, output: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        external = _write_weights(graph, scratch / DATA_FILE)
        with (scratch / GRAPH_FILE).open("wb") as file:
            file.write(_model(graph, output, external).SerializeToString())
            file.flush()
            os.fsync(file.fileno())
        scratch.chmod(0o755)  # temporary folders are private; a cache may be shared
        try:
            scratch.rename(folder)
        except OSError:
            if not (folder / GRAPH_FILE).is_file():  # else: another process was first
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_weights(graph: GraphWriter, path: Path) -> list[onnx.TensorProto]:
    """Write the weights one after another and return tensors that refer to them."""
    tensors = []
    with path.open("wb") as file:
        for name, values in graph.weights.items():
            offset = -(-file.tell() // PAGE) * PAGE
            file.seek(offset)
            file.write(values.data)
            place = {"location": DATA_FILE, "offset": str(offset), "length": str(values.nbytes)}
            tensor = onnx.TensorProto(
                name=name,
                dims=values.shape,
                data_type=helper.np_dtype_to_tensor_dtype(values.dtype),
                data_location=onnx.TensorProto.EXTERNAL,
            )
            for key, value in place.items():
                tensor.external_data.add(key=key, value=value)
            tensors.append(tensor)
        file.flush()
        os.fsync(file.fileno())
    return tensors


def _model(graph: GraphWriter, output: str, external: list[onnx.TensorProto]) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["batch", "tokens"]) for name in INPUTS
    ]
    outputs = [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["batch", "width"])]
    body = helper.make_graph(graph.nodes, "encoder", inputs, outputs, [*graph.constants, *external])
    return helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="inglenook",
    )
