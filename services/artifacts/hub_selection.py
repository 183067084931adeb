"""Which files of a repository are needed: those, and no others, are downloaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from services.artifacts.folder import (
    BUILDABLE,
    CONFIG,
    POOLING,
    SENTENCE_CONFIG,
    TOKENIZER,
    choose_adapter,
    choose_data,
    choose_graph,
    choose_weights,
)
from services.artifacts.problem import ArtifactProblem
from services.artifacts.wanted import Wanted


def choose_files(place: str, names: Collection[str], wanted: Wanted) -> list[str]:
    """Return the files that a model or adapter needs, small ones first.

    Args:
        place: The repository, for messages.
        names: All files in it.
        wanted: What is wanted of them.

    Raises:
        ArtifactProblem: The repository lacks something, or does not say which of several graphs to run.
    """
    if wanted.adapter:
        return choose_adapter(place, names)
    if TOKENIZER not in names:
        message = f"{place} has no {TOKENIZER}"
        raise ArtifactProblem(message)
    graph = None if wanted.build else choose_graph(place, names, wanted.onnx_file)
    large = [graph, *choose_data(graph, names)] if graph else [choose_weights(place, names)]
    return [*(name for name in (CONFIG, TOKENIZER, POOLING, SENTENCE_CONFIG) if name in names), *large]


def check_buildable(place: str, config: Mapping[str, Any], wanted: Wanted) -> None:
    """Refuse a model that no graph can be built for, before its weights are downloaded.

    Args:
        place: The repository, for messages.
        config: Its `config.json`.
        wanted: What is wanted of it.

    Raises:
        ArtifactProblem: It is of an architecture that is not known.
    """
    architecture = config.get("model_type")
    if architecture in BUILDABLE:
        return
    known = ", ".join(BUILDABLE)
    has = "is to be built" if wanted.build else "has no .onnx file"
    message = (
        f"{place} {has}, and no graph can be built for the architecture {str(architecture)[:64]}, only for "
        f"{known}; name a repository that has an .onnx file"
    )
    raise ArtifactProblem(message)
