"""Small models for tests: a BERT with random weights and a vocabulary of letters and a few words."""

from __future__ import annotations

import json
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
    folder: Path, *, shape: Shape | None = None, seed: int = 7, pooling: str | None = "mean", **config: Any
) -> Path:
    """Write a whole model folder and return it. `config` is added to `config.json`."""
    shape = shape or Shape()
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder / "tokenizer.json")
    content = {"model_type": "bert", "hidden_act": "gelu", "layer_norm_eps": 1e-12, **asdict(shape), **config}
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    save_file(weights(shape, seed), folder / "model.safetensors")
    if pooling is not None:
        flags = {"cls": "cls_token", "mean": "mean_tokens", "last_token": "lasttoken"}
        (folder / "1_Pooling").mkdir(exist_ok=True)
        (folder / "1_Pooling" / "config.json").write_text(
            json.dumps({f"pooling_mode_{flags[pooling]}": True}), encoding="utf-8"
        )
    return folder


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
