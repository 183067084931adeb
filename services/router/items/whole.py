"""Answers that are passed on as they came: whether they are answers to what was asked at all.

A replica that answers with too few embeddings, or with bytes that mean nothing, must not have the last word
while another one is there; nor must one whose numbers are none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final, TypeAlias

from google.protobuf.message import DecodeError
from inglenook.embed.v1 import EmbedRequest, EmbedResponse
from inglenook.nli.v1 import ClassifyRequest, ClassifyResponse, InferRequest, InferResponse
from inglenook.rerank.v1 import RerankRequest, RerankResponse

from services.router.errors import Garbled
from services.router.items import classify, embed, infer, rerank
from services.router.items.messages import read_response

Items: TypeAlias = Callable[[Any], Any]
"""Returns the items of a request. One without any is for the backend to judge."""

Fits: TypeAlias = Callable[[Any, Any], bool]
"""Says whether a response has the shape of an answer to a request."""


def check(method: str, asked: bytes, answered: bytes) -> None:
    """Accept an answer to a call of `method` (`/package.Service/Method`) that was passed on as it came.

    Raises:
        Garbled: It is none.
    """
    request, response, items, fits = SHAPES[method]
    try:
        wanted = request.FromString(asked)
    except DecodeError:
        return  # whoever can answer it has understood more of it
    if items(wanted) and not fits(wanted, read_response(response, answered)):
        raise Garbled


def _embeddings(request: EmbedRequest, response: EmbedResponse) -> bool:
    sizes = {len(one.packed) or 4 * len(one.values) for one in response.embeddings}
    count = len(request.inputs) or len(request.token_inputs)
    numbers = all(
        embed.finite(one.packed) and all(map(math.isfinite, one.values)) for one in response.embeddings
    )
    return len(response.embeddings) == count and len(sizes) == 1 and 0 not in sizes and numbers


def _scores(request: RerankRequest, response: RerankResponse) -> bool:
    count = len(request.documents)
    places = {one.index for one in response.results}
    wanted = request.top_n if request.HasField("top_n") else count
    if not 1 <= wanted <= count:
        return True  # for the backend to refuse, or not
    numbers = all(math.isfinite(one.score) and 0 <= one.index < count for one in response.results)
    return len(places) == len(response.results) == wanted and numbers


def _inferences(request: InferRequest, response: InferResponse) -> bool:
    return len(response.results) == len(request.pairs) and all(map(infer.finite, response.results))


def _classes(request: ClassifyRequest, response: ClassifyResponse) -> bool:
    labels = sorted(request.labels)
    fits = (
        sorted(score.label for score in one.scores) == labels
        and all(math.isfinite(score.score) for score in one.scores)
        for one in response.results
    )
    return len(response.results) == len(request.inputs) and all(fits)


SHAPES: Final[Mapping[str, tuple[type[Any], type[Any], Items, Fits]]] = {
    embed.METHOD: (
        EmbedRequest,
        EmbedResponse,
        lambda asked: asked.inputs or asked.token_inputs,
        _embeddings,
    ),
    rerank.METHOD: (RerankRequest, RerankResponse, attrgetter("documents"), _scores),
    infer.METHOD: (InferRequest, InferResponse, attrgetter("pairs"), _inferences),
    classify.METHOD: (ClassifyRequest, ClassifyResponse, attrgetter("inputs"), _classes),
}
"""Request, response, the items of a request, and what makes one an answer to the other, by method."""
