"""From a checkpoint to an ONNX file in the cache directory.

A built graph is a folder with `model.onnx` and `model.onnx.data`, named by a hash of all that went into
it. It appears by a rename, whole or not at all, so that several processes may build at the same time.
`sizes.json` says how long both files are: a graph that a disk or a careless copy has cut short is built
again.
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
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import onnx
from onnx import helper

from services.artifacts import AdapterFiles, ArtifactProblem
from services.inference.graph.architectures import encoder_for
from services.inference.graph.layout import LayoutName, Reads, layout_for
from services.inference.graph.lora import open_adapter
from services.inference.graph.nodes import IR_VERSION, OPSET, GraphWriter
from services.inference.graph.weights import Weights, open_tensors

BUILDER_VERSION: Final = 4
"""Part of every cache key. Raise it whenever the same checkpoint would give another graph."""

INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
"""What a graph may ask for; it has those that it uses."""

GRAPH_FILE: Final = "model.onnx"
DATA_FILE: Final = "model.onnx.data"
SIZES_FILE: Final = "sizes.json"
PAGE: Final = 4096

SCRATCH: Final = ".building-"
ABANDONED_SECONDS: Final = 24 * 60 * 60
"""A build that has written nothing for so long was killed, and what it left is taken away."""

Precision = Literal["fp32", "fp16"]

log: Final = logging.getLogger(__name__)


class Head(Protocol):
    """What stands on top of the encoder."""

    @property
    def key(self) -> str:
        """Names the head in cache keys."""

    @property
    def reads(self) -> Reads:
        """Which vectors of the last hidden state it is given."""

    def add(self, graph: GraphWriter, weights: Weights, hidden: str) -> str:
        """Add the head over the last hidden state; return the name of the graph's output.

        Args:
            graph: What it is added to.
            weights: The checkpoint, where its own weights are.
            hidden: [batch, tokens, width], or [batch, width] if it reads first tokens only.
        """


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a graph is built from.

    Attributes:
        config: The parsed `config.json`.
        weights: The safetensors file.
        sha256: SHA-256 of the weights, lowercase hex.
        adapter: A LoRA adapter to merge into the weights; None for the weights as they are.
    """

    config: Mapping[str, Any]
    weights: Path
    sha256: str
    adapter: AdapterFiles | None = None


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
        ArtifactProblem: The checkpoint or its adapter is damaged or cannot be built, they do not fit each
            other, or the cache cannot be written.
    """
    folder = cache / "graphs" / _key(checkpoint, plan)
    if _is_whole(folder):
        return folder / GRAPH_FILE
    encoder = encoder_for(checkpoint.config)
    graph = GraphWriter(half=plan.precision == "fp16")
    log.info("building a graph", extra={"weights": str(checkpoint.weights), "head": plan.head.key})
    with _open(checkpoint) as weights:
        hidden = encoder(graph, weights, layout_for(plan.layout, graph), plan.head.reads)
        output = plan.head.add(graph, weights, hidden)
    try:
        _publish(graph, output, folder)
    except OSError as error:
        message = f"the built graph cannot be written to {folder.parent}: {error.strerror}"
        raise ArtifactProblem(message) from error
    return folder / GRAPH_FILE


@contextmanager
def _open(checkpoint: Checkpoint) -> Iterator[Weights]:
    with open_tensors(checkpoint.weights) as file:
        if checkpoint.adapter is None:
            yield Weights(file)
        else:
            with open_adapter(checkpoint.adapter) as adapter:
                yield Weights(file, adapter)


def _key(checkpoint: Checkpoint, plan: Plan) -> str:
    choices = [plan.head.key, plan.precision, plan.layout]
    adapter = dict(checkpoint.adapter.sha256) if checkpoint.adapter else None
    parts = [BUILDER_VERSION, checkpoint.sha256, adapter, dict(checkpoint.config), choices]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _publish(graph: GraphWriter, output: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder.parent)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder.parent))
    try:
        external = _write_weights(graph, scratch / DATA_FILE)
        with (scratch / GRAPH_FILE).open("wb") as file:
            file.write(_model(graph, output, external).SerializeToString())
            file.flush()
            os.fsync(file.fileno())
        sizes = {name: (scratch / name).stat().st_size for name in (GRAPH_FILE, DATA_FILE)}
        (scratch / SIZES_FILE).write_text(json.dumps(sizes), encoding="ascii")
        scratch.chmod(0o755)  # temporary folders are private; a cache may be shared
        try:
            scratch.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            if not _is_whole(folder):  # else: another process was first
                _repair(folder, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    """Say whether a built graph is there as it was written, as far as its files' sizes tell."""
    try:
        sizes = json.loads((folder / SIZES_FILE).read_text(encoding="ascii"))
        return bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _repair(folder: Path, scratch: Path) -> None:
    """Put the files of a graph that was built anew in the place of damaged ones.

    The same key gives the same bytes, so that other processes may open the graph in between; those that
    have it open already keep what they have.
    """
    log.warning("a damaged graph is replaced", extra={"folder": str(folder)})
    for name in (DATA_FILE, GRAPH_FILE, SIZES_FILE):
        (scratch / name).replace(folder / name)


def _remove_abandoned(graphs: Path) -> None:
    """Remove what killed builds left; other processes may be doing the same."""
    for scratch in graphs.glob(f"{SCRATCH}*"):
        with suppress(OSError):
            newest = max(path.stat().st_mtime for path in (scratch, *scratch.iterdir()))
            if newest < time.time() - ABANDONED_SECONDS:
                shutil.rmtree(scratch)


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
    used = {name for node in graph.nodes for name in node.input}
    inputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["batch", "tokens"])
        for name in INPUTS
        if name in used
    ]
    outputs = [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["batch", "width"])]
    body = helper.make_graph(graph.nodes, "encoder", inputs, outputs, [*graph.constants, *external])
    return helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="inglenook",
    )
