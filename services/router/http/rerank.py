"""`/v1/rerank` and `/v2/rerank`: documents ordered by relevance to a query.

The language that Cohere (https://docs.cohere.com/reference/rerank) and Jina (https://api.jina.ai/redoc)
share, with the members of either one's answers. The two versions of Cohere's ask alike.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from inglenook.common.v1 import Truncation, Usage
from inglenook.rerank.v1 import RerankRequest, RerankResponse, RerankResult
from starlette.responses import Response

from services.router.http.embeddings import TRUNCATIONS, cached, usage
from services.router.http.endpoint import respond
from services.router.http.exchange import Exchange
from services.router.http.fields import Fields
from services.router.http.pairs import short

RERANK: Final = "/inglenook.rerank.v1.RerankService/Rerank"
READ: Final = frozenset(
    {"model", "query", "documents", "top_n", "return_documents", "truncation", "raw_scores", "rank_fields"}
)
IGNORED: Final = frozenset({"max_tokens_per_doc", "max_chunks_per_doc", "priority"})
"""How much Cohere reads of a document, here as much as the model can; and who waits for whom there."""
TEXT: Final = "text"


async def rerank(exchange: Exchange) -> Response:
    """Order documents, and say so as Jina and the first version of Cohere's API do."""
    return await _ranked(exchange, "1")


async def rerank_v2(exchange: Exchange) -> Response:
    """Order documents, and say so as the second version of Cohere's API does."""
    return await _ranked(exchange, "2")


async def _ranked(exchange: Exchange, version: str) -> Response:
    request = await exchange.asked(_asked)
    outcome = await exchange.call(RERANK, request)
    response = RerankResponse.FromString(outcome.content)
    told = {
        "id": str(uuid.uuid4()),
        "object": "list",
        "model": response.model,
        "results": [_result(result) for result in response.results],
        "usage": usage(response.usage),
        "meta": _meta(version, response.usage),
    }
    return respond(told, {**outcome.headers, **cached(response.cached_inputs)})


def _asked(content: Mapping[str, Any]) -> RerankRequest:
    """Return what a body asks for. Documents that are too long are cut, as clients expect."""
    body = Fields(content)
    body.check_known(READ | IGNORED)
    if body.has("rank_fields") and body.texts("rank_fields") != [TEXT]:
        body.refuse("rank_fields", f"must be {TEXT}: nothing else of a document is read")
    documents = [_document(body, index, value) for index, value in enumerate(body.items("documents"))]
    top = body.count("top_n")
    return RerankRequest(
        model=body.text("model") or "",
        query=body.required_text("query"),
        documents=documents,
        top_n=min(top, len(documents)) if top is not None and documents else top,
        return_documents=bool(body.flag("return_documents")),
        raw_scores=bool(body.flag("raw_scores")),
        truncation=body.choice("truncation", TRUNCATIONS) or Truncation.TRUNCATION_RIGHT,
    )


def _document(body: Fields, index: int, value: Any) -> str:
    """Return a document, which may be a string or an object with a `text`."""
    name = f"documents[{index}]"
    if isinstance(value, dict):
        return Fields(value, name).required_text(TEXT)
    if not isinstance(value, str):
        body.refuse(name, "must be a string, or an object with a text")
    return value


def _result(result: RerankResult) -> dict[str, Any]:
    ranked: dict[str, Any] = {"index": result.index, "relevance_score": short(result.score)}
    if result.HasField("document"):
        ranked["document"] = {TEXT: result.document}
    return ranked


def _meta(version: str, used: Usage) -> dict[str, Any]:
    """Return what Cohere's clients look for. Nothing is billed, and so nothing is said of that."""
    meta: dict[str, Any] = {"api_version": {"version": version}}
    if used.HasField("input_tokens"):
        meta["tokens"] = {"input_tokens": used.input_tokens}
    return meta
