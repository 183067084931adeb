"""Which `model_type` of a `config.json` can be built, and by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from services.artifacts import ArtifactProblem
from services.inference.graph import bert
from services.inference.graph.layout import Layout, Reads
from services.inference.graph.nodes import GraphWriter
from services.inference.graph.weights import Weights

Encoder = Callable[[GraphWriter, Weights, Layout, Reads], str]
"""Adds an encoder to a graph and returns the name of its last hidden state: [batch, tokens, width], or
[batch, width] where only first tokens are wanted."""


def _bert(config: Mapping[str, Any]) -> Encoder:
    return _encoder(bert.BertConfig.read(config))


def _roberta(config: Mapping[str, Any]) -> Encoder:
    return _encoder(bert.BertConfig.read(config, counts_padding=True))


def _encoder(shape: bert.BertConfig) -> Encoder:
    return lambda graph, weights, layout, reads: bert.BertEncoder(graph, shape, weights, layout).add(reads)


ARCHITECTURES: Final[Mapping[str, Callable[[Mapping[str, Any]], Encoder]]] = {
    "bert": _bert,
    "camembert": _roberta,
    "roberta": _roberta,
    "xlm-roberta": _roberta,
}
"""The same families as `services.artifacts.folder.BUILDABLE`."""


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
