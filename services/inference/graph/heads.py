"""What stands on top of an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import onnx

from services.inference.graph.nodes import GraphWriter

EMBEDDING_OUTPUT: Final = "embedding"

Pooling = Literal["cls", "mean", "last_token"]


@dataclass(frozen=True, slots=True)
class EmbeddingHead:
    """Pools the token vectors of a text into one, in fp32 whatever the encoder computed in.

    The result is not normalized, because `dimensions` has to be cut first.
    """

    pooling: Pooling

    @property
    def key(self) -> str:
        """Names the head in cache keys."""
        return f"embedding-{self.pooling}"

    def add(self, graph: GraphWriter, hidden: str) -> str:
        """Add the head over `hidden` [batch, tokens, width]; return its output [batch, width]."""
        hidden = graph.call("Cast", [hidden], to=onnx.TensorProto.FLOAT) if graph.half else hidden
        if self.pooling == "cls":
            index = graph.tensor("first", np.array(0, dtype=np.int64))
            return graph.call("Gather", [hidden, index], axis=1, output=EMBEDDING_OUTPUT)
        mask = graph.call("Cast", ["attention_mask"], to=onnx.TensorProto.FLOAT)
        if self.pooling == "last_token":
            mask = _last_only(graph, mask)
        weighted = graph.call("Mul", [hidden, graph.call("Unsqueeze", [mask, graph.integers(2)])])
        total = graph.call("ReduceSum", [weighted, graph.integers(1)], keepdims=0)
        count = graph.call("ReduceSum", [mask, graph.integers(1)], keepdims=1)
        return graph.call("Div", [total, count], output=EMBEDDING_OUTPUT)


def _last_only(graph: GraphWriter, mask: str) -> str:
    """Return `mask` with only its last 1 per row left; padding stands on the right."""
    width = graph.call("Shape", [mask], start=1, end=2)
    padded = graph.call("Pad", [mask, graph.integers(0, 0, 0, 1)])
    shifted = graph.call(
        "Slice",
        [
            padded,
            graph.integers(1),
            graph.call("Add", [width, graph.integers(1)]),
            graph.integers(1),
        ],
    )
    return graph.call("Sub", [mask, shifted])
