"""`inglenook models info`: everything that is known about one model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from inglenook.common.v1 import ModelInfo, TargetInfo
from inglenook.model.v1 import GetModelRequest, GetModelResponse, ModelServiceStub
from rich.markup import escape
from rich.table import Table

from services.cli.answers import document
from services.cli.client import Answer
from services.cli.console import Output, facts
from services.cli.session import TIMEOUT_SECONDS, AsJson, RouterAddress, Timeout, calling
from services.cli.words import (
    capability_word,
    colored_state,
    colored_target_state,
    mebibytes,
    pooling_word,
    precision_word,
    seconds_of,
    span,
)

Name = Annotated[str, typer.Argument(help="Name of the model.", show_default=False)]


def info(
    name: Name,
    router: RouterAddress = None,
    timeout: Timeout = TIMEOUT_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Show everything that is known about a model."""
    output = Output(as_json=as_json)
    with calling(output, router, timeout, "asking about the model") as client:
        stub = ModelServiceStub(client.channel)
        answer: Answer[GetModelResponse] = client.call(stub.GetModel, GetModelRequest(model=name))
    output.json(document(answer))
    output.show(_facts(answer.message.model))


def _facts(model: ModelInfo) -> Table:
    """Return a line for everything that is known; what a model has not, or nobody knows, has no line."""
    return facts((name, value) for name, value in _lines(model) if value)


def _lines(model: ModelInfo) -> Iterator[tuple[str, str]]:
    yield "name", model.name
    yield "capability", capability_word(model.capability)
    yield "state", colored_state(model.state)
    yield "detail", escape(model.state_detail)
    yield "source", escape(model.source)
    yield "revision", model.revision
    yield "fingerprint", model.fingerprint
    yield "architecture", escape(model.architecture)
    yield "precision", precision_word(model.precision)
    yield "provider", model.execution_provider
    yield "max tokens", str(model.max_input_tokens or "")
    yield "dimensions", str(model.dimensions or "")
    yield "pooling", pooling_word(model.pooling)
    yield "labels", escape(", ".join(model.labels))
    yield "memory", mebibytes(model.memory_bytes)
    yield "load time", span(seconds_of(model.load_time)) if model.HasField("load_time") else ""
    if not model.target_infos:
        yield "targets", escape(", ".join(model.targets))
    for position, target in enumerate(model.target_infos):
        yield "" if position else "targets", _target(target)


def _target(target: TargetInfo) -> str:
    """Return one line: `ollama/gemma3n:e2b healthy, 32,768 tokens, tools`."""
    known = [
        f"{target.context_length:,} tokens" if target.context_length else "",
        *(name for name in ("tools", "images", "reasoning") if getattr(target, name)),
        "JSON schema" if target.json_schema else "",
        "paid" if target.paid else "",
        escape(target.state_detail),
    ]
    name = escape(f"{target.provider}/{target.upstream_model}")
    return ", ".join([f"{name} {colored_target_state(target.state)}", *filter(None, known)])
