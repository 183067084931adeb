"""Reading `model.safetensors`, one tensor at a time, so that memory never holds the whole model twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from services.inference.errors import ArtifactProblem

PREFIXES: Final = ("", "bert.", "model.", "0.auto_model.")
"""Checkpoints store the encoder under its own names or under the name of the attribute that held it."""


class Weights:
    """The tensors of a checkpoint, as fp32, under the encoder's own names."""

    def __init__(self, file: Any, names: frozenset[str], path: Path) -> None:
        self._file = file
        self._names = names
        self._path = path
        probe = "embeddings.word_embeddings.weight"
        self._prefix = next((prefix for prefix in PREFIXES if prefix + probe in names), "")

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._names

    def get(self, name: str, *shape: int) -> NDArray[Any]:
        """Return the tensor called `name`.

        Raises:
            ArtifactProblem: It is missing, has another shape, or has a type that cannot become fp32.
        """
        full = self._prefix + name
        if full not in self._names:
            message = f"{self._path.name} has no tensor {name}; it is not a checkpoint of this architecture"
            raise ArtifactProblem(message)
        try:
            tensor = np.asarray(self._file.get_tensor(full))
        except (SafetensorError, TypeError) as error:
            message = f"{self._path.name}: tensor {name} cannot be read: {error}"
            raise ArtifactProblem(message) from error
        if tensor.shape != shape:
            message = f"{self._path.name}: tensor {name} has shape {tensor.shape}, config.json says {shape}"
            raise ArtifactProblem(message)
        return tensor.astype(np.float32, copy=False)


@contextmanager
def open_weights(path: Path) -> Iterator[Weights]:
    """Open a safetensors file (https://huggingface.co/docs/safetensors).

    Raises:
        ArtifactProblem: It is damaged, or not a safetensors file.
    """
    try:
        opened = safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        message = f"{path.name} is not a whole safetensors file: {error}"
        raise ArtifactProblem(message) from error
    with opened as file:
        yield Weights(file, frozenset(file.keys()), path)
