"""Reading `model.safetensors`, one tensor at a time, so that memory never holds the whole model twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from services.artifacts import ArtifactProblem

PREFIXES: Final = ("", "bert.", "roberta.", "model.", "0.auto_model.")
"""Checkpoints store the encoder under its own names or under the name of the attribute that held it."""

WORDS: Final = "embeddings.word_embeddings.weight"
"""The table that every encoder begins with: where it is found says which prefix a checkpoint uses."""

FORMER_NAMES: Final = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
"""What checkpoints from BERT's first years call these."""

Tensor = NDArray[Any]


class Adapter(Protocol):
    """What changes a checkpoint's tensors as they are read."""

    def __contains__(self, name: str) -> bool:
        """Whether it brings the whole tensor of this name."""

    def whole(self, name: str, shape: tuple[int, ...]) -> Tensor | None:
        """Return the tensor that takes the place of the checkpoint's; None if it brings none."""

    def adapt(self, name: str, tensor: Tensor) -> Tensor:
        """Return `tensor` as the adapter changes it."""


class TensorFile:
    """An open safetensors file.

    Attributes:
        path: Where it is.
        names: The tensors in it.
    """

    def __init__(self, file: Any, path: Path) -> None:
        self._file = file
        self.path = path
        self.names: frozenset[str] = frozenset(file.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading the tensor."""
        return tuple(self._file.get_slice(name).get_shape())

    def read(self, name: str) -> Tensor:
        """Return a tensor as fp32.

        Raises:
            ArtifactProblem: It is damaged, or has a type that cannot become fp32.
        """
        try:
            return np.asarray(self._file.get_tensor(name)).astype(np.float32, copy=False)
        except (SafetensorError, TypeError, ValueError) as error:
            message = f"{self.path.name}: tensor {name} cannot be read: {error}"
            raise ArtifactProblem(message) from error


class Weights:
    """The tensors of a checkpoint, as fp32, under the encoder's own names, with what an adapter changes.

    What stands on top of the encoder has its names without a prefix: `classifier.weight`.
    """

    def __init__(self, file: TensorFile, adapter: Adapter | None = None) -> None:
        self._file = file
        self._adapter = adapter
        self._prefix = next((prefix for prefix in PREFIXES if prefix + WORDS in file.names), "")

    def __contains__(self, name: str) -> bool:
        return self._stored(name) is not None or (self._adapter is not None and name in self._adapter)

    @property
    def width(self) -> int:
        """How many numbers the vector of a token has.

        Raises:
            ArtifactProblem: There is no table of words.
        """
        return self._file.shape(self._find(WORDS))[-1]

    def get(self, name: str, *shape: int) -> Tensor:
        """Return the tensor called `name`.

        Raises:
            ArtifactProblem: It is missing, has another shape, or has a type that cannot become fp32.
        """
        if self._adapter is None:
            return self._read(name, shape)
        whole = self._adapter.whole(name, shape)
        return self._adapter.adapt(name, self._read(name, shape) if whole is None else whole)

    def _read(self, name: str, shape: tuple[int, ...]) -> Tensor:
        tensor = self._file.read(self._find(name))
        if tensor.shape != shape:
            file = self._file.path.name
            message = f"{file}: tensor {name} has shape {tensor.shape}, config.json says {shape}"
            raise ArtifactProblem(message)
        return tensor

    def _find(self, name: str) -> str:
        stored = self._stored(name)
        if stored is None:
            file = self._file.path.name
            message = f"{file} has no tensor {name}; it is not a checkpoint of this architecture"
            raise ArtifactProblem(message)
        return stored

    def _stored(self, name: str) -> str | None:
        """Return what the file calls a tensor; None if it does not have it."""
        names = [name]
        names += [name.removesuffix(new) + old for new, old in FORMER_NAMES.items() if name.endswith(new)]
        places = [prefix + one for one in names for prefix in (self._prefix, "")]
        return next((place for place in places if place in self._file.names), None)


@contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
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
        yield TensorFile(file, path)
