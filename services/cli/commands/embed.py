"""`inglenook embed`: texts to embeddings."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from inglenook.embed.v1 import EmbedRequest, EmbedResponse, EmbedServiceStub, InputType
from rich.table import Table

from services.cli.answers import document, summary
from services.cli.client import Answer
from services.cli.console import Output, cell, table
from services.cli.session import TIMEOUT_SECONDS, AsJson, RouterAddress, Timeout, calling
from services.cli.texts import (
    SHOWN_BESIDE,
    ModelName,
    Texts,
    TruncationName,
    TruncationOption,
    read_texts,
)

SHOWN_NUMBERS = 4


class InputTypeName(StrEnum):
    """Which of the model's prompts goes before the texts."""

    QUERY = "query"
    DOCUMENT = "document"


Dimensions = Annotated[
    int | None, typer.Option("--dimensions", min=1, help="Keep only so many numbers of each embedding.")
]
InputTypeOption = Annotated[
    InputTypeName | None, typer.Option("--input-type", help="Put the model's prompt for these before them.")
]


def embed(
    texts: Texts = None,
    model: ModelName = "",
    dimensions: Dimensions = None,
    input_type: InputTypeOption = None,
    truncation: TruncationOption = TruncationName.NONE,
    *,
    router: RouterAddress = None,
    timeout: Timeout = TIMEOUT_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Turn texts into embeddings. `--json` prints them whole."""
    output = Output(as_json=as_json)
    request = EmbedRequest(
        model=model,
        inputs=read_texts(output, texts),
        dimensions=dimensions,
        input_type=InputType.Value(f"INPUT_TYPE_{input_type.name if input_type else 'UNSPECIFIED'}"),
        truncation=truncation.wire,
    )
    with calling(output, router, timeout, "embedding") as client:
        answer: Answer[EmbedResponse] = client.call(EmbedServiceStub(client.channel).Embed, request)
    output.json(document(answer))
    output.show(_embeddings(request, answer.message), "", summary(answer))


def _embeddings(request: EmbedRequest, response: EmbedResponse) -> Table:
    made = table("TEXT", ">DIMENSIONS", "EMBEDDING")
    for text, embedding in zip(request.inputs, response.embeddings, strict=True):
        numbers = " ".join(f"{value:+.4f}" for value in embedding.values[:SHOWN_NUMBERS])
        made.add_row(cell(text, SHOWN_BESIDE), str(len(embedding.values)), f"{numbers} …")
    return made
