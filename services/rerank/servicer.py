"""`RerankService`: the wire in, the wire out, nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from inglenook.common.v1 import Usage
from inglenook.rerank.v1 import RerankRequest, RerankResponse, RerankResult, RerankServiceServicer

from services.chassis.trailing import FINGERPRINT_KEY, add_trailing
from services.config import Limits
from services.inference.lifecycle import Registry
from services.inference.models.reranking import Reranker, RerankOptions, Scored
from services.serving.options import TRUNCATIONS, Context, deadline_of, require_known
from services.serving.wire import timings

SLICE: Final = 128
"""Documents read, and results written, between two turns of the event loop."""


class RerankServicer(RerankServiceServicer):
    """Answers Rerank with the models of `registry`, within `limits`."""

    def __init__(self, registry: Registry[Reranker], limits: Limits) -> None:
        self._registry = registry
        self._most = limits.max_client_batch_size

    async def Rerank(self, request: RerankRequest, context: Context) -> RerankResponse:
        """Order documents by relevance to a query."""
        began = time.perf_counter()
        options = _options(request, context)
        name = self._registry.resolve(request.model)
        documents: Sequence[str] = request.documents  # too many are not looked at: the model refuses them
        if len(documents) <= self._most:
            documents = await _read(documents)
        lease = self._registry.use(name, options.deadline)
        async with lease as model:
            add_trailing(context, (FINGERPRINT_KEY, lease.fingerprint))
            ranking = await model.rerank(request.query, documents, options)
        del model  # else it is still there when an unload gives back what was freed
        results = await _encode(ranking.results, documents if request.return_documents else None)
        return RerankResponse(
            results=results,
            model=name,
            usage=Usage(input_tokens=ranking.input_tokens),
            timings=timings(
                total=time.perf_counter() - began,
                tokenize=ranking.tokenize_seconds,
                queue=ranking.queue_seconds,
                inference=ranking.inference_seconds,
            ),
        )


def _options(request: RerankRequest, context: Context) -> RerankOptions:
    """Return what the request asks for.

    Raises:
        InvalidRequest: An enum has a number that the contract does not define.
    """
    require_known(("truncation", request.truncation, TRUNCATIONS))
    return RerankOptions(
        top_n=request.top_n if request.HasField("top_n") else None,
        raw_scores=request.raw_scores,
        truncation=TRUNCATIONS[request.truncation],
        deadline=deadline_of(context),
    )


async def _read(documents: Sequence[str]) -> list[str]:
    """Return texts as strings, which a message makes anew whenever it is asked for one."""
    texts: list[str] = []
    for begin in range(0, len(documents), SLICE):
        if begin:
            await asyncio.sleep(0)
        texts += documents[begin : begin + SLICE]
    return texts


async def _encode(ranking: Sequence[Scored], documents: Sequence[str] | None) -> list[RerankResult]:
    """Return results as messages, with their texts if there are any, without holding the loop for long."""
    results: list[RerankResult] = []
    for count, scored in enumerate(ranking, start=1):
        text = None if documents is None else documents[scored.index]
        results.append(RerankResult(index=scored.index, score=scored.score, document=text))
        if count % SLICE == 0:
            await asyncio.sleep(0)
    return results
