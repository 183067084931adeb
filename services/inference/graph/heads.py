"""What stands on top of an encoder.

This module is imported wherever models are loaded, so it does without onnx, which takes long to import.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from services.artifacts import ArtifactProblem
from services.config import Pooling

if TYPE_CHECKING:
    from services.inference.graph.layout import Reads
    from services.inference.graph.nodes import GraphWriter
    from services.inference.graph.weights import Weights

EMBEDDING_OUTPUT: Final = "embedding"
LOGITS_OUTPUT: Final = "logits"


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

    @property
    def reads(self) -> Reads:
        """Which vectors it is given."""
        return "first" if self.pooling == "cls" else "all"

    def add(self, graph: GraphWriter, weights: Weights, hidden: str) -> str:
        """Add the head over `hidden`; return its output, [batch, width]."""
        del weights  # pooling has none
        hidden = graph.to_single(hidden) if graph.half else hidden
        if self.pooling == "cls":
            return graph.call("Identity", [hidden], output=EMBEDDING_OUTPUT)
        mask = graph.to_single("attention_mask")
        if self.pooling == "last_token":
            mask = _last_only(graph, mask)
        weighted = graph.call("Mul", [hidden, graph.call("Unsqueeze", [mask, graph.integers(2)])])
        total = graph.call("ReduceSum", [weighted, graph.integers(1)], keepdims=0)
        count = graph.call("ReduceSum", [mask, graph.integers(1)], keepdims=1)
        return graph.call("Div", [total, count], output=EMBEDDING_OUTPUT)


@dataclass(frozen=True, slots=True)
class ClassificationHead:
    """One number per label from the vector of the first token, in fp32 whatever the encoder computed in.

    BERT's checkpoints have a pooler, trained with the encoder, and one more layer; those of the RoBERTa
    family (Liu et al. 2019, arXiv:1907.11692) have two layers of their own and no pooler. Either is a dense
    layer, a hyperbolic tangent and a dense layer. The checkpoint shows which one it is.

    Attributes:
        labels: How many labels there are: the rows of the last layer.
    """

    labels: int

    @property
    def key(self) -> str:
        """Names the head in cache keys."""
        return f"classification-{self.labels}"

    @property
    def reads(self) -> Reads:
        """Which vectors it is given."""
        return "first"

    def add(self, graph: GraphWriter, weights: Weights, hidden: str) -> str:
        """Add the head over `hidden` [batch, width]; return its output, logits [batch, labels].

        Raises:
            ArtifactProblem: The weights have no such head, or one with another number of labels.
        """
        layers = ("pooler.dense", "classifier")
        if "classifier.out_proj.weight" in weights:
            layers = ("classifier.dense", "classifier.out_proj")
        elif "classifier.weight" not in weights:
            message = (
                "the weights have no classification head (classifier.weight): they are an embedding model's; "
                'rerank with kind = "bi-encoder", or name an adapter that brings a head'
            )
            raise ArtifactProblem(message)
        width, single = weights.width, graph.single()
        x = graph.to_single(hidden) if graph.half else hidden
        for name, out in zip(layers, (width, self.labels), strict=True):
            weight, bias = weights.get(f"{name}.weight", out, width), weights.get(f"{name}.bias", out)
            last = name == layers[-1]
            x = single.linear(x, name, weight, bias, output=LOGITS_OUTPUT if last else "")
            x = x if last else single.call("Tanh", [x])
        return x


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
