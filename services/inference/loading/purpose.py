"""What a graph is run for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.artifacts import ArtifactProblem
from services.config import Pooling

LABELS_UNKNOWN: Final = 2
"""How many outputs a classifier has whose `config.json` does not say: transformers' default."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a graph is run for: embeddings if there is a pooling, else logits.

    Attributes:
        pooling: How token vectors become one embedding; None for logits.
        labels: Names of the logits, in their order; empty for embeddings.
        prompts: What is put before texts, because it decides the answers too.
    """

    pooling: Pooling | None = None
    labels: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()

    @property
    def reads_pairs(self) -> bool:
        """Whether it is given pairs of texts."""
        return self.pooling is None


def label_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a classifier's outputs, in their order, from a `config.json`.

    Raises:
        ArtifactProblem: `id2label` does not number its names 0, 1, 2 and so on.
    """
    names = config.get("id2label")
    if not isinstance(names, dict) or not names:
        count = config.get("num_labels", LABELS_UNKNOWN)
        count = count if isinstance(count, int) and count > 0 else LABELS_UNKNOWN
        return tuple(f"LABEL_{index}" for index in range(count))
    try:
        ordered = sorted((int(index), str(name)) for index, name in names.items())
    except ValueError as error:
        message = "config.json: the keys of id2label are not numbers"
        raise ArtifactProblem(message) from error
    if [index for index, _ in ordered] != list(range(len(ordered))):
        message = "config.json: id2label does not number its names from 0"
        raise ArtifactProblem(message)
    return tuple(name for _, name in ordered)
