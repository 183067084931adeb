"""Real models whose weights show in the memory of a process, and that are quick to write and to run."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from services.inference.padding import IDS, MASK
from tests.support.tiny import write_tokenizer

WIDTH: Final = 64
BYTES_PER_ROW: Final = WIDTH * 4


def write_heavy_model(folder: Path, *, weight_bytes: int, value: float) -> Path:
    """Write the folder of a model with one large table, whose embeddings are `value` in every dimension.

    The weights are not all alike, so that no system can keep them in less memory.
    """
    folder.mkdir(parents=True)
    write_tokenizer(folder / "tokenizer.json")
    rows = np.random.default_rng(0).normal(size=(weight_bytes // BYTES_PER_ROW, WIDTH)).astype(np.float32)
    rows[: len(rows) // 2] = value  # the tokens of tests are all in this half
    tensors = [numpy_helper.from_array(rows, "words")]
    given = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in (IDS, MASK)
    ]
    taken = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", WIDTH])
    nodes = [helper.make_node("Gather", ["words", IDS], ["last_hidden_state"])]
    graph = helper.make_graph(nodes, "heavy", given, [taken], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return folder
