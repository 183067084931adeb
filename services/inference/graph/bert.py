"""BERT's encoder as an ONNX graph (Devlin et al. 2018, arXiv:1810.04805)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.inference.errors import ArtifactProblem
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
        try:
            result = cls(
                vocab_size=int(config["vocab_size"]),
                hidden_size=int(config["hidden_size"]),
                layers=int(config["num_hidden_layers"]),
                heads=int(config["num_attention_heads"]),
                intermediate_size=int(config["intermediate_size"]),
                positions=int(config["max_position_embeddings"]),
                token_types=int(config["type_vocab_size"]),
                epsilon=float(config.get("layer_norm_eps", 1e-12)),
                activation=str(config.get("hidden_act", "gelu")),
            )
        except (KeyError, TypeError, ValueError) as error:
            message = f"config.json: {error} is missing or not a number"
            raise ArtifactProblem(message) from error
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


def add_encoder(graph: GraphWriter, config: BertConfig, weights: Weights) -> str:
    """Add the encoder to `graph`.

    Reads the graph inputs `input_ids`, `attention_mask` and `token_type_ids`, all int64 [batch, tokens].
    Returns the name of the last hidden state [batch, tokens, hidden_size], of the graph's type.
    """
    x = _embeddings(graph, config, weights)
    masked = _attention_bias(graph)
    for index in range(config.layers):
        x = _layer(graph, config, weights, f"encoder.layer.{index}", (x, masked))
    return x


def _embeddings(graph: GraphWriter, config: BertConfig, weights: Weights) -> str:
    hidden = config.hidden_size

    def table(name: str, rows: int) -> str:
        full = f"embeddings.{name}.weight"
        return graph.tensor(full, weights.get(full, rows, hidden))

    words = graph.call("Gather", [table("word_embeddings", config.vocab_size), "input_ids"])
    tokens = graph.call("Shape", ["input_ids"], start=1, end=2)
    positions = table("position_embeddings", config.positions)
    places = graph.call("Slice", [positions, graph.integers(0), tokens])
    types = graph.call("Gather", [table("token_type_embeddings", config.token_types), "token_type_ids"])
    total = graph.call("Add", [graph.call("Add", [words, places]), types])
    return _norm(graph, config, weights, "embeddings.LayerNorm", total)


def _attention_bias(graph: GraphWriter) -> str:
    """Return what is added to the attention scores: 0 for tokens, `MASKED` for padding."""
    mask = graph.call("Cast", ["attention_mask"], to=graph.float_type)
    mask = graph.call("Unsqueeze", [mask, graph.integers(1, 2)])
    one = graph.scalar("one", 1)
    padding = graph.call("Sub", [one, mask])
    return graph.call("Mul", [padding, graph.scalar("masked", MASKED)])


def _layer(
    graph: GraphWriter, config: BertConfig, weights: Weights, name: str, inputs: tuple[str, str]
) -> str:
    x, masked = inputs
    hidden, inner = config.hidden_size, config.intermediate_size
    attended = _attention(graph, config, weights, f"{name}.attention", (x, masked))
    attended = _linear(graph, weights, f"{name}.attention.output.dense", attended, (hidden, hidden))
    x = _norm(graph, config, weights, f"{name}.attention.output.LayerNorm", graph.call("Add", [attended, x]))
    widened = _linear(graph, weights, f"{name}.intermediate.dense", x, (inner, hidden))
    narrowed = _linear(
        graph, weights, f"{name}.output.dense", _activation(graph, config, widened), (hidden, inner)
    )
    return _norm(graph, config, weights, f"{name}.output.LayerNorm", graph.call("Add", [narrowed, x]))


def _attention(
    graph: GraphWriter, config: BertConfig, weights: Weights, name: str, inputs: tuple[str, str]
) -> str:
    """Multi-head attention (Vaswani et al. 2017, arXiv:1706.03762) before its output projection."""
    x, masked = inputs
    hidden, size = config.hidden_size, config.hidden_size // config.heads
    split = graph.integers(0, 0, config.heads, size)

    def heads(part: str, order: list[int]) -> str:
        projected = _linear(graph, weights, f"{name}.self.{part}", x, (hidden, hidden))
        return graph.call("Transpose", [graph.call("Reshape", [projected, split])], perm=order)

    query, key, value = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
    scale = graph.scalar("attention_scale", math.sqrt(size))
    scores = graph.call("Div", [graph.call("MatMul", [query, key]), scale])
    shares = graph.call("Softmax", [graph.call("Add", [scores, masked])], axis=-1)
    mixed = graph.call("Transpose", [graph.call("MatMul", [shares, value])], perm=[0, 2, 1, 3])
    return graph.call("Reshape", [mixed, graph.integers(0, 0, hidden)])


def _activation(graph: GraphWriter, config: BertConfig, x: str) -> str:
    if config.activation == "relu":
        return graph.call("Relu", [x])
    if config.activation == "gelu":  # erf, written out: the form that ONNX Runtime fuses with the bias
        root = graph.scalar("sqrt_2", math.sqrt(2))
        erf = graph.call("Erf", [graph.call("Div", [x, root])])
        grown = graph.call("Mul", [x, graph.call("Add", [erf, graph.scalar("one", 1)])])
        return graph.call("Mul", [grown, graph.scalar("half", 0.5)])
    return graph.call("Gelu", [x], approximate="tanh")


def _linear(graph: GraphWriter, weights: Weights, name: str, x: str, shape: tuple[int, int]) -> str:
    return graph.linear(x, name, weights.get(f"{name}.weight", *shape), weights.get(f"{name}.bias", shape[0]))


def _norm(graph: GraphWriter, config: BertConfig, weights: Weights, name: str, x: str) -> str:
    weight = weights.get(f"{name}.weight", config.hidden_size)
    bias = weights.get(f"{name}.bias", config.hidden_size)
    return graph.layer_norm(x, name, weight, bias, config.epsilon)
