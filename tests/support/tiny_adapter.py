"""Small LoRA adapters for tests, in the files that PEFT writes, and the merge in plain numpy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

Tensors = dict[str, NDArray[Any]]

TARGETS: Final = ("attention.self.query", "attention.self.value", "output.dense")
RANK: Final = 2
ALPHA: Final = 5


def write_adapter(
    folder: Path,
    base: Path,
    *,
    targets: Sequence[str] = TARGETS,
    seed: int = 11,
    saved: Mapping[str, NDArray[Any]] | None = None,
    **config: Any,
) -> Path:
    """Write a LoRA adapter of rank `RANK` for the model of a folder, and return its folder.

    Args:
        folder: Where to.
        base: The model, of which every layer whose name ends in one of `targets` gets factors.
        targets: Which layers.
        seed: Another seed gives other factors.
        saved: Tensors that it brings whole, for example a head.
        config: Added to `adapter_config.json`.
    """
    random = np.random.default_rng(seed)
    tensors: Tensors = {}
    for name, weight in load_file(base / "model.safetensors").items():
        module = name.removesuffix(".weight")
        if module != name and module.endswith(tuple(f".{target}" for target in targets)):
            out, into = weight.shape
            where = f"base_model.model.{module}"
            tensors[f"{where}.lora_A.weight"] = random.normal(0, 0.3, (RANK, into)).astype(np.float32)
            tensors[f"{where}.lora_B.weight"] = random.normal(0, 0.3, (out, RANK)).astype(np.float32)
    tensors |= {f"base_model.model.{name}": tensor for name, tensor in (saved or {}).items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    content = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "r": RANK,
        "lora_alpha": ALPHA,
        "target_modules": list(targets),
        "bias": "none",
        "fan_in_fan_out": False,
        **config,
    }
    (folder / "adapter_config.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def merged(base: Path, adapter: Path, *, root: bool = False) -> Tensors:
    """Return the weights of a model with an adapter of `write_adapter` merged into them.

    Args:
        base: The model's folder.
        adapter: The adapter's folder.
        root: The scale is alpha / √r.
    """
    tensors = load_file(base / "model.safetensors")
    changes = load_file(adapter / "adapter_model.safetensors")
    scale = ALPHA / (math.sqrt(RANK) if root else RANK)
    for name, change in changes.items():
        own = name.removeprefix("base_model.model.")
        module, factor, _ = own.partition(".lora_A.")
        if factor:
            up = changes[name.replace("lora_A", "lora_B")].astype(np.float64)
            tensors[f"{module}.weight"] = tensors[f"{module}.weight"] + scale * (up @ change)
        elif ".lora_B." not in own:
            tensors[own] = change
    return tensors
