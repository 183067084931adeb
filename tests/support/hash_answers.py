"""The answers of the hash backend as messages, and answers that no model gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from inglenook.common.v1 import Usage
from inglenook.embed.v1 import Embedding, EmbedRequest, EmbedResponse, Encoding
from inglenook.nli.v1 import (
    ClassifyRequest,
    ClassifyResponse,
    ClassifyResult,
    InferRequest,
    InferResponse,
    InferResult,
    LabelScore,
    RawScores,
)
from inglenook.rerank.v1 import RerankRequest, RerankResponse, RerankResult

from services.chassis.errors import InvalidRequest
from tests.support import hash_values as values

MOST_ITEMS: Final = 1024
"""Items of a call, `limits.max_client_batch_size` by default; two texts of a pair count as one."""
TEMPLATE: Final = "This example is {}."
UNREADABLE: Final = b"\xff\xff\xff\xff\xff"


def embed(request: EmbedRequest) -> EmbedResponse:
    """Return an embedding per text, in the encoding that is asked for."""
    _require("inputs", request.inputs)
    dimensions = request.dimensions if request.HasField("dimensions") else values.DIMENSIONS
    if not 1 <= dimensions <= values.DIMENSIONS:
        raise InvalidRequest([("dimensions", "is out of range")])
    if request.encoding == Encoding.ENCODING_FLOAT32:
        embeddings = [Embedding(packed=values.packed(text, dimensions)) for text in request.inputs]
    else:
        embeddings = [Embedding(values=values.vector(text, dimensions)) for text in request.inputs]
    return EmbedResponse(embeddings=embeddings, model=values.MODELS["embed"], usage=_usage(request.inputs))


def rerank(request: RerankRequest) -> RerankResponse:
    """Return the documents in order."""
    _require("documents", request.documents)
    _require("query", [request.query])
    raw = [values.relevance(request.query, document) for document in request.documents]
    scores = raw if request.raw_scores else [values.sigmoid(score) for score in raw]
    order = sorted(range(len(raw)), key=lambda place: -scores[place])
    results = [
        RerankResult(
            index=place,
            score=scores[place],
            document=request.documents[place] if request.return_documents else None,
        )
        for place in order[: request.top_n if request.HasField("top_n") else len(order)]
    ]
    return RerankResponse(
        results=results, model=values.MODELS["rerank"], usage=_usage([request.query, *request.documents])
    )


def infer(request: InferRequest) -> InferResponse:
    """Return a judgment per pair."""
    _require("pairs", [pair.premise for pair in request.pairs])
    _require("pairs", [pair.hypothesis for pair in request.pairs])
    results = [_judged(pair.premise, pair.hypothesis, raw=request.raw_scores) for pair in request.pairs]
    texts = [pair.premise for pair in request.pairs]
    return InferResponse(results=results, model=values.MODELS["nli"], usage=_usage(texts))


def classify(request: ClassifyRequest) -> ClassifyResponse:
    """Return the labels of each text in order."""
    _require("labels", request.labels)
    _require("inputs", request.inputs, len(request.labels))
    template = request.hypothesis_template or TEMPLATE
    hypotheses = [template.replace("{}", label) for label in request.labels]
    results = []
    for text in request.inputs:
        scores = values.label_scores(text, hypotheses, multi_label=request.multi_label)
        order = sorted(range(len(scores)), key=lambda place: -scores[place])
        ranked = [LabelScore(label=request.labels[place], score=scores[place]) for place in order]
        results.append(ClassifyResult(scores=ranked))
    return ClassifyResponse(results=results, model=values.MODELS["nli"], usage=_usage(request.inputs))


def bad_embed(request: EmbedRequest, call: int) -> bytes:
    """Return what must not reach a caller: the kinds take turns."""
    good = embed(request)
    count = len(good.embeddings)
    kinds: list[Callable[[], EmbedResponse | bytes]] = [
        lambda: UNREADABLE,
        lambda: EmbedResponse(embeddings=good.embeddings[: count - 1], model=good.model),
        lambda: EmbedResponse(embeddings=[*good.embeddings, good.embeddings[0]], model=good.model),
        lambda: EmbedResponse(embeddings=[Embedding(values=[math.nan] * 16)] * count, model=good.model),
        lambda: EmbedResponse(embeddings=[Embedding(packed=b"\0\0\0")] * count, model=good.model),
        lambda: EmbedResponse(embeddings=[Embedding()] * count, model=good.model),
        EmbedResponse,
    ]
    return _bytes(kinds[call % len(kinds)]())


def bad_rerank(request: RerankRequest, call: int) -> bytes:
    """Return what must not reach a caller: the kinds take turns."""
    good = rerank(request)
    count = len(good.results)
    kinds: list[Callable[[], RerankResponse | bytes]] = [
        lambda: UNREADABLE,
        lambda: RerankResponse(results=good.results[: count - 1], model=good.model),
        lambda: RerankResponse(results=[RerankResult(index=0, score=0.5)] * (count + 1), model=good.model),
        lambda: RerankResponse(results=[RerankResult(index=-1, score=0.5)] * count, model=good.model),
        lambda: RerankResponse(
            results=[RerankResult(index=one.index, score=math.nan) for one in good.results], model=good.model
        ),
    ]
    return _bytes(kinds[call % len(kinds)]())


def bad_infer(request: InferRequest, call: int) -> bytes:
    """Return what must not reach a caller: the kinds take turns."""
    good = infer(request)
    count = len(good.results)
    kinds: list[Callable[[], InferResponse | bytes]] = [
        lambda: UNREADABLE,
        lambda: InferResponse(results=good.results[: count - 1], model=good.model),
        lambda: InferResponse(results=[*good.results, good.results[0]], model=good.model),
        lambda: InferResponse(results=[InferResult(entailment=math.nan)] * count, model=good.model),
        InferResponse,
    ]
    return _bytes(kinds[call % len(kinds)]())


def bad_classify(request: ClassifyRequest, call: int) -> bytes:
    """Return what must not reach a caller: the kinds take turns."""
    good = classify(request)
    kinds: list[Callable[[], ClassifyResponse | bytes]] = [
        lambda: UNREADABLE,
        lambda: ClassifyResponse(results=good.results[:-1], model=good.model),
        lambda: ClassifyResponse(results=[ClassifyResult()] * len(good.results), model=good.model),
        ClassifyResponse,
    ]
    return _bytes(kinds[call % len(kinds)]())


def _judged(premise: str, hypothesis: str, *, raw: bool) -> InferResult:
    found = values.logits(premise, hypothesis)
    entailment, neutral, contradiction = values.softmax(found)
    return InferResult(
        entailment=entailment,
        neutral=neutral,
        contradiction=contradiction,
        raw_scores=RawScores(entailment=found[0], opposite=found[2]) if raw else None,
    )


def _require(field: str, texts: Sequence[str], times: int = 1) -> None:
    """Refuse what engine services refuse, so that no request costs more here than there."""
    if not texts or not all(text.strip() for text in texts) or len(texts) * times > MOST_ITEMS:
        raise InvalidRequest([(field, "must not be empty, and not too many")])


def _usage(texts: Sequence[str]) -> Usage:
    return Usage(input_tokens=sum(len(text.split()) for text in texts))


def _bytes(message: EmbedResponse | RerankResponse | InferResponse | ClassifyResponse | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()
