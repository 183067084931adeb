"""`inglenook nli`: whether one text follows from another."""

from __future__ import annotations

from typing import Annotated

import typer
from inglenook.nli.v1 import InferRequest, InferResponse, InferResult, NliServiceStub, Pair
from rich.table import Table

from services.cli.answers import document, summary
from services.cli.client import Answer
from services.cli.console import EXIT_MISCONFIGURED, Output, cell, table
from services.cli.session import TIMEOUT_SECONDS, AsJson, RouterAddress, Timeout, calling
from services.cli.texts import (
    SHOWN_BESIDE,
    ModelName,
    TruncationName,
    TruncationOption,
    read_lines,
)

CLASSES = ("entailment", "neutral", "contradiction")
ABSENT = "-"

Premise = Annotated[
    str | None,
    typer.Argument(help="What is given. Without any, lines of standard input: premise, tab, hypothesis."),
]
Hypothesis = Annotated[str | None, typer.Argument(help="What may or may not follow from it.")]


def nli(
    premise: Premise = None,
    hypothesis: Hypothesis = None,
    model: ModelName = "",
    truncation: TruncationOption = TruncationName.NONE,
    *,
    router: RouterAddress = None,
    timeout: Timeout = TIMEOUT_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Judge whether a hypothesis follows from a premise, contradicts it, or neither."""
    output = Output(as_json=as_json)
    request = InferRequest(model=model, pairs=_pairs(output, premise, hypothesis), truncation=truncation.wire)
    with calling(output, router, timeout, "judging") as client:
        answer: Answer[InferResponse] = client.call(NliServiceStub(client.channel).Infer, request)
    output.json(document(answer))
    output.show(judgements(request, answer.message), "", summary(answer))


def judgements(request: InferRequest, response: InferResponse) -> Table:
    """Return the probabilities for each pair as a table, the largest of a pair highlighted."""
    made = table("PREMISE", "HYPOTHESIS", *(f">{name.upper()}" for name in CLASSES))
    for pair, result in zip(request.pairs, response.results, strict=True):
        texts = (cell(text, SHOWN_BESIDE, wrap=True) for text in (pair.premise, pair.hypothesis))
        made.add_row(*texts, *_probabilities(result))
    return made


def _probabilities(result: InferResult) -> list[str]:
    """Return a cell for each class; a model with two classes leaves one of them out."""
    known = {"entailment": result.entailment}
    known |= {name: getattr(result, name) for name in ("neutral", "contradiction") if result.HasField(name)}
    likeliest = max(known, key=lambda name: known[name])
    cells = {name: f"{probability:.3f}" for name, probability in known.items()}
    cells[likeliest] = f"[bold green]{cells[likeliest]}[/]"
    return [cells.get(name, ABSENT) for name in CLASSES]


def _pairs(output: Output, premise: str | None, hypothesis: str | None) -> list[Pair]:
    if premise is not None and hypothesis is not None:
        return [Pair(premise=premise, hypothesis=hypothesis)]
    if premise is not None:
        output.fail("the premise has no hypothesis: give both as arguments", EXIT_MISCONFIGURED)
    lines = read_lines(output, "no pairs: give a premise and a hypothesis as arguments, or pairs")
    return [_pair(output, number, line) for number, line in lines]


def _pair(output: Output, number: int, line: str) -> Pair:
    parts = line.split("\t")
    if len(parts) != 2:  # noqa: PLR2004  # a pair
        message = f"line {number} is not a premise and a hypothesis with one tab between them"
        output.fail(message, EXIT_MISCONFIGURED)
    return Pair(premise=parts[0], hypothesis=parts[1])
