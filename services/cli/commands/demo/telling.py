"""What the demo shows of each step: a small table for people, a part of the document for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from services.cli.answers import Computed, document, summary
from services.cli.client import Answer
from services.cli.commands.classify import labelled
from services.cli.commands.demo.steps import Classified, Embedded, Inferred, Reranked
from services.cli.commands.demo.texts import CANDIDATES, QUERY
from services.cli.commands.nli import judgements
from services.cli.commands.rerank import ranking
from services.cli.console import Output, as_dict, cell, table
from services.cli.texts import SHOWN_CHARACTERS
from services.cli.words import seconds_of


def head(output: Output, name: str, doing: str) -> None:
    """Show what a step is about."""
    output.show("", f"[bold]{name}[/]  {doing}", "")


def tell_embedded(output: Output, step: Embedded) -> dict[str, Any]:
    """Show the documents by similarity; return the same for programs."""
    made = table(">SIMILARITY", "DOCUMENT")
    for score, text in step.order:
        made.add_row(f"{score:.3f}", cell(text, SHOWN_CHARACTERS))
    head(output, "embed", f"documents whose meaning is near: {QUERY}")
    output.show(made, "", f"query      {summary(step.query)}", f"documents  {summary(step.documents)}")
    return {
        "query": {"text": QUERY, **_how(step.query)},
        "documents": [{"text": text, "similarity": score} for score, text in step.order],
        "documentsCall": _how(step.documents),
    }


def tell_reranked(output: Output, step: Reranked) -> dict[str, Any]:
    """Show the best documents; return the same for programs."""
    best = f"the {step.request.top_n} best of {len(CANDIDATES)} answers to: {step.request.query}"
    head(output, "rerank", best)
    output.show(ranking(step.request, step.answer.message), "", summary(step.answer))
    return _exchange(step.request, step.answer)


def tell_inferred(output: Output, step: Inferred) -> dict[str, Any]:
    """Show the probabilities for each pair; return the same for programs."""
    head(output, "infer", "does the hypothesis follow from the premise?")
    output.show(judgements(step.request, step.answer.message), "", summary(step.answer))
    return _exchange(step.request, step.answer)


def tell_classified(output: Output, steps: Sequence[Classified]) -> list[dict[str, Any]]:
    """Show the labels of each text; return the same for programs."""
    head(output, "classify", "which of the labels fits the text?")
    for step in steps:
        output.show(labelled(step.request, step.answer.message), "", summary(step.answer))
        if step is not steps[-1]:
            output.show("")
    return [_exchange(step.request, step.answer) for step in steps]


def _exchange(request: Message, answer: Answer[Computed]) -> dict[str, Any]:
    return {"request": as_dict(request), "response": document(answer), "seconds": answer.seconds}


def _how(answer: Answer[Computed]) -> dict[str, object]:
    response = answer.message
    return {
        "model": response.model,
        "servedBy": answer.served_by,
        "seconds": answer.seconds,
        "inputTokens": response.usage.input_tokens,
        "inferenceSeconds": seconds_of(response.timings.inference_time),
    }
