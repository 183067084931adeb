"""Ready-made ONNX files, as other people's exports are: small, with the inputs and outputs one asks for.

The model looks every token up in a table; its token vector is that row, plus the row of its type, plus that
of its position, as far as the graph has those inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from services.inference.encoding import Encoding
from services.inference.padding import IDS, MASK, POSITIONS, TYPES
from tests.support.tiny import LETTERS, SPECIALS, WORDS

WIDTH: Final = 6
TOKENS: Final = 100
POISON_TEXT: Final = "9"
POISON: Final = len(SPECIALS) + len(WORDS) + LETTERS.index(POISON_TEXT)
"""A token whose vector is not a number, and the text that a tiny model's tokenizer makes it of."""

ALL_INPUTS: Final = (IDS, MASK, TYPES)
TABLES: Final = {IDS: "words", TYPES: "types", POSITIONS: "positions"}
TOKEN_VECTORS: Final = ("last_hidden_state", "token_embeddings", "hidden")


def table(name: str) -> NDArray[np.float32]:
    """Return the rows of one of `TABLES`."""
    seed = list(TABLES.values()).index(name)
    rows = np.random.default_rng(seed).normal(size=(TOKENS, WIDTH)).astype(np.float32)
    if name == "words":
        rows[POISON] = np.nan
    return rows


def token_vectors(encoding: Encoding, inputs: Sequence[str] = ALL_INPUTS) -> NDArray[np.float32]:
    """Return what a graph with these inputs computes for the tokens of one text."""
    vectors = table("words")[encoding.ids]
    if TYPES in inputs:
        vectors = vectors + table("types")[encoding.type_ids or [0] * len(encoding)]
    if POSITIONS in inputs:
        vectors = vectors + table("positions")[: len(encoding)]
    return vectors


def write_onnx(
    path: Path,
    *,
    inputs: Sequence[str] = ALL_INPUTS,
    outputs: Sequence[str] = ("last_hidden_state",),
    batch: str | int = "batch",
) -> Path:
    """Write a model and return its path.

    Outputs called as in `TOKEN_VECTORS` are token vectors, `sentence_embedding` and `pooler_output` are one
    vector per text, the mean and the first token's; others are one number per text. With a
    number as `batch` it takes batches of that size only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    nodes, hidden = _lookups(inputs)
    described = []
    for name in outputs:
        made, shape = _output(name, hidden)
        nodes += made
        described.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    given = [helper.make_tensor_value_info(name, TensorProto.INT64, [batch, "tokens"]) for name in inputs]
    stored = [numpy_helper.from_array(table(TABLES[name]), TABLES[name]) for name in inputs if name in TABLES]
    stored += [numpy_helper.from_array(np.array([one]), f"axis_{one}") for one in (1, 2)]
    stored.append(numpy_helper.from_array(np.array(0), "first"))
    graph = helper.make_graph(nodes, "export", given, described, stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _lookups(inputs: Sequence[str]) -> tuple[list[Any], str]:
    nodes, hidden = [], ""
    for name in inputs:
        if name in TABLES:
            nodes.append(helper.make_node("Gather", [TABLES[name], name], [f"rows_{name}"]))
            if hidden:
                nodes.append(helper.make_node("Add", [hidden, f"rows_{name}"], [f"sum_{name}"]))
            hidden = f"sum_{name}" if hidden else f"rows_{name}"
    return nodes, hidden


def _output(name: str, hidden: str) -> tuple[list[Any], list[str | int]]:
    if name in TOKEN_VECTORS:
        return [helper.make_node("Identity", [hidden], [name])], ["batch", "tokens", WIDTH]
    if name == "pooler_output":
        return [helper.make_node("Gather", [hidden, "first"], [name], axis=1)], ["batch", WIDTH]
    if name == "sentence_embedding":
        return [
            helper.make_node("Cast", [MASK], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "axis_2"], ["column"]),
            helper.make_node("Mul", [hidden, "column"], ["masked"]),
            helper.make_node("ReduceSum", ["masked", "axis_1"], ["total"], keepdims=0),
            helper.make_node("ReduceSum", ["mask", "axis_1"], ["count"], keepdims=1),
            helper.make_node("Div", ["total", "count"], [name]),
        ], ["batch", WIDTH]
    return [helper.make_node("ReduceMax", [hidden], [name], axes=[1, 2], keepdims=0)], ["batch"]
