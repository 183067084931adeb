"""`inglenook rerank`: documents in the order of their relevance to a query."""

from __future__ import annotations

from typing import Annotated

import typer
from inglenook.rerank.v1 import RerankRequest, RerankResponse, RerankServiceStub
from rich.table import Table

from services.cli.answers import document, summary
from services.cli.client import Answer
from services.cli.console import Output, cell, table
from services.cli.session import TIMEOUT_SECONDS, AsJson, RouterAddress, Timeout, calling
from services.cli.texts import SHOWN_CHARACTERS, ModelName, TruncationName, TruncationOption, read_texts

Query = Annotated[str, typer.Argument(help="What is searched for.", show_default=False)]
Documents = Annotated[
    list[str] | None,
    typer.Argument(help="The documents. Without any, each line of standard input is one."),
]
TopN = Annotated[
    int | None, typer.Option("--top-n", min=1, help="Only so many of the best; all of them by default.")
]
RawScores = Annotated[
    bool,
    typer.Option("--raw-scores", help="What the model computed (a logit, a cosine), not 0 to 1."),
]


def rerank(
    query: Query,
    documents: Documents = None,
    model: ModelName = "",
    top_n: TopN = None,
    raw_scores: RawScores = False,
    *,
    truncation: TruncationOption = TruncationName.NONE,
    router: RouterAddress = None,
    timeout: Timeout = TIMEOUT_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Order documents by their relevance to a query, best first."""
    output = Output(as_json=as_json)
    request = RerankRequest(
        model=model,
        query=query,
        documents=read_texts(output, documents, "documents"),
        top_n=top_n,
        raw_scores=raw_scores,
        truncation=truncation.wire,
    )
    with calling(output, router, timeout, "reranking") as client:
        answer: Answer[RerankResponse] = client.call(RerankServiceStub(client.channel).Rerank, request)
    output.json(document(answer))
    output.show(ranking(request, answer.message), "", summary(answer))


def ranking(request: RerankRequest, response: RerankResponse) -> Table:
    """Return the documents of a request in the order of a response, as a table."""
    made = table(">RANK", ">SCORE", "DOCUMENT", ">INDEX")
    for rank, result in enumerate(response.results, 1):
        text = cell(request.documents[result.index], SHOWN_CHARACTERS)
        made.add_row(str(rank), f"{result.score:.4f}", text, str(result.index))
    return made
