"""Which `model_type` of a `config.json` can be built, and by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from services.inference.errors import ArtifactProblem
from services.inference.graph import bert
from services.inference.graph.layout import Layout
from services.inference.graph.nodes import GraphWriter
from services.inference.graph.weights import Weights

Encoder = Callable[[GraphWriter, Weights, Layout], str]
"""Adds an encoder to a graph and returns the name of its last hidden state, [batch, tokens, width]."""


def _bert(config: Mapping[str, Any]) -> Encoder:
    shape = bert.BertConfig.read(config)
    return lambda graph, weights, layout: bert.BertEncoder(graph, shape, weights, layout).add()


ARCHITECTURES: Final[Mapping[str, Callable[[Mapping[str, Any]], Encoder]]] = {"bert": _bert}


def encoder_for(config: Mapping[str, Any]) -> Encoder:
    """Return what adds the encoder that `config` describes.

    Raises:
        ArtifactProblem: The architecture is not one that can be built, or the config is incomplete.
    """
    model_type = config.get("model_type")
    make = ARCHITECTURES.get(str(model_type))
    if make is None:
        known = ", ".join(sorted(ARCHITECTURES))
        message = f"config.json: model_type {model_type} cannot be built (known: {known}); give an .onnx file"
        raise ArtifactProblem(message)
    return make(config)
