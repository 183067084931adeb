"""What the demo asks of the cluster, one step for each thing that can be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inglenook.common.v1 import Truncation
from inglenook.embed.v1 import EmbedRequest, EmbedResponse, EmbedServiceStub, InputType
from inglenook.nli.v1 import (
    ClassifyRequest,
    ClassifyResponse,
    InferRequest,
    InferResponse,
    NliServiceStub,
    Pair,
)
from inglenook.rerank.v1 import RerankRequest, RerankResponse, RerankServiceStub

from services.cli.client import Answer, Client
from services.cli.commands.demo.texts import BEST, CANDIDATES, DOCUMENTS, PAIRS, QUERY, SORTINGS, Sorting

CUT = Truncation.TRUNCATION_RIGHT
"""Whoever tries the demo with a tiny model of their own gets answers as well."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Documents by the similarity of their embeddings to the query's, best first."""

    query: Answer[EmbedResponse]
    documents: Answer[EmbedResponse]
    order: list[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Reranked:
    """Passages by their relevance to the query, best first."""

    request: RerankRequest
    answer: Answer[RerankResponse]


@dataclass(frozen=True, slots=True)
class Inferred:
    """Pairs, and whether the second sentence of each follows from the first."""

    request: InferRequest
    answer: Answer[InferResponse]


@dataclass(frozen=True, slots=True)
class Classified:
    """A text under labels, the best first."""

    request: ClassifyRequest
    answer: Answer[ClassifyResponse]


def embed(client: Client, model: str, truncation: Truncation.ValueType = CUT) -> Embedded:
    """Embed the query and the documents, and rank the documents by similarity.

    A model that providers run needs `TRUNCATION_NONE`: nothing is cut for it.
    """
    method = EmbedServiceStub(client.channel).Embed

    def ask(texts: Sequence[str], input_type: InputType.ValueType) -> Answer[EmbedResponse]:
        request = EmbedRequest(model=model, inputs=texts, input_type=input_type, truncation=truncation)
        return client.call(method, request)

    query = ask([QUERY], InputType.INPUT_TYPE_QUERY)
    documents = ask(DOCUMENTS, InputType.INPUT_TYPE_DOCUMENT)
    wanted = query.message.embeddings[0].values
    scored = [
        (sum(a * b for a, b in zip(wanted, found.values, strict=True)), text)
        for found, text in zip(documents.message.embeddings, DOCUMENTS, strict=True)
    ]
    return Embedded(query, documents, sorted(scored, reverse=True))


def rerank(client: Client, model: str) -> Reranked:
    """Find the documents that answer the query best."""
    request = RerankRequest(model=model, query=QUERY, documents=CANDIDATES, top_n=BEST, truncation=CUT)
    return Reranked(request, client.call(RerankServiceStub(client.channel).Rerank, request))


def infer(client: Client, model: str) -> Inferred:
    """Judge the pairs."""
    pairs = [Pair(premise=premise, hypothesis=hypothesis) for premise, hypothesis in PAIRS]
    request = InferRequest(model=model, pairs=pairs, truncation=CUT)
    return Inferred(request, client.call(NliServiceStub(client.channel).Infer, request))


def classify(client: Client, model: str) -> list[Classified]:
    """Put each text under its labels, a call each."""

    def ask(sorting: Sorting) -> Classified:
        request = ClassifyRequest(
            model=model,
            inputs=[sorting.text],
            labels=sorting.labels,
            hypothesis_template=sorting.template,
            truncation=CUT,
        )
        return Classified(request, client.call(NliServiceStub(client.channel).Classify, request))

    return [ask(sorting) for sorting in SORTINGS]
