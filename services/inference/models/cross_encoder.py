"""A reranker that reads query and document together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.inference.models.batched import BatchedModel
from services.inference.models.distinct import Distinct
from services.inference.models.reranking import Relevance, Reranker, RerankOptions, name_of
from services.inference.pairs import Pairs


class CrossEncoder(BatchedModel, Reranker):
    """Reads query and document together.

    A model with one logit says how relevant the document is; that logit is the raw score. One with two logits
    tells irrelevant (0) from relevant (1), as in Nogueira and Cho 2019, "Passage Re-ranking with BERT"
    (arXiv:1901.04085); the raw score is the second minus the first, the logarithm of the odds. Either way
    the score is the sigmoid of the raw score: with two logits, the share of the second in their softmax.

    Args:
        limits: How much a call may hold.
        tokenizer: Its tokenizer.
        batcher: Its batcher; a row holds one or two logits.
    """

    async def _compare(self, query: str, distinct: Distinct[str], options: RerankOptions) -> Relevance:
        name = name_of(distinct)
        pairs = Pairs(
            firsts=[query],
            seconds=distinct.values,
            places=[(0, place) for place in range(len(distinct.values))],
            cut="second",
            names=lambda place: ("query", name(place)),
        )
        tokenized = await self._tokenizer.encode_pairs(pairs, options.truncation)
        outcome = await self._batcher.submit(tokenized.encodings, deadline=options.deadline, name=name)
        odds = _log_odds(outcome.rows)
        return Relevance(
            raw=odds.astype(np.float32),
            scores=_sigmoid(odds).astype(np.float32),
            input_tokens=sum(map(len, tokenized.encodings)),
            tokenize_seconds=tokenized.seconds,
            queue_seconds=outcome.queue_seconds,
            inference_seconds=outcome.inference_seconds,
        )


def _log_odds(rows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Return a raw score for each row of one or two logits."""
    logits = np.concatenate(rows).reshape(len(rows), -1).astype(np.float64)
    odds = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
    return np.asarray(odds)


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-x)), without overflow for large negative x."""
    return np.asarray(np.exp(-np.logaddexp(0, -x)))
