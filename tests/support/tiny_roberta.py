"""Small RoBERTa and XLM-RoBERTa models with random weights, and tokenizers of their two kinds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tests.support.tiny import LETTERS, WORDS, Shape, classifies, dense_layers, weights, write_pooling

SPECIALS: Final = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
PADDING_ID: Final = SPECIALS.index("<pad>")

BYTES: Final = tuple(sorted(pre_tokenizers.ByteLevel.alphabet()))
SPACE: Final = "\u0120"
"""How byte-level tokenizers write a space."""

METASPACE: Final = "\u2581"
"""How Unigram tokenizers write a space."""

FOREIGN: Final = "\u00e4\u00e9\u00df\u0436\u0448\u6c34\u706b"
"""Letters beyond ASCII that the Unigram tokenizer knows."""

ROBERTA: Final = Shape(max_position_embeddings=66, type_vocab_size=1, vocab_size=0)
"""Positions begin after the padding token's id, so that 64 tokens need 66. The tokenizer says the rest."""


def write_roberta(folder: Path, **options: Any) -> Path:
    """Write a RoBERTa's folder with a byte-level BPE tokenizer; the options are those of `write_model`."""
    return _write(folder, "roberta", write_byte_level_tokenizer, **options)


def write_xlm_roberta(folder: Path, **options: Any) -> Path:
    """Write an XLM-RoBERTa's folder with a Unigram tokenizer; the options are those of `write_model`."""
    return _write(folder, "xlm-roberta", write_unigram_tokenizer, **options)


def _write(
    folder: Path,
    model_type: str,
    write_tokenizer: Callable[[Path], Tokenizer],
    /,
    *,
    shape: Shape = ROBERTA,
    seed: int = 7,
    pooling: str | None = None,
    labels: int | None = None,
    **config: Any,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tokenizer(folder / "tokenizer.json")
    shape = replace(shape, vocab_size=shape.vocab_size or tokenizer.get_vocab_size())
    tensors = weights(shape, seed)
    if labels is not None:
        width = shape.hidden_size
        layers = {"classifier.dense": (width, width), "classifier.out_proj": (labels, width)}
        tensors = {f"roberta.{name}": tensor for name, tensor in tensors.items()} | dense_layers(layers, seed)
        family = {"roberta": "Roberta", "xlm-roberta": "XLMRoberta"}[model_type]
        config = classifies(family, labels) | config
    save_file(tensors, folder / "model.safetensors")
    content = {
        "model_type": model_type,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "bos_token_id": 0,
        "pad_token_id": PADDING_ID,
        "eos_token_id": 2,
        **asdict(shape),
        **config,
    }
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    write_pooling(folder, pooling)
    return folder


def write_byte_level_tokenizer(path: Path) -> Tokenizer:
    """Write a byte-level BPE tokenizer that knows every byte and a few words, and return it."""
    pieces, merges = [*SPECIALS, *BYTES], []
    for word in WORDS:
        left = SPACE
        for letter in word:
            if (left, letter) not in merges:
                merges.append((left, letter))
                pieces.append(left + letter)
            left += letter
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return save(tokenizer, path, SPECIALS)


def write_unigram_tokenizer(path: Path) -> Tokenizer:
    """Write a Unigram tokenizer that knows letters and a few words, and return it."""
    tokenizer = unigram(SPECIALS, unknown="<unk>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B:0 </s>:0",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return save(tokenizer, path, SPECIALS)


def unigram(specials: tuple[str, ...], unknown: str) -> Tokenizer:
    """Return a Unigram tokenizer without a post-processor, its special tokens first."""
    letters = dict.fromkeys(LETTERS + LETTERS.upper() + FOREIGN)
    pieces = [(special, 0.0) for special in specials]
    pieces += [(METASPACE, -3.0), *((METASPACE + word, -4.0 - index / 8) for index, word in enumerate(WORDS))]
    pieces += [(letter, -6.0 - index / 16) for index, letter in enumerate(letters)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=specials.index(unknown)))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(METASPACE)
    tokenizer.decoder = decoders.Metaspace(METASPACE)
    return tokenizer


def save(tokenizer: Tokenizer, path: Path, specials: tuple[str, ...]) -> Tokenizer:
    """Write a tokenizer that knows its special tokens as such, and return it."""
    tokenizer.add_special_tokens(list(specials))  # of ids that they have: texts that spell them mean them
    tokenizer.save(str(path))
    return tokenizer
