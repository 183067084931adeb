"""`inglenook tokens`: how long texts are to a model."""

from __future__ import annotations

from typing import Annotated

import typer
from inglenook.common.v1 import ModelInfo
from inglenook.model.v1 import (
    CountTokensRequest,
    CountTokensResponse,
    ListModelsRequest,
    ListModelsResponse,
    ModelServiceStub,
)
from rich.table import Table

from services.cli.answers import came, document
from services.cli.capabilities import ENGINES
from services.cli.client import Answer, Client
from services.cli.console import EXIT_MISCONFIGURED, Output, cell, table
from services.cli.session import TIMEOUT_SECONDS, AsJson, RouterAddress, Timeout, calling
from services.cli.texts import SHOWN_CHARACTERS, Texts, read_texts
from services.cli.words import capability_word

CountingModel = Annotated[
    str,
    typer.Option("--model", help="Which model; not needed if only one has a tokenizer.", show_default=False),
]


def tokens(
    texts: Texts = None,
    model: CountingModel = "",
    router: RouterAddress = None,
    timeout: Timeout = TIMEOUT_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Count the tokens of texts as a model would see them, and show which texts are too long for it."""
    output = Output(as_json=as_json)
    inputs = read_texts(output, texts)
    with calling(output, router, timeout, "counting") as client:
        request = CountTokensRequest(model=model or _only_model(output, client), inputs=inputs)
        answer: Answer[CountTokensResponse] = client.call(
            ModelServiceStub(client.channel).CountTokens, request
        )
    counted = answer.message
    output.json(document(answer))
    output.show(_counts(inputs, counted), "", came(answer, counted.model, sum(counted.token_counts)))


def _only_model(output: Output, client: Client) -> str:
    """Return the name of the one model with a tokenizer; none or several end the tool.

    CountTokens wants a name where other methods can do without: it does not say of which capability.
    """
    stub = ModelServiceStub(client.channel)
    listed: ListModelsResponse = client.call(stub.ListModels, ListModelsRequest()).message
    names = [one.name for one in listed.models if _has_tokenizer(one)]
    if not names:
        output.fail("the cluster has no model with a tokenizer (embed, rerank or nli)", models=names)
    if len(names) > 1:
        output.fail(f"--model must be one of {', '.join(names)}", EXIT_MISCONFIGURED, models=names)
    return names[0]


def _has_tokenizer(model: ModelInfo) -> bool:
    """Say whether tokens can be counted: models that run here have a tokenizer, those of providers do not."""
    return capability_word(model.capability) in ENGINES and not model.targets


def _counts(inputs: list[str], counted: CountTokensResponse) -> Table:
    made = table(">TOKENS", ">OF MAX", "FITS", "TEXT")
    for text, count in zip(inputs, counted.token_counts, strict=True):
        fits = count <= counted.max_input_tokens
        made.add_row(
            str(count) if fits else f"[bold red]{count}[/]",
            str(counted.max_input_tokens),
            "yes" if fits else "[bold red]too long[/]",
            cell(text, SHOWN_CHARACTERS),
        )
    return made
