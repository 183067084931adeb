"""BERT's encoder as an ONNX graph (Devlin et al. 2018, arXiv:1810.04805)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.inference.errors import ArtifactProblem
from services.inference.graph.layout import Layout
from services.inference.graph.nodes import GraphWriter
from services.inference.graph.weights import Weights

MASKED: Final = -10_000.0
"""Added to the attention scores of padding. exp(-10000) is 0 in fp32 and fp16 alike, and, unlike the
smallest number of a type, it can be added to a score without overflow."""

ACTIVATIONS: Final = frozenset({"gelu", "gelu_new", "gelu_pytorch_tanh", "relu"})


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The part of `config.json` that shapes the graph."""

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    positions: int
    token_types: int
    epsilon: float
    activation: str

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> BertConfig:
        """Read it from a parsed `config.json`.

        Raises:
            ArtifactProblem: A number is missing or not a number, or the model has a variation of the
                architecture that this builder does not know.
        """
        result = cls(
            vocab_size=_whole(config, "vocab_size"),
            hidden_size=_whole(config, "hidden_size"),
            layers=_whole(config, "num_hidden_layers"),
            heads=_whole(config, "num_attention_heads"),
            intermediate_size=_whole(config, "intermediate_size"),
            positions=_whole(config, "max_position_embeddings"),
            token_types=_whole(config, "type_vocab_size"),
            epsilon=_epsilon(config),
            activation=str(config.get("hidden_act", "gelu")),
        )
        if config.get("position_embedding_type", "absolute") != "absolute":
            message = "config.json: only absolute position embeddings can be built; give an .onnx file"
            raise ArtifactProblem(message)
        if config.get("is_decoder"):
            message = "config.json: is_decoder is set, and only encoders can be built; give an .onnx file"
            raise ArtifactProblem(message)
        if result.activation not in ACTIVATIONS:
            message = f"config.json: activation {result.activation} is not known; give an .onnx file"
            raise ArtifactProblem(message)
        if result.hidden_size % result.heads:
            message = "config.json: hidden_size is not a multiple of num_attention_heads"
            raise ArtifactProblem(message)
        return result


def _whole(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or value < 1:
        message = f"config.json: {name} is missing or not a whole number of 1 or more"
        raise ArtifactProblem(message)
    return value


def _epsilon(config: Mapping[str, Any]) -> float:
    value = config.get("layer_norm_eps", 1e-12)
    if not isinstance(value, (int, float)):
        message = "config.json: layer_norm_eps is not a number"
        raise ArtifactProblem(message)
    return float(value)


class BertEncoder:
    """Adds BERT's encoder to a graph, layer by layer.

    Args:
        graph: Has the inputs `input_ids`, `attention_mask` and `token_type_ids`, int64 [batch, tokens].
        config: The shape of the encoder.
        weights: Its checkpoint.
        layout: How tokens are laid out between the layers.
    """

    def __init__(self, graph: GraphWriter, config: BertConfig, weights: Weights, layout: Layout) -> None:
        self._graph = graph
        self._config = config
        self._weights = weights
        self._layout = layout

    def add(self) -> str:
        """Add it and return the name of its last hidden state, [batch, tokens, hidden_size]."""
        x = self._embeddings()
        masked = self._attention_bias()
        for index in range(self._config.layers):
            x = self._layer(f"encoder.layer.{index}", x, masked)
        return self._layout.unpack(self._graph, x)

    def _embeddings(self) -> str:
        graph, config, layout = self._graph, self._config, self._layout
        words = graph.call("Gather", [self._table("word", config.vocab_size), layout.input_ids])
        positions = layout.positions(graph, self._table("position", config.positions))
        types = graph.call("Gather", [self._table("token_type", config.token_types), layout.token_type_ids])
        total = graph.call("Add", [graph.call("Add", [words, positions]), types])
        return self._norm("embeddings.LayerNorm", total)

    def _table(self, kind: str, rows: int) -> str:
        name = f"embeddings.{kind}_embeddings.weight"
        return self._graph.tensor(name, self._weights.get(name, rows, self._config.hidden_size))

    def _attention_bias(self) -> str:
        """Return what is added to the attention scores: 0 for tokens, `MASKED` for padding."""
        graph = self._graph
        mask = graph.call("Cast", ["attention_mask"], to=graph.float_type)
        mask = graph.call("Unsqueeze", [mask, graph.integers(1, 2)])
        padding = graph.call("Sub", [graph.scalar("one", 1), mask])
        return graph.call("Mul", [padding, graph.scalar("masked", MASKED)])

    def _layer(self, name: str, x: str, masked: str) -> str:
        graph = self._graph
        attended = self._dense(f"{name}.attention.output.dense", self._attention(name, x, masked))
        x = self._norm(f"{name}.attention.output.LayerNorm", graph.call("Add", [attended, x]))
        widened = self._activation(self._dense(f"{name}.intermediate.dense", x))
        narrowed = self._dense(f"{name}.output.dense", widened)
        return self._norm(f"{name}.output.LayerNorm", graph.call("Add", [narrowed, x]))

    def _attention(self, name: str, x: str, masked: str) -> str:
        """Multi-head attention (Vaswani et al. 2017, arXiv:1706.03762) before its output projection."""
        graph, config = self._graph, self._config
        size = config.hidden_size // config.heads
        split = graph.integers(0, 0, config.heads, size)

        def heads(part: str, order: list[int]) -> str:
            projected = self._layout.unpack(graph, self._dense(f"{name}.attention.self.{part}", x))
            return graph.call("Transpose", [graph.call("Reshape", [projected, split])], perm=order)

        query, key = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1])
        value = heads("value", [0, 2, 1, 3])
        scale = graph.scalar("attention_scale", math.sqrt(size))
        scores = graph.call("Div", [graph.call("MatMul", [query, key]), scale])
        shares = graph.call("Softmax", [graph.call("Add", [scores, masked])], axis=-1)
        mixed = graph.call("Transpose", [graph.call("MatMul", [shares, value])], perm=[0, 2, 1, 3])
        return self._layout.pack(graph, mixed, config.hidden_size)

    def _activation(self, x: str) -> str:
        graph = self._graph
        if self._config.activation == "relu":
            return graph.call("Relu", [x])
        if self._config.activation == "gelu":  # written out: the form that ONNX Runtime fuses with the bias
            erf = graph.call("Erf", [graph.call("Div", [x, graph.scalar("sqrt_2", math.sqrt(2))])])
            grown = graph.call("Mul", [x, graph.call("Add", [erf, graph.scalar("one", 1)])])
            return graph.call("Mul", [grown, graph.scalar("half", 0.5)])
        return graph.call("Gelu", [x], approximate="tanh")

    def _dense(self, name: str, x: str) -> str:
        config = self._config
        wide = config.intermediate_size
        out = wide if ".intermediate." in name else config.hidden_size
        into = wide if name.endswith("output.dense") and ".attention." not in name else config.hidden_size
        weight, bias = self._weights.get(f"{name}.weight", out, into), self._weights.get(f"{name}.bias", out)
        return self._graph.linear(x, name, weight, bias)

    def _norm(self, name: str, x: str) -> str:
        weight = self._weights.get(f"{name}.weight", self._config.hidden_size)
        bias = self._weights.get(f"{name}.bias", self._config.hidden_size)
        return self._graph.layer_norm(x, name, weight, bias, self._config.epsilon)
