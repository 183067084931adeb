"""What the expected answers in tests/golden were computed from: texts, and shapes of small models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.support.tiny import Shape, write_model

GOLDEN: Final = Path(__file__).parent.parent / "golden"
TEXTS_FILE: Final = GOLDEN / "texts.json"
MINILM_FILE: Final = GOLDEN / "minilm.npz"
TINY_FILE: Final = GOLDEN / "tiny.npz"

MAX_TOKENS: Final = 256
PROMPTS: Final = {"query": "query: ", "document": "Represent this passage: "}
DIMENSIONS: Final = (64, 128)


@dataclass(frozen=True, slots=True)
class Text:
    """A text to embed.

    Attributes:
        what: What is special about it.
        text: The text itself.
    """

    what: str
    text: str


def read_texts() -> list[Text]:
    """Return the texts of `texts.json`; `repeat` there says how often one is put behind itself."""
    content = json.loads(TEXTS_FILE.read_text(encoding="utf-8"))
    return [Text(entry["what"], entry["text"] * entry.get("repeat", 1)) for entry in content]


@dataclass(frozen=True, slots=True)
class TinyCase:
    """A small BERT with random weights that differs from the others in one thing.

    Attributes:
        shape: Its numbers.
        config: What its `config.json` says besides.
    """

    shape: Shape = field(default_factory=Shape)
    config: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write the model folder and return it."""
        return write_model(folder, shape=self.shape, pooling="mean", **self.config)

    def last_weights(self, folder: Path) -> NDArray[np.float32]:
        """Return the weights that were drawn last, which are others if any before them are."""
        name = f"encoder.layer.{self.shape.num_hidden_layers - 1}.output.LayerNorm.bias"
        return load_file(folder / "model.safetensors")[name]


TINY_CASES: Final[Mapping[str, TinyCase]] = {
    "gelu": TinyCase(),
    "gelu_new": TinyCase(config={"hidden_act": "gelu_new"}),
    "gelu_pytorch_tanh": TinyCase(config={"hidden_act": "gelu_pytorch_tanh"}),
    "relu": TinyCase(config={"hidden_act": "relu"}),
    "one_head": TinyCase(Shape(num_attention_heads=1)),
    "eight_heads": TinyCase(Shape(num_attention_heads=8)),
    "one_layer": TinyCase(Shape(num_hidden_layers=1)),
    "one_token_type": TinyCase(Shape(type_vocab_size=1)),
    "large_epsilon": TinyCase(config={"layer_norm_eps": 0.1}),
}

TINY_TEXTS: Final = (
    "cat",
    "?",
    "the cat sits on the mat",
    "A dog runs fast!",
    "the green tree, the slow dog, the fast cat.",
    "unknownwords inside a text: xyz 123",
    "z z z z z z z z z z z z z z z z z z z z",
    "\u6c34",
)
