"""Small models for tests: a BERT with random weights and a vocabulary of letters and a few words.

The weights are the same, bit for bit, wherever numpy draws the same numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = ("the", "a", "cat", "dog", "sits", "runs", "on", "mat", "fast", "slow", "tree", "green")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?"


@dataclass(frozen=True)
class Shape:
    """The numbers of a `config.json`."""

    hidden_size: int = 32
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 64
    max_position_embeddings: int = 64
    type_vocab_size: int = 2
    vocab_size: int = len(SPECIALS) + len(WORDS) + 2 * len(LETTERS)


def write_model(
    folder: Path,
    *,
    shape: Shape | None = None,
    seed: int = 7,
    pooling: str | None = "mean",
    labels: int | None = None,
    **config: Any,
) -> Path:
    """Write a whole model folder and return it.

    Args:
        folder: Where to.
        shape: Its numbers.
        seed: Another seed gives other weights.
        pooling: What the folder says about pooling, if anything.
        labels: How many labels it tells apart; None for an encoder without such a head.
        config: Added to `config.json`.
    """
    shape = shape or Shape()
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder / "tokenizer.json")
    tensors = weights(shape, seed)
    if labels is not None:
        width = shape.hidden_size
        layers = {"bert.pooler.dense": (width, width), "classifier": (labels, width)}
        tensors = {f"bert.{name}": tensor for name, tensor in tensors.items()} | dense_layers(layers, seed)
        config = classifies("Bert", labels) | config
    save_file(tensors, folder / "model.safetensors")
    content = {"model_type": "bert", "hidden_act": "gelu", "layer_norm_eps": 1e-12, **asdict(shape), **config}
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    write_pooling(folder, pooling)
    return folder


def write_pooling(folder: Path, pooling: str | None) -> None:
    """Write what a model's folder says about pooling, if anything."""
    if pooling is not None:
        flags = {"cls": "cls_token", "mean": "mean_tokens", "last_token": "lasttoken"}
        (folder / "1_Pooling").mkdir(exist_ok=True)
        (folder / "1_Pooling" / "config.json").write_text(
            json.dumps({f"pooling_mode_{flags[pooling]}": True}), encoding="utf-8"
        )


def classifies(family: str, labels: int) -> dict[str, Any]:
    """Return what `config.json` says of a model with a head whose labels nobody has named."""
    names = [f"LABEL_{index}" for index in range(labels)]
    return {
        "architectures": [f"{family}ForSequenceClassification"],
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


def dense_layers(sizes: Mapping[str, tuple[int, int]], seed: int = 7) -> dict[str, NDArray[np.float32]]:
    """Return random weights [out, in] and biases [out] of layers, for heads."""
    random = np.random.default_rng([seed, 1])
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, (out, into) in sizes.items():
        tensors[f"{name}.weight"] = random.normal(0, 0.3, (out, into)).astype(np.float32)
        tensors[f"{name}.bias"] = random.normal(0, 0.3, out).astype(np.float32)
    return tensors


def write_tokenizer(path: Path) -> Tokenizer:
    """Write a WordPiece tokenizer with BERT's special tokens, and return it."""
    pieces = [*SPECIALS, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(path))
    return tokenizer


def weights(shape: Shape, seed: int = 7) -> dict[str, NDArray[np.float32]]:
    """Return random weights under the names of BERT's checkpoints."""
    random = np.random.default_rng(seed)
    hidden, wide = shape.hidden_size, shape.intermediate_size

    def normal(*size: int) -> NDArray[np.float32]:
        return random.normal(0, 0.2, size).astype(np.float32)

    tensors: dict[str, NDArray[np.float32]] = {
        "embeddings.word_embeddings.weight": normal(shape.vocab_size, hidden),
        "embeddings.position_embeddings.weight": normal(shape.max_position_embeddings, hidden),
        "embeddings.token_type_embeddings.weight": normal(shape.type_vocab_size, hidden),
    }

    def dense(name: str, out: int, into: int) -> None:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = normal(out, into), normal(out)

    def norm(name: str) -> None:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = 1 + normal(hidden), normal(hidden)

    norm("embeddings.LayerNorm")
    for index in range(shape.num_hidden_layers):
        layer = f"encoder.layer.{index}"
        for part in ("query", "key", "value"):
            dense(f"{layer}.attention.self.{part}", hidden, hidden)
        dense(f"{layer}.attention.output.dense", hidden, hidden)
        norm(f"{layer}.attention.output.LayerNorm")
        dense(f"{layer}.intermediate.dense", wide, hidden)
        dense(f"{layer}.output.dense", hidden, wide)
        norm(f"{layer}.output.LayerNorm")
    return tensors
