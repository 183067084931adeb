"""BERT's encoder as an ONNX graph (Devlin et al. 2018, arXiv:1810.04805), and its descendants'.

RoBERTa (Liu et al. 2019, arXiv:1907.11692), XLM-RoBERTa (Conneau et al. 2019, arXiv:1911.02116) and
CamemBERT (Martin et al. 2019, arXiv:1911.03894) are the same encoder; they count positions differently.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.artifacts import ArtifactProblem
from services.inference.graph.layout import Layout, Reads
from services.inference.graph.nodes import GraphWriter
from services.inference.graph.weights import Weights

MASKED: Final = -10_000.0
"""Added to the attention scores of padding. exp(-10000) is 0 in fp32 and fp16 alike, and, unlike the
smallest number of a type, it can be added to a score without overflow."""

ACTIVATIONS: Final = frozenset({"gelu", "gelu_new", "gelu_pytorch_tanh", "relu"})


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The part of `config.json` that shapes the graph.

    Attributes:
        padding_id: Where it counts, as in RoBERTa: token whose position is its own id and is not counted;
            the first token has the position after. None: positions are columns.
    """

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    positions: int
    token_types: int
    epsilon: float
    activation: str
    padding_id: int | None = None

    @classmethod
    def read(cls, config: Mapping[str, Any], *, counts_padding: bool = False) -> BertConfig:
        """Read it from a parsed `config.json`.

        Args:
            config: The file's content.
            counts_padding: Positions depend on the id of the padding token.

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
            padding_id=_padding_id(config) if counts_padding else None,
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


def _padding_id(config: Mapping[str, Any]) -> int:
    value = config.get("pad_token_id", 1)
    if not isinstance(value, int) or value < 0:
        message = "config.json: pad_token_id is not a whole number of 0 or more"
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
        graph: Has the inputs `input_ids`, `attention_mask` and, if there are several token types,
            `token_type_ids`, int64 [batch, tokens].
        config: The shape of the encoder.
        weights: Its checkpoint.
        layout: How tokens are laid out between the layers.
    """

    def __init__(self, graph: GraphWriter, config: BertConfig, weights: Weights, layout: Layout) -> None:
        self._graph = graph
        self._config = config
        self._weights = weights
        self._layout = layout

    def add(self, reads: Reads = "all") -> str:
        """Add it and return its last hidden state.

        Args:
            reads: Which tokens' vectors are wanted.

        Returns:
            The name of [batch, tokens, hidden_size], or of [batch, hidden_size] for first tokens only.
        """
        graph, layout = self._graph, self._layout
        x = self._embeddings()
        masked = self._attention_bias()
        narrows = reads == "first" and layout.narrows
        for index in range(self._config.layers):
            last = index == self._config.layers - 1
            x = self._layer(f"encoder.layer.{index}", x, masked, narrow=narrows and last)
        if reads == "all":
            return layout.unpack(graph, x)
        return x if narrows else layout.first(graph, x)

    def _embeddings(self) -> str:
        graph, config, layout = self._graph, self._config, self._layout
        ids = layout.take(graph, "input_ids")
        words = graph.call("Gather", [self._table("word", config.vocab_size), ids])
        types = self._table("token_type", config.token_types)
        if config.token_types > 1:  # else: the one row is added to every token
            types = graph.call("Gather", [types, layout.take(graph, "token_type_ids")])
        total = graph.call("Add", [graph.call("Add", [words, self._positions()]), types])
        return self._norm("embeddings.LayerNorm", total)

    def _positions(self) -> str:
        """Return the row of each token's position.

        RoBERTa's position is how many tokens up to this one are not padding, plus the id of padding. A
        text that spells the padding token out has it in its midst, where it is not counted either.
        """
        graph, layout = self._graph, self._layout
        table = self._table("position", self._config.positions)
        if self._config.padding_id is None:
            return layout.positions(graph, table)
        padding = graph.index(self._config.padding_id)
        is_padding = graph.call("Equal", ["input_ids", padding])
        counts = graph.call("Cast", [graph.call("Not", [is_padding])], to=graph.integer_type)
        counted = graph.call("CumSum", [counts, graph.index(1)])
        places = graph.call("Add", [graph.call("Mul", [counted, counts]), padding])
        return graph.call("Gather", [table, layout.take(graph, places)])

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

    def _layer(self, name: str, x: str, masked: str, *, narrow: bool) -> str:
        """Add a layer; a narrow one looks at all tokens and computes the first token of each text only."""
        graph = self._graph
        mixed = self._attention(name, x, masked, narrow=narrow)
        attended = self._dense(f"{name}.attention.output.dense", mixed)
        x = self._layout.first(graph, x) if narrow else x
        x = self._norm(f"{name}.attention.output.LayerNorm", graph.call("Add", [attended, x]))
        widened = self._activation(self._dense(f"{name}.intermediate.dense", x))
        narrowed = self._dense(f"{name}.output.dense", widened)
        return self._norm(f"{name}.output.LayerNorm", graph.call("Add", [narrowed, x]))

    def _attention(self, name: str, x: str, masked: str, *, narrow: bool) -> str:
        """Multi-head attention (Vaswani et al. 2017, arXiv:1706.03762) before its output projection."""
        graph, config, layout = self._graph, self._config, self._layout
        size = config.hidden_size // config.heads
        split = graph.integers(0, 0, config.heads, size)

        def heads(part: str, order: list[int]) -> str:
            projected = layout.unpack(graph, self._dense(f"{name}.attention.self.{part}", x))
            return graph.call("Transpose", [graph.call("Reshape", [projected, split])], perm=order)

        key, value = heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
        if narrow:
            asking = self._dense(f"{name}.attention.self.query", layout.first(graph, x))
            query = graph.call("Reshape", [asking, graph.integers(0, config.heads, 1, size)])
        else:
            query = heads("query", [0, 2, 1, 3])
        scale = graph.scalar("attention_scale", math.sqrt(size))
        scores = graph.call("Div", [graph.call("MatMul", [query, key]), scale])
        shares = graph.call("Softmax", [graph.call("Add", [scores, masked])], axis=-1)
        mixed = graph.call("MatMul", [shares, value])
        if narrow:
            return graph.call("Reshape", [mixed, graph.integers(0, config.hidden_size)])
        transposed = graph.call("Transpose", [mixed], perm=[0, 2, 1, 3])
        return layout.pack(graph, transposed, config.hidden_size)

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
