"""`inglenook embed`: texts to embeddings."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer
from inglenook.common.v1 import Truncation
from inglenook.embed.v1 import EmbedRequest, EmbedResponse, EmbedServiceStub, InputType
from rich.table import Table

from services.cli.client import Answer
from services.cli.console import EXIT_MISCONFIGURED, Output, as_dict, shortened, table
from services.cli.session import TIMEOUT_SECONDS, AsJson, RouterAddress, Timeout, calling

SHOWN_NUMBERS = 4
SHOWN_CHARACTERS = 48


class InputTypeName(StrEnum):
    """Which of the model's prompts goes before the texts."""

    QUERY = "query"
    DOCUMENT = "document"


class TruncationName(StrEnum):
    """Which side of a text that is too long is cut."""

    NONE = "none"
    RIGHT = "right"
    LEFT = "left"


Texts = Annotated[
    list[str] | None, typer.Argument(help="The texts. Without any, each line of standard input is one.")
]
ModelName = Annotated[str, typer.Option("--model", help="Which model; not needed if there is only one.")]
Dimensions = Annotated[
    int | None, typer.Option("--dimensions", min=1, help="Keep only so many numbers of each embedding.")
]
InputTypeOption = Annotated[
    InputTypeName | None, typer.Option("--input-type", help="Put the model's prompt for these before them.")
]
TruncationOption = Annotated[
    TruncationName, typer.Option("--truncation", help="Side of too long texts to cut; none refuses them.")
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
        inputs=_texts(output, texts),
        dimensions=dimensions,
        input_type=InputType.Value(f"INPUT_TYPE_{input_type.name if input_type else 'UNSPECIFIED'}"),
        truncation=Truncation.Value(f"TRUNCATION_{truncation.name}"),
    )
    with calling(output, router, timeout, "embedding") as client:
        answer: Answer[EmbedResponse] = client.call(EmbedServiceStub(client.channel).Embed, request)
    output.json({**as_dict(answer.message), "servedBy": answer.served_by})
    output.show(_embeddings(request, answer.message), "", summary(answer))


def summary(answer: Answer[EmbedResponse]) -> str:
    """Return one line about how an answer came."""
    response = answer.message
    spent = response.timings
    parts = [
        f"{name} {duration.ToTimedelta().total_seconds() * 1000:.1f} ms"
        for name, duration in (
            ("tokenize", spent.tokenize_time),
            ("queue", spent.queue_time),
            ("inference", spent.inference_time),
        )
    ]
    return (
        f"{response.model}, {response.usage.input_tokens} tokens, answered by {answer.served_by} "
        f"in {answer.seconds * 1000:.1f} ms ({', '.join(parts)})"
    )


def _texts(output: Output, texts: list[str] | None) -> list[str]:
    if texts:
        return texts
    if sys.stdin.isatty():
        output.fail("no texts: give them as arguments or on standard input, one a line", EXIT_MISCONFIGURED)
    return [line.rstrip("\n") for line in sys.stdin if line.strip()]


def _embeddings(request: EmbedRequest, response: EmbedResponse) -> Table:
    made = table("TEXT", ">DIMENSIONS", "EMBEDDING")
    for text, embedding in zip(request.inputs, response.embeddings, strict=True):
        numbers = " ".join(f"{value:+.4f}" for value in embedding.values[:SHOWN_NUMBERS])
        made.add_row(shortened(text, SHOWN_CHARACTERS), str(len(embedding.values)), f"{numbers} …")
    return made
