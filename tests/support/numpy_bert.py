"""The forward pass of BERT and RoBERTa in plain numpy: one text at a time, without batches or padding.

Everything is in double precision.

Written from the papers' formulas and not from the graph builder, which is held against it:
Devlin et al. 2018 (arXiv:1810.04805) for the encoder, Vaswani et al. 2017 (arXiv:1706.03762) for attention,
Ba et al. 2016 (arXiv:1607.06450) for layer normalization, Hendrycks and Gimpel 2016 (arXiv:1606.08415) for
GELU and its approximation, Liu et al. 2019 (arXiv:1907.11692) for RoBERTa, of which the paper says little:
fairseq counts its positions from the padding token's id, and so do all who have come after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def gelu(x: Doubles) -> Doubles:
    """Return x · Φ(x), with Φ the distribution function of the standard normal distribution."""
    distribution = [(1 + math.erf(value / math.sqrt(2))) / 2 for value in x.ravel()]
    return np.asarray(x * np.array(distribution).reshape(x.shape))


def gelu_new(x: Doubles) -> Doubles:
    """Return the approximation of `gelu` by a hyperbolic tangent, in the paper's section 2."""
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def relu(x: Doubles) -> Doubles:
    """Return the larger of x and 0."""
    return np.maximum(x, 0)


def softmax(scores: Doubles) -> Doubles:
    """Return shares that add up to 1 in each row."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


ACTIVATIONS: Final[Mapping[str, Callable[[Doubles], Doubles]]] = {
    "gelu": gelu,
    "gelu_new": gelu_new,
    "gelu_pytorch_tanh": gelu_new,
    "relu": relu,
}


@dataclass(frozen=True)
class NumpyBert:
    """An encoder, with a head if its weights have one.

    Attributes:
        tensors: Its weights, under the names of BERT's checkpoints, with or without the model's name before.
        config: Its `config.json`.
    """

    tensors: Mapping[str, NDArray[Any]]
    config: Mapping[str, Any]

    def hidden(self, ids: Sequence[int], type_ids: Sequence[int] | None = None) -> Doubles:
        """Return the last hidden state of one text, [tokens, hidden_size]."""
        words = self._tensor("embeddings.word_embeddings.weight")[list(ids)]
        positions = self._tensor("embeddings.position_embeddings.weight")[self._positions(ids)]
        types = self._tensor("embeddings.token_type_embeddings.weight")[list(type_ids or [0] * len(ids))]
        x = self._norm("embeddings.LayerNorm", words + positions + types)
        for index in range(self.config["num_hidden_layers"]):
            x = self._layer(f"encoder.layer.{index}", x)
        return x

    def embed(self, ids: Sequence[int], pooling: str = "mean") -> Doubles:
        """Return the embedding of one text, [hidden_size], not normalized."""
        hidden = self.hidden(ids)
        if pooling == "mean":
            return np.asarray(hidden.mean(axis=0))
        return np.asarray(hidden[0 if pooling == "cls" else -1])

    def logits(self, ids: Sequence[int], type_ids: Sequence[int] | None = None) -> Doubles:
        """Return one number per label."""
        first = self.hidden(ids, type_ids)[0]
        if self.config["model_type"] == "bert":
            return self._dense("classifier", np.tanh(self._dense("pooler.dense", first)))
        return self._dense("classifier.out_proj", np.tanh(self._dense("classifier.dense", first)))

    def _positions(self, ids: Sequence[int]) -> list[int]:
        if self.config["model_type"] == "bert":
            return list(range(len(ids)))
        padding = self.config["pad_token_id"]
        positions, seen = [], 0
        for one in ids:
            seen += one != padding
            positions.append(padding if one == padding else padding + seen)
        return positions

    def _layer(self, name: str, x: Doubles) -> Doubles:
        attended = self._dense(f"{name}.attention.output.dense", self._attention(f"{name}.attention.self", x))
        x = self._norm(f"{name}.attention.output.LayerNorm", x + attended)
        activation = ACTIVATIONS[self.config["hidden_act"]]
        widened = activation(self._dense(f"{name}.intermediate.dense", x))
        return self._norm(f"{name}.output.LayerNorm", x + self._dense(f"{name}.output.dense", widened))

    def _attention(self, name: str, x: Doubles) -> Doubles:
        query, key, value = (self._dense(f"{name}.{part}", x) for part in ("query", "key", "value"))
        size = self.config["hidden_size"] // self.config["num_attention_heads"]
        mixed = []
        for first in range(0, self.config["hidden_size"], size):
            head = slice(first, first + size)
            shares = softmax(query[:, head] @ key[:, head].T / math.sqrt(size))
            mixed.append(shares @ value[:, head])
        return np.concatenate(mixed, axis=1)

    def _dense(self, name: str, x: Doubles) -> Doubles:
        return np.asarray(x @ self._tensor(f"{name}.weight").T + self._tensor(f"{name}.bias"))

    def _norm(self, name: str, x: Doubles) -> Doubles:
        mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
        scaled = (x - mean) / np.sqrt(variance + self.config["layer_norm_eps"])
        return np.asarray(scaled * self._tensor(f"{name}.weight") + self._tensor(f"{name}.bias"))

    def _tensor(self, name: str) -> Doubles:
        places = [place + name for place in ("", "bert.", "roberta.") if place + name in self.tensors]
        return np.asarray(self.tensors[places[0]], dtype=np.float64)
