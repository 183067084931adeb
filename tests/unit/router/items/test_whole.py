"""Answers that are passed on as they came, and which of them are none."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from inglenook.embed.v1 import Embedding, EmbedRequest, EmbedResponse, TokenInput
from inglenook.nli.v1 import (
    ClassifyRequest,
    ClassifyResponse,
    ClassifyResult,
    InferRequest,
    InferResponse,
    InferResult,
    LabelScore,
    Pair,
)
from inglenook.rerank.v1 import RerankRequest, RerankResponse, RerankResult

from services.router.errors import Garbled
from services.router.items.whole import check
from tests.support.item_backend import CLASSIFY, EMBED, INFER, RERANK

VECTOR = Embedding(values=[1, 2])
PACKED = Embedding(packed=bytes(8))
TWO = EmbedRequest(inputs=["a", "b"])
TOKENS = EmbedRequest(token_inputs=[TokenInput(ids=[1]), TokenInput(ids=[2])])
ASKED = RerankRequest(query="q", documents=["a", "b"])
BEST = RerankRequest(query="q", documents=["a", "b"], top_n=1)
PAIRS = InferRequest(pairs=[Pair(premise="a", hypothesis="b")] * 2)
SORTED = ClassifyRequest(inputs=["a"], labels=["x", "y"])
REQUESTS: dict[str, Any] = {EMBED: TWO, RERANK: ASKED, INFER: PAIRS, CLASSIFY: SORTED}


def ranked(*places: int) -> RerankResponse:
    """Return results for these documents."""
    return RerankResponse(results=[RerankResult(index=place, score=0.5) for place in places])


def labelled(*labels: str) -> ClassifyResponse:
    """Return one result with these labels."""
    return ClassifyResponse(results=[ClassifyResult(scores=[LabelScore(label=label) for label in labels])])


@pytest.mark.parametrize(
    ("method", "request_", "response"),
    [
        (EMBED, TWO, EmbedResponse(embeddings=[VECTOR, VECTOR])),
        (EMBED, TOKENS, EmbedResponse(embeddings=[PACKED, PACKED])),
        (RERANK, ASKED, ranked(1, 0)),
        (RERANK, BEST, ranked(1)),
        (INFER, PAIRS, InferResponse(results=[InferResult(), InferResult(entailment=1)])),
        (CLASSIFY, SORTED, labelled("y", "x")),
    ],
)
def test_an_answer_of_the_right_shape_is_accepted(method: str, request_: Any, response: Any) -> None:
    """As many results as items, each for one of them, and all of them numbers."""
    check(method, request_.SerializeToString(), response.SerializeToString())


@pytest.mark.parametrize(
    ("method", "request_", "response"),
    [
        (EMBED, TWO, EmbedResponse(embeddings=[VECTOR])),
        (EMBED, TWO, EmbedResponse(embeddings=[VECTOR, Embedding(values=[1])])),
        (EMBED, TWO, EmbedResponse(embeddings=[Embedding(), Embedding()])),
        (EMBED, TOKENS, EmbedResponse()),
        (EMBED, TWO, EmbedResponse(embeddings=[VECTOR, Embedding(values=[1, math.nan])])),
        (EMBED, TWO, EmbedResponse(embeddings=[PACKED, Embedding(packed=struct.pack("<2f", 1, math.inf))])),
        (
            RERANK,
            ASKED,
            RerankResponse(results=[RerankResult(index=0), RerankResult(index=1, score=math.nan)]),
        ),
        (INFER, PAIRS, InferResponse(results=[InferResult(), InferResult(neutral=math.nan)])),
        (RERANK, ASKED, ranked(0)),
        (RERANK, ASKED, ranked(0, 0)),
        (RERANK, ASKED, ranked(0, 2)),
        (RERANK, BEST, ranked(0, 1)),
        (INFER, PAIRS, InferResponse(results=[InferResult()])),
        (CLASSIFY, SORTED, labelled("x")),
        (CLASSIFY, SORTED, labelled("x", "z")),
        (CLASSIFY, SORTED, ClassifyResponse()),
    ],
)
def test_an_answer_of_another_shape_is_none(method: str, request_: Any, response: Any) -> None:
    """Too few, too many, for something that was not asked, or no numbers."""
    with pytest.raises(Garbled):
        check(method, request_.SerializeToString(), response.SerializeToString())


@pytest.mark.parametrize("method", [EMBED, RERANK, INFER, CLASSIFY])
def test_bytes_that_mean_nothing_are_no_answer(method: str) -> None:
    """They do not even parse."""
    with pytest.raises(Garbled):
        check(method, REQUESTS[method].SerializeToString(), b"\xff\xff")


@pytest.mark.parametrize("asked", [b"", b"\xff\xff"])
def test_what_only_a_backend_understands_is_for_the_backend_to_answer(asked: bytes) -> None:
    """A request that is not of this version, or has no items, may be answered by anything."""
    check(EMBED, asked, b"\xff\xff")
