"""`inglenook classify`: texts under labels of the caller's own choice."""

from __future__ import annotations

from typing import Annotated

import typer
from inglenook.nli.v1 import ClassifyRequest, ClassifyResponse, NliServiceStub
from rich.markup import escape
from rich.table import Table

from services.cli.answers import document, summary
from services.cli.client import Answer
from services.cli.console import Output, cell, table
from services.cli.session import TIMEOUT_SECONDS, AsJson, RouterAddress, Timeout, calling
from services.cli.texts import (
    SHOWN_CHARACTERS,
    ModelName,
    Texts,
    TruncationName,
    TruncationOption,
    read_texts,
)

Labels = Annotated[
    list[str], typer.Option("--label", help="A label; once for each of them.", show_default=False)
]
Template = Annotated[
    str,
    typer.Option("--template", help="Sentence that a label is put into, in place of {}.", show_default=False),
]
MultiLabel = Annotated[
    bool, typer.Option("--multi-label", help="Judge each label on its own; more than one may fit.")
]


def classify(
    labels: Labels,
    texts: Texts = None,
    template: Template = "",
    multi_label: MultiLabel = False,
    model: ModelName = "",
    *,
    truncation: TruncationOption = TruncationName.NONE,
    router: RouterAddress = None,
    timeout: Timeout = TIMEOUT_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Sort texts under labels, by whether a sentence with the label follows from the text."""
    output = Output(as_json=as_json)
    request = ClassifyRequest(
        model=model,
        inputs=read_texts(output, texts),
        labels=labels,
        hypothesis_template=template,
        multi_label=multi_label,
        truncation=truncation.wire,
    )
    with calling(output, router, timeout, "classifying") as client:
        answer: Answer[ClassifyResponse] = client.call(NliServiceStub(client.channel).Classify, request)
    output.json(document(answer))
    output.show(labelled(request, answer.message), "", summary(answer))


def labelled(request: ClassifyRequest, response: ClassifyResponse) -> Table:
    """Return every label's score for each text as a table, the best label of a text first."""
    made = table("TEXT", "LABEL", ">SCORE")
    for text, result in zip(request.inputs, response.results, strict=True):
        for rank, one in enumerate(result.scores):
            made.add_row(cell("" if rank else text, SHOWN_CHARACTERS), escape(one.label), f"{one.score:.3f}")
    return made
