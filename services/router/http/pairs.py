"""`/v1/nli` and `/v1/classify`: natural language inference, in JSON that is the contract's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from inglenook.common.v1 import Truncation
from inglenook.nli.v1 import (
    ClassifyRequest,
    ClassifyResponse,
    InferRequest,
    InferResponse,
    InferResult,
    Pair,
    RawScores,
)
from starlette.responses import Response

from services.router.http.embeddings import TRUNCATIONS, cached, usage
from services.router.http.endpoint import respond
from services.router.http.exchange import Exchange
from services.router.http.fields import Fields

INFER: Final = "/inglenook.nli.v1.NliService/Infer"
CLASSIFY: Final = "/inglenook.nli.v1.NliService/Classify"

RAW: Final = "raw_scores"
OF_NLI: Final = frozenset({"model", "pairs", "truncation", "raw_scores"})
OF_CLASSIFY: Final = frozenset(
    {"model", "input", "labels", "hypothesis_template", "multi_label", "truncation"}
)


async def nli(exchange: Exchange) -> Response:
    """Judge pairs of texts."""
    outcome = await exchange.call(INFER, await exchange.asked(_pairs_asked))
    return await outcome.read(partial(_judgements, outcome.headers))


async def classify(exchange: Exchange) -> Response:
    """Sort texts under labels."""
    outcome = await exchange.call(CLASSIFY, await exchange.asked(_labels_asked))
    return await outcome.read(partial(_labels, outcome.headers))


def _pairs_asked(content: Mapping[str, Any]) -> InferRequest:
    body = Fields(content)
    body.check_known(OF_NLI)
    pairs = [
        Pair(premise=pair.required_text("premise"), hypothesis=pair.required_text("hypothesis"))
        for pair in body.objects("pairs")
    ]
    return InferRequest(
        model=body.text("model") or "",
        pairs=pairs,
        truncation=_truncation(body),
        raw_scores=bool(body.flag("raw_scores")),
    )


def _labels_asked(content: Mapping[str, Any]) -> ClassifyRequest:
    body = Fields(content)
    body.check_known(OF_CLASSIFY)
    return ClassifyRequest(
        model=body.text("model") or "",
        inputs=body.texts("input"),
        labels=body.texts("labels"),
        hypothesis_template=body.text("hypothesis_template") or "",
        multi_label=bool(body.flag("multi_label")),
        truncation=_truncation(body),
    )


def _judgements(headers: Mapping[str, str], content: bytes) -> Response:
    response = InferResponse.FromString(content)
    return _listed(headers, response, [_judged(result) for result in response.results])


def _labels(headers: Mapping[str, str], content: bytes) -> Response:
    response = ClassifyResponse.FromString(content)
    results = [
        {"scores": [{"label": one.label, "score": short(one.score)} for one in result.scores]}
        for result in response.results
    ]
    return _listed(headers, response, results)


def _truncation(body: Fields) -> Truncation.ValueType:
    return body.choice("truncation", TRUNCATIONS) or Truncation.TRUNCATION_NONE


def _judged(result: InferResult) -> dict[str, Any]:
    """Return the probabilities that a model has, and what they were computed from if that was asked for."""
    told: dict[str, Any] = {"entailment": short(result.entailment)}
    for field, value in result.ListFields():
        told[field.name] = _logits(value) if field.name == RAW else short(value)
    return told


def _logits(raw: RawScores) -> dict[str, float]:
    return {field.name: short(getattr(raw, field.name)) for field in raw.DESCRIPTOR.fields}


def _listed(
    headers: Mapping[str, str], response: InferResponse | ClassifyResponse, results: list[dict[str, Any]]
) -> Response:
    told = {"object": "list", "model": response.model, "results": results, "usage": usage(response.usage)}
    return respond(told, {**headers, **cached(response.cached_inputs)})


def short(value: float) -> float:
    """Return a float of the wire without the digits that binary32 does not have."""
    return float(f"{value:.7g}")
