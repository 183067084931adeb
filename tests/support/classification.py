"""What the expected logits in tests/golden were computed from: pairs of texts, small models and adapters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from services.inference.encoding import Encoding
from tests.support.goldens import GOLDEN
from tests.support.tiny import write_model
from tests.support.tiny_roberta import write_roberta, write_xlm_roberta

CLASSIFICATION_FILE: Final = GOLDEN / "classification.npz"
ADAPTERS: Final = GOLDEN / "adapters"
DEBERTA: Final = GOLDEN / "deberta"

MAX_TOKENS: Final = 64
LABELS: Final = (1, 2, 3)
ADAPTER_LABELS: Final = 3
POOLINGS: Final = ("mean", "cls")

FAMILIES: Final[Mapping[str, Callable[..., Path]]] = {
    "bert": write_model,
    "roberta": write_roberta,
    "xlm-roberta": write_xlm_roberta,
}

PAIRS: Final[tuple[tuple[str, str], ...]] = (
    ("cat", "dog"),
    ("?", "."),
    (" ", "a"),
    ("a", "  "),
    ("the cat sits on the mat", "a cat sits"),
    ("a cat sits", "the cat sits on the mat"),
    ("the cat sits on the mat", "the cat sits on the mat"),
    ("A dog runs fast!", "the dog is slow, 123."),
    ("the green tree", "unknownwords inside a text: xyz 456"),
    ("\u6c34 \u706b", "H\u00e4user, \u00e9t\u00e9 und Stra\u00dfe"),
    ("\u0436\u0448", "the cat \U0001f389 e\u0301"),
    ("[SEP] </s> the [MASK]", "a<pad>b c"),
    ("x " * 25, "the dog"),
    ("the dog", "x " * 25),
    ("the cat runs on. " * 4, "a dog sits, fast. " * 3),
    ("a tree " * 40, "the slow cat"),
    ("the slow cat", "a tree " * 40),
    ("fast dog runs " * 20, "green tree on the mat. " * 20),
)
"""From almost nothing to more than the models take, which is cut from the longer text of the two."""

TEXTS: Final = tuple(text for pair in PAIRS[4:12] for text in pair)


@dataclass(frozen=True, slots=True)
class AdapterCase:
    """An adapter that PEFT has made for a model with a head of `ADAPTER_LABELS`.

    Attributes:
        family: Which of `FAMILIES` the model is of.
        options: What its `LoraConfig` says.
    """

    family: str
    options: Mapping[str, Any]

    def write_base(self, folder: Path) -> Path:
        """Write the model that it is for, and return its folder."""
        return FAMILIES[self.family](folder, labels=ADAPTER_LABELS)


ADAPTER_CASES: Final[Mapping[str, AdapterCase]] = {
    "patterns": AdapterCase(
        "bert",
        {
            "r": 2,
            "lora_alpha": 6,
            "target_modules": ["query", "value", "output.dense"],
            "rank_pattern": {"layer.0.attention.self.query": 3, "layer.*.output.dense": 1},
            "alpha_pattern": {"value": 9},
            "bias": "lora_only",
            "modules_to_save": ["classifier"],
        },
    ),
    "everything": AdapterCase(
        "bert",
        {"r": 1, "lora_alpha": 2, "target_modules": ["word_embeddings", "key", "dense"], "bias": "all"},
    ),
    "root": AdapterCase(
        "roberta",
        {"r": 3, "lora_alpha": 3, "target_modules": ["query", "value"], "use_rslora": True},
    ),
    "lora_bias": AdapterCase(
        "roberta",
        {
            "r": 2,
            "target_modules": ["key", "intermediate.dense"],
            "lora_bias": True,
            "rank_pattern": {"key": 1},
        },
    ),
}


def encode(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[Encoding]:
    """Return pairs as the tokenizer of a model's folder writes them, cut to `MAX_TOKENS`."""
    tokenizer = _tokenizer(folder)
    encoded = [tokenizer.encode(*pair) for pair in pairs]
    return [Encoding(list(one.ids), list(one.type_ids)) for one in encoded]


def encode_texts(folder: Path, texts: Sequence[str]) -> list[Encoding]:
    """Return single texts as the tokenizer of a model's folder writes them, cut to `MAX_TOKENS`."""
    tokenizer = _tokenizer(folder)
    return [Encoding(list(tokenizer.encode(text).ids)) for text in texts]


def _tokenizer(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS, strategy="longest_first")
    return tokenizer


def last_weights(folder: Path) -> NDArray[np.float32]:
    """Return the weights of a model's folder that were drawn last, which are others if any before are."""
    tensors = load_file(folder / "model.safetensors")
    ends = ("layer.1.output.LayerNorm.bias", "classifier.bias", "classifier.out_proj.bias")
    return np.concatenate([tensors[name] for name in sorted(tensors) if name.endswith(ends)])
